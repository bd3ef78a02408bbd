/* A structure module on a table of its own, with scratch of exactly the size it asks for, and a
 * Cα trace to try it on. */
#ifndef SEPIT_TESTS_STRUCTURE_BENCH_H
#define SEPIT_TESTS_STRUCTURE_BENCH_H

#include "src/nn/structure.h"
#include "tests/numerics/gradcheck.h"

enum { BENCH_H = 3, BENCH_D = 8 };

typedef struct structure_bench {
    error err;
    gemm *gemm;
    arena activations, scratch;
    nn_context nn;
    params p;
    structure module;
    real *gradient;
} structure_bench;

static inline void bench_try(structure_bench *bench, status result) {
    if (result != STATUS_OK) {
        fprintf(stderr, "%s\n", bench->err.text);
        exit(1);
    }
}

static inline void bench_create(structure_bench *bench, bool bf16, int64_t L) {
    *bench = (structure_bench){0};
    params_init(&bench->p);
    structure_declare(&bench->module, &bench->p, BENCH_H, BENCH_D);
    bench_try(bench, params_allocate(&bench->p, bf16, &bench->err));
    params_draw(&bench->p, 7);
    const size_t scratch = structure_scratch_bytes(BENCH_H, BENCH_D, L);
    bench_try(bench, arena_create(&bench->activations, "activations", 0, &bench->err));
    bench_try(bench, arena_create(&bench->scratch, "scratch", scratch, &bench->err));
    bench_try(bench, gemm_create(&bench->gemm, bf16 ? COMPUTE_BF16 : COMPUTE_F32, &bench->scratch,
                                 &bench->err));
    bench->nn = (nn_context){
        .gemm = bench->gemm, .activations = &bench->activations, .scratch = &bench->scratch};
    bench->gradient = calloc((size_t)bench->p.elements, sizeof *bench->gradient);
    if (bench->gradient == NULL)
        exit(1);
    params_use_gradient(&bench->p, bench->gradient);
}

/* Values with which every part matters and ψ varies slowly enough for differences: σ from 0.5 to
 * 3.5 Å, every fifth s negative, means up to 20 Å, matrices N(0, 0.1). */
static inline void bench_draw(structure_bench *bench) {
    params *p = &bench->p;
    for (int64_t t = 0; t < p->count; t++)
        gradcheck_fill(p->value + p->table[t].offset, p->table[t].elements, p->table[t].name, 0,
                       0.1);
    const rng_key key = rng_key_make(3, "basis");
    real *means = p->value + p->table[bench->module.means].offset;
    real *stds = p->value + p->table[bench->module.stds].offset;
    for (uint64_t k = 0; k < STRUCTURE_KERNELS; k++) {
        means[k] = (real)(20 * rng_uniform(key, k, 0));
        stds[k] = (real)((k % 5 == 0 ? -1 : 1) * (0.5 + 3 * rng_uniform(key, k, 1)));
    }
    params_refresh(p);
}

static inline void bench_destroy(structure_bench *bench) {
    free(bench->gradient);
    gemm_destroy(bench->gemm);
    arena_destroy(&bench->activations);
    arena_destroy(&bench->scratch);
    params_destroy(&bench->p);
}

/* A chain of L residues about 3.8 Å apart. Coordinates are multiples of 65/64 Å. */
static inline void bench_trace(float *coord, int64_t L) {
    const rng_key key = rng_key_make(5, "trace");
    for (int64_t i = 0; i < L; i++)
        for (int64_t axis = 0; axis < 3; axis++) {
            const double step = round(2.1 * rng_normal(key, (uint64_t)i, (uint64_t)axis));
            const double before = i == 0 ? 0 : (double)coord[3 * (i - 1) + axis];
            coord[3 * i + axis] = (float)(before + step * 65 / 64);
        }
}

static inline void bench_remove(float *coord, int64_t residue, int axis) {
    coord[3 * residue + axis] = NAN;
}

#endif
