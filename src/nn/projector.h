/* Projector: Linear(D → D_llm), GELU, Linear(D_llm → D_llm), with biases (spec/sepit.md §3). */
#ifndef SEPIT_NN_PROJECTOR_H
#define SEPIT_NN_PROJECTOR_H

#include "src/nn/linear.h"

typedef struct projector {
    int64_t D, D_llm;
    linear layer1, layer2; /* multi_modal_projector.linear_1, .linear_2 */
} projector;

typedef struct projector_saved {
    operand x;    /* [T,D] */
    real *hidden; /* [T,D_llm] before the GELU */
    operand act;  /* [T,D_llm] after it */
} projector_saved;

void projector_declare(projector *layer, params *p, int64_t D, int64_t D_llm);

/* x [T,D] → y [T,D_llm]. saved: NULL for inference; in fp32 it borrows x. */
void projector_forward(const nn_context *nn, const params *p, const projector *layer, const real *x,
                       int64_t T, real *y, projector_saved *saved);
/* d_x [T,D] is written (NULL: not wanted). */
void projector_backward(const nn_context *nn, const params *p, const projector *layer,
                        const projector_saved *saved, const real *d_y, int64_t T, real *d_x);

/* Upper bounds, in bytes, of what a pass with `saved` takes from nn->activations, and of what
 * either function takes from nn->scratch (training: with `saved`, and the backward pass). */
size_t projector_activation_bytes(int64_t D, int64_t D_llm, int64_t T, bool bf16);
size_t projector_scratch_bytes(int64_t D, int64_t D_llm, int64_t T, bool bf16, bool training);

#endif
