#include "src/tensor/norm.h"

#include "src/tensor/vecmath.h"

#include <stddef.h>

enum {
    SPLIT = 8192,     /* fewer elements are not worth waking threads for */
    COLUMN_BLOCK = 64 /* columns that one thread sums together */
};

void layernorm_forward(const real *x, int64_t T, int64_t D, const real *weight, const real *bias,
                       real eps, real *y, real *mean, real *rstd) {
#pragma omp parallel for if (T * D > SPLIT)
    for (int64_t t = 0; t < T; t++) {
        const real *row = x + t * D;
        real *out = y + t * D;
        const real m = (real)(vec_sum(row, D) / (double)D);
        for (int64_t j = 0; j < D; j++)
            out[j] = row[j] - m;
        const double variance = vec_dot(out, out, D) / (double)D;
        const real r = (real)(1 / sqrt(variance + (double)eps));
        for (int64_t j = 0; j < D; j++)
            out[j] = out[j] * r * weight[j] + bias[j];
        mean[t] = m;
        rstd[t] = r;
    }
}

/* The columns first … first+width−1, width ≤ COLUMN_BLOCK, that one thread sums, rows ascending. */
typedef struct columns {
    int64_t T, D, first, width;
} columns;

static columns columns_from(int64_t T, int64_t D, int64_t first) {
    const int64_t left = D - first;
    return (columns){T, D, first, left < COLUMN_BLOCK ? left : COLUMN_BLOCK};
}

static void add_sums(columns c, const double *sum, real *to) {
    for (int64_t j = 0; j < c.width; j++)
        to[c.first + j] += (real)sum[j];
}

/* d_weight = Σ d_y·(x − mean)·rstd, d_bias = Σ d_y, over rows. */
static void layernorm_backward_columns(columns c, const real *d_y, const real *x, const real *mean,
                                       const real *rstd, layernorm_gradients out) {
    double weight[COLUMN_BLOCK] = {0}, bias[COLUMN_BLOCK] = {0};
    for (int64_t t = 0; t < c.T; t++) {
        const real *d_row = d_y + t * c.D + c.first, *row = x + t * c.D + c.first;
        for (int64_t j = 0; j < c.width; j++) {
            weight[j] += (double)d_row[j] * (double)((row[j] - mean[t]) * rstd[t]);
            bias[j] += (double)d_row[j];
        }
    }
    add_sums(c, weight, out.d_weight);
    add_sums(c, bias, out.d_bias);
}

/* With n = (x − mean)·rstd and g = d_y·weight: d_x = rstd·(g − mean(g) − n·mean(g·n)). */
void layernorm_backward(const real *d_y, const real *x, int64_t T, int64_t D, const real *weight,
                        const real *mean, const real *rstd, layernorm_gradients out) {
#pragma omp parallel for if (T * D > SPLIT)
    for (int64_t t = 0; t < T; t++) {
        const real *d_row = d_y + t * D, *row = x + t * D;
        const double m = (double)mean[t], r = (double)rstd[t];
        const double sum_g = vec_dot(d_row, weight, D);
        const double sum_gn = r * (vec_dot3(d_row, weight, row, D) - m * sum_g);
        const real mean_g = (real)(sum_g / (double)D), mean_gn = (real)(sum_gn / (double)D);
        for (int64_t j = 0; j < D; j++) {
            const real n = (row[j] - mean[t]) * rstd[t];
            out.d_x[t * D + j] += rstd[t] * (d_row[j] * weight[j] - mean_g - n * mean_gn);
        }
    }
    if (out.d_weight == NULL)
        return;
#pragma omp parallel for if (T * D > SPLIT)
    for (int64_t first = 0; first < D; first += COLUMN_BLOCK)
        layernorm_backward_columns(columns_from(T, D, first), d_y, x, mean, rstd, out);
}

void rmsnorm_forward(const real *x, int64_t T, int64_t D, const real *weight, real eps, real *y,
                     real *rstd) {
#pragma omp parallel for if (T * D > SPLIT)
    for (int64_t t = 0; t < T; t++) {
        const real *row = x + t * D;
        const double square = vec_dot(row, row, D) / (double)D;
        const real r = (real)(1 / sqrt(square + (double)eps));
        for (int64_t j = 0; j < D; j++)
            y[t * D + j] = row[j] * r * weight[j];
        rstd[t] = r;
    }
}

/* d_weight = Σ d_y·x·rstd over rows. */
static void rmsnorm_backward_columns(columns c, const real *d_y, const real *x, const real *rstd,
                                     real *d_weight) {
    double weight[COLUMN_BLOCK] = {0};
    for (int64_t t = 0; t < c.T; t++) {
        const real *d_row = d_y + t * c.D + c.first, *row = x + t * c.D + c.first;
        for (int64_t j = 0; j < c.width; j++)
            weight[j] += (double)d_row[j] * (double)(row[j] * rstd[t]);
    }
    add_sums(c, weight, d_weight);
}

/* With n = x·rstd and g = d_y·weight: d_x = rstd·(g − n·mean(g·n)). */
void rmsnorm_backward(const real *d_y, const real *x, int64_t T, int64_t D, const real *weight,
                      const real *rstd, real *d_x, real *d_weight) {
#pragma omp parallel for if (T * D > SPLIT)
    for (int64_t t = 0; t < T; t++) {
        const real *d_row = d_y + t * D, *row = x + t * D;
        const double sum_gn = (double)rstd[t] * vec_dot3(d_row, weight, row, D);
        const real mean_gn = (real)(sum_gn / (double)D);
        for (int64_t j = 0; j < D; j++)
            d_x[t * D + j] += rstd[t] * (d_row[j] * weight[j] - row[j] * rstd[t] * mean_gn);
    }
    if (d_weight == NULL)
        return;
#pragma omp parallel for if (T * D > SPLIT)
    for (int64_t first = 0; first < D; first += COLUMN_BLOCK)
        rmsnorm_backward_columns(columns_from(T, D, first), d_y, x, rstd, d_weight);
}
