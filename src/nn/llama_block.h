/* One block of the language model, for the files llama*.c:
 * middle = x + O·attention(RMSNorm(x)),  y = middle + FFN(RMSNorm(middle)), where the FFN is one
 * SwiGLU (src/nn/ffn.h) or a mixture of them (src/nn/moe.h).
 */
#ifndef SEPIT_NN_LLAMA_BLOCK_H
#define SEPIT_NN_LLAMA_BLOCK_H

#include "src/nn/llama.h"
#include "src/tensor/attention.h"

/* What all blocks of one pass share; everything is borrowed. */
typedef struct llama_pass {
    const nn_context *nn;
    const params *p;
    llama_config config;
    attention_shape shape;   /* B and offset stay empty when decoding */
    const int32_t *position; /* [T] */
    int64_t T;
    const int32_t *token;  /* [T] of the text, −1 at a protein's vectors; NULL when decoding */
    const params *experts; /* of a model with experts */
} llama_pass;

/* What one block keeps for its backward pass. */
typedef struct llama_block_saved {
    const real *x;    /* [T,D] input */
    real *rstd1;      /* [T] */
    operand norm1;    /* [T,D] */
    real *q, *k, *v;  /* [T,H,d], [T,K,d], [T,K,d]; q and k rotated */
    real *out, *lse;  /* [T,D], [T,H] */
    operand attended; /* [T,D]: out, as products read it */
    real *middle;     /* [T,D] after attention */
    real *rstd2;      /* [T] */
    operand norm2;    /* [T,D] */
    ffn_saved ffn;
    moe_saved *moe; /* with experts: instead of ffn */
} llama_block_saved;

/* Positions and sequences of a packed text; of n positions after the first `length` otherwise. */
llama_pass llama_pass_text(const nn_context *nn, const params *p, const llama *llm,
                           const text_batch *text);
llama_pass llama_pass_cache(const nn_context *nn, const params *p, const llama *llm,
                            const int32_t *position, int64_t n);

/* y [T,D] is written and may be s->x, which the caller has set. What s points to comes from
 * `memory`: activations when it is kept, else scratch. */
void llama_block_forward(const llama_pass *pass, const llama_block *block, arena *memory,
                         llama_block_saved *s, real *y);

/* d_x [T,D]: in, the gradient of y; out, of x. */
void llama_block_backward(const llama_pass *pass, const llama_block *block,
                          const llama_block_saved *s, real *d_x);

/* The same forward pass over T new positions of a sequence: their keys and values go to key and
 * value [T,K,d], the end of the cached ones, which begin at all_keys and all_values. */
typedef struct llama_block_cache {
    real *all_keys, *all_values; /* [length + T,K,d] */
    int64_t length;              /* positions before the new ones */
} llama_block_cache;
void llama_block_decode(const llama_pass *pass, const llama_block *block, llama_block_cache cache,
                        real *x);

/* RMSNorm of x [T,D] as an operand; it and rstd come from `memory`. */
operand llama_norm_forward(const llama_pass *pass, arena *memory, const real *x, int64_t weight,
                           real **rstd);
/* Adds to d_x [T,D] and to the weight's gradient. */
void llama_norm_backward(const llama_pass *pass, const real *d_y, const real *x, int64_t weight,
                         const real *rstd, real *d_x);

/* Upper bounds in bytes, for T tokens, and `rows` as in llama_activation_bytes: what a block keeps,
 * with or without experts, and what it takes from scratch in either direction when what it keeps is
 * there too (whichever kind of block needs more). */
size_t llama_block_kept_bytes(const llama_config *c, int64_t T, int64_t rows, bool bf16,
                              bool experts);
size_t llama_block_scratch_bytes(const llama_config *c, int64_t T, int64_t rows, bool bf16,
                                 bool training);

#endif
