#include "parallel/shard.h"

#include "parallel/agree.h"
#include "parallel/tree.h"

#include <stdlib.h>
#include <string.h>

enum {
    LARGEST_BLOCK = 262144, /* 1 MiB of floats: enough to be bound by bandwidth */
    ROUND_BYTES = 64 * 1024 * 1024
};

static int64_t ceil_div(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

/* Large enough for bandwidth, small enough for the receive buffer and for an even deal. */
static int64_t choose_block(int64_t elements, int ranks, size_t width) {
    int64_t units = LARGEST_BLOCK / SHARD_SUM_BLOCK;
    const int64_t fair = ceil_div(ceil_div(elements, SHARD_SUM_BLOCK), ranks);
    const int64_t fits = (int64_t)(ROUND_BYTES / width) / ranks / SHARD_SUM_BLOCK;
    if (units > fits)
        units = fits;
    if (units > fair)
        units = fair;
    return (units < 1 ? 1 : units) * SHARD_SUM_BLOCK;
}

status shard_create(shard *s, MPI_Comm comm, int64_t elements, size_t width, error *err) {
    CHECK(width == sizeof(float) || width == sizeof(double), "An element has 4 or 8 bytes.");
    *s = (shard){.elements = elements, .width = width};
    MPI_TRY(MPI_Comm_dup(comm, &s->comm));
    s->ranks = comm_size(comm);
    s->rank = comm_rank(comm);
    s->block = choose_block(elements, s->ranks, width);
    s->rounds = ceil_div(elements, s->block * s->ranks);
    s->storage = s->rounds * s->ranks * s->block;
    s->local = s->rounds * s->block;
    s->received = malloc((size_t)(s->ranks * s->block) * width);
    s->sums = malloc((size_t)(ceil_div(elements, SHARD_SUM_BLOCK) + 1) * sizeof *s->sums);
    status code = STATUS_OK;
    if (s->received == NULL || s->sums == NULL)
        code =
            error_set(err, STATUS_FAILED, "no memory to exchange gradients: %lld bytes asked for",
                      (long long)(s->ranks * s->block) * (long long)width);
    code = agree(comm, code, err);
    if (code != STATUS_OK)
        shard_destroy(s);
    return code;
}

void shard_destroy(shard *s) {
    if (s->ranks == 0)
        return;
    free(s->received);
    free(s->sums);
    MPI_TRY(MPI_Comm_free(&s->comm));
    *s = (shard){0};
}

int64_t shard_global_index(const shard *s, int64_t i) {
    const int64_t round = i / s->block;
    return (round * s->ranks + s->rank) * s->block + i % s->block;
}

void shard_reduce(shard *s, const void *whole, void *part) {
    const size_t block_bytes = (size_t)s->block * s->width;
    const int count = mpi_count((int64_t)block_bytes);
    for (int64_t k = 0; k < s->rounds; k++) {
        const char *round = (const char *)whole + (size_t)(k * s->ranks) * block_bytes;
        MPI_TRY(MPI_Alltoall(round, count, MPI_BYTE, s->received, count, MPI_BYTE, s->comm));
        tree_sum_rows(s->received, s->ranks, s->block, s->width);
        memcpy((char *)part + (size_t)k * block_bytes, s->received, block_bytes);
    }
}

void shard_gather(shard *s, const void *part, void *whole) {
    const size_t block_bytes = (size_t)s->block * s->width;
    const int count = mpi_count((int64_t)block_bytes);
    for (int64_t k = 0; k < s->rounds; k++)
        MPI_TRY(MPI_Allgather((const char *)part + (size_t)k * block_bytes, count, MPI_BYTE,
                              (char *)whole + (size_t)(k * s->ranks) * block_bytes, count, MPI_BYTE,
                              s->comm));
}

static double block_squares(const shard *s, const void *part, int64_t first) {
    double sum = 0;
    for (int64_t i = first; i < first + SHARD_SUM_BLOCK; i++) {
        const double x = s->width == sizeof(float) ? (double)((const float *)part)[i]
                                                   : ((const double *)part)[i];
        sum += x * x;
    }
    return sum;
}

double shard_sum_squares(shard *s, const void *part) {
    const int64_t blocks = ceil_div(s->elements, SHARD_SUM_BLOCK);
    memset(s->sums, 0, (size_t)blocks * sizeof *s->sums);
#pragma omp parallel for
    for (int64_t i = 0; i < s->local; i += SHARD_SUM_BLOCK) {
        const int64_t b = shard_global_index(s, i) / SHARD_SUM_BLOCK;
        if (b < blocks)
            s->sums[b] = block_squares(s, part, i);
    }
    return tree_sum_shared(s->comm, s->sums, blocks);
}
