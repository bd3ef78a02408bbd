#include "src/cli/bench_layer.h"

#include "parallel/agree.h"
#include "src/base/clock.h"
#include "src/base/rng.h"

#include <string.h>
#include <unistd.h>

enum {
    HEAD = 64,       /* width of an attention head */
    SEQUENCE = 512,  /* tokens that attend to each other */
    VOCABULARY = 16, /* nothing is looked up in it */
    SHIFT = 37       /* tokens by which one drawing differs from the next */
};

/* ---- the two blocks -------------------------------------------------------------------------- */

static int64_t experts_of(MPI_Comm comm) {
    return comm_size(comm) > LAYER_EXPERTS ? comm_size(comm) : LAYER_EXPERTS;
}

/* TinyLlama's proportions: eight query heads to a key/value head. Block 0 is dense. */
static llama_config config_of(const bench_layer *l) {
    const int64_t H = l->sizes.D / HEAD;
    return (llama_config){.layers = 2,
                          .D = l->sizes.D,
                          .H = H,
                          .K = H % 8 == 0 ? H / 8 : H,
                          .F = l->sizes.F,
                          .V = VOCABULARY,
                          .norm_eps = 1e-5,
                          .rotary_base = 10000,
                          .moe = {.E = l->grid.experts,
                                  .k = 1,
                                  .slices = LAYER_MOST_SLICES,
                                  .layer_mask = {1 << 1},
                                  .first_expert = l->grid.first_expert,
                                  .local_experts = l->grid.local_experts}};
}

static real *zeros(arena *memory, int64_t n) {
    return arena_calloc(memory, n, sizeof(real));
}

static status make_weights(bench_layer *l, error *err) {
    const bool bf16 = l->sizes.dtype == COMPUTE_BF16;
    const llama_config c = config_of(l);
    params_init(&l->p);
    params_init(&l->experts);
    TRY(llama_declare(&l->llm, &c, &l->p, &l->experts, err));
    TRY(params_allocate(&l->p, bf16, err));
    TRY(params_allocate(&l->experts, bf16, err));
    params_draw(&l->p, 1);
    params_draw(&l->experts, 1);
    return STATUS_OK;
}

/* As in training: a gradient per source rank, statistics, and the balance loss. */
static void prepare_run(bench_layer *l) {
    const moe_config *c = &l->llm.config.moe;
    const int ranks = comm_size(l->comm);
    params_use_gradient(&l->p, zeros(&l->data, l->p.storage));
    l->run.gradient = ARENA_ARRAY(&l->data, real *, ranks);
    for (int i = 0; i < ranks; i++)
        l->run.gradient[i] = zeros(&l->data, l->experts.storage);
    l->run.statistics =
        (moe_statistics){arena_calloc(&l->data, moe_count_items(c, 1), sizeof(int64_t)),
                         arena_calloc(&l->data, moe_sum_items(c, 1), sizeof(double))};
    double *fraction = ARENA_ARRAY(&l->data, double, c->E);
    for (int64_t e = 0; e < c->E; e++)
        fraction[e] = 1 / (double)c->E;
    l->run.fraction = fraction;
    l->run.balance_scale = 0.01 / (double)l->sizes.tokens;
}

/* ---- tokens ---------------------------------------------------------------------------------- */

static void make_text(bench_layer *l) {
    const int64_t T = l->sizes.tokens, B = (T + SEQUENCE - 1) / SEQUENCE;
    int64_t *offset = ARENA_ARRAY(&l->data, int64_t, B + 1);
    int32_t *token = ARENA_ARRAY(&l->data, int32_t, T);
    int32_t *position = ARENA_ARRAY(&l->data, int32_t, T);
    for (int64_t b = 0; b <= B; b++)
        offset[b] = b < B ? b * SEQUENCE : T;
    for (int64_t t = 0; t < T; t++) {
        token[t] = 0;
        position[t] = (int32_t)(t % SEQUENCE);
    }
    l->text = (text_batch){.B = B, .offset = offset, .token = token, .position = position};
}

/* Every element has variance 1, half of it common to all tokens. */
static void draw_input(bench_layer *l) {
    const int64_t D = l->sizes.D, T = l->sizes.tokens + (l->sizes.variety - 1) * SHIFT;
    const double half = sqrt(0.5);
    const rng_key shared = rng_key_make(1, "bench shared"), own = rng_key_make(1, "bench own");
    l->input = ARENA_ARRAY(&l->data, real, T * D);
    for (int64_t j = 0; j < D; j++) {
        const double common = rng_normal(shared, (uint64_t)j, 0);
        for (int64_t t = 0; t < T; t++) {
            const double z = rng_normal(own, (uint64_t)(t * D + j), (uint64_t)l->grid.rank);
            l->input[t * D + j] = (real)(half * (common + z));
        }
    }
    l->y = ARENA_ARRAY(&l->data, real, l->sizes.tokens * D);
    l->d_x = ARENA_ARRAY(&l->data, real, l->sizes.tokens * D);
}

static const real *tokens_of(const bench_layer *l, int64_t which) {
    return l->input + which % l->sizes.variety * SHIFT * l->sizes.D;
}

operand layer_input(bench_layer *l, int64_t which) {
    return gemm_operand(l->engine, &l->data, tokens_of(l, which), l->sizes.tokens, l->sizes.D);
}

/* ---- life ------------------------------------------------------------------------------------ */

static status reserve_memory(bench_layer *l, error *err) {
    const size_t memory = (size_t)sysconf(_SC_PHYS_PAGES) * (size_t)sysconf(_SC_PAGE_SIZE);
    TRY(arena_create(&l->data, "data", memory, err));
    TRY(arena_create(&l->kept, "activation", memory, err));
    TRY(arena_create(&l->scratch, "scratch", memory, err));
    return gemm_create(&l->engine, l->sizes.dtype, &l->scratch, err);
}

status layer_create(bench_layer *l, MPI_Comm comm, const layer_sizes *sizes, error *err) {
    *l = (bench_layer){.comm = comm, .sizes = *sizes};
    if (sizes->D % HEAD != 0)
        return error_set(err, STATUS_INPUT,
                         "bench.width is %lld; it must be a multiple of %d, the width of a head",
                         (long long)sizes->D, HEAD);
    const int ranks = comm_size(comm);
    TRY(grid_create(&l->grid, comm, ranks, experts_of(comm), err));
    TRY(agree(comm, reserve_memory(l, err), err));
    TRY(agree(comm, make_weights(l, err), err));
    if (ranks > 1)
        TRY(exchange_create(&l->run.exchange, comm, moe_lanes(&l->llm.config.moe), err));
    prepare_run(l);
    make_text(l);
    draw_input(l);
    l->nn = (nn_context){
        .gemm = l->engine, .activations = &l->kept, .scratch = &l->scratch, .moe = &l->run};
    return STATUS_OK;
}

void layer_destroy(bench_layer *l) {
    exchange_destroy(l->run.exchange);
    gemm_destroy(l->engine);
    arena_destroy(&l->scratch);
    arena_destroy(&l->kept);
    arena_destroy(&l->data);
    llama_destroy(&l->llm);
    params_destroy(&l->experts);
    params_destroy(&l->p);
    grid_destroy(&l->grid);
}

/* ---- one run --------------------------------------------------------------------------------- */

static void run_block(bench_layer *l, const llama_block *block, const real *x) {
    const llama_pass pass = llama_pass_text(&l->nn, &l->p, &l->llm, &l->text);
    llama_block_saved saved = {.x = x};
    llama_block_forward(&pass, block, &l->kept, &saved, l->y);
    llama_block_backward(&pass, block, &saved, l->d_x);
}

static void run_dense(bench_layer *l, const operand *x, const real *d_y) {
    const ffn *network = &l->llm.block[0].ffn;
    ffn_saved saved;
    ffn_forward(&l->nn, &l->p, network, x, &l->kept, &saved, l->y);
    ffn_backward(&l->nn, &l->p, network, x, &saved, d_y, l->d_x);
}

static void run_experts(bench_layer *l, const operand *x, const real *d_y) {
    const moe_config *c = &l->llm.config.moe;
    const moe_layer *layer = &l->llm.block[1].moe;
    moe_saved *saved = NULL;
    moe_forward(&l->nn, &l->p, &l->experts, c, layer, x, NULL, &l->kept, &saved, l->y);
    moe_backward(&l->nn, &l->p, &l->experts, c, layer, x, saved, d_y, l->d_x);
}

static int64_t fullest_expert(const bench_layer *l) {
    const moe_config *c = &l->llm.config.moe;
    int64_t most = 0;
    comm_sum(l->comm, l->run.statistics.count, moe_count_items(c, 1));
    for (int64_t e = 0; e < c->E; e++) {
        const int64_t rows = l->run.statistics.count[moe_count_at(c, 0, e, MOE_TEXT)];
        most = rows > most ? rows : most;
    }
    return most;
}

static void set_way(bench_layer *l, const layer_way *way) {
    const int64_t counters = moe_count_items(&l->llm.config.moe, 1);
    l->llm.config.moe.slices = way->slices;
    l->run.exact = way->exact;
    l->run.force = way->force;
    memset(l->run.statistics.count, 0, (size_t)counters * sizeof(int64_t));
    l->kept.peak = l->kept.used;
    l->scratch.peak = l->scratch.used;
    if (l->run.exchange != NULL)
        exchange_take_times(l->run.exchange);
}

layer_cost layer_run(bench_layer *l, const layer_way *way, int64_t which) {
    const size_t data = arena_mark(&l->data), kept = arena_mark(&l->kept);
    const real *tokens = tokens_of(l, which); /* their own gradient, too: any numbers will do */
    const operand x = layer_input(l, which);
    memcpy(l->d_x, tokens, arena_bytes(l->sizes.tokens * l->sizes.D, sizeof(real)));
    set_way(l, way);
    comm_max(l->comm, 0); /* start together */
    const double start = clock_seconds();
    if (way->block)
        run_block(l, &l->llm.block[way->dense ? 0 : 1], tokens);
    else if (way->dense)
        run_dense(l, &x, tokens);
    else
        run_experts(l, &x, tokens);
    layer_cost cost = {.seconds = clock_seconds() - start, .bytes = l->kept.peak + l->scratch.peak};
    if (l->run.exchange != NULL)
        cost.exchange = exchange_take_times(l->run.exchange);
    cost.expert_rows = fullest_expert(l);
    arena_reset(&l->kept, kept);
    arena_reset(&l->data, data);
    return cost;
}
