#include "io/tokenizer.h"

#include "io/sentencepiece.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { ROW_MULTIPLE = 8 };

/* A real model is 0.2 to 5 MB: a larger file is something else, and need not be read to know. */
enum { MODEL_BYTES_MOST = 1 << 28 };

static const char *const ADDED_TEXT[ADDED_COUNT] = {"<protein>", "<bop>",   "<eop>",   "[INST]",
                                                    "[/INST]",   "<<SYS>>", "<</SYS>>"};

static const char ADVICE[] = "give the tokenizer.model of the language model, or train one with "
                             "spm_train";

/* The file's bytes, which the caller frees, success or not. */
static status read_stream(FILE *file, const char *path, char **bytes, int64_t size, error *err) {
    *bytes = malloc((size_t)size + 1);
    if (*bytes == NULL)
        return error_set(err, STATUS_FAILED, "data.tokenizer: no memory for the %lld bytes of %s",
                         (long long)size, path);
    errno = 0;
    if (fread(*bytes, 1, (size_t)size, file) != (size_t)size)
        return error_set(err, STATUS_INPUT, "data.tokenizer: cannot read the %lld bytes of %s: %s",
                         (long long)size, path, errno ? strerror(errno) : "it ends early");
    return STATUS_OK;
}

static status read_file(const char *path, char **bytes, int64_t *size, error *err) {
    struct stat about;
    const bool there = stat(path, &about) == 0;
    /* Looked at before opening, which would wait at a pipe until somebody writes to it. */
    if (there && !S_ISREG(about.st_mode))
        return error_set(err, STATUS_INPUT, "data.tokenizer: %s is not a file; %s", path, ADVICE);
    if (there && about.st_size > MODEL_BYTES_MOST)
        return error_set(err, STATUS_INPUT,
                         "data.tokenizer: %s has %lld bytes, more than any SentencePiece model "
                         "(at most %d); %s",
                         path, (long long)about.st_size, (int)MODEL_BYTES_MOST, ADVICE);
    FILE *file = there ? fopen(path, "rb") : NULL;
    if (file == NULL)
        return error_set(err, STATUS_INPUT, "data.tokenizer: cannot open %s: %s; %s", path,
                         strerror(errno), ADVICE);
    *size = about.st_size;
    const status result = read_stream(file, path, bytes, *size, err);
    fclose(file);
    return result;
}

static status take_model(tokenizer *t, const char *path, const char *bytes, int64_t size,
                         error *err) {
    char message[SENTENCEPIECE_MESSAGE];
    t->base = sentencepiece_create(bytes, size, message);
    if (t->base == NULL)
        return error_set(err, STATUS_INPUT,
                         "data.tokenizer: %s (%lld bytes) is not a whole SentencePiece model: %s; "
                         "%s",
                         path, (long long)size, message, ADVICE);
    t->pieces = sentencepiece_size(t->base);
    t->bos = sentencepiece_bos(t->base);
    t->eos = sentencepiece_eos(t->base);
    if (t->bos < 0 || t->eos < 0)
        return error_set(err, STATUS_INPUT,
                         "data.tokenizer: %s has no piece for %s of a text; train it with "
                         "spm_train's --bos_id=1 --eos_id=2",
                         path, t->bos < 0 ? "the beginning (<s>)" : "the end (</s>)");
    t->vocabulary = t->pieces + ADDED_COUNT;
    t->rows = (t->vocabulary + ROW_MULTIPLE - 1) / ROW_MULTIPLE * ROW_MULTIPLE;
    return STATUS_OK;
}

status tokenizer_load(tokenizer *t, const char *path, error *err) {
    *t = (tokenizer){0};
    if (path == NULL)
        return error_set(err, STATUS_INPUT, "data.tokenizer has no value; %s", ADVICE);
    char *bytes = NULL;
    int64_t size = 0;
    status result = read_file(path, &bytes, &size, err);
    if (result == STATUS_OK)
        result = take_model(t, path, bytes, size, err);
    free(bytes);
    return result;
}

void tokenizer_destroy(tokenizer *t) {
    if (t->base != NULL)
        sentencepiece_destroy(t->base);
    *t = (tokenizer){0};
}

int32_t tokenizer_added_id(const tokenizer *t, added_token which) {
    return t->pieces + (int32_t)which;
}

const char *tokenizer_added_text(added_token which) {
    return ADDED_TEXT[which];
}

status tokenizer_encode(const tokenizer *t, const char *text, int64_t bytes, int32_t *ids,
                        int64_t capacity, int64_t *count, error *err) {
    char message[SENTENCEPIECE_MESSAGE];
    *count = 0;
    if (bytes > 0 && !sentencepiece_encode(t->base, text, bytes, ids, capacity, count, message))
        return error_set(err, STATUS_FAILED, "cannot split a text of %lld bytes into tokens: %s",
                         (long long)bytes, message);
    return STATUS_OK;
}

/* Whether SentencePiece shall see the id: ordinary and byte pieces. */
static int is_text(const tokenizer *t, int32_t id) {
    CHECK(id >= 0 && id < t->rows, "Token %d is not one of the table's %d rows.", id, t->rows);
    return id < t->pieces && id != t->bos && id != t->eos;
}

status tokenizer_decode(const tokenizer *t, const int32_t *ids, int64_t count, char *text,
                        int64_t capacity, int64_t *bytes, error *err) {
    char message[SENTENCEPIECE_MESSAGE];
    *bytes = 0;
    for (int64_t begin = 0; begin < count;) {
        int64_t end = begin;
        while (end < count && is_text(t, ids[end]))
            end++;
        const int64_t room = capacity > *bytes ? capacity - *bytes : 0;
        int64_t added = 0;
        if (end > begin &&
            !sentencepiece_decode(t->base, ids + begin, end - begin,
                                  room > 0 ? text + *bytes : NULL, room, &added, message))
            return error_set(err, STATUS_FAILED, "cannot join %lld tokens into text: %s",
                             (long long)(end - begin), message);
        *bytes += added;
        begin = end + 1; /* the token that ended the stretch leaves no text */
    }
    return STATUS_OK;
}
