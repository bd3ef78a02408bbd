#include "src/tensor/loss.h"

#include "src/base/error.h"
#include "src/tensor/vecmath.h"

enum { BLOCK = 256 };

/* Σ e^(row − max), in blocks whose exponentials are summed in double. */
static double sum_of_exponentials(const real *row, int64_t V, real max) {
    real e[BLOCK];
    double sum = 0;
    for (int64_t first = 0; first < V; first += BLOCK) {
        const int64_t width = V - first < BLOCK ? V - first : BLOCK;
        for (int64_t j = 0; j < width; j++)
            e[j] = vec_exp(row[first + j] - max);
        sum += vec_sum(e, width);
    }
    return sum;
}

void cross_entropy(real *logits, const int32_t *target, int64_t T, int64_t V, real scale,
                   double *nll) {
#pragma omp parallel for if (T * V > 4 * BLOCK)
    for (int64_t t = 0; t < T; t++) {
        real *row = logits + t * V;
        CHECK(target[t] >= 0 && target[t] < V, "Target %d of row %lld is not in [0, %lld).",
              target[t], (long long)t, (long long)V);
        const real max = vec_max(row, V);
        const double sum = sum_of_exponentials(row, V, max);
        nll[t] = log(sum) + ((double)max - (double)row[target[t]]);
        if (scale == 0)
            continue;
        const real factor = (real)((double)scale / sum);
        for (int64_t j = 0; j < V; j++)
            row[j] = factor * vec_exp(row[j] - max);
        row[target[t]] -= scale;
    }
}
