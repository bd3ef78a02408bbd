/* Small models whose experts are spread over all ranks of a communicator, and their checkpoints,
 * for the tests of init.all. Layers 0 and 2 of 3 have experts. */
#ifndef SEPIT_TESTS_UPCYCLE_BENCH_H
#define SEPIT_TESTS_UPCYCLE_BENCH_H

#include "tests/checkpoint_fixture.h"
#include "tests/numerics/chunk_bench.h"

#include "parallel/grid.h"
#include "src/cli/keys.h"
#include "src/nn/setup.h"
#include "src/train/initial.h"

enum { BENCH_SEED = 11, BENCH_F = 40, BENCH_MOST_TENSORS = 256 };
#define BENCH_DROP 0.29 /* of 40: 11.6, so 12 */

typedef struct bench {
    grid grid;
    machine m;
    moe_run run;
    sepit model;
    chunk chunk;
} bench;

/* Nine supervised places on rank 0, two on rank 1, more than a receipt looks at on rank 2, none on
 * rank 3. */
static const int64_t BENCH_PLACES[] = {9, 2, 64, 0};
static inline void bench_fill_chunk(chunk *c, int rank) {
    static const prompt lengthy = {-1, 0, 80, 70};
    if (rank == 0)
        chunk_make_usual(c);
    else if (rank == 1)
        chunk_make(c, 2, (const int[]){0, 1}, 1, &PROMPTS[2]);
    else
        chunk_make(c, 0, NULL, rank == 2, &lengthy);
}

/* What differs between the models of a test. */
typedef struct bench_sizes {
    int64_t E, k; /* E = 0: dense */
    bool renormalize;
    int64_t copies;     /* of every expert on the ranks; 0: one */
    int64_t more_words; /* rows of the token table beyond the usual */
} bench_sizes;

/* A model with values as params_draw has them, or for a dense one larger ones, as if trained.
 * Collective. */
static inline void bench_create(bench *b, MPI_Comm comm, bench_sizes want) {
    *b = (bench){0};
    machine_create(&b->m, false, (size_t)64 << 20, (size_t)256 << 20);
    const int64_t copies = want.E == 0 ? comm_size(comm) : want.copies > 0 ? want.copies : 1;
    machine_try(&b->m, grid_create(&b->grid, comm, comm_size(comm) / copies, want.E, &b->m.err));
    sepit_config sizes = CHUNK_MODEL;
    sizes.llm.layers = 3;
    sizes.llm.F = BENCH_F;
    sizes.llm.V += want.more_words;
    if (want.E > 0)
        sizes.llm.moe = (moe_config){.E = want.E,
                                     .k = want.k,
                                     .slices = 2,
                                     .renormalize = want.renormalize,
                                     .layer_mask = {5},
                                     .first_expert = b->grid.first_expert,
                                     .local_experts = b->grid.local_experts};
    machine_try(&b->m, sepit_declare(&b->model, &sizes, &b->m.err));
    machine_try(&b->m, params_allocate(&b->model.params, false, &b->m.err));
    machine_try(&b->m, params_allocate(&b->model.experts, false, &b->m.err));
    params_draw(&b->model.params, BENCH_SEED);
    params_draw(&b->model.experts, BENCH_SEED);
    if (want.E == 0)
        model_draw(&b->model.params);
    b->run = (moe_run){.exact = true, .jitter = 0.05, .seed = BENCH_SEED};
    if (b->grid.ep > 1)
        machine_try(&b->m, exchange_create(&b->run.exchange, b->grid.expert_group,
                                           moe_lanes(&sizes.llm.moe), &b->m.err));
    b->m.nn.moe = &b->run;
    bench_fill_chunk(&b->chunk, comm_rank(comm));
}

static inline void bench_destroy(bench *b) {
    sepit_destroy(&b->model);
    exchange_destroy(b->run.exchange);
    machine_destroy(&b->m);
    grid_destroy(&b->grid);
}

/* initial_weights with these keys. Collective. */
static inline status bench_start(bench *b, const char *path, const char *mode, const char *jitter,
                                 char **receipt, error *err) {
    char words[5][4200];
    char *word[5];
    snprintf(words[0], sizeof words[0], "init.all=%s", path);
    snprintf(words[1], sizeof words[1], "moe.upcycle=%s", mode);
    snprintf(words[2], sizeof words[2], "moe.jitter=%s", jitter);
    snprintf(words[3], sizeof words[3], "moe.drop=%g", BENCH_DROP);
    snprintf(words[4], sizeof words[4], "run.seed=%d", BENCH_SEED);
    for (int i = 0; i < 5; i++)
        word[i] = words[i];
    config *c = NULL;
    *err = (error){0};
    machine_try(&b->m, config_load(&c, sepit_keys, NULL, 5, word, &b->m.err));
    const status code =
        initial_weights(&b->model, &b->m.nn, &b->chunk.batch, c, &b->grid, receipt, err);
    config_destroy(c);
    return code;
}

/* Saves the weights into `folder` as a step: rank 0 all replicated tensors, each rank its experts,
 * stacked. Collective on MPI_COMM_WORLD. */
static inline void bench_save(const bench *b, const char *folder, int64_t step) {
    const params *p = &b->model.params, *experts = &b->model.experts;
    static char name[BENCH_MOST_TENSORS][CHECKPOINT_NAME];
    checkpoint_tensor tensor[BENCH_MOST_TENSORS];
    checkpoint_slice slice[BENCH_MOST_TENSORS];
    const int64_t E = b->model.config.llm.moe.E;
    const int64_t stacked = E > 0 ? experts->count / b->grid.local_experts : 0;
    int64_t slices = 0;
    for (int64_t i = 0; i < p->count + stacked; i++) {
        const param *t = i < p->count ? &p->table[i] : &experts->table[i - p->count];
        setup_tensor_name(name[i], "model", t);
        tensor[i] =
            (checkpoint_tensor){name[i], setup_real_type(), t->rank, {t->shape[0], t->shape[1]}};
        if (i < p->count && comm_rank(MPI_COMM_WORLD) == 0)
            slice[slices++] = (checkpoint_slice){i, 0, t->elements, param_value(p, i)};
        if (i < p->count)
            continue;
        char *number = strstr(name[i], "experts.") + 8, *rest = strchr(number, '.') + 1;
        memmove(number, rest, strlen(rest) + 1);
        tensor[i].rank = 3;
        memcpy(tensor[i].shape, (int64_t[]){E, t->shape[0], t->shape[1]}, 3 * sizeof(int64_t));
    }
    for (int64_t t = 0; t < experts->count; t++)
        slice[slices++] = (checkpoint_slice){p->count + t % stacked,
                                             experts->table[t].expert * experts->table[t].elements,
                                             experts->table[t].elements, param_value(experts, t)};
    const checkpoint_item item = {"step", step};
    const checkpoint_content content = {.step = step,
                                        .tensor = tensor,
                                        .tensors = p->count + stacked,
                                        .slice = slice,
                                        .slices = slices,
                                        .item = &item,
                                        .items = 1,
                                        .config = fixture_config};
    error err = {0};
    EXPECT(checkpoint_save(MPI_COMM_WORLD, folder, &content, (checkpoint_retention){9, -1, 0},
                           &err) == STATUS_OK,
           "%s", err.text);
}

#endif
