// TEST np=1,2,3,4,5 timeout=60
/* shard: the owners' sums against a direct sum, the gather against the owners' parts, and the sum
 * of squares against a plain loop; with arrays from empty to several rounds. */
#include "parallel/agree.h"
#include "parallel/shard.h"
#include "tests/test.h"

/* What rank r holds at i: small integers, so that every order of summation is exact. */
static float held(int rank, int64_t i) {
    return (float)((i * 7 + rank * 13) % 101 - 50);
}

static void check_one_size(int64_t elements) {
    shard s;
    error err = {0};
    EXPECT(shard_create(&s, MPI_COMM_WORLD, elements, sizeof(float), &err) == STATUS_OK, "%s",
           err.text);
    EXPECT(s.storage >= elements && s.local * s.ranks == s.storage, "size %lld",
           (long long)elements);
    float *whole = calloc((size_t)s.storage + 1, sizeof *whole);
    float *part = calloc((size_t)s.local + 1, sizeof *part);
    for (int64_t i = 0; i < elements; i++)
        whole[i] = held(s.rank, i);
    shard_reduce(&s, whole, part);
    double squares = 0;
    for (int64_t i = 0; i < elements; i++) {
        double sum = 0;
        for (int r = 0; r < s.ranks; r++)
            sum += held(r, i);
        squares += sum * sum;
    }
    int64_t wrong = 0;
    for (int64_t i = 0; i < s.local; i++) {
        const int64_t g = shard_global_index(&s, i);
        double sum = 0;
        for (int r = 0; g < elements && r < s.ranks; r++)
            sum += held(r, g);
        wrong += part[i] != (float)sum;
    }
    EXPECT(wrong == 0, "size %lld: %lld owned sums are wrong", (long long)elements,
           (long long)wrong);
    const double got = shard_sum_squares(&s, part);
    EXPECT(got == squares, "size %lld: sum of squares %.17g, want %.17g", (long long)elements, got,
           squares);
    shard_gather(&s, part, whole);
    wrong = 0;
    for (int64_t i = 0; i < elements; i++) {
        double sum = 0;
        for (int r = 0; r < s.ranks; r++)
            sum += held(r, i);
        wrong += whole[i] != (float)sum;
    }
    EXPECT(wrong == 0, "size %lld: %lld gathered values are wrong", (long long)elements,
           (long long)wrong);
    free(whole);
    free(part);
    shard_destroy(&s);
}

int main(int argc, char **argv) {
    MPI_Init(&argc, &argv);
    const int64_t sizes[] = {0, 1, 16384, 16385, 100000, 1500000};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        check_one_size(sizes[i]);
    MPI_Finalize();
    return test_end();
}
