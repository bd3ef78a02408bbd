// TEST np=1,2,3,4,5 timeout=60
/* shard: the owners' sums against a direct sum, whole and in pieces that each rank releases in its
 * own way; the gather against the owners' parts; and the sum of squares against a plain loop; with
 * arrays from empty to more rounds than may be in flight. */
#include "parallel/agree.h"
#include "parallel/shard.h"
#include "parallel/tree.h"
#include "src/base/clock.h"
#include "src/base/rng.h"
#include "tests/test.h"

#include <unistd.h>

/* What rank r holds at i: small integers, so that every order of summation is exact. */
static float held(int rank, int64_t i) {
    return (float)((i * 7 + rank * 13) % 101 - 50);
}

static double total(int ranks, int64_t i) {
    double sum = 0;
    for (int r = 0; r < ranks; r++)
        sum += held(r, i);
    return sum;
}

static void expect_sums(const shard *s, const float *part) {
    int64_t wrong = 0;
    for (int64_t i = 0; i < s->local; i++) {
        const int64_t g = shard_global_index(s, i);
        wrong += part[i] != (float)(g < s->elements ? total(s->ranks, g) : 0);
    }
    EXPECT(wrong == 0, "size %lld: %lld owned sums are wrong", (long long)s->elements,
           (long long)wrong);
}

static void expect_squares(const shard *s, const float *part) {
    const int64_t blocks = shard_sum_blocks(s);
    double *sums = calloc((size_t)blocks + 1, sizeof *sums), squares = 0;
    for (int64_t i = 0; i < s->elements; i++)
        squares += total(s->ranks, i) * total(s->ranks, i);
    shard_block_squares(s, part, sums);
    const double got = tree_sum_shared(MPI_COMM_WORLD, sums, blocks);
    EXPECT(got == squares, "size %lld: sum of squares %.17g, want %.17g", (long long)s->elements,
           got, squares);
    free(sums);
}

/* Every rank knows its own places only; nothing is written beyond the array. */
static void expect_gather(shard *s, const float *part) {
    float *whole = malloc(((size_t)s->storage + 1) * sizeof *whole);
    for (int64_t i = 0; i <= s->storage; i++)
        whole[i] = -12345;
    for (int64_t i = 0; i < s->local; i++)
        if (shard_global_index(s, i) < s->elements)
            whole[shard_global_index(s, i)] = part[i];
    shard_gather(s, whole);
    int64_t wrong = 0;
    for (int64_t i = 0; i <= s->storage; i++)
        wrong += whole[i] != (float)(i < s->elements ? total(s->ranks, i) : -12345);
    EXPECT(wrong == 0, "size %lld: %lld gathered values are wrong", (long long)s->elements,
           (long long)wrong);
    free(whole);
}

/* What is not released yet is garbage, so that a round begun too early shows. Each rank cuts and
 * waits as it likes. */
static void expect_pieces(shard *s, int wait) {
    float *whole = calloc((size_t)s->storage + 1, sizeof *whole);
    float *part = calloc((size_t)s->local + 1, sizeof *part);
    const rng_key key = rng_key_make((uint64_t)(s->rank * 10 + wait), "pieces");
    for (int64_t i = 0; i < s->storage; i++)
        whole[i] = 7e7F;
    shard_reduce_begin(s, whole, part);
    int64_t end = s->storage;
    for (uint64_t n = 0; end > 0 && n < 20; n++) {
        const int64_t first = n < 19 ? (int64_t)rng_below(key, n, 0, (uint64_t)end) : 0;
        for (int64_t i = first; i < end; i++)
            whole[i] = i < s->elements ? held(s->rank, i) : 0;
        end = first;
        if (n % 3 == 0)
            continue;
        usleep((useconds_t)rng_below(key, n, 1, 2000));
        shard_reduce_ready(s, first);
        shard_progress(s);
    }
    shard_reduce_ready(s, 0);
    const double start = clock_seconds();
    while (wait && s->reduction.oldest >= 0 && clock_seconds() - start < 20)
        shard_progress(s);
    EXPECT(!wait || s->reduction.oldest < 0, "size %lld: not done without waiting for it",
           (long long)s->elements);
    shard_reduce_end(s);
    expect_sums(s, part);
    free(whole);
    free(part);
}

static void check_one_size(int64_t elements) {
    shard s;
    error err = {0};
    EXPECT(shard_create(&s, MPI_COMM_WORLD, elements, sizeof(float), &err) == STATUS_OK, "%s",
           err.text);
    EXPECT(s.storage >= elements && s.local * s.ranks == s.storage, "size %lld",
           (long long)elements);
    EXPECT(s.flights * s.ranks * s.block * 4 <= 64 << 20 && s.flights <= SHARD_FLIGHTS);
    float *whole = calloc((size_t)s.storage + 1, sizeof *whole);
    float *part = calloc((size_t)s.local + 1, sizeof *part);
    for (int64_t i = 0; i < elements; i++)
        whole[i] = held(s.rank, i);
    shard_reduce(&s, whole, part);
    expect_sums(&s, part);
    expect_squares(&s, part);
    expect_gather(&s, part);
    expect_pieces(&s, 0);
    expect_pieces(&s, 1);
    const uint64_t mine = shard_schedule(&s);
    uint64_t first = mine;
    MPI_Bcast(&first, 1, MPI_UINT64_T, 0, MPI_COMM_WORLD);
    EXPECT(mine == first, "size %lld: the schedules differ", (long long)elements);
    shard_gather(&s, whole);
    EXPECT(elements == 0 || shard_schedule(&s) != mine, "the schedule does not see a call");
    free(whole);
    free(part);
    shard_destroy(&s);
}

int main(int argc, char **argv) {
    MPI_Init(&argc, &argv);
    const int64_t sizes[] = {0, 1, 16384, 16385, 100000, 1500000, 6000000};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        check_one_size(sizes[i]);
    MPI_Finalize();
    return test_end();
}
