/* One layer of experts with what it needs around it, for the tests of src/nn/moe.h. */
#ifndef SEPIT_TESTS_MOE_BENCH_H
#define SEPIT_TESTS_MOE_BENCH_H

#include "src/nn/moe.h"
#include "tests/numerics/gradcheck.h"

enum { BENCH_EXPERTS = 8 };

typedef struct moe_bench {
    int64_t D, F, T;
    moe_config c;
    bool bf16;
    error err;
    arena memory, scratch;
    gemm *gemm;
    nn_context nn;
    moe_run run;
    params p, experts; /* the router; this rank's experts */
    ffn expert[BENCH_EXPERTS];
    moe_layer layer;
    real *d_router, *d_experts;    /* gradients of both tables */
    real *gradient[BENCH_EXPERTS]; /* by source; all d_experts unless a test says more */
    int64_t count[BENCH_EXPERTS * MOE_COUNTS];
    double sum[BENCH_EXPERTS + 2];
} moe_bench;

static inline void bench_try(moe_bench *b, status code) {
    if (code != STATUS_OK) {
        fprintf(stderr, "%s\n", b->err.text);
        exit(1);
    }
}

static inline void *bench_zeros(int64_t n, size_t size) {
    void *zeros = calloc((size_t)(n > 0 ? n : 1), size);
    if (zeros == NULL)
        exit(1);
    return zeros;
}

static inline linear bench_linear(params *p, int64_t e, const char *part, int64_t N, int64_t K) {
    char name[PARAM_NAME];
    snprintf(name, sizeof name, "mlp.experts.%lld.%s", (long long)e, part);
    return linear_declare(p, name, N, K, false, 0.4, GROUP_LLM);
}

static inline void bench_declare(moe_bench *b) {
    params_init(&b->p);
    params_init(&b->experts);
    b->layer.router = params_declare(&b->p, "mlp.gate.weight", b->c.E, b->D, GROUP_ROUTER);
    params_set_init(&b->p, INIT_NORMAL, 0.5, 0);
    b->layer.expert = b->expert;
    for (int64_t i = 0; i < b->c.local_experts; i++) {
        const int64_t e = b->c.first_expert + i;
        b->expert[i] = (ffn){bench_linear(&b->experts, e, "gate_proj", b->F, b->D),
                             bench_linear(&b->experts, e, "up_proj", b->F, b->D),
                             bench_linear(&b->experts, e, "down_proj", b->D, b->F)};
    }
    bench_try(b, params_allocate(&b->p, b->bf16, &b->err));
    bench_try(b, params_allocate(&b->experts, b->bf16, &b->err));
    params_draw(&b->p, 5); /* by name: the same values wherever an expert is */
    params_draw(&b->experts, 5);
}

/* Arenas exactly as large as the layer says, for T own tokens and `rows` arriving ones. D, F, T, c,
 * bf16 are set; the run is exact and on one rank until a test says otherwise. */
static inline void bench_create(moe_bench *b, int64_t rows) {
    bench_declare(b);
    bench_try(b, arena_create(&b->memory, "kept",
                              moe_kept_bytes(&b->c, b->D, b->F, b->T, rows, b->bf16), &b->err));
    bench_try(b, arena_create(&b->scratch, "scratch",
                              moe_scratch_bytes(&b->c, b->D, b->F, b->T, rows, b->bf16, true),
                              &b->err));
    bench_try(b, gemm_create(&b->gemm, b->bf16 ? COMPUTE_BF16 : COMPUTE_F32, &b->scratch, &b->err));
    b->d_router = bench_zeros(b->p.elements, sizeof *b->d_router);
    b->d_experts = bench_zeros(b->experts.elements, sizeof *b->d_experts);
    params_use_gradient(&b->p, b->d_router);
    for (int i = 0; i < BENCH_EXPERTS; i++)
        b->gradient[i] = b->d_experts;
    b->run.exact = true;
    b->run.gradient = b->gradient;
    b->run.statistics = (moe_statistics){b->count, b->sum};
    b->nn = (nn_context){
        .gemm = b->gemm, .activations = &b->memory, .scratch = &b->scratch, .moe = &b->run};
}

static inline void bench_destroy(moe_bench *b) {
    free(b->d_router);
    free(b->d_experts);
    gemm_destroy(b->gemm);
    arena_destroy(&b->scratch);
    arena_destroy(&b->memory);
    params_destroy(&b->experts);
    params_destroy(&b->p);
}

/* Forward, and backward unless d_y is NULL. x, y, d_y, d_x [T,D]. */
static inline void bench_run(moe_bench *b, const real *x, const int32_t *kind, real *y,
                             const real *d_y, real *d_x) {
    error err = {0};
    arena copy;
    const size_t bytes = (size_t)(b->T * b->D) * sizeof(real) + 64;
    bench_try(b, arena_create(&copy, "operand", bytes, &err));
    const operand in = gemm_operand(b->gemm, &copy, x, b->T, b->D);
    moe_saved *saved = NULL;
    moe_forward(&b->nn, &b->p, &b->experts, &b->c, &b->layer, &in, kind, &b->memory, &saved, y);
    EXPECT(arena_mark(&b->scratch) == 0, "Forward keeps scratch.");
    if (d_y != NULL)
        moe_backward(&b->nn, &b->p, &b->experts, &b->c, &b->layer, &in, saved, d_y, d_x);
    EXPECT(arena_mark(&b->scratch) == 0, "Backward keeps scratch.");
    arena_reset(&b->memory, 0);
    arena_destroy(&copy);
}

#endif
