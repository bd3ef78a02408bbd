#include "src/data/prompt.h"

#include <string.h>

/* Ids on their way: `count` goes on above the capacity, where nothing is written. */
typedef struct writer {
    const tokenizer *t;
    arena *memory;
    int32_t *id; /* [capacity] */
    int64_t count, capacity;
} writer;

typedef struct bytes {
    const char *at;
    int64_t count;
} bytes;

enum { BORDER_BYTES = 64 }; /* more than `before` and `after` ever have, and the arena's rounding */

static void add_id(writer *w, int32_t id) {
    if (w->count < w->capacity)
        w->id[w->count] = id;
    w->count++;
}

static void add_token(writer *w, added_token which) {
    add_id(w, tokenizer_added_id(w->t, which));
}

/* One stretch of text between two added tokens. */
static status add_text(writer *w, const char *before, bytes text, const char *after, error *err) {
    const size_t head = strlen(before), body = (size_t)text.count, tail = strlen(after);
    const size_t mark = arena_mark(w->memory);
    char *joined = arena_alloc(w->memory, head + body + tail);
    memcpy(joined, before, head);
    if (body > 0)
        memcpy(joined + head, text.at, body);
    memcpy(joined + head + body, after, tail);
    const int64_t used = w->count < w->capacity ? w->count : w->capacity;
    int64_t added = 0;
    const status result = tokenizer_encode(w->t, joined, (int64_t)(head + body + tail),
                                           w->id + used, w->capacity - used, &added, err);
    w->count += added;
    arena_reset(w->memory, mark);
    return result;
}

static status add_system(writer *w, const char *system, error *err) {
    const bytes nothing = {NULL, 0}, sentence = {system, (int64_t)strlen(system)};
    add_id(w, w->t->bos);
    add_token(w, ADDED_INST);
    TRY(add_text(w, " ", nothing, "", err));
    add_token(w, ADDED_SYSTEM);
    TRY(add_text(w, "\n", sentence, "\n", err));
    add_token(w, ADDED_SYSTEM_END);
    return STATUS_OK;
}

/* `protein` is the place of <protein>. */
static status add_question(writer *w, bytes question, int64_t *protein, error *err) {
    const char *name = tokenizer_added_text(ADDED_PROTEIN);
    const char *found =
        question.count > 0 ? memmem(question.at, (size_t)question.count, name, strlen(name)) : NULL;
    const int64_t ahead = found != NULL ? found - question.at : 0;
    const int64_t skipped = found != NULL ? ahead + (int64_t)strlen(name) : 0;
    const bytes start = {question.at, ahead};
    const bytes rest = {skipped > 0 ? question.at + skipped : question.at,
                        question.count - skipped};
    TRY(add_text(w, "\n\n", start, "", err));
    add_token(w, ADDED_BOP);
    *protein = w->count;
    add_token(w, ADDED_PROTEIN);
    add_token(w, ADDED_EOP);
    TRY(add_text(w, found != NULL ? "" : "\n", rest, " ", err));
    add_token(w, ADDED_INST_END);
    return STATUS_OK;
}

static status add_all(writer *w, const prompt_text *text, prompt *built, error *err) {
    const bytes question = {text->question, text->question_bytes};
    const bytes answer = {text->answer, text->answer_bytes};
    TRY(add_system(w, text->system, err));
    TRY(add_question(w, question, &built->protein, err));
    built->answer = built->needed = w->count;
    built->fits = w->count < w->capacity;
    if (text->answer == NULL || !built->fits)
        return STATUS_OK;
    TRY(add_text(w, " ", answer, " ", err));
    add_id(w, w->t->eos);
    return STATUS_OK;
}

status prompt_build(const tokenizer *t, const prompt_text *text, int64_t max_text, arena *memory,
                    prompt *built, error *err) {
    *built = (prompt){0};
    const size_t mark = arena_mark(memory);
    writer w = {.t = t, .memory = memory, .capacity = max_text};
    w.id = ARENA_ARRAY(memory, int32_t, max_text);
    const status result = add_all(&w, text, built, err);
    if (result == STATUS_OK && built->fits) {
        built->count = w.count < max_text ? w.count : max_text;
        built->lost = w.count - built->count;
    }
    /* Gives back what the ids did not need: they stay where they are. */
    arena_reset(memory, mark);
    built->id = ARENA_ARRAY(memory, int32_t, built->count);
    return result;
}

size_t prompt_bytes(int64_t max_text, int64_t text_bytes) {
    return arena_bytes(max_text, sizeof(int32_t)) + (size_t)text_bytes + (size_t)(4 * BORDER_BYTES);
}
