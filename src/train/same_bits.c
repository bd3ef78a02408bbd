#include "src/train/same_bits.h"

#include "parallel/agree.h"
#include "parallel/guard.h"
#include "src/base/log.h"

#include <omp.h>

/* Rows enough that kernels cut them, and not a multiple of any block. */
enum { ROWS = 197, VERBS = 3 };

typedef struct shape {
    int64_t N, K; /* of the weight */
} shape;

typedef struct factors {
    operand x, w, d_y;
} factors;

/* Numbers in [−1/2, 1/2) without pattern; a multiplicative hash is random enough here. */
static real *draw(arena *memory, int64_t n, uint32_t seed) {
    real *values = ARENA_ARRAY(memory, real, n);
    for (int64_t i = 0; i < n; i++)
        values[i] = (real)((uint32_t)(i + seed) * 2654435769u) / (real)4294967296.0 - (real)0.5;
    return values;
}

static factors make_factors(const gemm *engine, arena *memory, shape s) {
    return (factors){gemm_operand(engine, memory, draw(memory, ROWS * s.K, 1), ROWS, s.K),
                     gemm_operand(engine, memory, draw(memory, s.N * s.K, 2), s.N, s.K),
                     gemm_operand(engine, memory, draw(memory, ROWS * s.N, 3), ROWS, s.N)};
}

/* Hash of the three products of a linear layer of this shape, on the threads that are set. */
static uint64_t hash_products(gemm *engine, arena *memory, shape s) {
    const size_t mark = arena_mark(memory);
    const factors f = make_factors(engine, memory, s);
    real *y = ARENA_ARRAY(memory, real, ROWS * s.N);
    real *d_x = ARENA_ARRAY(memory, real, ROWS * s.K);
    real *d_w = arena_calloc(memory, s.N * s.K, sizeof *d_w);
    gemm_forward(engine, &f.x, &f.w, 0, y);
    gemm_backward_data(engine, &f.d_y, &f.w, 0, d_x);
    gemm_backward_weight(engine, &f.d_y, &f.x, d_w);
    uint64_t hash = guard_hash(y, (size_t)(ROWS * s.N) * sizeof *y, 0);
    hash = guard_hash(d_x, (size_t)(ROWS * s.K) * sizeof *d_x, hash);
    hash = guard_hash(d_w, (size_t)(s.N * s.K) * sizeof *d_w, hash);
    arena_reset(memory, mark);
    return hash;
}

/* The same over all shapes, by an engine of its own: one may keep what suits its threads. */
static status hash_shapes(const trainer *t, int threads, uint64_t *hash, error *err) {
    const llama_config *c = &t->model.config.llm;
    const shape shapes[] = {{c->D, c->D}, {c->K * (c->D / c->H), c->D}, {c->F, c->D}, {c->D, c->F}};
    gemm *engine = NULL;
    arena *memory = t->nn.activations;
    const int before = omp_get_max_threads();
    omp_set_num_threads(threads);
    status code = gemm_create(&engine, t->bf16 ? COMPUTE_BF16 : COMPUTE_F32, t->nn.scratch, err);
    *hash = 0;
    for (size_t i = 0; code == STATUS_OK && i < sizeof shapes / sizeof *shapes; i++)
        *hash = *hash * 31 + hash_products(engine, memory, shapes[i]);
    gemm_destroy(engine);
    omp_set_num_threads(before);
    return code;
}

/* hash[0]: on the run's threads; hash[1]: on one thread, or on two when the run has one. */
static status measure(const trainer *t, uint64_t hash[2], error *err) {
    const int threads = omp_get_max_threads();
    uint64_t again = 0;
    TRY(hash_shapes(t, threads, &hash[0], err));
    TRY(hash_shapes(t, threads, &again, err));
    TRY(hash_shapes(t, threads > 1 ? 1 : 2, &hash[1], err));
    if (again == hash[0])
        return STATUS_OK;
    return error_set(err, STATUS_FAILED,
                     "the same matrix products gave two results (%s): exact sums are not possible "
                     "on this machine; set parallel.exact=off, or have its memory checked",
                     gemm_describe(t->nn.gemm));
}

status same_bits_check(trainer *t, error *err) {
    uint64_t hash[2] = {0};
    guard_difference found;
    TRY(agree(t->comm, measure(t, hash, err), err));
    if (!guard_compare(t->comm, hash, 1, &found))
        log_info("warning: rank %d computes matrix products with other bits than most ranks "
                 "(another processor or library): the result depends on where chunks run",
                 found.rank);
    const int threads = omp_get_max_threads();
    if (hash[0] != hash[1])
        log_info("exact sums: any power of two of ranks gives these bits; on this processor matrix "
                 "products depend on the number of threads, so keep OMP_NUM_THREADS=%d",
                 threads);
    else
        log_info("exact sums: any power of two of ranks, on any threads, gives these bits");
    return STATUS_OK;
}
