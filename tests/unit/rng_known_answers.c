// TEST timeout=60 mode=release,double,asan
/* Philox against the published answers; draws that are uniform; permutations that are bijections.
 */
#include "src/base/rng.h"
#include "tests/test.h"

/* From the known answers of Random123 (Salmon et al., SC'11), philox4x32-10. */
static void check_known_answers(void) {
    static const struct {
        rng_key key;
        rng_block counter, want;
    } known[] = {
        {{{0, 0}}, {{0, 0, 0, 0}}, {{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}}},
        {{{0xffffffff, 0xffffffff}},
         {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}},
         {{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}}},
        {{{0xa4093822, 0x299f31d0}},
         {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}},
         {{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}}},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        const rng_block got = rng_philox(known[i].key, known[i].counter);
        for (int w = 0; w < 4; w++)
            EXPECT(got.word[w] == known[i].want.word[w], "answer %zu, word %d: %08x", i, w,
                   got.word[w]);
    }
}

/* 100,000 draws: bounds are five standard errors or more. */
static void check_moments(rng_key key) {
    enum { N = 100000, BINS = 10 };
    double sum = 0, normal = 0, squares = 0;
    int bin[BINS] = {0}, below[BINS] = {0};
    for (uint64_t i = 0; i < N; i++) {
        const double u = rng_uniform(key, 3, i), z = rng_normal(key, 4, i);
        EXPECT(u >= 0 && u < 1 && isfinite(z));
        bin[(int)(u * BINS)]++;
        sum += u;
        normal += z;
        squares += z * z;
        const uint64_t k = rng_below(key, i, 5, BINS);
        EXPECT(k < BINS);
        below[k]++;
    }
    EXPECT(fabs(sum / N - 0.5) < 0.005, "mean %g", sum / N);
    EXPECT(fabs(normal / N) < 0.017, "mean of normals %g", normal / N);
    EXPECT(fabs(squares / N - 1) < 0.025, "variance of normals %g", squares / N);
    for (int b = 0; b < BINS; b++)
        EXPECT(abs(bin[b] - N / BINS) < 500 && abs(below[b] - N / BINS) < 500, "bin %d", b);
}

/* Neither seeds, nor purposes, nor the halves of a counter share a stream. */
static void check_streams(void) {
    const rng_key keys[] = {rng_key_make(1, "a"), rng_key_make(2, "a"), rng_key_make(1, "b"),
                            rng_key_make(1ull << 32, "a"), rng_key_make(0, "a")};
    for (int i = 0; i < 5; i++)
        for (int j = 0; j < i; j++)
            EXPECT(rng_bits(keys[i], 0, 0) != rng_bits(keys[j], 0, 0), "%d and %d", i, j);
    EXPECT(rng_bits(keys[0], 1, 0) != rng_bits(keys[0], 0, 1));
    EXPECT(rng_bits(keys[0], 1ull << 32, 0) != rng_bits(keys[0], 1, 0));
    EXPECT(rng_bits(keys[0], 0, 1ull << 32) != rng_bits(keys[0], 0, 1));
    EXPECT(rng_bits(rng_key_make(1, "a"), 5, 6) == rng_bits(keys[0], 5, 6));
}

static void check_permutation(rng_key key, uint64_t n) {
    unsigned char *seen = calloc(n, 1);
    uint64_t fixed = 0, wrong = 0;
    for (uint64_t i = 0; i < n; i++) {
        const uint64_t p = rng_permute(key, i, n);
        EXPECT(p < n, "item %llu of %llu", (unsigned long long)i, (unsigned long long)n);
        wrong += p < n && seen[p]++;
        fixed += p == i;
    }
    EXPECT(wrong == 0, "%llu places taken twice of %llu", (unsigned long long)wrong,
           (unsigned long long)n);
    EXPECT(n < 50 || fixed < 12, "%llu of %llu stay", (unsigned long long)fixed,
           (unsigned long long)n); /* a random permutation keeps one on average */
    free(seen);
}

/* The mean place of the first half's items is the middle, not the first half. */
static void check_spread(rng_key key) {
    enum { N = 10000 };
    double sum = 0;
    for (uint64_t i = 0; i < N / 2; i++)
        sum += (double)rng_permute(key, i, N);
    EXPECT(fabs(sum / (N / 2) / N - 0.5) < 0.02, "mean place %g", sum / (N / 2) / N);
}

int main(void) {
    check_known_answers();
    const rng_key key = rng_key_make(11, "test");
    check_moments(key);
    check_streams();
    for (uint64_t n = 1; n <= 300; n++)
        check_permutation(rng_key_make(n, "many"), n);
    static const uint64_t sizes[] = {1023, 1024, 1025, 4095, 4096, 4097, 99991};
    for (int i = 0; i < 7; i++)
        check_permutation(key, sizes[i]);
    check_spread(key);
    const uint64_t most = ~0ull; /* no overflow at the top */
    EXPECT(rng_permute(key, most - 1, most) < most);
    return test_end();
}
