/* What a run tells about its steps, written by rank 0: metrics.jsonl of the run folder, one JSON
 * object a step, and the same scalars in tensorboard/ for TensorBoard (io/event_file.h).
 */
#ifndef SEPIT_TRAIN_METRICS_H
#define SEPIT_TRAIN_METRICS_H

#include "src/base/error.h"

#include "src/train/experts.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct metrics metrics;

typedef struct step_metrics {
    int64_t step;       /* from 1: updates made after this step */
    double epoch;       /* passes over the data, as a fraction */
    double loss;        /* what is minimised: the sum of the parts below */
    double loss_answer; /* mean over the supervised tokens of the global batch, in nats */
    experts_losses loss_experts;
    double lr;        /* before the groups' factors */
    double grad_norm; /* global, before clipping */
    bool skipped;     /* not finite: no update */
    int64_t samples, tokens, supervised_tokens, truncated_answers;
    double step_s, compute_s, comm_s, io_s; /* seconds: of the slowest rank; of rank 0 */
    int64_t peak_bytes;                     /* largest resident set of rank 0 so far */
    const experts *experts;                 /* of the step that ended; may have no layer */
} step_metrics;

/* Opens both in the run's folder, for a run that continues after `steps` steps. From metrics.jsonl
 * every line of a later step and a torn last line are removed (a resumed run repeats those steps);
 * what tensorboard/ says of them no longer counts. STATUS_FAILED naming the file; then *opened is
 * NULL. */
status metrics_open(metrics **opened, const char *folder, int64_t steps, error *err);

/* Writes one step. STATUS_FAILED when the disk says no; `folder` is the run's, for the sentence. */
status metrics_write(metrics *to, const char *folder, const step_metrics *m, error *err);

/* What was written is on disk when it returns: to be called before a checkpoint is, so that no
 * machine that loses its power leaves a checkpoint of steps that nothing is known about. */
status metrics_sync(metrics *of, const char *folder, error *err);

/* NULL is fine. */
void metrics_close(metrics *of);

#endif
