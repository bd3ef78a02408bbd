/* One block of the language model, for the files llama*.c:
 * middle = x + O·attention(RMSNorm(x)),  y = middle + FFN(RMSNorm(middle)).
 *
 * The FFN is a pair of functions of its own, so that another one can take its place.
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
} llama_pass;

/* What SwiGLU keeps for its backward pass. */
typedef struct llama_ffn_saved {
    real *gate, *up;   /* [T,F] */
    operand activated; /* [T,F] silu(gate)·up */
} llama_ffn_saved;

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
    llama_ffn_saved ffn;
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

/* y [T,D] = W_down·(silu(W_gate·x)·(W_up·x)) */
void llama_ffn_forward(const llama_pass *pass, const llama_block *block, const operand *x,
                       arena *memory, llama_ffn_saved *s, real *y);
/* d_x [T,D] is written. */
void llama_ffn_backward(const llama_pass *pass, const llama_block *block, const operand *x,
                        const llama_ffn_saved *s, const real *d_y, real *d_x);

/* RMSNorm of x [T,D] as an operand; it and rstd come from `memory`. */
operand llama_norm_forward(const llama_pass *pass, arena *memory, const real *x, int64_t weight,
                           real **rstd);
/* Adds to d_x [T,D] and to the weight's gradient. */
void llama_norm_backward(const llama_pass *pass, const real *d_y, const real *x, int64_t weight,
                         const real *rstd, real *d_x);

/* Upper bounds in bytes, for T tokens: what a block keeps, and what it takes from scratch in
 * either direction when what it keeps is there too. */
size_t llama_block_kept_bytes(const llama_config *c, int64_t T, bool bf16);
size_t llama_block_scratch_bytes(const llama_config *c, int64_t T, bool bf16, bool training);

#endif
