/* A small encoder on a table, with arenas of exactly the size that the encoder asks for. */
#ifndef SEPIT_TESTS_ENCODER_BENCH_H
#define SEPIT_TESTS_ENCODER_BENCH_H

#include "src/nn/esm.h"
#include "tests/numerics/gradcheck.h"

/* Proteins of 1, 5 and 12 residues; the last two hold <mask> (32). */
enum { BENCH_PROTEINS = 3, BENCH_TOKENS = 3 + 7 + 14 };
static const int64_t BENCH_OFFSET[BENCH_PROTEINS + 1] = {0, 3, 10, 24};
static const int32_t BENCH_TOKEN[BENCH_TOKENS] = {0, 20, 2,  0, 5, 32, 7, 5,  9, 2,  0,  4,
                                                  5, 6,  32, 8, 9, 10, 4, 32, 6, 23, 11, 2};
static const int32_t BENCH_POSITION[BENCH_TOKENS] = {0, 1, 2, 0, 1, 2, 3, 4, 5,  6,  0,  1,
                                                     2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13};
static const esm_config BENCH_CONFIG = {.layers = 2, .D = 16, .H = 2, .F = 24};

typedef struct encoder_bench {
    error err;
    gemm *gemm;
    arena activations, scratch;
    nn_context nn;
    params p;
    esm encoder;
    real *gradient;
} encoder_bench;

static inline void *bench_alloc(int64_t n, size_t size) {
    void *memory = calloc((size_t)n + 1, size);
    if (memory == NULL)
        exit(1);
    return memory;
}

static inline void bench_try(encoder_bench *bench, status result) {
    if (result != STATUS_OK) {
        fprintf(stderr, "%s\n", bench->err.text);
        exit(1);
    }
}

static inline protein_batch bench_batch(void) {
    return (protein_batch){.B = BENCH_PROTEINS,
                           .offset = BENCH_OFFSET,
                           .token = BENCH_TOKEN,
                           .position = BENCH_POSITION};
}

/* Values large enough that every part of the model matters: matrices and biases N(0, 0.3), norms
 * around 1. */
static inline void bench_draw(params *p) {
    for (int64_t t = 0; t < p->count; t++)
        gradcheck_fill(p->value + p->table[t].offset, p->table[t].elements, p->table[t].name,
                       p->table[t].init == INIT_ONE ? 1 : 0, 0.3);
    params_refresh(p);
}

static inline void bench_create(encoder_bench *bench, bool bf16, int64_t tokens) {
    *bench = (encoder_bench){0};
    params_init(&bench->p);
    bench_try(bench, esm_declare(&bench->encoder, &BENCH_CONFIG, &bench->p, &bench->err));
    bench_try(bench, params_allocate(&bench->p, bf16, &bench->err));
    bench_draw(&bench->p);
    const size_t kept =
        esm_activation_bytes(&BENCH_CONFIG, BENCH_CONFIG.layers, tokens, bf16, true);
    const size_t scratch = esm_scratch_bytes(&BENCH_CONFIG, tokens, bf16);
    bench_try(bench, arena_create(&bench->activations, "activations", kept, &bench->err));
    bench_try(bench, arena_create(&bench->scratch, "scratch", scratch, &bench->err));
    bench_try(bench, gemm_create(&bench->gemm, bf16 ? COMPUTE_BF16 : COMPUTE_F32, &bench->scratch,
                                 &bench->err));
    bench->nn = (nn_context){
        .gemm = bench->gemm, .activations = &bench->activations, .scratch = &bench->scratch};
    bench->gradient = bench_alloc(bench->p.elements, sizeof *bench->gradient);
    params_use_gradient(&bench->p, bench->gradient);
}

static inline void bench_destroy(encoder_bench *bench) {
    free(bench->gradient);
    gemm_destroy(bench->gemm);
    arena_destroy(&bench->activations);
    arena_destroy(&bench->scratch);
    esm_destroy(&bench->encoder);
    params_destroy(&bench->p);
}

#endif
