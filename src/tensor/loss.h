/* Softmax cross-entropy over rows of logits. */
#ifndef SEPIT_TENSOR_LOSS_H
#define SEPIT_TENSOR_LOSS_H

#include "src/tensor/real.h"

/* Row t of logits[T,V] against target[t] in [0,V): nll[t] = logsumexp(row) − row[target].
 * With scale ≠ 0 the logits are overwritten by their gradient: scale·(softmax − onehot). A target
 * outside [0,V) is a CHECK failure; a NaN or +∞ among the logits makes nll[t] NaN. */
void cross_entropy(real *logits, const int32_t *target, int64_t T, int64_t V, real scale,
                   double *nll);

#endif
