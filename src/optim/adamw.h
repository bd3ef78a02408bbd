/* AdamW (Loshchilov and Hutter 2019) on a stretch of elements. Arithmetic in double, state in real.
 */
#ifndef SEPIT_OPTIM_ADAMW_H
#define SEPIT_OPTIM_ADAMW_H

#include "src/tensor/real.h"

#include <stdint.h>

typedef struct adamw {
    double beta1, beta2, epsilon, decay; /* (0.9, 0.999, 1e-8, 0) in spec/sepit.md §5 */
} adamw;

/* One update of n elements with rate `lr`; the gradient is multiplied by `scale` first (clipping).
 * `step` counts from 1 and corrects the moments' bias. w, m and v are updated in place. */
void adamw_update(const adamw *rule, int64_t step, double lr, double scale, int64_t n,
                  const real *gradient, real *w, real *m, real *v);

#endif
