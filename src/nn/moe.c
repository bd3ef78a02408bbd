/* The layer itself: route, send, let the experts answer, combine; and back. What a row is and how
 * it travels: src/nn/moe_dispatch.h. */
#include "src/nn/moe.h"

#include "io/durable.h"
#include "parallel/agree.h"
#include "src/base/log.h"
#include "src/nn/moe_statistics.h"

#include <stdio.h>

/* ---- the config ---- */

bool moe_has_layer(const moe_config *c, int64_t layer) {
    return c->E > 0 && layer >= 0 && layer < 64 * MOE_LAYER_WORDS &&
           (c->layer_mask[layer / 64] >> (layer % 64) & 1) != 0;
}

int64_t moe_layers(const moe_config *c, int64_t llm_layers) {
    int64_t count = 0;
    for (int64_t i = 0; i < llm_layers; i++)
        count += moe_has_layer(c, i);
    return count;
}

int64_t moe_lanes(const moe_config *c) {
    return 2 * c->slices * c->local_experts;
}

/* ---- what both directions share ---- */

struct moe_saved {
    routing routing;
    moe_plan plan;
    row_store arrived;  /* [rows_arrived, D] what this rank's experts read */
    row_store returned; /* [rows_sent, D] what the experts answered to this rank's tokens */
    ffn_saved *batch;   /* [moe_plan_batches] */
};

/* For moe_answer. */
typedef struct expert_pass {
    const nn_context *nn;
    params experts; /* the table, with the gradient array of the batch's source */
    const moe_layer *layer;
    const moe_saved *saved;
    const moe_journey *journey;
} expert_pass;

/* Ends the job with a sentence when a test asks for it: the others wait for this rank's rows. */
static void fail_on_purpose(const moe_layer *layer) {
    char point[32];
    error err = {0};
    snprintf(point, sizeof point, "moe-%lld", (long long)layer->index);
    if (durable_fault(point, log_rank(), &err) != STATUS_OK)
        comm_abort(err.text);
}

/* Between an expert's products both what the caller has in flight and the rows move on. */
static void advance(void *context) {
    const nn_context *outer = context;
    nn_progress(outer);
    if (outer->moe->exchange != NULL)
        exchange_progress(outer->moe->exchange);
}

static nn_context advancing(const nn_context *nn) {
    nn_context inner = *nn;
    inner.progress = advance;
    inner.finished = NULL;
    inner.context = (void *)(uintptr_t)nn; /* advance only reads it */
    return inner;
}

/* The rows at the far end of a way: the same ones when nothing travels. */
static row_store far_end(const nn_context *nn, const moe_plan *plan, const row_store *near,
                         int64_t rows) {
    return plan->exchange == NULL ? *near
                                  : row_store_take(nn->scratch, near->bf16, rows, near->cols);
}

/* ---- forward ---- */

static void expert_forward(void *context, const moe_batch *batch) {
    const expert_pass *pass = context;
    const row_store *answered = &pass->journey->answered;
    arena *scratch = pass->nn->scratch;
    const operand x = row_store_view(&pass->journey->arrived, batch->first, batch->rows);
    const size_t mark = arena_mark(scratch);
    real *y = row_store_open(answered, batch->first, batch->rows, scratch);
    ffn_run(pass->nn, &pass->experts, &pass->layer->expert[batch->expert], &x,
            &pass->saved->batch[batch->index], y);
    row_store_close(answered, batch->first, batch->rows, y);
    arena_reset(scratch, mark);
}

/* Takes all that is kept before anything else is taken: `memory` may be scratch. */
static moe_saved *reserve(const nn_context *nn, const params *p, const params *experts,
                          const moe_config *c, const moe_layer *layer, const operand *x,
                          arena *memory) {
    moe_saved *s = ARENA_ARRAY(memory, moe_saved, 1);
    router_forward(nn, p, c, layer, x, memory, &s->routing);
    moe_plan_make(nn, c, &s->routing, memory, &s->plan);
    s->arrived = row_store_take(memory, x->bf16, s->plan.rows_arrived, x->cols);
    s->returned = row_store_take(memory, x->bf16, s->plan.rows_sent, x->cols);
    s->batch = ARENA_ARRAY(memory, ffn_saved, moe_plan_batches(&s->plan));
    for (int64_t i = 0; i < moe_plan_batches(&s->plan); i++) {
        const moe_batch batch = moe_plan_batch(&s->plan, i);
        ffn_reserve(nn, experts, &layer->expert[batch.expert], batch.rows, memory, &s->batch[i]);
    }
    return s;
}

void moe_forward(const nn_context *nn, const params *p, const params *experts, const moe_config *c,
                 const moe_layer *layer, const operand *x, const int32_t *kind, arena *memory,
                 moe_saved **saved, real *y) {
    fail_on_purpose(layer);
    moe_saved *s = reserve(nn, p, experts, c, layer, x, memory);
    const moe_plan *plan = &s->plan;
    moe_statistics_add(&nn->moe->statistics, c, layer->index, &s->routing, plan, kind);

    const size_t mark = arena_mark(nn->scratch);
    const nn_context inner = advancing(nn);
    moe_journey journey = {.sent = far_end(nn, plan, &s->arrived, plan->rows_sent),
                           .arrived = s->arrived,
                           .answered = far_end(nn, plan, &s->returned, plan->rows_arrived),
                           .returned = s->returned};
    expert_pass pass = {&inner, *experts, layer, s, &journey};
    moe_gather(plan, x, &journey.sent);
    moe_travel(&inner, plan, &journey, expert_forward, &pass);
    moe_combine(plan, &journey.returned, s->routing.weight, y);
    arena_reset(nn->scratch, mark);
    *saved = s;
}

/* ---- backward ---- */

static void expert_backward(void *context, const moe_batch *batch) {
    expert_pass *pass = context;
    const row_store *answered = &pass->journey->answered;
    real *const *gradient = pass->nn->moe->gradient;
    arena *scratch = pass->nn->scratch;
    const operand x = row_store_view(&pass->saved->arrived, batch->first, batch->rows);
    const size_t mark = arena_mark(scratch);
    const real *d_y = row_store_read(&pass->journey->arrived, batch->first, batch->rows, scratch);
    real *d_x = row_store_open(answered, batch->first, batch->rows, scratch);
    params_use_gradient(&pass->experts, gradient != NULL ? gradient[batch->source] : NULL);
    ffn_backward(pass->nn, &pass->experts, &pass->layer->expert[batch->expert], &x,
                 &pass->saved->batch[batch->index], d_y, d_x);
    row_store_close(answered, batch->first, batch->rows, d_x);
    arena_reset(scratch, mark);
}

/* y[t] = Σ_c w_tc·row(t,c): the rows' gradients travel as the rows did, and what comes back is the
 * experts' part of d_x. */
void moe_backward(const nn_context *nn, const params *p, const params *experts, const moe_config *c,
                  const moe_layer *layer, const operand *x, const moe_saved *saved, const real *d_y,
                  real *d_x) {
    const moe_plan *plan = &saved->plan;
    const routing *r = &saved->routing;
    arena *scratch = nn->scratch;
    const size_t mark = arena_mark(scratch);
    const nn_context inner = advancing(nn);
    real *d_weight = ARENA_ARRAY(scratch, real, r->T * r->k);
    moe_journey journey;
    journey.sent = row_store_take(scratch, x->bf16, plan->rows_sent, x->cols);
    journey.arrived = far_end(nn, plan, &journey.sent, plan->rows_arrived);
    journey.returned = row_store_take(scratch, x->bf16, plan->rows_sent, x->cols);
    journey.answered = far_end(nn, plan, &journey.returned, plan->rows_arrived);
    expert_pass pass = {&inner, *experts, layer, saved, &journey};
    moe_weight_backward(plan, d_y, &saved->returned, d_weight);
    moe_spread(plan, d_y, r->weight, &journey.sent);
    moe_travel(&inner, plan, &journey, expert_backward, &pass);
    moe_combine(plan, &journey.returned, NULL, d_x);
    router_backward(nn, p, c, layer, x, r, d_weight, d_x);
    arena_reset(scratch, mark);
}

/* ---- memory ---- */

enum { ARENA_ROUNDING = 64 };

static int64_t most_batches(const moe_config *c) {
    return c->slices * c->E; /* lanes · ranks of the group */
}

size_t moe_kept_bytes(const moe_config *c, int64_t D, int64_t F, int64_t T, int64_t rows,
                      bool bf16) {
    const size_t batches = (size_t)most_batches(c);
    return sizeof(moe_saved) + ARENA_ROUNDING + router_kept_bytes(c, T) +
           moe_plan_kept_bytes(c, T) + row_store_bytes(bf16, rows, D) +
           row_store_bytes(bf16, T * c->k, D) + batches * sizeof(ffn_saved) + ARENA_ROUNDING +
           ffn_kept_bytes(F, rows, bf16) + batches * ffn_kept_bytes(F, 0, bf16);
}

/* The row stores of one direction that are not kept, `pairs` at each end, and in bf16 `copies` of a
 * batch's rows as real numbers. */
static size_t journey_bytes(int64_t D, int64_t sent, int64_t arrived, bool bf16, int pairs,
                            int copies) {
    const size_t expanded = bf16 ? arena_bytes(arrived * D, sizeof(real)) + ARENA_ROUNDING : 0;
    const size_t stores = row_store_bytes(bf16, sent, D) + row_store_bytes(bf16, arrived, D);
    return (size_t)pairs * stores + (size_t)copies * expanded;
}

size_t moe_scratch_bytes(const moe_config *c, int64_t D, int64_t F, int64_t T, int64_t rows,
                         bool bf16, bool training) {
    const int64_t sent = T * c->k;
    const size_t products = ffn_scratch_bytes(D, F, rows, bf16, training);
    if (!training)
        return moe_plan_scratch_bytes(c) + journey_bytes(D, sent, rows, bf16, 1, 1) + products;
    const size_t d_weight = arena_bytes(sent, sizeof(real)) + ARENA_ROUNDING;
    return moe_plan_scratch_bytes(c) + d_weight + journey_bytes(D, sent, rows, bf16, 2, 2) +
           products + router_scratch_bytes(c, T);
}
