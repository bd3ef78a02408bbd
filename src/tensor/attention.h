/* Attention over packed sequences, block-diagonal: a token sees its own sequence only.
 *
 * Flash-style (Dao et al. 2022): one (sequence, head, tile of queries) at a time, with a running
 * maximum and sum; the probabilities never exist whole. The backward pass recomputes them from the
 * kept log-sum-exp. Grouped-query: query head h reads key/value head h / (H/K).
 * Cost: time O(Σ length²·H·d), memory O(T·H) beside inputs and outputs.
 */
#ifndef SEPIT_TENSOR_ATTENTION_H
#define SEPIT_TENSOR_ATTENTION_H

#include "src/tensor/real.h"

#include <stdbool.h>

typedef struct attention_shape {
    int64_t B;             /* sequences */
    const int64_t *offset; /* [B+1]: sequence b is tokens offset[b] … offset[b+1]−1; borrowed */
    int64_t H, K, d;       /* query heads, key/value heads (K divides H), width of a head */
    real scale;            /* logits are scale·q·k + bias */
    bool causal;
} attention_shape;

/* q[T,H,d], k and v[T,K,d] → out[T,H,d], lse[T,H] (log of the sum of exponentials, for backward).
 * bias: NULL, or B pointers; bias[b] is NULL or [H, n−2, n−2] for a sequence of n tokens: it is
 * added to the logits between its inner tokens 1 … n−2 (the residues; not <cls> and <eos>). */
void attention_forward(const attention_shape *shape, const real *q, const real *k, const real *v,
                       const real *const *bias, real *out, real *lse);

typedef struct attention_saved {
    const real *q, *k, *v, *out, *lse;
    const real *const *bias;
} attention_saved;

typedef struct attention_gradients {
    real *d_q, *d_k, *d_v; /* written, not added to */
    real *const *d_bias;   /* NULL, or as bias; added to where not NULL */
} attention_gradients;

/* d_out[T,H,d]; the rest as in attention_forward, whose results `saved` holds. The same bits for
 * any number of threads. */
void attention_backward(const attention_shape *shape, const attention_saved *saved,
                        const real *d_out, attention_gradients gradients);

/* Decoding with a cache, one sequence: n new queries q[n,H,d], the last n of `length` positions,
 * against cached k and v [length,K,d] → out[n,H,d]. Causal. Uses H, K, d and scale of the shape. */
void attention_decode(const attention_shape *shape, const real *q, int64_t n, const real *k,
                      const real *v, int64_t length, real *out);

#endif
