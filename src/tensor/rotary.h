/* Rotary position embedding (Su et al. 2021), half-split form: element i of a head turns together
 * with element i + d/2 by the angle position·base^(−2i/d).
 */
#ifndef SEPIT_TENSOR_ROTARY_H
#define SEPIT_TENSOR_ROTARY_H

#include "src/tensor/real.h"

/* Rotates x[T,H,d] in place; position[T] is the place inside its own sequence. d is even. */
void rotary_forward(real *x, const int32_t *position, int64_t T, int64_t H, int64_t d, double base);
/* The transpose of the rotation, in place on the gradient. */
void rotary_backward(real *d_x, const int32_t *position, int64_t T, int64_t H, int64_t d,
                     double base);

#endif
