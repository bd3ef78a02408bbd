/* The global batch of a step: which chunks this rank runs, packed, and what the whole batch counts.
 */
#ifndef SEPIT_TRAIN_BATCH_H
#define SEPIT_TRAIN_BATCH_H

#include "src/train/trainer.h"

/* Sums over the global batch; one reduction carries them all. */
typedef enum batch_count {
    BATCH_SAMPLES,
    BATCH_TOKENS, /* of proteins and text */
    BATCH_TEXT,   /* of the language model: text and projected vectors */
    BATCH_SUPERVISED,
    BATCH_CUT,
    BATCH_WITHOUT_ROOM,
    BATCH_COUNTS
} batch_count;

/* Reads, tokenizes and packs this rank's chunks of step `step` (from 0) into t->chunk, which the
 * next call overwrites; adds what they hold to counts. STATUS_FAILED when a chunk does not fit the
 * machine. Local. */
status batch_pack(trainer *t, int64_t step, int64_t counts[BATCH_COUNTS], error *err);

/* The batch of the current step; counts [BATCH_COUNTS] of all ranks; *io_s: seconds spent on
 * reading and packing. STATUS_INPUT when no sample of the batch has room for an answer. Collective
 * on t->comm; fails on all ranks alike. */
status batch_prepare(trainer *t, int64_t *counts, double *io_s, error *err);

/* How many chunks this rank runs in a step, those that only serve the others of its expert group
 * included; and the i-th of them, an empty one where it has none of its own. */
int64_t batch_chunks(const trainer *t);
const chunk_batch *batch_chunk(const trainer *t, int64_t i);
/* Whether the i-th is its own. */
bool batch_is_own(const trainer *t, int64_t i);

#endif
