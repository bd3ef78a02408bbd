/* Gradients of the chunks of one step, summed along the batch's binary tree.
 *
 * Each chunk gets a cleared array of its own. When it is done, it is merged like a digit of a
 * binary counter: two finished subtrees of equal size become one. So a rank that owns an aligned
 * block of 2^k chunks ends with exactly that block's subtree, and the sum over ranks
 * (parallel/shard.h) continues the same tree: the bits do not depend on the number of ranks.
 * Memory: log2(chunks per rank) + 1 arrays at most, used from the first time they are needed on.
 * With exact = false there is one array, and chunks are added to it as they come.
 */
#ifndef SEPIT_TRAIN_GRADIENTS_H
#define SEPIT_TRAIN_GRADIENTS_H

#include "src/base/arena.h"
#include "src/tensor/real.h"

#include <stdbool.h>

enum { GRADIENT_LEVELS = 24 };

typedef struct gradients {
    int64_t storage; /* elements of an array */
    bool exact;
    arena memory;                 /* owned */
    real *array[GRADIENT_LEVELS]; /* all arrays ever taken */
    int arrays;
    real *level[GRADIENT_LEVELS]; /* finished subtree of 2^l chunks, or NULL */
    real *spare[GRADIENT_LEVELS]; /* arrays not in use */
    int spares;
    real *current;  /* of the chunk that is running, or NULL */
    int64_t merged; /* elements from here on are already in the total; `storage`: none */
} gradients;

/* chunks: most chunks of one rank. STATUS_FAILED when address space is short. Local. */
status gradients_create(gradients *g, int64_t storage, int64_t chunks, bool exact, error *err);
void gradients_destroy(gradients *g);

/* How many arrays a rank with so many chunks can need. */
int gradients_arrays(int64_t chunks, bool exact);

/* A new step: everything is dropped. */
void gradients_begin(gradients *g);
/* The array the next chunk adds to; cleared unless sums are inexact. Borrowed. */
real *gradients_open_chunk(gradients *g);
/* The chunk is done: merges it. */
void gradients_close_chunk(gradients *g);

/* While the last chunk of the step runs: where the total will stand. */
real *gradients_total_place(gradients *g);
/* While the last chunk of the step runs: its elements from `element` on are done; merges them into
 * the total, which is final from there on. Elements fall from call to call. */
void gradients_finish_from(gradients *g, int64_t element);

/* The sum of all chunks of this rank (a chunk that is still open counts as done); zero if there was
 * none. Borrowed until the next begin. */
real *gradients_total(gradients *g);

#endif
