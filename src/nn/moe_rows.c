/* The two ends of a journey, at the tokens' rank: tokens become rows, and rows tokens. */
#include "src/nn/moe_dispatch.h"
#include "src/tensor/vecmath.h"

#include <string.h>

enum { SPLIT = 16384 /* fewer elements are not worth waking threads for */ };

void moe_gather(const moe_plan *plan, const operand *x, row_store *rows) {
    const size_t bytes = (size_t)x->cols * (x->bf16 ? sizeof(uint16_t) : sizeof(real));
    const char *from = x->data;
    char *to = rows->data;
#pragma omp parallel for if (plan->T * plan->k * x->cols > SPLIT)
    for (int64_t i = 0; i < plan->T * plan->k; i++)
        if (plan->row[i] >= 0)
            memcpy(to + (size_t)plan->row[i] * bytes, from + (size_t)(i / plan->k) * bytes, bytes);
}

/* row = weight·d_y */
static void write_scaled(const real *d_y, real weight, int64_t row, row_store *rows) {
    const int64_t D = rows->cols;
    if (rows->bf16) {
        uint16_t *to = (uint16_t *)rows->data + row * D;
        for (int64_t j = 0; j < D; j++)
            to[j] = bf16_from_float((float)(weight * d_y[j]));
    } else {
        real *to = (real *)rows->data + row * D;
        for (int64_t j = 0; j < D; j++)
            to[j] = weight * d_y[j];
    }
}

void moe_spread(const moe_plan *plan, const real *d_y, const real *weight, row_store *rows) {
#pragma omp parallel for if (plan->T * plan->k * rows->cols > SPLIT)
    for (int64_t i = 0; i < plan->T * plan->k; i++)
        if (plan->row[i] >= 0)
            write_scaled(d_y + i / plan->k * rows->cols, weight[i], plan->row[i], rows);
}

/* The columns of one piece of token t. */
static void combine_piece(const moe_plan *plan, const operand *rows, const real *weight, int64_t t,
                          int64_t first, real *y) {
    const int64_t n = row_piece_width(first, rows->cols);
    real buffer[ROW_PIECE];
    memset(y, 0, (size_t)n * sizeof *y);
    for (int64_t i = t * plan->k; i < (t + 1) * plan->k; i++) {
        if (plan->row[i] < 0)
            continue;
        const real *piece = row_piece(rows, plan->row[i], first, n, buffer);
        const real w = weight != NULL ? weight[i] : 1;
        for (int64_t j = 0; j < n; j++)
            y[j] += w * piece[j];
    }
}

void moe_combine(const moe_plan *plan, const row_store *rows, const real *weight, real *y) {
    const operand view = row_store_view(rows, 0, rows->rows);
#pragma omp parallel for if (plan->T * plan->k * rows->cols > SPLIT)
    for (int64_t t = 0; t < plan->T; t++)
        for (int64_t first = 0; first < rows->cols; first += ROW_PIECE)
            combine_piece(plan, &view, weight, t, first, y + t * rows->cols + first);
}

static double dot_row(const operand *rows, int64_t row, const real *x) {
    real buffer[ROW_PIECE];
    double sum = 0;
    for (int64_t first = 0; first < rows->cols; first += ROW_PIECE) {
        const int64_t n = row_piece_width(first, rows->cols);
        sum += vec_dot(row_piece(rows, row, first, n, buffer), x + first, n);
    }
    return sum;
}

void moe_weight_backward(const moe_plan *plan, const real *d_y, const row_store *rows,
                         real *d_weight) {
    const operand view = row_store_view(rows, 0, rows->rows);
#pragma omp parallel for if (plan->T * plan->k * rows->cols > SPLIT)
    for (int64_t i = 0; i < plan->T * plan->k; i++)
        d_weight[i] = plan->row[i] < 0
                          ? 0
                          : (real)dot_row(&view, plan->row[i], d_y + i / plan->k * rows->cols);
}
