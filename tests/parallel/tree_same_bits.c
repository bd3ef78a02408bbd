// TEST np=1,2,4 timeout=60
/* tree: eight rows summed by 1, 2 or 4 ranks, each its own subtree first and then the ranks'
 * subtrees, give the bits of one rank that sums all eight; and no plain left-to-right sum does. */
#include "parallel/agree.h"
#include "parallel/shard.h"
#include "parallel/tree.h"
#include "src/base/rng.h"
#include "tests/test.h"

enum { ROWS = 8, N = 40000 };

static void fill(float *row, int r) {
    const rng_key key = rng_key_make(11, "tree test");
    for (int i = 0; i < N; i++)
        row[i] = (float)(rng_normal(key, (uint64_t)r, (uint64_t)i) * exp((double)(i % 13) - 6));
}

int main(int argc, char **argv) {
    MPI_Init(&argc, &argv);
    const int rank = comm_rank(MPI_COMM_WORLD), ranks = comm_size(MPI_COMM_WORLD);
    float *all = malloc(sizeof(float) * ROWS * N), *plain = calloc(N, sizeof *plain);
    for (int r = 0; r < ROWS; r++) {
        fill(all + r * N, r);
        for (int i = 0; i < N; i++)
            plain[i] += all[r * N + i];
    }
    tree_sum_rows(all, ROWS, N, sizeof(float));

    shard s;
    error err = {0};
    EXPECT(shard_create(&s, MPI_COMM_WORLD, N, sizeof(float), &err) == STATUS_OK, "%s", err.text);
    const int mine = ROWS / ranks;
    const int64_t stride = s.storage;
    float *rows = calloc((size_t)(stride * mine), sizeof *rows);
    float *part = calloc((size_t)s.local, sizeof *part);
    for (int r = 0; r < mine; r++)
        fill(rows + r * stride, rank * mine + r);
    tree_sum_rows(rows, mine, stride, sizeof(float));
    shard_reduce(&s, rows, part);
    for (int64_t i = 0; i < s.local; i++)
        if (shard_global_index(&s, i) < N)
            rows[shard_global_index(&s, i)] = part[i];
    shard_gather(&s, rows);
    EXPECT(memcmp(rows, all, sizeof(float) * N) == 0, "the bits depend on the number of ranks");
    EXPECT(memcmp(plain, all, sizeof(float) * N) != 0, "this test could not see a difference");

    double sums[N / SHARD_SUM_BLOCK + 1] = {0};
    shard_block_squares(&s, part, sums);
    const double squares = tree_sum_shared(MPI_COMM_WORLD, sums, shard_sum_blocks(&s));
    double lowest = squares, highest = squares;
    MPI_Allreduce(MPI_IN_PLACE, &lowest, 1, MPI_DOUBLE, MPI_MIN, MPI_COMM_WORLD);
    MPI_Allreduce(MPI_IN_PLACE, &highest, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
    EXPECT(lowest == highest, "the ranks disagree on the sum of squares");
    free(all);
    free(plain);
    free(rows);
    free(part);
    shard_destroy(&s);
    MPI_Finalize();
    return test_end();
}
