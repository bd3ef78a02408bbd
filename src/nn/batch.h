/* A chunk as the model sees it: packed proteins and packed prompts. Whoever assembles it
 * (src/data/pack.h) owns the arrays; layers borrow them.
 */
#ifndef SEPIT_NN_BATCH_H
#define SEPIT_NN_BATCH_H

#include <stdbool.h>
#include <stdint.h>

/* B proteins; protein b is tokens offset[b] … offset[b+1]−1: <cls>, its residues, <eos>. */
typedef struct protein_batch {
    int64_t B;
    const int64_t *offset;   /* [B+1] */
    const int32_t *token;    /* [T] ESM ids, T = offset[B] */
    const int32_t *position; /* [T] 0,1,2,… inside each protein */
    const float *coord;      /* [T,3] Cα in Å; NaN where missing, at <cls> and at <eos> */
    const bool *structure;   /* [B] false: the structure module is off for this protein */
} protein_batch;

/* B prompts with answers; sequence b is tokens offset[b] … offset[b+1]−1. */
typedef struct text_batch {
    int64_t B;
    const int64_t *offset; /* [B+1] */
    const int32_t *token;  /* [T] LLM ids; −1 where a protein vector stands */
    const int64_t *source; /* [T] row of the projected encoder output where token is −1, else −1 */
    const int32_t *position; /* [T] 0,1,2,… inside each sequence, protein vectors included */
    const int32_t *target; /* [T] the id to predict *at* this place (the next token), −1: none */
    int64_t supervised;    /* number of places with a target */
} text_batch;

typedef struct chunk_batch {
    protein_batch protein;
    text_batch text;
} chunk_batch;

#endif
