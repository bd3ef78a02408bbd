/* sepit bench: the speed of matrix products and of one training step, and what share of the
 * machine's own product rate the step reaches. Every figure is a median of repetitions in one run,
 * per rank; tokens/s is over all ranks. `sepit bench exchange`: src/cli/bench_exchange.c;
 * `sepit bench moe`: src/cli/bench_moe.c.
 */
#include "src/cli/bench.h"
#include "parallel/agree.h"
#include "src/base/clock.h"
#include "src/base/log.h"
#include "src/base/rng.h"
#include "src/cli/command.h"
#include "src/nn/sepit.h"
#include "src/nn/setup.h"
#include "src/optim/optimizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { REPEATS = 5, STEPS = 3, PROTEINS = 2, RESIDUES = 300, ANSWER = 200 };

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double bench_median(double *values, int n) {
    qsort(values, (size_t)n, sizeof *values, ascending);
    return values[n / 2];
}

/* ---- products -------------------------------------------------------------------------------- */

typedef struct product {
    const char *name;
    int64_t M, N, K;
} product;

static const product products[] = {
    {"2048 tokens, 480 x 1920 (ESM-2 35M)", 2048, 1920, 480},
    {"2048 tokens, 1024 x 2816", 2048, 2816, 1024},
    {"2048 tokens, 2048 x 5632 (TinyLlama)", 2048, 5632, 2048},
};
enum { PRODUCTS = sizeof products / sizeof products[0], VERBS = 3 };

static void run_verb(gemm *engine, int verb, const operand *x, const operand *w, const operand *y,
                     real *out) {
    if (verb == 0)
        gemm_forward(engine, x, w, 0, out);
    else if (verb == 1)
        gemm_backward_data(engine, y, w, 0, out);
    else
        gemm_backward_weight(engine, y, x, out);
}

/* GFLOP/s of the forward, data-gradient and weight-gradient products of one linear layer. */
static void measure_product(gemm *engine, arena *memory, const product *size, double rate[VERBS]) {
    const size_t mark = arena_mark(memory);
    const int64_t most =
        size->M * size->N > size->N * size->K ? size->M * size->N : size->N * size->K;
    real *numbers = ARENA_ARRAY(memory, real, most), *out = ARENA_ARRAY(memory, real, most);
    for (int64_t i = 0; i < most; i++)
        numbers[i] = (real)(i % 7) - 3;
    memset(out, 0, (size_t)most * sizeof *out);
    const operand x = gemm_operand(engine, memory, numbers, size->M, size->K);
    const operand w = gemm_operand(engine, memory, numbers, size->N, size->K);
    const operand y = gemm_operand(engine, memory, numbers, size->M, size->N);
    for (int verb = 0; verb < VERBS; verb++) {
        double seconds[REPEATS];
        run_verb(engine, verb, &x, &w, &y, out); /* warms up */
        for (int r = 0; r < REPEATS; r++) {
            const double start = clock_seconds();
            run_verb(engine, verb, &x, &w, &y, out);
            seconds[r] = clock_seconds() - start;
        }
        const double flops = 2.0 * (double)size->M * (double)size->N * (double)size->K;
        rate[verb] = flops / bench_median(seconds, REPEATS) * 1e-9;
    }
    arena_reset(memory, mark);
}

/* Prints the table of one type; returns the best rate, the machine's ceiling for a step. */
static double bench_products(gemm *engine, arena *memory, const char *type) {
    double best = 0;
    log_info("matrix products, %s: %s", type, gemm_describe(engine));
    log_info("  %-38s %9s %9s %9s  GFLOP/s per rank", "", "forward", "d_data", "d_weight");
    for (int i = 0; i < PRODUCTS; i++) {
        double rate[VERBS];
        measure_product(engine, memory, &products[i], rate);
        log_info("  %-38s %9.1f %9.1f %9.1f", products[i].name, rate[0], rate[1], rate[2]);
        for (int verb = 0; verb < VERBS; verb++)
            best = rate[verb] > best ? rate[verb] : best;
    }
    return best;
}

/* ---- one training step ----------------------------------------------------------------------- */

static const sepit_config step_model = {
    .encoder = {.layers = 12, .D = 480, .H = 20, .F = 1920},
    .llm = {.layers = 4,
            .D = 1024,
            .H = 16,
            .K = 4,
            .F = 2816,
            .V = 32008,
            .norm_eps = 1e-5,
            .rotary_base = 10000},
    .structure = true,
};

/* PROTEINS helices of RESIDUES residues, each with a prompt whose last ANSWER tokens are
 * supervised. */
static chunk_batch make_batch(arena *memory) {
    const int64_t L = RESIDUES + 2, T = L + ANSWER;
    int64_t *offset = ARENA_ARRAY(memory, int64_t, PROTEINS + 1);
    int64_t *text_offset = ARENA_ARRAY(memory, int64_t, PROTEINS + 1);
    int32_t *token = ARENA_ARRAY(memory, int32_t, PROTEINS * L);
    int32_t *position = ARENA_ARRAY(memory, int32_t, PROTEINS * L);
    float *coord = ARENA_ARRAY(memory, float, PROTEINS *L * 3);
    bool *shaped = ARENA_ARRAY(memory, bool, PROTEINS);
    int32_t *text = ARENA_ARRAY(memory, int32_t, PROTEINS * T);
    int32_t *place = ARENA_ARRAY(memory, int32_t, PROTEINS * T);
    int32_t *target = ARENA_ARRAY(memory, int32_t, PROTEINS * T);
    int64_t *source = ARENA_ARRAY(memory, int64_t, PROTEINS * T);
    const rng_key key = rng_key_make(1, "bench");
    for (int64_t i = 0; i < PROTEINS * L; i++) {
        const int64_t at = i % L;
        const bool residue = at > 0 && at < L - 1;
        token[i] = residue   ? 4 + (int32_t)rng_below(key, (uint64_t)i, 0, 20)
                   : at == 0 ? ESM_CLS
                             : ESM_EOS;
        position[i] = (int32_t)at;
        const double turn = (double)at * 1.745;
        coord[3 * i] = residue ? (float)(2.3 * cos(turn)) : NAN;
        coord[3 * i + 1] = residue ? (float)(2.3 * sin(turn)) : NAN;
        coord[3 * i + 2] = residue ? (float)(1.5 * (double)at) : NAN;
    }
    for (int64_t i = 0; i < PROTEINS * T; i++) {
        const int64_t b = i / T, at = i % T;
        text[i] = at < L ? -1 : (int32_t)rng_below(key, (uint64_t)i, 1, 32000);
        source[i] = at < L ? b * L + at : -1;
        place[i] = (int32_t)at;
        target[i] = at >= L && at < T - 1 ? (int32_t)rng_below(key, (uint64_t)i + 1, 1, 32000) : -1;
    }
    for (int64_t b = 0; b <= PROTEINS; b++) {
        offset[b] = b * L;
        text_offset[b] = b * T;
    }
    for (int64_t b = 0; b < PROTEINS; b++)
        shaped[b] = true;
    return (chunk_batch){
        {PROTEINS, offset, token, position, coord, shaped},
        {PROTEINS, text_offset, text, source, place, target, PROTEINS * (ANSWER - 1)}};
}

typedef struct bench_step {
    MPI_Comm comm;
    sepit model;
    optimizer optimizer;
    nn_context nn;
    arena *data;
    double ceiling; /* GFLOP/s of the best product of this type */
} bench_step;

static void measure_step(bench_step *b) {
    const chunk_batch batch = make_batch(b->data);
    params *p = &b->model.params;
    real *gradient = ARENA_ARRAY(b->data, real, p->storage);
    double compute[STEPS], whole[STEPS];
    int64_t flops = 0;
    params_use_gradient(p, gradient);
    for (int s = -1; s < STEPS; s++) {
        comm_max(b->comm, 0); /* start together */
        const double start = clock_seconds();
        memset(gradient, 0, (size_t)p->storage * sizeof *gradient);
        flops = gemm_flops(b->nn.gemm);
        sepit_run_chunk(&b->nn, &b->model, &batch, (real)(1.0 / (double)batch.text.supervised),
                        NULL);
        flops = gemm_flops(b->nn.gemm) - flops;
        const double middle = clock_seconds();
        optimizer_step(&b->optimizer, (const real *const[]){gradient}, 1e-4, 1);
        if (s >= 0) {
            compute[s] = comm_max(b->comm, middle - start);
            whole[s] = comm_max(b->comm, clock_seconds() - start);
        }
    }
    const double passes = bench_median(compute, STEPS), step = bench_median(whole, STEPS);
    const int64_t tokens =
        (batch.protein.offset[PROTEINS] + batch.text.offset[PROTEINS]) * comm_size(b->comm);
    log_info("  forward and backward %.3f s, %.1f GFLOP/s in products = %.0f %% of the best rate "
             "above",
             passes, (double)flops / passes * 1e-9, (double)flops / passes * 1e-7 / b->ceiling);
    log_info("  exchange and AdamW %.3f s; whole step %.3f s; %.0f tokens/s on %d rank%s",
             step - passes, step, (double)tokens / step, comm_size(b->comm),
             comm_size(b->comm) == 1 ? "" : "s");
}

static status prepare_step(bench_step *b, compute_dtype dtype, error *err) {
    TRY(sepit_declare(&b->model, &step_model, err));
    const share_table table = {&b->model.params, b->comm, 0};
    TRY(optimizer_create(&b->optimizer, &table, 1, err));
    TRY(agree(b->comm, params_allocate(&b->model.params, dtype == COMPUTE_BF16, err), err));
    params_draw(&b->model.params, 1);
    return STATUS_OK;
}

static status bench_type(MPI_Comm comm, compute_dtype dtype, arena arenas[3], error *err) {
    const char *type = sizeof(real) == 8 ? "fp64" : dtype == COMPUTE_BF16 ? "bf16" : "fp32";
    gemm *engine = NULL;
    TRY(agree(comm, gemm_create(&engine, dtype, &arenas[1], err), err));
    bench_step b = {.comm = comm, .nn = {engine, &arenas[0], &arenas[1]}, .data = &arenas[2]};
    b.ceiling = bench_products(engine, &arenas[0], type);
    status code = prepare_step(&b, dtype, err);
    if (code == STATUS_OK) {
        log_info("training step, %s: ESM-2 t12_35M + Llama (4 layers, 1024 wide), %.1f M "
                 "parameters, %d proteins of %d residues per rank",
                 type, (double)b.model.params.elements * 1e-6, PROTEINS, RESIDUES);
        measure_step(&b);
    }
    optimizer_destroy(&b.optimizer);
    sepit_destroy(&b.model);
    gemm_destroy(engine);
    for (int i = 0; i < 3; i++)
        arena_reset(&arenas[i], 0);
    return code;
}

status command_bench(const command_input *in, error *err) {
    if (in->flags.file != NULL && strcmp(in->flags.file, "exchange") == 0)
        return bench_exchange(in->comm, err);
    if (in->flags.file != NULL && strcmp(in->flags.file, "moe") == 0)
        return bench_moe(in->comm, in->config, err);
    if (in->flags.file != NULL && strcmp(in->flags.file, "checkpoint") == 0)
        return bench_checkpoint(in->comm, in->config, err);
    if (in->flags.file != NULL)
        return error_set(err, STATUS_INPUT,
                         "there is no benchmark \"%s\"; `sepit bench`, `sepit bench exchange`, "
                         "`sepit bench moe` and `sepit bench checkpoint` are all",
                         in->flags.file);
    static const char *const names[] = {"activation", "scratch", "batch"};
    const size_t memory = (size_t)sysconf(_SC_PHYS_PAGES) * (size_t)sysconf(_SC_PAGE_SIZE);
    arena arenas[3] = {{0}};
    status code = STATUS_OK;
    for (int i = 0; i < 3 && code == STATUS_OK; i++)
        code = arena_create(&arenas[i], names[i], memory, err);
    code = agree(in->comm, code, err);
    const compute_dtype types[] = {COMPUTE_F32, COMPUTE_BF16};
    for (int i = 0; i < (sizeof(real) == 8 ? 1 : 2) && code == STATUS_OK; i++)
        code = bench_type(in->comm, types[i], arenas, err);
    for (int i = 0; i < 3; i++)
        arena_destroy(&arenas[i]);
    return code;
}
