/* Sharding one flat array over ranks, as ZeRO stage 1 does (Rajbhandari et al. 2020): every rank
 * holds all values and its own gradients; each element has one owner, who sums its gradient over
 * the ranks, updates it, and gives the new value to everyone.
 *
 * Elements are dealt in blocks: with R ranks, round k is the R consecutive blocks from block k·R
 * on, and rank r owns the r-th of them. So a round is one all-to-all of equal slices straight out
 * of the array, with no packing, and any range of the array is spread evenly over the owners. The
 * slices are summed by the owner along one binary tree over the ranks in order; the sum's bits
 * depend on that tree only, and MPI_Reduce_scatter, 20 times slower on Open MPI 4.1, is not needed.
 * Rounds go from the last to the first, as a backward pass finishes its gradients, and a few of
 * them run beside the computation.
 * Memory: receive buffers of at most SHARD_FLIGHTS rounds, 64 MiB or one round of smallest blocks
 * (SHARD_SUM_BLOCK elements per rank), whichever is more; a page of them counts when it is used.
 * Messages per rank: rounds · R for each verb. Nothing here knows what the numbers mean.
 */
#ifndef SEPIT_PARALLEL_SHARD_H
#define SEPIT_PARALLEL_SHARD_H

#include "src/base/error.h"

#include <mpi.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Fixed blocks over which sums of squares are taken, whatever the number of ranks; and how many
 * rounds of a reduction are in flight at most. */
enum { SHARD_SUM_BLOCK = 16384, SHARD_FLIGHTS = 4 };

/* A reduction under way: rounds above `oldest` are summed, those above `next` are begun. */
typedef struct shard_reduction {
    bool running;
    const char *whole; /* borrowed */
    char *part;        /* borrowed */
    int64_t oldest, next;
    int64_t ready; /* rounds from here on may begin */
    MPI_Request request[SHARD_FLIGHTS];
} shard_reduction;

typedef struct shard {
    MPI_Comm comm; /* owned duplicate */
    int ranks, rank;
    size_t width;     /* bytes of an element: 4 (float) or 8 (double) */
    int64_t elements; /* of the array, without padding */
    int64_t block;    /* elements of an owner's block: a multiple of SHARD_SUM_BLOCK */
    int64_t rounds;
    int64_t storage; /* elements with the padding to whole rounds: rounds · ranks · block */
    int64_t local;   /* elements of this rank's part: rounds · block */
    int64_t flights; /* rounds that may be in flight */
    char *received;  /* [flights · ranks · block] elements, owned */
    shard_reduction reduction;
    uint64_t schedule; /* see shard_schedule */
} shard;

/* Collective on comm. STATUS_FAILED when memory is short, on all ranks alike. */
status shard_create(shard *s, MPI_Comm comm, int64_t elements, size_t width, error *err);
/* Collective. No reduction may be under way. Nothing to do for a zeroed struct. */
void shard_destroy(shard *s);

/* Index in the whole array of element i of this rank's part; may lie in the padding, at or above
 * `elements`. */
int64_t shard_global_index(const shard *s, int64_t i);

/* part[local] = the sum over ranks of their whole[storage] at the places this rank owns. The
 * padding of `whole` must be zero. Collective. Moves (R−1)/R of the array out and in, once. The
 * same as shard_reduce_begin and shard_reduce_end. */
void shard_reduce(shard *s, const void *whole, void *part);

/* The same in pieces, beside computation. Collective is that every rank begins and ends the same
 * reductions in the same order; when, and with which elements, a rank calls what stands between is
 * its own affair. Only shard_reduce_end waits. Borrows both arrays until then. */
void shard_reduce_begin(shard *s, const void *whole, void *part);
/* Every element of `whole` at or after `element` is final: rounds that lie there may begin. */
void shard_reduce_ready(shard *s, int64_t element);
/* Lets MPI move what is in flight, sums the rounds that have arrived and begins the next. Local;
 * a microsecond when nothing has arrived, else the sum of a round. Allowed at any time. */
void shard_progress(shard *s);
/* All of `whole` is final; `part` is complete when it returns. */
void shard_reduce_end(shard *s);

/* whole[elements]: what each rank has at the places it owns becomes everyone's. Collective; moves
 * as much as shard_reduce. */
void shard_gather(shard *s, void *whole);

/* The array's sum of squares is taken over this many blocks of SHARD_SUM_BLOCK elements. */
int64_t shard_sum_blocks(const shard *s);
/* sums[b] = the sum of squares of block b, in double, for the blocks that lie in this rank's part;
 * the others stay. Local; a block's bits do not depend on the number of ranks. */
void shard_block_squares(const shard *s, const void *part, double *sums);

/* Rolling hash of the collective calls so far (which verb, which round, how much): equal on all
 * ranks as long as they agree on what they do. */
uint64_t shard_schedule(const shard *s);

#endif
