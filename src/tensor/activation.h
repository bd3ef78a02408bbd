/* Element-wise non-linearities, and the small vector helpers layers need. n is a count of elements.
 */
#ifndef SEPIT_TENSOR_ACTIVATION_H
#define SEPIT_TENSOR_ACTIVATION_H

#include "src/tensor/real.h"

/* Exact GELU: y = x·Φ(x), Φ by erf. x and y may be the same array. */
void gelu_forward(const real *x, int64_t n, real *y);
/* d_x = d_y·(Φ(x) + x·φ(x)). d_y and d_x may be the same array. */
void gelu_backward(const real *d_y, const real *x, int64_t n, real *d_x);

/* SwiGLU (Shazeer 2020): y = silu(gate)·up, silu(g) = g·sigmoid(g). */
void swiglu_forward(const real *gate, const real *up, int64_t n, real *y);
/* d_gate and d_up are written. */
void swiglu_backward(const real *d_y, const real *gate, const real *up, int64_t n, real *d_gate,
                     real *d_up);

/* y += x, over n elements; y[T,D] += bias[D] in each row. */
void vector_add(const real *x, int64_t n, real *y);
void bias_add(const real *bias, int64_t T, int64_t D, real *y);
/* d_bias[D] += sum over rows of d_y[T,D]; the order of summation is fixed (rows ascending), for
 * any number of threads. */
void bias_backward(const real *d_y, int64_t T, int64_t D, real *d_bias);

#endif
