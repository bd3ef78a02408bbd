#include "src/tensor/activation.h"

#include "src/tensor/vecmath.h"

enum {
    SPLIT = 16384,    /* fewer elements are not worth waking threads for */
    COLUMN_BLOCK = 64 /* columns that one thread sums together */
};

static const real INVERSE_ROOT_2 = (real)0.70710678118654752440;
static const real INVERSE_ROOT_2_PI = (real)0.39894228040143267794;

void gelu_forward(const real *x, int64_t n, real *y) {
#pragma omp parallel for simd if (n > SPLIT)
    for (int64_t i = 0; i < n; i++)
        y[i] = x[i] * ((real)0.5 * (1 + vec_erf(x[i] * INVERSE_ROOT_2)));
}

/* y = x·Φ(x), Φ' = φ */
void gelu_backward(const real *d_y, const real *x, int64_t n, real *d_x) {
#pragma omp parallel for simd if (n > SPLIT)
    for (int64_t i = 0; i < n; i++) {
        const real below = (real)0.5 * (1 + vec_erf(x[i] * INVERSE_ROOT_2));
        const real density = INVERSE_ROOT_2_PI * vec_exp((real)-0.5 * x[i] * x[i]);
        d_x[i] = d_y[i] * (below + x[i] * density);
    }
}

void swiglu_forward(const real *gate, const real *up, int64_t n, real *y) {
#pragma omp parallel for simd if (n > SPLIT)
    for (int64_t i = 0; i < n; i++)
        y[i] = gate[i] * vec_sigmoid(gate[i]) * up[i];
}

/* y = g·σ(g)·up, (g·σ(g))' = σ(g)·(1 + g·(1 − σ(g))) */
void swiglu_backward(const real *d_y, const real *gate, const real *up, int64_t n, real *d_gate,
                     real *d_up) {
#pragma omp parallel for simd if (n > SPLIT)
    for (int64_t i = 0; i < n; i++) {
        const real g = gate[i], u = up[i], d = d_y[i];
        const real sigmoid = vec_sigmoid(g);
        d_up[i] = d * g * sigmoid;
        d_gate[i] = d * u * sigmoid * (1 + g * (1 - sigmoid));
    }
}

void vector_add(const real *x, int64_t n, real *y) {
#pragma omp parallel for simd if (n > SPLIT)
    for (int64_t i = 0; i < n; i++)
        y[i] += x[i];
}

void bias_add(const real *bias, int64_t T, int64_t D, real *y) {
#pragma omp parallel for if (T * D > SPLIT)
    for (int64_t t = 0; t < T; t++)
        for (int64_t j = 0; j < D; j++)
            y[t * D + j] += bias[j];
}

void bias_backward(const real *d_y, int64_t T, int64_t D, real *d_bias) {
#pragma omp parallel for if (T * D > SPLIT)
    for (int64_t first = 0; first < D; first += COLUMN_BLOCK) {
        const int64_t width = D - first < COLUMN_BLOCK ? D - first : COLUMN_BLOCK;
        double sum[COLUMN_BLOCK] = {0};
        for (int64_t t = 0; t < T; t++)
            for (int64_t j = 0; j < width; j++)
                sum[j] += (double)d_y[t * D + first + j];
        for (int64_t j = 0; j < width; j++)
            d_bias[first + j] += (real)sum[j];
    }
}
