/* The sharded optimizer: from each rank's gradient sums to everybody's new weights.
 *
 * Each rank owns a part of the flat parameter array (parallel/shard.h) and keeps the two moments of
 * that part only, so its state is 2/R of the model: ZeRO stage 1. One step is: sum the gradients
 * onto their owners, take the global norm, clip, update the owned part, give the new values to all.
 */
#ifndef SEPIT_OPTIM_OPTIMIZER_H
#define SEPIT_OPTIM_OPTIMIZER_H

#include "parallel/shard.h"
#include "src/nn/params.h"
#include "src/optim/adamw.h"

/* A stretch of the owned part that lies inside one tensor. */
typedef struct optimizer_segment {
    int64_t param;        /* index in the table */
    int64_t param_offset; /* first element inside the tensor */
    int64_t local;        /* first element of the owned part */
    int64_t count;
} optimizer_segment;

typedef struct optimizer {
    adamw rule;
    shard shard;
    params *params;                 /* borrowed */
    double group_rate[GROUP_COUNT]; /* factors on the learning rate */
    real *gradient, *value, *m, *v; /* [shard.local], owned */
    optimizer_segment *segment;     /* [segments], owned: ascending in the parameter table */
    int64_t segments;
    int64_t steps; /* updates made */
} optimizer;

/* Before params_allocate: decides the sharding and reserves its padding. Collective. */
status optimizer_create(optimizer *o, MPI_Comm comm, params *p, error *err);
/* After params_allocate and the initial values: takes the owned values, allocates the moments
 * (zero). Collective; STATUS_FAILED on all ranks when memory is short on one. */
status optimizer_start(optimizer *o, error *err);
void optimizer_destroy(optimizer *o);

typedef struct optimizer_report {
    double norm;  /* global norm of the gradient before clipping */
    bool skipped; /* it was not finite: nothing was changed */
} optimizer_report;

/* gradient[storage]: this rank's sums; their total over the ranks is the gradient. clip: largest
 * norm, 0 for none. Updates and refreshes the parameters. Collective; the same report everywhere.
 */
optimizer_report optimizer_step(optimizer *o, const real *gradient, double lr, double clip);

#endif
