#include "src/optim/adamw.h"

#include <math.h>

void adamw_update(const adamw *rule, int64_t step, double lr, double scale, int64_t n,
                  const real *gradient, real *w, real *m, real *v) {
    const double beta1 = rule->beta1, beta2 = rule->beta2;
    const double correct1 = 1 - pow(beta1, (double)step), correct2 = 1 - pow(beta2, (double)step);
#pragma omp parallel for simd
    for (int64_t i = 0; i < n; i++) {
        const double g = scale * (double)gradient[i];
        const double mean = beta1 * (double)m[i] + (1 - beta1) * g;
        const double square = beta2 * (double)v[i] + (1 - beta2) * g * g;
        const double change = mean / correct1 / (sqrt(square / correct2) + rule->epsilon);
        w[i] = (real)((double)w[i] - lr * (change + rule->decay * (double)w[i]));
        m[i] = (real)mean;
        v[i] = (real)square;
    }
}
