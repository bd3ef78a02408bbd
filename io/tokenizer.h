/* The language model's tokenizer: SentencePiece's V pieces and, after them, seven added tokens.
 *
 * Text that comes from a user or a dataset goes through tokenizer_encode, which gives pieces only:
 * "[INST]" written in a question is six harmless letters and brackets. Added tokens, <s> and </s>
 * get into a prompt solely by their ids, which src/data/prompt.h puts there.
 * Read next: src/data/prompt.h.
 */
#ifndef SEPIT_IO_TOKENIZER_H
#define SEPIT_IO_TOKENIZER_H

#include "src/base/error.h"

#include <stdint.h>

/* In the order of their ids V, V+1, … (spec/sepit.md §3). */
typedef enum added_token {
    ADDED_PROTEIN,    /* <protein> */
    ADDED_BOP,        /* <bop> */
    ADDED_EOP,        /* <eop> */
    ADDED_INST,       /* [INST] */
    ADDED_INST_END,   /* [/INST] */
    ADDED_SYSTEM,     /* <<SYS>> */
    ADDED_SYSTEM_END, /* <</SYS>> */
    ADDED_COUNT
} added_token;

/* Read-only after loading. */
typedef struct tokenizer {
    struct sentencepiece_model *base; /* owned */
    int32_t pieces;                   /* V */
    int32_t bos, eos;                 /* <s>, </s> */
    int32_t vocabulary;               /* V + 7: larger ids mean nothing */
    int32_t rows;                     /* of the embedding table: vocabulary up to a multiple of 8 */
} tokenizer;

/* Loads a SentencePiece model file. STATUS_INPUT, in a sentence that names the key data.tokenizer
 * and the file, when there is none (path NULL or no such file), when it is not a SentencePiece
 * model, and when it lacks <s> or </s>. Local. The caller destroys it, whatever came back. */
status tokenizer_load(tokenizer *t, const char *path, error *err);
void tokenizer_destroy(tokenizer *t);

/* Id of an added token, and its text ("<bop>"). */
int32_t tokenizer_added_id(const tokenizer *t, added_token which);
const char *tokenizer_added_text(added_token which);

/* UTF-8 of `bytes` bytes → ids below V, the way the reference does it for the stretch of text
 * between two added tokens: with SentencePiece's leading space, and without <s>. Empty text has no
 * ids. `count` is how many ids the text has; the first min(count, capacity) are written.
 * STATUS_FAILED when the library fails. */
status tokenizer_encode(const tokenizer *t, const char *text, int64_t bytes, int32_t *ids,
                        int64_t capacity, int64_t *count, error *err);

/* ids → UTF-8. <s>, </s>, added tokens and the rows that only pad the table leave no text; the
 * stretches between them are decoded each on its own. Byte pieces join to characters, a broken
 * sequence becomes U+FFFD. `bytes` is how long the text is; the first min(bytes, capacity) are
 * written, without a NUL: 0 and NULL measure. An id outside [0, rows) is a bug. */
status tokenizer_decode(const tokenizer *t, const int32_t *ids, int64_t count, char *text,
                        int64_t capacity, int64_t *bytes, error *err);

#endif
