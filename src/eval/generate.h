/* Answering a question about one protein: greedy decoding with a key/value cache. */
#ifndef SEPIT_EVAL_GENERATE_H
#define SEPIT_EVAL_GENERATE_H

#include "src/eval/inference.h"

#include <stdbool.h>

typedef struct answer {
    char *text;    /* UTF-8, NUL-terminated, owned by the caller (free), also after a failure */
    int64_t bytes; /* without the NUL */
    int64_t tokens;
    bool finished; /* the model said </s>; false: it reached the limit */
} answer;

/* Local: one rank answers. The question is NUL-terminated; `max_tokens` bounds the answer.
 * STATUS_INPUT when the question leaves no room under data.max_text. */
status generate_answer(inference *f, const pack_protein *protein, const char *question,
                       int64_t max_tokens, answer *result, error *err);

#endif
