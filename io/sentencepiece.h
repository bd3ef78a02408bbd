/* SentencePiece behind C: the one place where the project touches C++.
 *
 * No exception crosses this border: a failure is a NULL or a false with the library's own words in
 * a buffer of the caller. The handle is only read after its creation: threads may share it.
 * Read next: io/tokenizer.h, which everyone else uses.
 */
#ifndef SEPIT_IO_SENTENCEPIECE_H
#define SEPIT_IO_SENTENCEPIECE_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { SENTENCEPIECE_MESSAGE = 512 };

typedef struct sentencepiece_model sentencepiece_model;

/* Reads a model from the bytes of a tokenizer.model file, which may go away afterwards. The caller
 * destroys it. On failure: NULL, and why in message [SENTENCEPIECE_MESSAGE]. */
sentencepiece_model *sentencepiece_create(const char *model, int64_t bytes, char *message);
void sentencepiece_destroy(sentencepiece_model *sp);

/* Number of pieces; the pieces' ids are 0 … size−1. */
int32_t sentencepiece_size(const sentencepiece_model *sp);
/* Ids of <s> and </s>, −1 where the model has none. */
int32_t sentencepiece_bos(const sentencepiece_model *sp);
int32_t sentencepiece_eos(const sentencepiece_model *sp);

/* UTF-8 → ids. `count` is how many ids the text has; the first min(count, capacity) are written.
 * On failure: false, and why in message. */
bool sentencepiece_encode(const sentencepiece_model *sp, const char *text, int64_t bytes,
                          int32_t *ids, int64_t capacity, int64_t *count, char *message);

/* ids → UTF-8, byte pieces joined (a broken sequence becomes U+FFFD). `bytes` is how long the text
 * is; the first min(bytes, capacity) are written, without a NUL. On failure: as above. */
bool sentencepiece_decode(const sentencepiece_model *sp, const int32_t *ids, int64_t count,
                          char *text, int64_t capacity, int64_t *bytes, char *message);

#ifdef __cplusplus
}
#endif

#endif
