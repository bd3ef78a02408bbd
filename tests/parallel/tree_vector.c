// TEST np=1,2,3,4,5,7 timeout=60
/* tree: the sum of the ranks' vectors has, on every rank, the bits of tree_sum_rows over all of
 * them gathered in order, for lengths from nothing to several slices. */
#include "parallel/agree.h"
#include "parallel/tree.h"
#include "src/base/rng.h"
#include "tests/test.h"

static void check_length(int64_t n) {
    const int rank = comm_rank(MPI_COMM_WORLD), ranks = comm_size(MPI_COMM_WORLD);
    const rng_key key = rng_key_make(5, "tree vector test");
    double *mine = malloc((size_t)(n + 1) * sizeof *mine);
    double *rows = malloc((size_t)(n * ranks + 1) * sizeof *rows);
    for (int64_t i = 0; i < n; i++)
        mine[i] = rng_normal(key, (uint64_t)rank, (uint64_t)i) * exp((double)(i % 31) - 15);
    mine[n] = 42;
    MPI_Allgather(mine, (int)n, MPI_DOUBLE, rows, (int)n, MPI_DOUBLE, MPI_COMM_WORLD);
    int64_t unlike_plain = 0;
    double *plain = calloc((size_t)n + 1, sizeof *plain);
    for (int r = 0; r < ranks; r++)
        for (int64_t i = 0; i < n; i++)
            plain[i] += rows[r * n + i];
    tree_sum_rows(rows, ranks, n, sizeof *rows);
    for (int64_t i = 0; i < n; i++)
        unlike_plain += plain[i] != rows[i];
    tree_sum_vector(MPI_COMM_WORLD, mine, n);
    EXPECT(memcmp(mine, rows, (size_t)n * sizeof *mine) == 0, "%lld values", (long long)n);
    EXPECT(mine[n] == 42, "wrote beyond the end of %lld values", (long long)n);
    EXPECT(ranks < 4 || n < 1000 || unlike_plain > 0, "this test could not see a difference");
    free(plain);
    free(rows);
    free(mine);
}

int main(int argc, char **argv) {
    MPI_Init(&argc, &argv);
    const int64_t lengths[] = {0, 1, 1000, 8192, 20001};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++)
        check_length(lengths[i]);
    MPI_Finalize();
    return test_end();
}
