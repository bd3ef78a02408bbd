/* Backward passes against central differences, for MODE=double.
 *
 * A test makes its loss a random linear function of a layer's outputs (gradcheck_fill for the
 * coefficients, gradcheck_dot for the sum), runs forward and backward once with those coefficients
 * as the output's gradient, and then lets gradcheck_array and gradcheck_params compare: the
 * derivative along random directions must equal gradient · direction.
 */
#ifndef SEPIT_TESTS_GRADCHECK_H
#define SEPIT_TESTS_GRADCHECK_H

#include "src/base/rng.h"
#include "src/nn/params.h"
#include "tests/test.h"

/* Runs the forward pass with the values as they are now and returns the loss. */
typedef double (*gradcheck_loss)(void *context);

enum { GRADCHECK_DIRECTIONS = 2 };
static const double GRADCHECK_TOLERANCE = 1e-6;

/* x[i] = mean + scale · N(0,1), a function of (purpose, i). */
static inline void gradcheck_fill(real *x, int64_t n, const char *purpose, double mean,
                                  double scale) {
    const rng_key key = rng_key_make(1, purpose);
    for (int64_t i = 0; i < n; i++)
        x[i] = (real)(mean + scale * rng_normal(key, (uint64_t)i, 0));
}

static inline double gradcheck_dot(const real *x, const real *y, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)y[i];
    return sum;
}

/* The loss with value = start + step · direction. */
static inline double gradcheck_loss_at(gradcheck_loss loss, void *context, real *value,
                                       const real *start, const real *direction, int64_t n,
                                       double step) {
    for (int64_t i = 0; i < n; i++)
        value[i] = (real)((double)start[i] + step * (double)direction[i]);
    return loss(context);
}

/* Smallest relative error over a few steps h of the fourth-order central difference
 * (8·(f(h) − f(−h)) − (f(2h) − f(−2h))) / 12h. Where the derivative is far below the loss (it is
 * exactly 0 for a frozen or unused tensor) the error is measured against 1e-5 of the loss: the
 * difference cannot resolve more. */
static inline double gradcheck_error(gradcheck_loss loss, void *context, real *value,
                                     const real *start, const real *direction, int64_t n,
                                     double want) {
    static const double steps[] = {3e-3, 1e-3, 3e-4, 1e-4};
    double best = INFINITY;
    for (int s = 0; s < 4; s++) {
        double f[4];
        for (int k = 0; k < 4; k++) {
            const double at = steps[s] * (double)((const int[]){1, -1, 2, -2}[k]);
            f[k] = gradcheck_loss_at(loss, context, value, start, direction, n, at);
        }
        const double got = (8 * (f[0] - f[1]) - (f[2] - f[3])) / (12 * steps[s]);
        const double floor = 1e-5 * fmax(1, fabs(f[0]));
        best = fmin(best, fabs(got - want) / fmax(floor, fmax(fabs(got), fabs(want))));
    }
    return best;
}

/* gradient[n] is what backward says the derivative of the loss to value[n] is. Restores value. */
static inline void gradcheck_array(const char *name, gradcheck_loss loss, void *context,
                                   real *value, const real *gradient, int64_t n) {
    real *start = malloc((size_t)(n + 1) * sizeof *start);
    real *direction = malloc((size_t)(n + 1) * sizeof *direction);
    if (start == NULL || direction == NULL)
        exit(1);
    memcpy(start, value, (size_t)n * sizeof *start);
    for (int d = 0; d < GRADCHECK_DIRECTIONS; d++) {
        const rng_key key = rng_key_make((uint64_t)(100 + d), name);
        for (int64_t i = 0; i < n; i++)
            direction[i] = (real)rng_normal(key, (uint64_t)i, 0);
        const double want = gradcheck_dot(gradient, direction, n);
        const double e = gradcheck_error(loss, context, value, start, direction, n, want);
        printf("%-72s derivative %12.5e, relative error %.1e\n", name, want, e);
        EXPECT(e < GRADCHECK_TOLERANCE, "The gradient of %s is off by %.3e (relative).", name, e);
    }
    memcpy(value, start, (size_t)n * sizeof *start);
    free(start);
    free(direction);
}

/* Every tensor of the table on its own; p->gradient holds what backward added to zeros. */
static inline void gradcheck_params(params *p, gradcheck_loss loss, void *context) {
    for (int64_t t = 0; t < p->count; t++) {
        const param *tensor = &p->table[t];
        const real *gradient = param_gradient(p, t);
        if (gradient != NULL)
            gradcheck_array(tensor->name, loss, context, p->value + tensor->offset, gradient,
                            tensor->elements);
    }
}

#endif
