/* Negative log-likelihood of every answer of a dataset. */
#ifndef SEPIT_EVAL_SCORE_H
#define SEPIT_EVAL_SCORE_H

#include "src/eval/inference.h"

#include <stdio.h>

typedef struct score_totals {
    int64_t answers;      /* scored */
    int64_t without_room; /* left out: see pack_counts */
    int64_t tokens;
    double nll; /* nats */
} score_totals;

/* Scores captions 0 … count−1, structure on wherever there is one, and writes a JSON line for each,
 * in order, to `out` (rank 0; others pass NULL): caption, protein, tokens, nll (sum over the
 * answer's tokens, in nats). An answer without room has tokens 0 and nll null. Collective on comm:
 * each round, every rank scores a few and rank 0 gathers numbers only; memory O(ranks). Fails on
 * all ranks alike. */
status score_run(inference *f, MPI_Comm comm, const dataset *data, int64_t count, FILE *out,
                 score_totals *totals, error *err);

#endif
