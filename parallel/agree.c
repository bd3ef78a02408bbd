#include "parallel/agree.h"

#include "src/base/log.h"

#include <limits.h>
#include <string.h>
#include <unistd.h>

status agree(MPI_Comm comm, status local, error *err) {
    const int rank = comm_rank(comm), size = comm_size(comm);
    /* The largest code wins; among its holders the lowest rank. One MAX finds both. */
    int64_t mine[2] = {(int64_t)local << 32 | (int64_t)(size - 1 - rank), -(int64_t)local};
    int64_t all[2];
    MPI_TRY(MPI_Allreduce(mine, all, 2, MPI_INT64_T, MPI_MAX, comm));
    const status worst = (status)(all[0] >> 32), mildest = (status)(-all[1]);
    if (worst == STATUS_OK)
        return STATUS_OK;
    const int speaker = size - 1 - (int)(all[0] & 0xFFFFFFFF);
    if (rank == speaker && size > 1 && mildest != worst)
        error_prefix(err, "rank %d", rank);
    MPI_TRY(MPI_Bcast(err->text, ERROR_TEXT, MPI_CHAR, speaker, comm));
    err->code = worst;
    return worst;
}

void comm_end_job(status code) {
    int running = 0;
    MPI_Initialized(&running);
    if (running)
        MPI_Abort(MPI_COMM_WORLD, code);
    _exit(code);
}

void comm_abort(const char *sentence) {
    log_error("%s", sentence);
    comm_end_job(STATUS_FAILED);
}

void mpi_check(int code, const char *call, const char *file, int line) {
    if (code == MPI_SUCCESS)
        return;
    char text[MPI_MAX_ERROR_STRING] = "";
    int length = 0;
    MPI_Error_string(code, text, &length);
    log_error("%s:%d: %s: %s", file, line, call, text);
    MPI_Abort(MPI_COMM_WORLD, STATUS_FAILED);
}

int mpi_count(int64_t count) {
    CHECK(count >= 0 && count <= INT_MAX, "MPI cannot count %lld items in one call.",
          (long long)count);
    return (int)count;
}

void comm_sum(MPI_Comm comm, int64_t *counters, int64_t n) {
    MPI_TRY(MPI_Allreduce(MPI_IN_PLACE, counters, mpi_count(n), MPI_INT64_T, MPI_SUM, comm));
}

double comm_max(MPI_Comm comm, double value) {
    MPI_TRY(MPI_Allreduce(MPI_IN_PLACE, &value, 1, MPI_DOUBLE, MPI_MAX, comm));
    return value;
}

void comm_gather(MPI_Comm comm, const void *mine, size_t bytes, void *all) {
    const int count = mpi_count((int64_t)bytes);
    MPI_TRY(MPI_Gather(mine, count, MPI_BYTE, all, count, MPI_BYTE, 0, comm));
}

int comm_rank(MPI_Comm comm) {
    int rank = 0;
    MPI_TRY(MPI_Comm_rank(comm, &rank));
    return rank;
}

int comm_size(MPI_Comm comm) {
    int size = 0;
    MPI_TRY(MPI_Comm_size(comm, &size));
    return size;
}

int comm_node_size(MPI_Comm comm) {
    MPI_Comm node = MPI_COMM_NULL;
    MPI_TRY(MPI_Comm_split_type(comm, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node));
    const int size = comm_size(node);
    MPI_TRY(MPI_Comm_free(&node));
    return size;
}
