#include "src/base/rng.h"

#include "src/base/error.h"

#include <math.h>

static const double TWO_PI = 6.28318530717958647692;

rng_key rng_key_make(uint64_t seed, const char *purpose) {
    uint64_t hash = 14695981039346656037u; /* FNV-1a */
    for (const char *c = purpose; *c != '\0'; c++)
        hash = (hash ^ (uint8_t)*c) * 1099511628211u;
    /* Mix seed and purpose through the generator itself, so that near seeds share nothing. */
    const rng_block mixed = rng_philox((rng_key){{(uint32_t)hash, (uint32_t)(hash >> 32)}},
                                       (rng_block){{(uint32_t)seed, (uint32_t)(seed >> 32), 0, 0}});
    return (rng_key){{mixed.word[0], mixed.word[1]}};
}

rng_block rng_philox(rng_key key, rng_block counter) {
    uint32_t k0 = key.word[0], k1 = key.word[1];
    for (int round = 0; round < 10; round++) {
        const uint64_t p0 = 0xD2511F53u * (uint64_t)counter.word[0];
        const uint64_t p1 = 0xCD9E8D57u * (uint64_t)counter.word[2];
        counter = (rng_block){{(uint32_t)(p1 >> 32) ^ counter.word[1] ^ k0, (uint32_t)p1,
                               (uint32_t)(p0 >> 32) ^ counter.word[3] ^ k1, (uint32_t)p0}};
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return counter;
}

static rng_block draw(rng_key key, uint64_t a, uint64_t b) {
    return rng_philox(
        key, (rng_block){{(uint32_t)a, (uint32_t)(a >> 32), (uint32_t)b, (uint32_t)(b >> 32)}});
}

static uint64_t low_half(rng_block block) {
    return (uint64_t)block.word[1] << 32 | block.word[0];
}

static uint64_t high_half(rng_block block) {
    return (uint64_t)block.word[3] << 32 | block.word[2];
}

static double unit(uint64_t bits) {
    return (double)(bits >> 11) * 0x1p-53;
}

uint64_t rng_bits(rng_key key, uint64_t a, uint64_t b) {
    return low_half(draw(key, a, b));
}

double rng_uniform(rng_key key, uint64_t a, uint64_t b) {
    return unit(rng_bits(key, a, b));
}

double rng_normal(rng_key key, uint64_t a, uint64_t b) {
    const rng_block block = draw(key, a, b);
    const double u = 1.0 - unit(low_half(block)); /* in (0, 1]: the logarithm is finite */
    return sqrt(-2.0 * log(u)) * cos(TWO_PI * unit(high_half(block))); /* Box-Muller */
}

uint64_t rng_below(rng_key key, uint64_t a, uint64_t b, uint64_t n) {
    return (uint64_t)(((unsigned __int128)rng_bits(key, a, b) * n) >> 64);
}

uint64_t rng_permute(rng_key key, uint64_t i, uint64_t n) {
    CHECK(i < n, "Item %llu of %llu cannot be permuted.", (unsigned long long)i,
          (unsigned long long)n);
    unsigned half = 1; /* bits of each side: the smallest with 2^(2·half) >= n */
    while (half < 32 && (1ull << (2 * half)) < n)
        half++;
    const uint64_t mask = (1ull << half) - 1;
    do {
        uint64_t left = i >> half, right = i & mask;
        for (uint64_t round = 0; round < 6; round++) {
            const uint64_t next = left ^ (rng_bits(key, right, round) & mask);
            left = right;
            right = next;
        }
        i = left << half | right;
    } while (i >= n); /* the network permutes [0, 4^half): the walk returns into [0, n) */
    return i;
}
