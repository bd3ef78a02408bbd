#include "parallel/tree.h"

#include "parallel/agree.h"

static void add_floats(float *restrict y, const float *restrict x, int64_t n) {
#pragma omp parallel for simd
    for (int64_t i = 0; i < n; i++)
        y[i] += x[i];
}

static void add_doubles(double *restrict y, const double *restrict x, int64_t n) {
#pragma omp parallel for simd
    for (int64_t i = 0; i < n; i++)
        y[i] += x[i];
}

void tree_add(void *y, const void *x, int64_t n, size_t width) {
    if (width == sizeof(float))
        add_floats(y, x, n);
    else
        add_doubles(y, x, n);
}

void tree_sum_rows(void *data, int64_t rows, int64_t n, size_t width) {
    const size_t row_bytes = (size_t)n * width;
    for (int64_t stride = 1; stride < rows; stride *= 2)
        for (int64_t i = 0; i + stride < rows; i += 2 * stride)
            tree_add((char *)data + (size_t)i * row_bytes,
                     (char *)data + (size_t)(i + stride) * row_bytes, n, width);
}

double tree_sum_shared(MPI_Comm comm, double *items, int64_t n) {
    enum { SLICE = 1 << 20 };
    for (int64_t first = 0; first < n; first += SLICE) { /* adding zeros changes no bit */
        const int64_t count = n - first < SLICE ? n - first : SLICE;
        MPI_TRY(MPI_Allreduce(MPI_IN_PLACE, items + first, mpi_count(count), MPI_DOUBLE, MPI_SUM,
                              comm));
    }
    /* The tree of tree_sum_rows, without its threads: rows of one number are too short for them. */
    for (int64_t stride = 1; stride < n; stride *= 2)
        for (int64_t i = 0; i + stride < n; i += 2 * stride)
            items[i] += items[i + stride];
    return n > 0 ? items[0] : 0;
}

/* One slice up the tree to rank 0: at each level the upper one of two neighbouring subtrees sends
 * its sum to the root of the lower one. */
static void sum_to_first(MPI_Comm comm, double *values, int count, double *received) {
    const int rank = comm_rank(comm), ranks = comm_size(comm);
    for (int stride = 1; stride < ranks; stride *= 2) {
        if (rank % (2 * stride) != 0) {
            MPI_TRY(MPI_Send(values, count, MPI_DOUBLE, rank - stride, 0, comm));
            return;
        }
        if (rank + stride < ranks) {
            MPI_TRY(
                MPI_Recv(received, count, MPI_DOUBLE, rank + stride, 0, comm, MPI_STATUS_IGNORE));
            tree_add(values, received, count, sizeof *values);
        }
    }
}

void tree_sum_vector(MPI_Comm comm, double *values, int64_t n) {
    enum { SLICE = 8192 };
    double received[SLICE];
    for (int64_t first = 0; first < n; first += SLICE) {
        const int count = mpi_count(n - first < SLICE ? n - first : SLICE);
        sum_to_first(comm, values + first, count, received);
        MPI_TRY(MPI_Bcast(values + first, count, MPI_DOUBLE, 0, comm));
    }
}
