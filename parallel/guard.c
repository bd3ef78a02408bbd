#include "parallel/guard.h"

#include "parallel/agree.h"

#include <stdlib.h>
#include <xxhash.h>

uint64_t guard_hash(const void *data, size_t bytes, uint64_t seed) {
    return XXH3_64bits_withSeed(data, bytes, seed);
}

/* The first of `count` items of which the largest hash is not the smallest one; -1: none. */
static int64_t find_difference(MPI_Comm comm, const uint64_t *hash, int64_t count) {
    enum { SLICE = 4096 };
    uint64_t most[2 * SLICE]; /* largest of h, and of ~h: the smallest h, in one reduction */
    for (int64_t first = 0; first < count; first += SLICE) {
        const int64_t n = count - first < SLICE ? count - first : SLICE;
        for (int64_t i = 0; i < n; i++) {
            most[2 * i] = hash[first + i];
            most[2 * i + 1] = ~hash[first + i];
        }
        MPI_TRY(MPI_Allreduce(MPI_IN_PLACE, most, mpi_count(2 * n), MPI_UINT64_T, MPI_MAX, comm));
        for (int64_t i = 0; i < n; i++)
            if (most[2 * i] != ~most[2 * i + 1])
                return first + i;
    }
    return -1;
}

/* Who differs from the most common of hash[ranks]. */
static void find_odd_rank(const uint64_t *hash, guard_difference *found) {
    uint64_t common = hash[0];
    found->common = 0;
    for (int r = 0; r < found->ranks; r++) {
        int same = 0;
        for (int other = 0; other < found->ranks; other++)
            same += hash[other] == hash[r];
        if (same > found->common) {
            found->common = same;
            common = hash[r];
        }
    }
    found->rank = 0;
    while (hash[found->rank] == common && found->rank < found->ranks - 1)
        found->rank++;
}

bool guard_compare(MPI_Comm comm, const uint64_t *hash, int64_t n, guard_difference *found) {
    *found = (guard_difference){.item = find_difference(comm, hash, n), .ranks = comm_size(comm)};
    if (found->item < 0)
        return true;
    uint64_t *all = malloc((size_t)found->ranks * sizeof *all);
    CHECK(all != NULL, "No memory for the hashes of %d ranks.", found->ranks);
    MPI_TRY(MPI_Allgather(hash + found->item, 1, MPI_UINT64_T, all, 1, MPI_UINT64_T, comm));
    find_odd_rank(all, found);
    free(all);
    return false;
}

status guard_refuse(const guard_difference *found, const char *what, error *err) {
    if (2 * found->common <= found->ranks)
        return error_set(err, STATUS_FAILED,
                         "%s differs on rank %d, or on others: at most %d of %d ranks hold the "
                         "same, so nobody can say who is right. Resume from the last checkpoint",
                         what, found->rank, found->common, found->ranks);
    return error_set(err, STATUS_FAILED,
                     "%s differs on rank %d: %d of %d ranks hold the same, and this one does not. "
                     "Resume from the last checkpoint, without that rank's node if it happens "
                     "again",
                     what, found->rank, found->common, found->ranks);
}
