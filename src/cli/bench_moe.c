/* sepit bench moe: what a layer of experts costs, forward and backward, beside a dense layer of
 * equal active work in the same run. Every way to run it takes its turn in every round; a figure is
 * the slowest rank's, and the median over the rounds.
 */
#include "parallel/agree.h"
#include "src/base/clock.h"
#include "src/base/log.h"
#include "src/cli/bench.h"
#include "src/cli/bench_layer.h"
#include "src/nn/moe_dispatch.h"
#include "src/nn/setup.h"

#include <string.h>

enum { MOST_ROUNDS = 99, SLICES = 2 /* moe.slices unless a line says otherwise */ };

/* ---- the ways, side by side ------------------------------------------------------------------ */

enum {
    DENSE,
    BALANCED,
    NATURAL,
    HOT,
    ONE_SLICE,
    FOUR_SLICES,
    SUMMED_ONE_SLICE,
    SUMMED,
    SUMMED_FOUR_SLICES,
    DENSE_BLOCK,
    EXPERT_BLOCK,
    WAYS
};

/* "not exact": the rows of all ranks are one product. */
static const layer_way ways[WAYS] = {
    [DENSE] = {"dense", .dense = true, .slices = SLICES},
    [BALANCED] = {"balanced", .force = MOE_FORCE_BALANCED, .exact = true, .slices = SLICES},
    [NATURAL] = {"natural", .exact = true, .slices = SLICES},
    [HOT] = {"hot", .force = MOE_FORCE_HOT, .exact = true, .slices = SLICES},
    [ONE_SLICE] = {"balanced, 1 slice", .force = MOE_FORCE_BALANCED, .exact = true, .slices = 1},
    [FOUR_SLICES] = {"balanced, 4 slices", .force = MOE_FORCE_BALANCED, .exact = true, .slices = 4},
    [SUMMED_ONE_SLICE] = {"balanced, 1 slice, not exact", .force = MOE_FORCE_BALANCED, .slices = 1},
    [SUMMED] = {"balanced, not exact", .force = MOE_FORCE_BALANCED, .slices = SLICES},
    [SUMMED_FOUR_SLICES] = {"balanced, 4 slices, not exact", .force = MOE_FORCE_BALANCED,
                            .slices = 4},
    [DENSE_BLOCK] = {"dense, with attention", .block = true, .dense = true, .slices = SLICES},
    [EXPERT_BLOCK] = {"balanced, with attention", .block = true, .force = MOE_FORCE_BALANCED,
                      .exact = true, .slices = SLICES},
};

/* Of one way, a value per round; each is the slowest rank's. */
typedef struct measured {
    double seconds[MOST_ROUNDS], ratio[MOST_ROUNDS]; /* ratio: to the dense way of the round */
    double moving[MOST_ROUNDS], waited[MOST_ROUNDS]; /* in the exchange */
    double bytes;
    int64_t expert_rows;
} measured;

/* One rank has one source of rows: exact or not is the same. */
static bool is_measured(const bench_layer *l, const layer_way *way) {
    return l->run.exchange != NULL || way->dense || way->exact;
}

static void measure_way(bench_layer *l, const layer_way *way, int round, measured *m) {
    const layer_cost cost = layer_run(l, way, round);
    m->seconds[round] = comm_max(l->comm, cost.seconds);
    m->moving[round] = comm_max(l->comm, cost.exchange.moving_s);
    m->waited[round] = comm_max(l->comm, cost.exchange.waited_s + cost.exchange.counts_s);
    m->bytes = comm_max(l->comm, (double)cost.bytes);
    m->expert_rows = cost.expert_rows;
}

static void measure_ways(bench_layer *l, int rounds, measured all[WAYS]) {
    layer_run(l, &ways[HOT], 0); /* warms up: it touches the most memory */
    for (int r = 0; r < rounds; r++)
        for (int i = 0; i < WAYS; i++) {
            if (!is_measured(l, &ways[i]))
                continue;
            measure_way(l, &ways[i], r, &all[i]);
            const measured *dense = &all[ways[i].block ? DENSE_BLOCK : DENSE];
            all[i].ratio[r] = all[i].seconds[r] / dense->seconds[r];
        }
}

static void print_ways(const bench_layer *l, int rounds, measured all[WAYS]) {
    log_info("  %-30s %8s %9s %13s %9s %9s %8s %9s", "", "seconds", "to dense", "(from - to)",
             "moving ms", "waited ms", "MiB", "most rows");
    for (int i = 0; i < WAYS; i++) {
        measured *m = &all[i];
        if (!is_measured(l, &ways[i]))
            continue;
        const double ratio = bench_median(m->ratio, rounds); /* and now they are in order */
        log_info("  %-30s %8.3f %9.3f (%.3f - %.3f) %9.1f %9.1f %8.0f %9lld", ways[i].name,
                 bench_median(m->seconds, rounds), ratio, m->ratio[0], m->ratio[rounds - 1],
                 1e3 * bench_median(m->moving, rounds), 1e3 * bench_median(m->waited, rounds),
                 m->bytes / 1048576, (long long)m->expert_rows);
    }
}

/* ---- the parts that are not products of experts ---------------------------------------------- */

typedef enum part {
    ROUTE,
    PLAN,
    GATHER,
    TRAVEL,
    COMBINE,
    D_WEIGHT,
    SPREAD,
    TRAVEL_BACK,
    COMBINE_BACK,
    ROUTE_BACK,
    PARTS
} part;

static const char *const part_names[PARTS] = {
    "router",          "plan and counts",  "gather",
    "travel, forward", "combine",          "gates' gradient",
    "spread",          "travel, backward", "combine, backward",
    "router, backward"};

typedef struct parts {
    bench_layer *layer;
    operand x;
    routing routing;
    moe_plan plan;
    moe_journey journey;
    real *d_weight; /* [T,k] */
} parts;

static void answer_nothing(void *context, const moe_batch *batch) {
    (void)context;
    (void)batch;
}

static row_store take_rows(bench_layer *l, int64_t rows) {
    const row_store made = row_store_take(&l->data, gemm_is_bf16(l->engine), rows, l->sizes.D);
    memset(made.data, 0, (size_t)rows * row_store_row_bytes(&made)); /* its pages exist */
    return made;
}

static void route(const parts *s, routing *r) {
    bench_layer *l = s->layer;
    router_forward(&l->nn, &l->p, &l->llm.config.moe, &l->llm.block[1].moe, &s->x, &l->data, r);
}

static void make_plan(const parts *s, moe_plan *plan) {
    bench_layer *l = s->layer;
    moe_plan_make(&l->nn, &l->llm.config.moe, &s->routing, &l->data, plan);
}

static void prepare_parts(parts *s) {
    bench_layer *l = s->layer;
    l->llm.config.moe.slices = SLICES;
    l->run.exact = true;
    l->run.force = MOE_FORCE_BALANCED;
    s->x = layer_input(l, 0);
    route(s, &s->routing);
    make_plan(s, &s->plan);
    const bool travels = l->run.exchange != NULL;
    s->journey.sent = take_rows(l, s->plan.rows_sent);
    s->journey.arrived = travels ? take_rows(l, s->plan.rows_arrived) : s->journey.sent;
    s->journey.returned = take_rows(l, s->plan.rows_sent);
    s->journey.answered = travels ? take_rows(l, s->plan.rows_arrived) : s->journey.returned;
    s->d_weight = ARENA_ARRAY(&l->data, real, s->routing.T * s->routing.k);
}

static void run_part(parts *s, part what) {
    bench_layer *l = s->layer;
    const real *d_y = l->input;
    routing routed;
    moe_plan plan;
    switch (what) {
    case ROUTE:
        route(s, &routed);
        break;
    case PLAN:
        make_plan(s, &plan);
        break;
    case GATHER:
        moe_gather(&s->plan, &s->x, &s->journey.sent);
        break;
    case TRAVEL:
    case TRAVEL_BACK:
        moe_travel(&l->nn, &s->plan, &s->journey, answer_nothing, NULL);
        break;
    case COMBINE:
        moe_combine(&s->plan, &s->journey.returned, s->routing.weight, l->y);
        break;
    case D_WEIGHT:
        moe_weight_backward(&s->plan, d_y, &s->journey.returned, s->d_weight);
        break;
    case SPREAD:
        moe_spread(&s->plan, d_y, s->routing.weight, &s->journey.sent);
        break;
    case COMBINE_BACK:
        moe_combine(&s->plan, &s->journey.returned, NULL, l->d_x);
        break;
    default:
        router_backward(&l->nn, &l->p, &l->llm.config.moe, &l->llm.block[1].moe, &s->x, &s->routing,
                        s->d_weight, l->d_x);
    }
}

/* Before each part the experts' gradient is cleared: it fills the caches with something else, as
 * the products would. */
static double measure_part(parts *s, part what, int rounds) {
    bench_layer *l = s->layer;
    double seconds[MOST_ROUNDS];
    for (int r = 0; r < rounds; r++) {
        const size_t mark = arena_mark(&l->data);
        memset(l->run.gradient[0], 0, (size_t)l->experts.storage * sizeof(real));
        comm_max(l->comm, 0); /* start together */
        const double start = clock_seconds();
        run_part(s, what);
        seconds[r] = comm_max(l->comm, clock_seconds() - start);
        arena_reset(&l->data, mark);
    }
    return bench_median(seconds, rounds);
}

static void print_share(const char *what, double seconds, double alone, double block) {
    log_info("  %s %.1f ms: %.2f %% of the feed-forward part, %.2f %% of all with attention", what,
             1e3 * seconds, 100 * seconds / alone, 100 * seconds / block);
}

/* alone, block: seconds of the layer without and with attention. */
static void bench_parts(bench_layer *l, int rounds, double alone, double block) {
    const size_t mark = arena_mark(&l->data);
    parts s = {.layer = l};
    double travel = 0, router = 0;
    prepare_parts(&s);
    log_info("what is not a product, balanced, %d slices, alone and with cold caches, ms:", SLICES);
    for (int i = 0; i < PARTS; i++) {
        run_part(&s, (part)i); /* warms up */
        const double seconds = measure_part(&s, (part)i, rounds);
        *(i == ROUTE || i == ROUTE_BACK ? &router : &travel) += seconds;
        log_info("  %-30s %8.2f", part_names[i], 1e3 * seconds);
    }
    print_share("exchange and permutation", travel, alone, block);
    print_share("router", router, alone, block);
    arena_reset(&l->data, mark);
}

/* ---- a slow network -------------------------------------------------------------------------- */

/* Each way out and each way back takes `trip` seconds in all, shared evenly by the lanes, so that
 * cutting alone hides nothing. What is left of the four trips (out and back, forward and backward)
 * is waited for; the first lane's way out and the last one's way back have nothing beside them. */
static void measure_delay(bench_layer *l, int rounds, int which, double trip, measured *quick) {
    const layer_way *way = &ways[which];
    const int64_t lanes = way->slices * l->grid.local_experts;
    measured slow;
    exchange_set_delay(l->run.exchange, trip / (double)lanes);
    for (int r = 0; r < rounds; r++)
        measure_way(l, way, r, &slow);
    exchange_set_delay(l->run.exchange, 0);
    const double waited = bench_median(slow.waited, rounds);
    const double longer = bench_median(slow.seconds, rounds) - bench_median(quick->seconds, rounds);
    log_info(
        "  %lld slice%s of %lld experts: waits %.0f ms (%.0f without the delay), takes %.0f ms "
        "longer: %.0f %% of the delay is hidden, of at most %.0f",
        (long long)way->slices, way->slices == 1 ? "" : "s", (long long)l->grid.local_experts,
        1e3 * waited, 1e3 * bench_median(quick->waited, rounds), 1e3 * longer,
        100 * (1 - waited / (4 * trip)), 100 - 100.0 / (double)lanes);
}

/* A trip takes half as long as the forward products, which are about a third of the whole. */
static void bench_delay(bench_layer *l, int rounds, measured all[WAYS]) {
    static const int sliced[] = {ONE_SLICE, BALANCED, FOUR_SLICES};
    const double trip = bench_median(all[BALANCED].seconds, rounds) / 6;
    log_info("balanced, on a slow network: %.0f ms each way, %.0f ms in all", 1e3 * trip,
             4e3 * trip);
    for (int i = 0; i < 3; i++)
        measure_delay(l, rounds, sliced[i], trip, &all[sliced[i]]);
}

/* ---- all ------------------------------------------------------------------------------------- */

static void bench_layer_ways(bench_layer *l, int rounds) {
    measured all[WAYS];
    const int ranks = l->grid.ranks;
    log_info("%s", gemm_describe(l->engine));
    log_info("one layer, %lld tokens on each of %d rank%s, width %lld, feed-forward width %lld, "
             "1 of %lld experts per token; %d rounds",
             (long long)l->sizes.tokens, ranks, ranks == 1 ? "" : "s", (long long)l->sizes.D,
             (long long)l->sizes.F, (long long)l->grid.experts, rounds);
    measure_ways(l, rounds, all);
    print_ways(l, rounds, all);
    bench_parts(l, rounds, bench_median(all[BALANCED].seconds, rounds),
                bench_median(all[EXPERT_BLOCK].seconds, rounds));
    if (l->run.exchange != NULL)
        bench_delay(l, rounds, all);
}

status bench_moe(MPI_Comm comm, const config *c, error *err) {
    const layer_sizes sizes = {.tokens = config_int(c, "bench.tokens"),
                               .D = config_int(c, "bench.width"),
                               .F = config_int(c, "bench.ffn"),
                               .variety = config_int(c, "bench.rounds"),
                               .dtype = setup_compute_dtype(c)};
    bench_layer layer;
    const status code = layer_create(&layer, comm, &sizes, err);
    if (code == STATUS_OK)
        bench_layer_ways(&layer, (int)sizes.variety);
    layer_destroy(&layer);
    return code;
}
