/* Linear layer y = x·wᵀ + b, w [N,K] as Hugging Face stores it.
 *
 * The caller makes the operand of x once and may feed several layers with it (q, k and v read the
 * same x), and keeps it for the backward pass.
 */
#ifndef SEPIT_NN_LINEAR_H
#define SEPIT_NN_LINEAR_H

#include "src/nn/nn.h"
#include "src/nn/params.h"

typedef struct linear {
    int64_t weight; /* index in the table, [N,K] */
    int64_t bias;   /* index, [N]; −1: none */
} linear;

/* Declares PREFIX.weight [N,K] ~ N(0, scale) and, if `bias`, PREFIX.bias [N] = 0. */
linear linear_declare(params *p, const char *prefix, int64_t N, int64_t K, bool bias, double scale,
                      param_group group);

/* y[T,N] = x[T,K]·wᵀ + b */
void linear_forward(const nn_context *nn, const params *p, const linear *layer, const operand *x,
                    real *y);

/* d_x[T,K] = d_y·w + beta·d_x (NULL: not wanted); d_w and d_b are added to, unless frozen.
 * `d_y` [T,N]; beta is 0 or 1. */
void linear_backward(const nn_context *nn, const params *p, const linear *layer, const operand *x,
                     const real *d_y, real beta, real *d_x);

#endif
