// TEST timeout=60 mode=release,asan,double
/* The three products of a layer against plain loops in double, in every type, with empty sizes; the
 * block-wise path of bf16 operands; what does not depend on the number of rows and threads. */
#include "src/base/bf16.h"
#include "src/tensor/gemm.h"
#include "tests/numerics/kernel.h"

typedef struct setup {
    gemm *engine;
    arena memory, scratch;
} setup;

static void setup_create(setup *s, compute_dtype dtype) {
    error err = {STATUS_OK, ""};
    if (arena_create(&s->memory, "test", (size_t)1 << 30, &err) != STATUS_OK ||
        arena_create(&s->scratch, "scratch", GEMM_SCRATCH_BYTES, &err) != STATUS_OK ||
        gemm_create(&s->engine, dtype, &s->scratch, &err) != STATUS_OK) {
        fprintf(stderr, "%s\n", err.text);
        exit(1);
    }
}

static void setup_destroy(setup *s) {
    gemm_destroy(s->engine);
    arena_destroy(&s->scratch);
    arena_destroy(&s->memory);
}

/* What the product reads for x. */
static double seen(const setup *s, real x) {
    return gemm_is_bf16(s->engine) ? (double)bf16_to_float(bf16_from_float((float)x)) : (double)x;
}

/* x[rows, cols] and x(i, j) for the twin. */
typedef struct array {
    real *x;
    int64_t rows, cols;
} array;

static double at(const setup *s, array a, int64_t i, int64_t j) {
    return seen(s, a.x[i * a.cols + j]);
}

enum { FORWARD, DATA, WEIGHT };

/* Element (i, j) of the product and the sum of its terms' sizes. */
static double twin(const setup *s, int verb, array a, array b, int64_t i, int64_t j, double *size) {
    const int64_t n = verb == WEIGHT ? a.rows : a.cols;
    double sum = 0;
    *size = 0;
    for (int64_t l = 0; l < n; l++) {
        const double x = verb == WEIGHT ? at(s, a, l, i) : at(s, a, i, l);
        const double y = verb == FORWARD ? at(s, b, j, l) : at(s, b, l, j);
        sum += x * y;
        *size += fabs(x * y);
    }
    return sum;
}

/* A sum of n products in any order is within n·ε·Σ|terms| (Higham, §3.1). Checks every `stride`-th
 * element. */
static void check(const char *name, setup *s, int verb, array a, array b, int beta,
                  int64_t stride) {
    const int64_t rows = verb == WEIGHT ? a.cols : a.rows, cols = verb == FORWARD ? b.rows : b.cols;
    const int64_t terms = verb == WEIGHT ? a.rows : a.cols, n = rows * cols;
    real *got = random_array(3, n, 1), *before = copy_array(got, n);
    const size_t mark = arena_mark(&s->memory);
    const operand x = gemm_operand(s->engine, &s->memory, a.x, a.rows, a.cols);
    const operand y = gemm_operand(s->engine, &s->memory, b.x, b.rows, b.cols);
    const int64_t flops = gemm_flops(s->engine);
    double worst = 0;
    for (int64_t i = 0; beta == 0 && i < n; i++)
        got[i] = (real)NAN; /* what was there does not matter */
    if (verb == FORWARD)
        gemm_forward(s->engine, &x, &y, (real)beta, got);
    else if (verb == DATA)
        gemm_backward_data(s->engine, &x, &y, (real)beta, got);
    else
        gemm_backward_weight(s->engine, &x, &y, got);
    arena_reset(&s->memory, mark);
    for (int64_t i = 0; i < n; i += stride) {
        double size = 0, want = twin(s, verb, a, b, i / cols, i % cols, &size);
        want += beta * (double)before[i];
        size += beta * fabs((double)before[i]);
        const double bound = ((double)terms + 2) * (double)REAL_EPSILON * size;
        worst = larger(worst, fabs((double)got[i] - want) / (bound + 1e-300));
    }
    EXPECT(worst <= 1, "%s %lld x %lld x %lld beta %d: %g of the bound", name, (long long)rows,
           (long long)cols, (long long)terms, beta, worst);
    EXPECT(gemm_flops(s->engine) - flops == 2 * rows * cols * terms, "%s flops", name);
    EXPECT(s->scratch.used == 0, "%s kept scratch", name);
    free(got);
    free(before);
}

static void run_shape(setup *s, int64_t M, int64_t N, int64_t K, int64_t stride) {
    const array x = {random_array(1, M * K, 1), M, K}, w = {random_array(2, N * K, 1), N, K};
    const array d_y = {random_array(4, M * N, 1), M, N};
    for (int beta = 0; beta <= 1; beta++) {
        check("forward", s, FORWARD, x, w, beta, stride);
        check("backward_data", s, DATA, d_y, w, beta, stride);
    }
    check("backward_weight", s, WEIGHT, d_y, x, 1, stride);
    free(x.x);
    free(w.x);
    free(d_y.x);
}

static void run_type(compute_dtype dtype) {
    static const int64_t shapes[][3] = {{1, 1, 1},   {5, 3, 2},   {33, 17, 65},  {1, 64, 96},
                                        {70, 1, 40}, {64, 40, 1}, {0, 4, 5},     {4, 0, 5},
                                        {4, 5, 0},   {0, 0, 0},   {128, 96, 320}};
    setup s;
    setup_create(&s, dtype);
    printf("%s\n", gemm_describe(s.engine));
    EXPECT(gemm_is_bf16(s.engine) == (dtype == COMPUTE_BF16 && sizeof(real) == sizeof(float)));
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        run_shape(&s, shapes[i][0], shapes[i][1], shapes[i][2], 1);
    for (int64_t M = 1; M < 1500; M++) /* more shapes than the engine keeps */
        if (M % 3 == 0 || M < 40)
            run_shape(&s, M, 2, 3, 7);
    setup_destroy(&s);
}

/* Weights beyond what scratch takes at once: the sum over N and the columns of y are cut. */
static void run_blocks(void) {
    setup s;
    setup_create(&s, COMPUTE_BF16);
    run_shape(&s, 3, 9001, 2003, 501);
    run_shape(&s, 8500, 2, 2100, 701);
    setup_destroy(&s);
}

/* A NaN in row `row` of x reaches all of that row's results and no other row. */
static void run_nan(int64_t M, int64_t N, int64_t K, int64_t row) {
    setup s;
    setup_create(&s, COMPUTE_F32);
    real *x = random_array(1, M * K, 1), *w = random_array(2, N * K, 1);
    real *y = random_array(3, M * N, 1);
    x[row * K + K / 2] = (real)NAN;
    const operand a = gemm_operand(s.engine, &s.memory, x, M, K);
    const operand b = gemm_operand(s.engine, &s.memory, w, N, K);
    gemm_forward(s.engine, &a, &b, 0, y);
    for (int64_t i = 0; i < M * N; i++)
        EXPECT(isnan(y[i]) == (i / N == row), "%lld x %lld x %lld, element %lld", (long long)M,
               (long long)N, (long long)K, (long long)i);
    free(x);
    free(w);
    free(y);
    setup_destroy(&s);
}

/* Rows of the forward product with any number of rows and one or two threads, against those of the
 * largest: how many M give other bits. Informative where the library does not promise it. */
static void count_row_changes(int64_t N, int64_t K) {
    enum { ROWS = 300 };
    setup s;
    setup_create(&s, COMPUTE_F32);
    real *x = random_array(1, ROWS * K, 1), *w = random_array(2, N * K, 1);
    real *all = random_array(3, ROWS * N, 1), *some = random_array(4, ROWS * N, 1);
    const operand weight = gemm_operand(s.engine, &s.memory, w, N, K);
    const operand whole = gemm_operand(s.engine, &s.memory, x, ROWS, K);
    int changed = 0;
    gemm_forward(s.engine, &whole, &weight, 0, all);
    gemm_forward(s.engine, &whole, &weight, 0, some);
    EXPECT(same_bits(all, some, ROWS * N), "the same product twice gives other bits");
    for (int64_t M = 1; M <= ROWS; M += 7) {
        const operand part = gemm_operand(s.engine, &s.memory, x, M, K);
        gemm_forward(s.engine, &part, &weight, 0, some);
        changed += !same_bits(all, some, M * N);
    }
    printf("N=%lld K=%lld: rows change their bits for %d of %d numbers of rows\n", (long long)N,
           (long long)K, changed, (ROWS + 6) / 7);
    free(x);
    free(w);
    free(all);
    free(some);
    setup_destroy(&s);
}

int main(void) {
    run_type(COMPUTE_F32);
    run_type(COMPUTE_BF16);
    run_blocks();
    run_nan(1, 40, 96, 0);
    run_nan(9, 33, 65, 8);
    run_nan(300, 96, 400, 150);
    count_row_changes(64, 64);
    count_row_changes(100, 37);
    count_row_changes(480, 480);
    return test_end();
}
