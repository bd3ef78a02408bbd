// TEST np=1,2,3,4,5 timeout=60
/* guard: known answers of the hash; equal hashes pass; one that differs is found by index and by
 * rank, the same on all ranks, in any slice of the comparison; a tie blames the higher rank. */
#include "parallel/agree.h"
#include "parallel/guard.h"
#include "tests/test.h"

enum { N = 10000 };

static void check_hash(void) {
    /* xxhsum -H3 of nothing, of "abc", and of 1,000 bytes 'x' */
    char long_text[1000];
    memset(long_text, 'x', sizeof long_text);
    EXPECT(guard_hash("", 0, 0) == 0x2d06800538d394c2);
    EXPECT(guard_hash("abc", 3, 0) == 0x78af5f94892f3950);
    EXPECT(guard_hash(long_text, sizeof long_text, 0) == 0xc0a4877b962cba82);
    EXPECT(guard_hash("abc", 3, 1) != guard_hash("abc", 3, 0));
}

/* Fills hash[N], with `odd` ranks from `first` on holding something else at `item`. */
static void fill(uint64_t *hash, int64_t item, int first, int odd) {
    const int rank = comm_rank(MPI_COMM_WORLD);
    for (int64_t i = 0; i < N; i++) /* all 64 bits in use */
        hash[i] = (uint64_t)i * 0x9E3779B97F4A7C15;
    if (rank >= first && rank < first + odd)
        hash[item] ^= (uint64_t)1 << (item % 64);
}

static void check_difference(int64_t item, int first, int odd, int want_rank, int want_common) {
    static uint64_t hash[N];
    guard_difference found;
    fill(hash, item, first, odd);
    EXPECT(!guard_compare(MPI_COMM_WORLD, hash, N, &found));
    EXPECT(found.item == item, "%lld, want %lld", (long long)found.item, (long long)item);
    EXPECT(found.rank == want_rank, "item %lld: %d, want %d", (long long)item, found.rank,
           want_rank);
    EXPECT(found.common == want_common, "%d of %d", found.common, found.ranks);
    EXPECT(guard_compare(MPI_COMM_WORLD, hash, item, &found), "those before are the same");
}

static void check_sentences(void) {
    error err = {0};
    const guard_difference clear = {7, 3, 5, 6}, tie = {7, 1, 1, 2};
    EXPECT(guard_refuse(&clear, "tensor a.weight", &err) == STATUS_FAILED);
    EXPECT(strstr(err.text, "tensor a.weight differs on rank 3: 5 of 6 ranks") != NULL, "%s",
           err.text);
    EXPECT(guard_refuse(&tie, "tensor b", &err) == STATUS_FAILED);
    EXPECT(strstr(err.text, "tensor b differs on rank 1, or on others") != NULL, "%s", err.text);
}

int main(int argc, char **argv) {
    MPI_Init(&argc, &argv);
    const int ranks = comm_size(MPI_COMM_WORLD);
    static uint64_t same[N];
    guard_difference found;
    check_hash();
    check_sentences();
    fill(same, 0, ranks, 0);
    EXPECT(guard_compare(MPI_COMM_WORLD, same, N, &found) && found.item == -1);
    EXPECT(guard_compare(MPI_COMM_WORLD, NULL, 0, &found) && found.item == -1);
    const int64_t items[] = {0, 63, 4095, 4096, N - 1};
    for (size_t i = 0; i < sizeof items / sizeof items[0] && ranks > 1; i++) {
        check_difference(items[i], ranks - 1, 1, ranks - 1, ranks - 1);
        if (ranks > 2)
            check_difference(items[i], 0, 1, 0, ranks - 1);
        if (ranks == 4)
            check_difference(items[i], 0, 2, 2, 2); /* two against two: rank 0's counts */
        if (ranks == 5)
            check_difference(items[i], 1, 3, 0, 3);
    }
    MPI_Finalize();
    return test_end();
}
