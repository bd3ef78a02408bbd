/* What the tests of src/tensor share: arrays of random numbers, comparison of bits, and a check of
 * a backward function against central differences.
 */
#ifndef SEPIT_TESTS_NUMERICS_KERNEL_H
#define SEPIT_TESTS_NUMERICS_KERNEL_H

#include "src/base/rng.h"
#include "src/tensor/real.h"
#include "tests/test.h"

#include <omp.h>
#include <stdbool.h>

/* n normal numbers times `scale`, the same for the same `seed`. The caller frees them. */
static inline real *random_array(uint64_t seed, int64_t n, double scale) {
    real *x = malloc((size_t)(n > 0 ? n : 1) * sizeof *x);
    if (x == NULL)
        exit(1);
    for (int64_t i = 0; i < n; i++)
        x[i] = (real)(scale * rng_normal(rng_key_make(seed, "test"), (uint64_t)i, 0));
    return x;
}

static inline real *copy_array(const real *from, int64_t n) {
    real *x = malloc((size_t)(n > 0 ? n : 1) * sizeof *x);
    if (x == NULL)
        exit(1);
    if (n > 0)
        memcpy(x, from, (size_t)n * sizeof *x);
    return x;
}

static inline bool same_bits(const real *x, const real *y, int64_t n) {
    return n == 0 || memcmp(x, y, (size_t)n * sizeof *x) == 0;
}

/* The larger of two; NaN where either is NaN, which fmax and a plain comparison would lose. */
static inline double larger(double x, double y) {
    return isnan(x) || x >= y ? x : y;
}

/* Largest |x_i − want_i| / (1 + |want_i|). */
static inline double largest_error(const real *x, const double *want, int64_t n) {
    double worst = 0;
    for (int64_t i = 0; i < n; i++)
        worst = larger(worst, fabs((double)x[i] - want[i]) / (1 + fabs(want[i])));
    return worst;
}

/* A differentiable function of one array, for check_gradient: returns its value, a sum. */
typedef double (*scalar_function)(const void *context, const real *x);

/* The derivative of f at x[n] along a random direction, by central differences of fourth order,
 * against the sum of gradient·direction; prints the relative error, which must be below 1e-6. */
static inline void check_gradient(const char *name, scalar_function f, const void *context,
                                  const real *x, const real *gradient, int64_t n) {
    static const double step = 1e-3, at[4] = {-2, -1, 1, 2}, weight[4] = {1, -8, 8, -1};
    real *direction = random_array(77, n, 1), *moved = copy_array(x, n);
    double numeric = 0, analytic = 0, size = 0;
    for (int k = 0; k < 4; k++) {
        for (int64_t i = 0; i < n; i++)
            moved[i] = x[i] + (real)(at[k] * step) * direction[i];
        numeric += weight[k] * f(context, moved) / (12 * step);
    }
    for (int64_t i = 0; i < n; i++) {
        analytic += (double)gradient[i] * (double)direction[i];
        size += fabs((double)gradient[i] * (double)direction[i]);
    }
    /* a sum of n terms of random sign is about as large as its terms times √n */
    const double scale = fmax(fabs(analytic), size / sqrt((double)(n > 0 ? n : 1)));
    const double off = fabs(numeric - analytic) / fmax(scale, 1e-30);
    printf("%-28s analytic % .12e numeric % .12e relative error %.1e\n", name, analytic, numeric,
           off);
    EXPECT(off < 1e-6, "the gradient of %s is off by %g", name, off);
    free(direction);
    free(moved);
}

#endif
