/* Guards: is what all ranks should hold alike really alike?
 *
 * Replicated tensors and the sequence of collective calls must be the same everywhere; a machine
 * that flips a bit, or a bug, breaks that silently. Every rank gives one hash for each such thing;
 * one reduction compares them all, and only a difference costs more.
 */
#ifndef SEPIT_PARALLEL_GUARD_H
#define SEPIT_PARALLEL_GUARD_H

#include "src/base/error.h"

#include <mpi.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* XXH3 of the bytes, 64 bits; `seed` is 0, or the hash of what came before. Local. */
uint64_t guard_hash(const void *data, size_t bytes, uint64_t seed);

/* The first thing that differs, and who has it otherwise than most. */
typedef struct guard_difference {
    int64_t item; /* its index; -1: nothing differs */
    int rank;     /* the lowest rank whose hash is not the most common one; among equally common
                     ones that of the lowest rank counts as the right one */
    int common;   /* how many ranks have the most common hash … */
    int ranks;    /* … of how many */
} guard_difference;

/* Whether every rank has the same n hashes; else *found, the same on all ranks, says what differs.
 * n is the same on all ranks. Collective on comm: one reduction of 16 bytes per hash (in slices of
 * 64 KiB) when all is well, one gather of 8 bytes per rank more when not. */
bool guard_compare(MPI_Comm comm, const uint64_t *hash, int64_t n, guard_difference *found);

/* STATUS_FAILED with the sentence: `what` ("tensor NAME") differs on rank R. Local. */
status guard_refuse(const guard_difference *found, const char *what, error *err);

#endif
