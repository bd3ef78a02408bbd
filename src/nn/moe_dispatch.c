#include "src/nn/moe_dispatch.h"

/* ---- the plan ---- */

static int64_t cell_of(const moe_plan *plan, int64_t slice, int64_t expert) {
    const int64_t rank = expert / plan->local_experts, local = expert % plan->local_experts;
    return (slice * plan->local_experts + local) * plan->ranks + rank;
}

/* The most rows of an expert. */
static int64_t rows_allowed(const moe_run *run, const routing *r) {
    if (run->capacity <= 0)
        return INT64_MAX;
    return (int64_t)ceil(run->capacity * (double)(r->T * r->k) / (double)r->E);
}

/* Slice s holds the tokens from here to where the next one begins. */
static int64_t slice_begin(int64_t T, int64_t slices, int64_t s) {
    return s * T / slices;
}

/* Gives every row its place inside its cell, in order of (token, choice), and counts the cells. */
static void fill_cells(const moe_plan *plan, const routing *r, int64_t slices, int64_t allowed) {
    int64_t taken[MOE_MOST_EXPERTS] = {0};
    for (int64_t s = 0; s < slices; s++) {
        const int64_t end = slice_begin(r->T, slices, s + 1) * r->k;
        for (int64_t i = slice_begin(r->T, slices, s) * r->k; i < end; i++) {
            const int64_t e = r->expert[i];
            plan->row[i] = taken[e]++ < allowed ? plan->sent[cell_of(plan, s, e)]++ : -1;
        }
    }
}

/* From places inside cells to places among all rows. */
static void place_rows(const moe_plan *plan, const routing *r, int64_t slices) {
    for (int64_t s = 0; s < slices; s++) {
        const int64_t end = slice_begin(r->T, slices, s + 1) * r->k;
        for (int64_t i = slice_begin(r->T, slices, s) * r->k; i < end; i++)
            if (plan->row[i] >= 0)
                plan->row[i] += plan->sent_first[cell_of(plan, s, r->expert[i])];
    }
}

/* first[i] = count[0] + … + count[i−1]; returns the sum of all. */
static int64_t running_sum(const int64_t *count, int64_t n, int64_t *first) {
    int64_t sum = 0;
    for (int64_t i = 0; i < n; i++) {
        first[i] = sum;
        sum += count[i];
    }
    return sum;
}

/* Every rank learns how many rows it gets in each of its cells. */
static void exchange_cells(const moe_plan *plan, arena *scratch) {
    const int64_t lanes = plan->lanes, ranks = plan->ranks;
    const size_t mark = arena_mark(scratch);
    int64_t *send = ARENA_ARRAY(scratch, int64_t, ranks * lanes); /* [ranks, lanes] */
    int64_t *received = ARENA_ARRAY(scratch, int64_t, ranks * lanes);
    for (int64_t i = 0; i < lanes; i++)
        for (int64_t j = 0; j < ranks; j++)
            send[j * lanes + i] = plan->sent[i * ranks + j];
    exchange_counts(plan->exchange, send, lanes, received);
    for (int64_t i = 0; i < lanes; i++)
        for (int64_t j = 0; j < ranks; j++)
            plan->arrived[i * ranks + j] = received[j * lanes + i];
    arena_reset(scratch, mark);
}

static void check_group(const moe_config *c, const exchange *x) {
    const int64_t ranks = x == NULL ? 1 : exchange_ranks(x);
    const int64_t rank = x == NULL ? 0 : exchange_rank(x);
    CHECK(c->local_experts * ranks == c->E && c->first_expert == rank * c->local_experts,
          "Rank %lld of %lld holds %lld of %lld experts, from %lld on.", (long long)rank,
          (long long)ranks, (long long)c->local_experts, (long long)c->E,
          (long long)c->first_expert);
}

void moe_plan_make(const nn_context *nn, const moe_config *c, const routing *r, arena *memory,
                   moe_plan *plan) {
    exchange *x = nn->moe->exchange;
    check_group(c, x);
    const int64_t cells = c->slices * c->E;
    *plan = (moe_plan){.exchange = x,
                       .lanes = c->slices * c->local_experts,
                       .local_experts = c->local_experts,
                       .ranks = c->E / c->local_experts,
                       .T = r->T,
                       .k = r->k};
    plan->sources = nn->moe->exact ? plan->ranks : 1;
    plan->row = ARENA_ARRAY(memory, int64_t, r->T * r->k);
    plan->sent = arena_calloc(memory, cells, sizeof *plan->sent);
    plan->sent_first = ARENA_ARRAY(memory, int64_t, cells);
    plan->arrived = x == NULL ? plan->sent : ARENA_ARRAY(memory, int64_t, cells);
    plan->arrived_first = x == NULL ? plan->sent_first : ARENA_ARRAY(memory, int64_t, cells);
    fill_cells(plan, r, c->slices, rows_allowed(nn->moe, r));
    plan->rows_sent = running_sum(plan->sent, cells, plan->sent_first);
    place_rows(plan, r, c->slices);
    if (x != NULL)
        exchange_cells(plan, nn->scratch);
    plan->rows_arrived = running_sum(plan->arrived, cells, plan->arrived_first);
}

enum { ARENA_ROUNDING = 64 };

size_t moe_plan_kept_bytes(const moe_config *c, int64_t T) {
    return arena_bytes(T * c->k + 4 * c->slices * c->E, sizeof(int64_t)) + 5 * ARENA_ROUNDING;
}

size_t moe_plan_scratch_bytes(const moe_config *c) {
    return arena_bytes(2 * c->slices * c->E, sizeof(int64_t)) + 2 * ARENA_ROUNDING;
}

int64_t moe_plan_batches(const moe_plan *plan) {
    return plan->lanes * plan->sources;
}

moe_batch moe_plan_batch(const moe_plan *plan, int64_t index) {
    const int64_t lane = index / plan->sources, source = index % plan->sources;
    const int64_t cell = lane * plan->ranks + source, cells = plan->ranks / plan->sources;
    moe_batch batch = {.index = index,
                       .expert = lane % plan->local_experts,
                       .source = source,
                       .first = plan->arrived_first[cell]};
    for (int64_t j = 0; j < cells; j++)
        batch.rows += plan->arrived[cell + j];
    return batch;
}

/* ---- the journey ---- */

/* The tokens' rows leave in lanes 0 … lanes−1. */
static void begin_out(const moe_plan *plan, int64_t lane, const moe_journey *journey) {
    const int64_t cell = lane * plan->ranks;
    const exchange_rows rows = {.send = journey->sent.data,
                                .send_first = plan->sent_first + cell,
                                .send_count = plan->sent + cell,
                                .receive = journey->arrived.data,
                                .receive_first = plan->arrived_first + cell,
                                .receive_count = plan->arrived + cell,
                                .row_bytes = row_store_row_bytes(&journey->sent)};
    exchange_begin(plan->exchange, lane, &rows);
}

/* The answers return in lanes `lanes` … 2·lanes−1. */
static void begin_back(const moe_plan *plan, int64_t lane, const moe_journey *journey) {
    const int64_t cell = lane * plan->ranks;
    const exchange_rows rows = {.send = journey->answered.data,
                                .send_first = plan->arrived_first + cell,
                                .send_count = plan->arrived + cell,
                                .receive = journey->returned.data,
                                .receive_first = plan->sent_first + cell,
                                .receive_count = plan->sent + cell,
                                .row_bytes = row_store_row_bytes(&journey->answered)};
    exchange_begin(plan->exchange, plan->lanes + lane, &rows);
}

static void answer_lane(const nn_context *nn, const moe_plan *plan, int64_t lane, moe_answer answer,
                        void *context) {
    for (int64_t s = 0; s < plan->sources; s++) {
        const moe_batch batch = moe_plan_batch(plan, lane * plan->sources + s);
        if (batch.rows > 0)
            answer(context, &batch);
        nn_progress(nn);
    }
}

void moe_travel(const nn_context *nn, const moe_plan *plan, const moe_journey *journey,
                moe_answer answer, void *context) {
    exchange *x = plan->exchange;
    for (int64_t lane = 0; x != NULL && lane < plan->lanes; lane++)
        begin_out(plan, lane, journey);
    for (int64_t lane = 0; lane < plan->lanes; lane++) {
        if (x != NULL)
            exchange_end(x, lane);
        answer_lane(nn, plan, lane, answer, context);
        if (x != NULL)
            begin_back(plan, lane, journey);
    }
    for (int64_t lane = 0; x != NULL && lane < plan->lanes; lane++)
        exchange_end(x, plan->lanes + lane);
}
