#include "src/tensor/gemm.h"

#include "src/base/bf16.h"
#include "src/tensor/product.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct gemm {
    bool bf16;        /* operands are bf16 */
    bool native_bf16; /* and the library takes them as they are */
    arena *scratch;
    int64_t flops;
    product_engine *products;
    char text[160];
};

status gemm_create(gemm **engine, compute_dtype dtype, arena *scratch, error *err) {
    gemm *g = calloc(1, sizeof *g);
    if (g == NULL)
        return error_set(err, STATUS_FAILED, "no memory for the product engine");
    g->scratch = scratch;
    const status code = product_engine_create(&g->products, err);
    if (code != STATUS_OK) {
        free(g);
        return code;
    }
    g->bf16 = sizeof(real) == sizeof(float) && dtype == COMPUTE_BF16;
    g->native_bf16 = g->bf16 && product_takes_bf16(g->products);
    const char *how = sizeof(real) == sizeof(double) ? "fp64" : "fp32";
    if (g->bf16)
        how = g->native_bf16 ? "bf16 with fp32 sums"
                             : "bf16 rounded inputs through fp32 products (no bf16 instructions "
                               "here)";
    snprintf(g->text, sizeof g->text, "%s, %s", product_library(g->products), how);
    *engine = g;
    return STATUS_OK;
}

void gemm_destroy(gemm *engine) {
    if (engine == NULL)
        return;
    product_engine_destroy(engine->products);
    free(engine);
}

bool gemm_is_bf16(const gemm *engine) {
    return engine->bf16;
}

const char *gemm_describe(const gemm *engine) {
    return engine->text;
}

int64_t gemm_flops(const gemm *engine) {
    return engine->flops;
}

operand gemm_operand(const gemm *engine, arena *memory, const real *x, int64_t rows, int64_t cols) {
    if (!engine->bf16)
        return (operand){.data = x, .rows = rows, .cols = cols};
    const int64_t n = rows * cols;
    uint16_t *rounded = ARENA_ARRAY(memory, uint16_t, n);
#pragma omp parallel for if (n > 65536)
    for (int64_t i = 0; i < n; i++)
        rounded[i] = bf16_from_float((float)x[i]);
    return (operand){.data = rounded, .rows = rows, .cols = cols, .bf16 = true};
}

typedef enum verb { FORWARD, BACKWARD_DATA, BACKWARD_WEIGHT } verb;

/* One of the three products of a layer. Of x[M,K], w[N,K] and d_y[M,N], two are operands and the
 * third has the shape of `out`, whose rows are `ldc` apart. */
typedef struct layer_product {
    verb verb;
    int64_t M, N, K;
    operand x, w, d_y;
    real beta;
    real *out;
    int64_t ldc;
} layer_product;

static matrix straight(const operand *x) {
    return (matrix){.data = x->data, .ld = x->cols, .bf16 = x->bf16};
}

static matrix transposed(const operand *x) {
    return (matrix){.data = x->data, .ld = x->cols, .transposed = true, .bf16 = x->bf16};
}

static void run_whole(gemm *g, const layer_product *l) {
    product p = {.beta = l->beta, .c = l->out, .ldc = l->ldc};
    switch (l->verb) {
    case FORWARD:
        p.M = l->M, p.N = l->N, p.K = l->K;
        p.a = straight(&l->x), p.b = transposed(&l->w);
        break;
    case BACKWARD_DATA:
        p.M = l->M, p.N = l->K, p.K = l->N;
        p.a = straight(&l->d_y), p.b = straight(&l->w);
        break;
    case BACKWARD_WEIGHT:
        p.M = l->N, p.N = l->K, p.K = l->M;
        p.a = transposed(&l->d_y), p.b = straight(&l->x);
        break;
    }
    product_run(g->products, &p);
}

/* ---- bf16 operands through fp32 products ---- */

static int64_t smaller(int64_t x, int64_t y) {
    return x < y ? x : y;
}

/* The block [rows, cols] of `x` that begins at (row, col), as real numbers in scratch. */
static operand expand(arena *scratch, const operand *x, int64_t row, int64_t rows, int64_t col,
                      int64_t cols) {
    real *expanded = ARENA_ARRAY(scratch, real, rows * cols);
    const uint16_t *from = (const uint16_t *)x->data + row * x->cols + col;
#pragma omp parallel for if (rows * cols > 65536)
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < cols; j++)
            expanded[i * cols + j] = (real)bf16_to_float(from[i * x->cols + j]);
    return (operand){.data = expanded, .rows = rows, .cols = cols};
}

/* How many rows of `cols` numbers fit into a third of the promised scratch. */
static int64_t rows_that_fit(int64_t rows, int64_t cols) {
    const int64_t fit = (int64_t)(GEMM_SCRATCH_BYTES / 3 / sizeof(real)) / cols;
    return fit < 1 ? 1 : smaller(fit, rows);
}

/* Rows m0 … m0+m−1 of x and d_y against rows n0 … n0+n−1 of w, which `w` holds where it is an
 * operand. */
static void run_block(gemm *g, const layer_product *l, int64_t m0, int64_t m, int64_t n0, int64_t n,
                      const operand *w) {
    layer_product part = *l;
    const size_t mark = arena_mark(g->scratch);
    part.M = m;
    part.N = n;
    part.w = *w;
    if (l->verb != BACKWARD_DATA)
        part.x = expand(g->scratch, &l->x, m0, m, 0, l->K);
    if (l->verb != FORWARD)
        part.d_y = expand(g->scratch, &l->d_y, m0, m, n0, n);
    if (l->verb == FORWARD) {
        part.out += m0 * l->ldc + n0;
    } else if (l->verb == BACKWARD_DATA) {
        part.out += m0 * l->ldc;
        part.beta = n0 > 0 ? 1 : l->beta;
    } else {
        part.out += n0 * l->ldc;
    }
    run_whole(g, &part);
    arena_reset(g->scratch, mark);
}

/* Blocks keep the expanded operands within GEMM_SCRATCH_BYTES, whatever the model's size. */
static void run_in_blocks(gemm *g, const layer_product *l) {
    const int64_t n_block = rows_that_fit(l->N, l->K);
    const int64_t m_block = rows_that_fit(l->M, l->K > n_block ? l->K : n_block);
    for (int64_t n0 = 0; n0 < l->N; n0 += n_block) {
        const int64_t n = smaller(n_block, l->N - n0);
        const size_t mark = arena_mark(g->scratch);
        operand w = l->w;
        if (l->verb != BACKWARD_WEIGHT)
            w = expand(g->scratch, &l->w, n0, n, 0, l->K);
        for (int64_t m0 = 0; m0 < l->M; m0 += m_block)
            run_block(g, l, m0, smaller(m_block, l->M - m0), n0, n, &w);
        arena_reset(g->scratch, mark);
    }
}

/* ---- the three verbs ---- */

/* `rows` of the result, for the products in which one of the sizes is 0. */
static void run(gemm *g, const layer_product *l, int64_t rows) {
    CHECK(l->beta == 0 || l->beta == 1, "beta is %g.", (double)l->beta);
    g->flops += 2 * l->M * l->N * l->K;
    if (l->M == 0 || l->N == 0 || l->K == 0) {
        if (l->beta == 0 && rows * l->ldc > 0)
            memset(l->out, 0, arena_bytes(rows * l->ldc, sizeof(real)));
    } else if (g->bf16 && !g->native_bf16) {
        run_in_blocks(g, l);
    } else {
        run_whole(g, l);
    }
}

static void check_operands(const gemm *g, const operand *x, const operand *y, bool fit) {
    CHECK(x->bf16 == g->bf16 && y->bf16 == g->bf16, "An operand has the other type.");
    CHECK(fit, "[%lld, %lld] and [%lld, %lld] do not fit together.", (long long)x->rows,
          (long long)x->cols, (long long)y->rows, (long long)y->cols);
}

void gemm_forward(gemm *engine, const operand *x, const operand *w, real beta, real *y) {
    check_operands(engine, x, w, x->cols == w->cols);
    const layer_product l = {.verb = FORWARD,
                             .M = x->rows,
                             .N = w->rows,
                             .K = x->cols,
                             .x = *x,
                             .w = *w,
                             .beta = beta,
                             .out = y,
                             .ldc = w->rows};
    run(engine, &l, x->rows);
}

void gemm_backward_data(gemm *engine, const operand *d_y, const operand *w, real beta, real *d_x) {
    check_operands(engine, d_y, w, d_y->cols == w->rows);
    const layer_product l = {.verb = BACKWARD_DATA,
                             .M = d_y->rows,
                             .N = w->rows,
                             .K = w->cols,
                             .w = *w,
                             .d_y = *d_y,
                             .beta = beta,
                             .out = d_x,
                             .ldc = w->cols};
    run(engine, &l, d_y->rows);
}

void gemm_backward_weight(gemm *engine, const operand *d_y, const operand *x, real *d_w) {
    check_operands(engine, d_y, x, d_y->rows == x->rows);
    const layer_product l = {.verb = BACKWARD_WEIGHT,
                             .M = x->rows,
                             .N = d_y->cols,
                             .K = x->cols,
                             .x = *x,
                             .d_y = *d_y,
                             .beta = 1,
                             .out = d_w,
                             .ldc = x->cols};
    run(engine, &l, d_y->cols);
}
