/* SwiGLU feed-forward (Shazeer 2020): y = W_down·(silu(W_gate·x) · (W_up·x)). A dense layer of the
 * language model has one; a layer with a mixture of experts has one per expert.
 */
#ifndef SEPIT_NN_FFN_H
#define SEPIT_NN_FFN_H

#include "src/nn/linear.h"
#include "src/nn/row_store.h"

typedef struct ffn {
    linear gate, up, down; /* [F,D], [F,D], [D,F] */
} ffn;

/* What the backward pass needs, beside x. */
typedef struct ffn_saved {
    real *gate, *up;     /* [T,F] */
    row_store activated; /* [T,F] silu(gate)·up */
} ffn_saved;

/* x [T,D] → y [T,D]. What is saved comes from `memory`. T may be 0. */
void ffn_forward(const nn_context *nn, const params *p, const ffn *layer, const operand *x,
                 arena *memory, ffn_saved *saved, real *y);

/* The same in two steps, so that one can reserve what many passes will save before running the
 * first of them: takes the arrays of `saved` for T tokens from `memory`; fills them and y. */
void ffn_reserve(const nn_context *nn, const params *p, const ffn *layer, int64_t T, arena *memory,
                 ffn_saved *saved);
void ffn_run(const nn_context *nn, const params *p, const ffn *layer, const operand *x,
             const ffn_saved *saved, real *y);

/* d_x [T,D] is written; the weights' gradients are added to. */
void ffn_backward(const nn_context *nn, const params *p, const ffn *layer, const operand *x,
                  const ffn_saved *saved, const real *d_y, real *d_x);

/* Upper bounds in bytes for T tokens: what forward takes from `memory`, and what it and backward
 * take from scratch (and give back). */
size_t ffn_kept_bytes(int64_t F, int64_t T, bool bf16);
size_t ffn_scratch_bytes(int64_t D, int64_t F, int64_t T, bool bf16, bool training);

#endif
