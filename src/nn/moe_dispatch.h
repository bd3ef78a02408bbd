/* Where the tokens of a mixture of experts go, and the journey there and back; for moe*.c.
 *
 * A row is one (token, choice). The rows of a chunk are sorted into cells, one per (slice, expert):
 *
 *     cell      (slice · experts of a rank + expert in its rank) · ranks + rank
 *     lane      the `ranks` cells of one (slice, expert in its rank): one exchange
 *
 * and inside a cell by token. A rank receives its own experts' rows in the same order, where the
 * last number is now the rank they come from: what an expert gets in one lane is contiguous, source
 * after source, and nothing is sorted a second time.
 * With all experts on this rank (exchange NULL) nothing is copied: what is sent is what arrives.
 */
#ifndef SEPIT_NN_MOE_DISPATCH_H
#define SEPIT_NN_MOE_DISPATCH_H

#include "src/nn/router.h"
#include "src/nn/row_store.h"

typedef struct moe_plan {
    exchange *exchange;               /* borrowed; NULL: all experts are here */
    int64_t lanes;                    /* of one direction: slices · local experts */
    int64_t local_experts, ranks;     /* of the expert group */
    int64_t sources;                  /* products of a lane: one per rank when exact, else 1 */
    int64_t T, k;                     /* own tokens, choices of each */
    int64_t *row;                     /* [T,k] place among the sent rows; −1: dropped */
    int64_t *sent, *sent_first;       /* [lanes, ranks] rows of each cell, and its first */
    int64_t *arrived, *arrived_first; /* [lanes, ranks] likewise of what this rank receives */
    int64_t rows_sent, rows_arrived;  /* in all */
} moe_plan;

/* Sorts the rows, drops what is over nn->moe->capacity, exchanges counts. Arrays come from
 * `memory`. Collective over the group. */
void moe_plan_make(const nn_context *nn, const moe_config *c, const routing *r, arena *memory,
                   moe_plan *plan);
/* Upper bounds: from `memory`, and from scratch. */
size_t moe_plan_kept_bytes(const moe_config *c, int64_t T);
size_t moe_plan_scratch_bytes(const moe_config *c);

/* The rows that are one product: those of one expert, from one source rank when sums are exact. */
typedef struct moe_batch {
    int64_t index;       /* 0 … moe_plan_batches − 1 */
    int64_t expert;      /* among this rank's */
    int64_t source;      /* rank of the group that sent them; 0 when all did */
    int64_t first, rows; /* among the arrived rows */
} moe_batch;
int64_t moe_plan_batches(const moe_plan *plan);
moe_batch moe_plan_batch(const moe_plan *plan, int64_t index);

/* Rows on their way: sent by the tokens' ranks, arrived at the experts' ranks, answered there, and
 * returned. When all experts are here arrived = sent and returned = answered. */
typedef struct moe_journey {
    row_store sent, arrived, answered, returned; /* [rows_sent or rows_arrived, D] */
} moe_journey;

/* Writes journey.answered's rows of the batch from journey.arrived's. */
typedef void (*moe_answer)(void *context, const moe_batch *batch);

/* Takes the rows there and back: all lanes leave; each that has arrived is answered, batch after
 * batch, and its answers leave while the next lane is answered. Collective over the group. */
void moe_travel(const nn_context *nn, const moe_plan *plan, const moe_journey *journey,
                moe_answer answer, void *context);

/* ---- the two ends of a journey, at the tokens' rank ---- */

/* row (t, c) = x[t] */
void moe_gather(const moe_plan *plan, const operand *x, row_store *rows);
/* row (t, c) = weight[t,c]·d_y[t] */
void moe_spread(const moe_plan *plan, const real *d_y, const real *weight, row_store *rows);
/* y[t] = Σ_c weight[t,c]·row (t, c), c ascending; weight NULL: 1. y [T,D] is written. */
void moe_combine(const moe_plan *plan, const row_store *rows, const real *weight, real *y);
/* d_weight[t,c] = d_y[t]·row (t, c); 0 where the row was dropped. */
void moe_weight_backward(const moe_plan *plan, const real *d_y, const row_store *rows,
                         real *d_weight);

#endif
