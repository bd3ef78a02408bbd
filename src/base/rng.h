/* Random numbers without state: Philox4x32-10 (Salmon et al., SC'11).
 *
 * A number is a pure function of a key (seed and purpose) and a counter (epoch, sample, index), so
 * it is the same on any rank, in any order of execution, after any restart.
 */
#ifndef SEPIT_BASE_RNG_H
#define SEPIT_BASE_RNG_H

#include <stdint.h>

typedef struct rng_block {
    uint32_t word[4];
} rng_block;

/* One key per (seed, purpose): two purposes never share a stream. `purpose` is a short name. */
typedef struct rng_key {
    uint32_t word[2];
} rng_key;

rng_key rng_key_make(uint64_t seed, const char *purpose);

/* The bare function of the paper: ten rounds. */
rng_block rng_philox(rng_key key, rng_block counter);

/* Draws at the counter (a, b): 64 uniform bits; a double in [0,1); a standard normal. */
uint64_t rng_bits(rng_key key, uint64_t a, uint64_t b);
double rng_uniform(rng_key key, uint64_t a, uint64_t b);
double rng_normal(rng_key key, uint64_t a, uint64_t b);

/* Uniform integer in [0, n), n > 0, without modulo bias beyond 2^-64·n. */
uint64_t rng_below(rng_key key, uint64_t a, uint64_t b, uint64_t n);

/* The position of item `i` under the key's permutation of [0, n), in O(1) time and memory: a
 * balanced Feistel network on the next even power of two, walked until it falls inside
 * (Black and Rogaway 2002). */
uint64_t rng_permute(rng_key key, uint64_t i, uint64_t n);

#endif
