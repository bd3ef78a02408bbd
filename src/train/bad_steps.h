/* Steps whose numbers went bad: loss or gradient not finite.
 *
 * Such a step changes no weight on any rank (optimizer_step). Here it is counted and logged with
 * the samples that it was made of: those of the chunks whose own loss is not finite; where every
 * loss is, those of the ranks whose summed gradient is not. Several in a row mean that the run
 * itself is broken: it then ends with a checkpoint and a report, RUN/bad_steps.txt.
 * Read next: src/train/loop.c.
 */
#ifndef SEPIT_TRAIN_BAD_STEPS_H
#define SEPIT_TRAIN_BAD_STEPS_H

#include "src/data/sampler.h"
#include "src/tensor/real.h"

#include <mpi.h>
#include <stdbool.h>

/* The same on all ranks, but for `report`. */
typedef struct bad_steps {
    int64_t limit;    /* train.bad_steps: this many in a row end the run */
    int64_t in_a_row; /* up to the last step */
    int64_t total;    /* since bad_steps_begin */
    char *report;     /* rank 0: a paragraph for each step of the row; owned; NULL: none */
} bad_steps;

/* A step that was skipped. Borrowed during the call. */
typedef struct bad_step {
    int64_t step; /* from 1, as in metrics.jsonl */
    double loss, grad_norm, lr;
    sampler *sampler;
    int64_t first_chunk, end_chunk; /* of this rank */
    const double *own_loss;         /* [end_chunk − first_chunk] of each of them */
    const real *gradient;           /* [gradient_count] this rank's sums over its chunks */
    int64_t gradient_count;
} bad_step;

void bad_steps_begin(bad_steps *b, int64_t limit);
void bad_steps_end(bad_steps *b);

/* The step was a good one. Local. */
void bad_steps_note_good(bad_steps *b);

/* The step was skipped: counts it and logs which samples may be to blame. Draws the step's batch
 * anew, so what sampler_draw gave before is gone. Collective on comm: one reduction of 8 bytes per
 * chunk. */
void bad_steps_note_bad(bad_steps *b, MPI_Comm comm, const bad_step *step);

/* There were `limit` of them in a row. */
bool bad_steps_too_many(const bad_steps *b);

/* Writes bad_steps.txt into the run folder and gives STATUS_FAILED, with a sentence that says so:
 * to be called once the checkpoint is saved. Collective on comm; the same on all ranks. */
status bad_steps_stop(const bad_steps *b, MPI_Comm comm, const char *folder, error *err);

/* For tests only: whether the numbers of this chunk shall go bad in this step (from 1), which is so
 * when the environment variable SEPIT_FAULT is "nan-CHUNK" (in every step) or "nan-CHUNK-STEP". */
bool bad_steps_fault(int64_t chunk, int64_t step);

#endif
