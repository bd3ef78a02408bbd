/* LayerNorm (Ba et al. 2016) and RMSNorm (Zhang and Sennrich 2019) over rows of length D.
 * Backward functions *add* to d_x, d_weight and d_bias. No allocation; all pointers borrowed.
 */
#ifndef SEPIT_TENSOR_NORM_H
#define SEPIT_TENSOR_NORM_H

#include "src/tensor/real.h"

/* y[T,D] = (x − mean)·rstd·weight + bias.   mean[T] and rstd[T] are kept for the backward pass. */
void layernorm_forward(const real *x, int64_t T, int64_t D, const real *weight, const real *bias,
                       real eps, real *y, real *mean, real *rstd);

typedef struct layernorm_gradients {
    real *d_x;      /* [T,D], added to */
    real *d_weight; /* [D], added to; NULL: not wanted (then d_bias is not either) */
    real *d_bias;   /* [D], added to */
} layernorm_gradients;

void layernorm_backward(const real *d_y, const real *x, int64_t T, int64_t D, const real *weight,
                        const real *mean, const real *rstd, layernorm_gradients out);

/* y[T,D] = x·rstd·weight,  rstd = 1/√(mean(x²) + eps), kept in rstd[T]. */
void rmsnorm_forward(const real *x, int64_t T, int64_t D, const real *weight, real eps, real *y,
                     real *rstd);
/* d_x is added to; so is d_weight, unless NULL. */
void rmsnorm_backward(const real *d_y, const real *x, int64_t T, int64_t D, const real *weight,
                      const real *rstd, real *d_x, real *d_weight);

#endif
