/* metrics.jsonl of a run folder: one JSON object a step, written by rank 0. */
#ifndef SEPIT_TRAIN_METRICS_H
#define SEPIT_TRAIN_METRICS_H

#include "src/base/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

typedef struct step_metrics {
    int64_t step;     /* from 1: updates made after this step */
    double epoch;     /* passes over the data, as a fraction */
    double loss;      /* mean over the supervised tokens of the global batch, in nats */
    double lr;        /* before the groups' factors */
    double grad_norm; /* global, before clipping */
    bool skipped;     /* not finite: no update */
    int64_t samples, tokens, supervised_tokens, truncated_answers;
    double step_s, compute_s, comm_s, io_s; /* seconds: of the slowest rank; of rank 0 */
    int64_t peak_bytes;                     /* largest resident set of rank 0 so far */
} step_metrics;

/* Opens PATH for appending, after removing every line of a step above `steps` and a torn last line
 * (a resumed run repeats those steps). STATUS_FAILED naming the file. */
status metrics_open(FILE **file, const char *path, int64_t steps, error *err);

/* Writes one line and flushes it. STATUS_FAILED when the disk says no; `folder` is the run's, for
 * the sentence. */
status metrics_write(FILE *file, const char *folder, const step_metrics *m, error *err);

#endif
