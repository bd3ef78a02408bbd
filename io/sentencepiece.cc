#include "io/sentencepiece.h"

#include <sentencepiece_processor.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <exception>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

struct sentencepiece_model {
    sentencepiece::SentencePieceProcessor processor;
};

namespace {

void say(char *message, const char *text) {
    std::snprintf(message, SENTENCEPIECE_MESSAGE, "%s", text);
}

/* Runs `work`, which returns the library's status; whatever goes wrong becomes a message. */
template <typename Work> bool guarded(char *message, Work work) noexcept {
    try {
        const sentencepiece::util::Status status = work();
        if (status.ok())
            return true;
        /* Its own checks speak of lines of its source, which help nobody. */
        const bool internal = std::strstr(status.error_message(), ".cc(") != nullptr;
        say(message, internal ? "the library cannot parse it" : status.error_message());
    } catch (const std::exception &failure) {
        say(message, failure.what());
    } catch (...) {
        say(message, "unknown failure inside SentencePiece");
    }
    return false;
}

/* Copies what fits and says how much there was. */
template <typename From, typename To>
void copy_out(const From &from, To *to, int64_t capacity, int64_t *count) {
    *count = static_cast<int64_t>(from.size());
    std::copy_n(from.begin(), std::min(*count, capacity), to);
}

} // namespace

extern "C" {

sentencepiece_model *sentencepiece_create(const char *model, int64_t bytes, char *message) {
    sentencepiece_model *created = nullptr;
    const bool loaded = guarded(message, [&] {
        auto sp = std::make_unique<sentencepiece_model>();
        const auto status = sp->processor.LoadFromSerializedProto(
            std::string_view(model, static_cast<size_t>(bytes)));
        created = sp.release();
        return status;
    });
    if (loaded)
        return created;
    delete created;
    return nullptr;
}

void sentencepiece_destroy(sentencepiece_model *sp) {
    delete sp;
}

int32_t sentencepiece_size(const sentencepiece_model *sp) {
    return sp->processor.GetPieceSize();
}

int32_t sentencepiece_bos(const sentencepiece_model *sp) {
    return sp->processor.bos_id();
}

int32_t sentencepiece_eos(const sentencepiece_model *sp) {
    return sp->processor.eos_id();
}

bool sentencepiece_encode(const sentencepiece_model *sp, const char *text, int64_t bytes,
                          int32_t *ids, int64_t capacity, int64_t *count, char *message) {
    return guarded(message, [&] {
        std::vector<int> found;
        const auto status =
            sp->processor.Encode(std::string_view(text, static_cast<size_t>(bytes)), &found);
        copy_out(found, ids, capacity, count);
        return status;
    });
}

bool sentencepiece_decode(const sentencepiece_model *sp, const int32_t *ids, int64_t count,
                          char *text, int64_t capacity, int64_t *bytes, char *message) {
    return guarded(message, [&] {
        std::string found;
        const auto status = sp->processor.Decode(std::vector<int>(ids, ids + count), &found);
        copy_out(found, text, capacity, bytes);
        return status;
    });
}

} // extern "C"
