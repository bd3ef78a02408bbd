/* The sharded optimizer: from each rank's gradient sums to everybody's new weights.
 *
 * A model has one params table that all ranks hold, and may have one of experts, which some of
 * them hold alike (src/nn/share.h). Of each table, the frozen groups at its front cost nothing
 * here; what follows is the trained range, dealt over the ranks that hold the table. An owner sums
 * the gradient of its part, keeps the part's two moments, and updates its values in the table
 * itself: ZeRO stage 1. One step is: sum the gradients onto their owners (beside the backward pass,
 * where that can say what is final), take the global norm over both tables, clip, update, give the
 * new values to all.
 * Memory per rank: see optimizer_arrays.
 */
#ifndef SEPIT_OPTIM_OPTIMIZER_H
#define SEPIT_OPTIM_OPTIMIZER_H

#include "src/nn/share.h"
#include "src/optim/adamw.h"

/* The trained range of a table. */
typedef struct optimizer_part {
    share_part share;
    real *gradient;  /* [local], owned: the sums of this rank's part; NULL on one rank, where the
                        gradient given for a step serves */
    real *m, *v;     /* [local], owned */
    const real *sum; /* of the step under way: the part's gradient; NULL: not begun */
    double *squares; /* where its blocks lie in optimizer.squares; borrowed */
} optimizer_part;

typedef struct optimizer {
    adamw rule;
    double group_rate[GROUP_COUNT]; /* factors on the learning rate */
    int tables;
    share_table table[SHARE_TABLES];
    share_part frozen[SHARE_TABLES];      /* the front of each table: for checkpoints only */
    optimizer_part trained[SHARE_TABLES]; /* the rest of each */
    double *squares;                      /* [blocks], owned: sums of squares of all of the model's
                                             trained blocks, whoever owns them */
    int64_t blocks;
    int64_t steps; /* updates made */
} optimizer;

/* For the tables of a model (the first held by all ranks, which are those of its communicator).
 * Called when everything is declared and `frozen` is set, which may not change any more, and before
 * params_allocate: reserves padding, so that storage − gradient_from elements are the size of each
 * gradient array, and sets gradient_from of the tables. The moments are zero. An expert's tensors
 * begin at a multiple of SHARD_SUM_BLOCK and take as many elements as another expert's.
 * Collective on all ranks; STATUS_FAILED on all when memory is short on one. The caller destroys
 * it, whatever came back. */
status optimizer_create(optimizer *o, const share_table *table, int tables, error *err);
/* Collective. */
void optimizer_destroy(optimizer *o);

/* How many arrays of the trained range's size a rank keeps here, when `ranks` ranks share it: the
 * two moments and, on several ranks, the sums of its part. */
double optimizer_arrays(int ranks);
/* Bytes that this rank keeps here. */
double optimizer_bytes(const optimizer *o);

/* The sums of table number `table` come to lie in gradient[storage − gradient_from], borrowed until
 * the end of the step; what lies in gaps and padding is zero. Every rank begins its tables in the
 * same order. Optional: optimizer_step begins what was not begun. Local. */
void optimizer_reduce_begin(optimizer *o, int table, const real *gradient);
/* No gradient at or after this element of the table changes any more. Local. */
void optimizer_reduce_ready(optimizer *o, int table, int64_t element);
/* Lets MPI move what is in flight. Local, allowed at any time. */
void optimizer_progress(optimizer *o);

typedef struct optimizer_report {
    double norm;  /* global norm of the gradient before clipping */
    bool skipped; /* it, or lr, was not finite: nothing was changed */
} optimizer_report;

/* gradient[t]: this rank's sums for table t, as in optimizer_reduce_begin; their total over the
 * ranks is the gradient. lr: NAN to sum and change nothing. clip: largest norm, 0 for none. Updates
 * and refreshes the parameters. The norm's sum of squares runs over fixed blocks, those of the
 * model's trained range first, then those of all experts in order, along one binary tree: the same
 * bits on any layout. Collective on all ranks; the same report everywhere. */
optimizer_report optimizer_step(optimizer *o, const real *const gradient[], double lr, double clip);

/* Rolling hash of the collective calls so far: equal on all ranks (see shard_schedule). */
uint64_t optimizer_schedule(const optimizer *o);

#endif
