/* sepit bench exchange: what it costs to bring tokens to the ranks of their experts and back,
 * beside a bare MPI_Alltoallv of the same rows in the same run; and how much of the waiting for a
 * slow network the products of a layer hide. All ranks are one expert group. Every figure is a
 * median of repetitions, each taken by the slowest rank; bytes are one rank's, those that it keeps
 * included.
 */
#include "parallel/agree.h"
#include "parallel/exchange.h"
#include "src/base/arena.h"
#include "src/base/bf16.h"
#include "src/base/clock.h"
#include "src/base/log.h"
#include "src/cli/bench.h"
#include "src/tensor/gemm.h"

#include <string.h>

enum { TOKENS = 4096, REPEATS = 15, LANES = 8, EXPERT_ROWS = 64, EXPERT_PRODUCTS = 32 };

static const size_t arena_room = (size_t)1 << 30;

/* ---- out and back, nothing beside ------------------------------------------------------------ */

typedef enum phase { GATHER, OUT, BACK, COMBINE, BARE, PHASES } phase;

/* The tokens of one rank: token t goes to rank t mod ranks, with weight weight[t]. */
typedef struct traffic {
    MPI_Comm comm;
    exchange *exchange;
    int64_t D;
    bool bf16;
    int64_t *row;             /* [TOKENS] where a token stands in the order of sending */
    float *weight, *combined; /* [TOKENS], [TOKENS,D] */
    uint8_t *token, *sent, *received, *returned; /* [TOKENS,D] */
    int64_t *send_count, *send_first;            /* [ranks] */
    int64_t *receive_count, *receive_first;      /* [ranks] */
} traffic;

static size_t row_bytes(const traffic *t) {
    return (size_t)t->D * (t->bf16 ? sizeof(uint16_t) : sizeof(float));
}

static float token_value(int64_t token, int64_t i) {
    return (float)((token * 31 + i) % 127 - 63); /* exact in bf16 */
}

static void make_traffic(traffic *t, arena *memory) {
    const int ranks = exchange_ranks(t->exchange);
    const int64_t bytes = TOKENS * (int64_t)row_bytes(t);
    t->row = ARENA_ARRAY(memory, int64_t, TOKENS);
    t->weight = ARENA_ARRAY(memory, float, TOKENS);
    t->combined = ARENA_ARRAY(memory, float, TOKENS * t->D);
    t->token = ARENA_ARRAY(memory, uint8_t, bytes);
    t->sent = ARENA_ARRAY(memory, uint8_t, bytes);
    t->returned = ARENA_ARRAY(memory, uint8_t, bytes);
    t->send_count = arena_calloc(memory, ranks, sizeof(int64_t));
    t->send_first = arena_calloc(memory, ranks, sizeof(int64_t));
    t->receive_count = arena_calloc(memory, ranks, sizeof(int64_t));
    t->receive_first = arena_calloc(memory, ranks, sizeof(int64_t));
    int64_t next = 0;
    for (int r = 0; r < ranks; r++) {
        t->send_first[r] = next;
        for (int64_t token = r; token < TOKENS; token += ranks)
            t->row[token] = next++;
        t->send_count[r] = next - t->send_first[r];
    }
    for (int64_t i = 0; i < TOKENS * t->D; i++) {
        const float value = token_value(i / t->D, i % t->D);
        if (t->bf16)
            ((uint16_t *)t->token)[i] = bf16_from_float(value);
        else
            ((float *)t->token)[i] = value;
    }
    for (int64_t token = 0; token < TOKENS; token++)
        t->weight[token] = 1.0F / (float)(1 + token % 4);
}

static void gather_rows(traffic *t) {
    const size_t bytes = row_bytes(t);
#pragma omp parallel for
    for (int64_t token = 0; token < TOKENS; token++)
        memcpy(t->sent + (size_t)t->row[token] * bytes, t->token + (size_t)token * bytes, bytes);
}

static void combine_rows(traffic *t) {
#pragma omp parallel for
    for (int64_t token = 0; token < TOKENS; token++) {
        const uint8_t *row = t->returned + (size_t)t->row[token] * row_bytes(t);
        float *y = t->combined + token * t->D;
        for (int64_t i = 0; i < t->D; i++)
            y[i] = t->weight[token] *
                   (t->bf16 ? bf16_to_float(((const uint16_t *)row)[i]) : ((const float *)row)[i]);
    }
}

static exchange_rows rows_out(const traffic *t) {
    return (exchange_rows){t->sent,          t->send_first,    t->send_count, t->received,
                           t->receive_first, t->receive_count, row_bytes(t)};
}

/* The received rows themselves go back: an expert that does nothing. */
static exchange_rows rows_back(const traffic *t) {
    return (exchange_rows){t->received,   t->receive_first, t->receive_count, t->returned,
                           t->send_first, t->send_count,    row_bytes(t)};
}

static void move(traffic *t, exchange_rows rows) {
    exchange_begin(t->exchange, 0, &rows);
    exchange_end(t->exchange, 0);
}

static void run_phase(traffic *t, phase what) {
    const exchange_rows out = rows_out(t), back = rows_back(t);
    switch (what) {
    case GATHER:
        gather_rows(t);
        break;
    case OUT:
        exchange_counts(t->exchange, t->send_count, 1, t->receive_count);
        move(t, out);
        break;
    case BACK:
        move(t, back);
        break;
    case COMBINE:
        combine_rows(t);
        break;
    default:
        exchange_blocking(t->exchange, &out);
        exchange_blocking(t->exchange, &back);
    }
}

/* Room for what arrives, once everyone has said how much that is. */
static void make_room(traffic *t, arena *memory) {
    int64_t total = 0;
    exchange_counts(t->exchange, t->send_count, 1, t->receive_count);
    for (int r = 0; r < exchange_ranks(t->exchange); r++) {
        t->receive_first[r] = total;
        total += t->receive_count[r];
    }
    t->received = ARENA_ARRAY(memory, uint8_t, total * (int64_t)row_bytes(t));
}

/* Every token has come back as it went. */
static status check_combined(const traffic *t, error *err) {
    for (int64_t i = 0; i < TOKENS * t->D; i++) {
        const float want = t->weight[i / t->D] * token_value(i / t->D, i % t->D);
        if (t->combined[i] != want)
            return error_set(err, STATUS_FAILED,
                             "bench exchange: value %lld of token %lld came back as %g instead of "
                             "%g; MPI has lost data",
                             (long long)(i % t->D), (long long)(i / t->D), (double)t->combined[i],
                             (double)want);
    }
    return STATUS_OK;
}

static void print_traffic(const traffic *t, double seconds[PHASES][REPEATS]) {
    double ms[PHASES];
    for (int p = 0; p < PHASES; p++)
        ms[p] = 1e3 * bench_median(seconds[p], REPEATS);
    const double bytes = (double)TOKENS * (double)row_bytes(t);
    const double moved = ms[OUT] + ms[BACK], all = ms[GATHER] + moved + ms[COMBINE];
    log_info("  %5lld x %s %8.2f %7.2f %7.2f %8.2f %8.2f  %6.2f GB/s %8.2f  %6.2f GB/s %4.0f %% "
             "%4.0f %%",
             (long long)t->D, t->bf16 ? "bf16" : "fp32", ms[GATHER], ms[OUT], ms[BACK], ms[COMBINE],
             all, 2e-6 * bytes / moved, ms[BARE], 2e-6 * bytes / ms[BARE], 100 * ms[BARE] / moved,
             100 * ms[BARE] / all);
}

static status measure_traffic(traffic *t, arena *memory, error *err) {
    double seconds[PHASES][REPEATS];
    make_traffic(t, memory);
    make_room(t, memory);
    for (int r = -2; r < REPEATS; r++) /* two to warm up */
        for (int p = 0; p < PHASES; p++) {
            comm_max(t->comm, 0); /* start together */
            const double start = clock_seconds();
            run_phase(t, (phase)p);
            const double slowest = comm_max(t->comm, clock_seconds() - start);
            if (r >= 0)
                seconds[p][r] = slowest;
        }
    print_traffic(t, seconds);
    return agree(t->comm, check_combined(t, err), err);
}

/* ---- a layer on a slow network --------------------------------------------------------------- */

/* The products of a layer's experts, in equal slices, with an exchange before and after each. */
typedef struct layer {
    traffic *traffic;
    gemm *engine;
    operand rows, weight;
    real *product;
    int slices;
    bool overlap; /* other slices travel beside the products of one */
} layer;

static void run_products(const layer *l, int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        gemm_forward(l->engine, &l->rows, &l->weight, 0, l->product);
        exchange_progress(l->traffic->exchange);
    }
}

/* Slice `s` of the rows that travel: its part of every rank's rows. The arrays are [4 · ranks]. */
static exchange_rows slice_of(const exchange_rows *whole, int ranks, int s, int slices,
                              int64_t *numbers) {
    int64_t *first[2] = {numbers, numbers + ranks};
    int64_t *count[2] = {numbers + 2 * ranks, numbers + 3 * ranks};
    const int64_t *whole_first[2] = {whole->send_first, whole->receive_first};
    const int64_t *whole_count[2] = {whole->send_count, whole->receive_count};
    for (int side = 0; side < 2; side++)
        for (int r = 0; r < ranks; r++) {
            const int64_t begin = whole_count[side][r] * s / slices;
            first[side][r] = whole_first[side][r] + begin;
            count[side][r] = whole_count[side][r] * (s + 1) / slices - begin;
        }
    return (exchange_rows){whole->send, first[0], count[0],        whole->receive,
                           first[1],    count[1], whole->row_bytes};
}

static void begin_slice(const layer *l, bool back, int s, arena *memory) {
    const exchange_rows whole = back ? rows_back(l->traffic) : rows_out(l->traffic);
    const int ranks = exchange_ranks(l->traffic->exchange);
    const exchange_rows part =
        slice_of(&whole, ranks, s, l->slices, ARENA_ARRAY(memory, int64_t, 4 * ranks));
    exchange_begin(l->traffic->exchange, back ? l->slices + s : s, &part);
}

/* One layer forward, as src/nn/moe.h does it: all slices set out, then slice by slice the products,
 * and back. Without overlap, every journey is waited for at once. */
static void run_layer(const layer *l, arena *memory) {
    exchange *x = l->traffic->exchange;
    for (int s = 0; s < l->slices && l->overlap; s++)
        begin_slice(l, false, s, memory);
    for (int s = 0; s < l->slices; s++) {
        if (!l->overlap)
            begin_slice(l, false, s, memory);
        exchange_end(x, s);
        run_products(l, EXPERT_PRODUCTS / l->slices);
        begin_slice(l, true, s, memory);
        if (!l->overlap)
            exchange_end(x, l->slices + s);
    }
    for (int s = 0; s < l->slices && l->overlap; s++)
        exchange_end(x, l->slices + s);
}

/* Seconds of the layer, and of them those spent waiting. */
typedef struct layer_times {
    double whole, waited;
} layer_times;

static layer_times measure_layer(const layer *l, arena *memory) {
    enum { LAYERS = 5 };
    double whole[LAYERS], waited[LAYERS];
    for (int r = 0; r < LAYERS; r++) {
        const size_t mark = arena_mark(memory);
        exchange_take_times(l->traffic->exchange);
        comm_max(l->traffic->comm, 0);
        const double start = clock_seconds();
        run_layer(l, memory);
        whole[r] = comm_max(l->traffic->comm, clock_seconds() - start);
        waited[r] = comm_max(l->traffic->comm, exchange_take_times(l->traffic->exchange).waited_s);
        arena_reset(memory, mark);
    }
    return (layer_times){bench_median(whole, LAYERS), bench_median(waited, LAYERS)};
}

/* A delay of half the products' time per direction, shared evenly by the slices, so that cutting
 * alone hides nothing. With n slices the best possible is 1 − 1/n: the first slice's way out and
 * the last one's way back have nothing beside them. */
static void measure_overlap(layer *l, arena *memory) {
    run_products(l, 2);
    double alone = clock_seconds();
    run_products(l, EXPERT_PRODUCTS);
    alone = comm_max(l->traffic->comm, clock_seconds() - alone);
    log_info("a layer on a slow network: %d products of %d x %lld rows, %.1f ms, and %.1f ms of "
             "delay each way",
             EXPERT_PRODUCTS, EXPERT_ROWS, (long long)l->traffic->D, 1e3 * alone, 500 * alone);
    for (int slices = 2; 2 * slices <= LANES; slices *= 2) {
        l->slices = slices;
        exchange_set_delay(l->traffic->exchange, alone / 2 / slices);
        l->overlap = false;
        const layer_times serial = measure_layer(l, memory);
        l->overlap = true;
        const layer_times beside = measure_layer(l, memory);
        log_info("  %d slices: one after the other %.1f ms (waiting %.1f), side by side %.1f ms "
                 "(waiting %.1f): %.0f %% of the waiting hidden, of at most %.0f",
                 slices, 1e3 * serial.whole, 1e3 * serial.waited, 1e3 * beside.whole,
                 1e3 * beside.waited, 100 * (1 - beside.waited / serial.waited),
                 100 - 100.0 / slices);
    }
    exchange_set_delay(l->traffic->exchange, 0);
}

/* ---- both ------------------------------------------------------------------------------------ */

static status bench_overlap(traffic *t, arena *memory, arena *scratch, error *err) {
    gemm *engine = NULL;
    TRY(agree(t->comm, gemm_create(&engine, COMPUTE_F32, scratch, err), err));
    layer l = {.traffic = t, .engine = engine};
    real *x = arena_calloc(memory, EXPERT_ROWS * t->D, sizeof *x);
    real *w = arena_calloc(memory, t->D * t->D, sizeof *w);
    l.product = ARENA_ARRAY(memory, real, EXPERT_ROWS * t->D);
    l.rows = gemm_operand(engine, memory, x, EXPERT_ROWS, t->D);
    l.weight = gemm_operand(engine, memory, w, t->D, t->D);
    measure_overlap(&l, memory);
    gemm_destroy(engine);
    return STATUS_OK;
}

static status bench_all(traffic *t, arena arenas[2], error *err) {
    static const int64_t widths[] = {2048, 1024};
    const int ranks = comm_size(t->comm);
    log_info("exchange of %d tokens per rank on %d rank%s, ms; %d of %d rows go to other ranks",
             TOKENS, ranks, ranks == 1 ? "" : "s", ranks - 1, ranks);
    log_info("  %12s %8s %7s %7s %8s %8s %7s %18s %17s %6s", "width", "gather", "out", "back",
             "combine", "all", "out+back", "bare Alltoallv", "bare/out+back", "/all");
    for (int i = 0; i < 4; i++) {
        *t = (traffic){
            .comm = t->comm, .exchange = t->exchange, .D = widths[i / 2], .bf16 = i % 2 == 1};
        TRY(measure_traffic(t, &arenas[0], err));
        if (i == 1)
            TRY(bench_overlap(t, &arenas[0], &arenas[1], err));
        arena_reset(&arenas[0], 0);
    }
    return STATUS_OK;
}

status bench_exchange(MPI_Comm comm, error *err) {
    arena arenas[2] = {{0}};
    traffic t = {.comm = comm};
    status code = arena_create(&arenas[0], "rows", arena_room, err);
    if (code == STATUS_OK)
        code = arena_create(&arenas[1], "scratch", arena_room, err);
    code = agree(comm, code, err);
    if (code == STATUS_OK)
        code = exchange_create(&t.exchange, comm, LANES, err);
    if (code == STATUS_OK)
        code = bench_all(&t, arenas, err);
    exchange_destroy(t.exchange);
    arena_destroy(&arenas[0]);
    arena_destroy(&arenas[1]);
    return code;
}
