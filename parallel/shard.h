/* Sharding one flat array over ranks, as ZeRO stage 1 does (Rajbhandari et al. 2020): every rank
 * holds all values and its own gradients; each element has one owner, who sums its gradient over
 * the ranks, updates it, and gives the new value to everyone.
 *
 * Elements are dealt in blocks: with R ranks, round k is the R consecutive blocks from block k·R
 * on, and rank r owns the r-th of them. So a round is one all-to-all of equal slices straight out
 * of the array, with no packing, and any range of the array is spread evenly over the owners. The
 * slices are summed by the owner along one binary tree over the ranks in order; the sum's bits
 * depend on that tree only, and MPI_Reduce_scatter, 20 times slower on Open MPI 4.1, is not needed.
 * Memory: one receive buffer of a round, at most 64 MiB or one SHARD_SUM_BLOCK per rank, whichever
 * is more.
 * Messages per rank: rounds · R for each verb. Nothing here knows what the numbers mean.
 */
#ifndef SEPIT_PARALLEL_SHARD_H
#define SEPIT_PARALLEL_SHARD_H

#include "src/base/error.h"

#include <mpi.h>
#include <stddef.h>
#include <stdint.h>

/* Fixed blocks over which sums of squares are taken, whatever the number of ranks. */
enum { SHARD_SUM_BLOCK = 16384 };

typedef struct shard {
    MPI_Comm comm; /* owned duplicate */
    int ranks, rank;
    size_t width;     /* bytes of an element: 4 (float) or 8 (double) */
    int64_t elements; /* of the array, without padding */
    int64_t block;    /* elements of an owner's block: a multiple of SHARD_SUM_BLOCK */
    int64_t rounds;
    int64_t storage; /* elements that a whole array must have room for: rounds · ranks · block */
    int64_t local;   /* elements of this rank's part: rounds · block */
    void *received;  /* [ranks · block], owned */
    double *sums;    /* [ceil(elements / SHARD_SUM_BLOCK)], owned */
} shard;

/* Collective on comm. STATUS_FAILED when memory is short, on all ranks alike. */
status shard_create(shard *s, MPI_Comm comm, int64_t elements, size_t width, error *err);
/* Collective. */
void shard_destroy(shard *s);

/* Index in the whole array of element i of this rank's part; may lie in the padding, at or above
 * `elements`. */
int64_t shard_global_index(const shard *s, int64_t i);

/* part[local] = the sum over ranks of their whole[storage] at the places this rank owns. The
 * padding of `whole` must be zero. Collective. Moves (R−1)/R of the array out and in, once. */
void shard_reduce(shard *s, const void *whole, void *part);

/* whole[storage] on every rank = the owners' parts. Collective. Moves as much as shard_reduce. */
void shard_gather(shard *s, const void *part, void *whole);

/* The sum of squares of the whole array whose parts are given (their padding zero): in double, over
 * fixed blocks, then along one binary tree, so that it has the same bits on any number of ranks.
 * Collective; one reduction of 8 bytes per SHARD_SUM_BLOCK elements. */
double shard_sum_squares(shard *s, const void *part);

#endif
