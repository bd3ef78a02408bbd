/* Which samples form the global batch of a step, and how the batch is cut into chunks (DESIGN.md
 * §5).
 *
 * A group is up to data.group consecutive captions of one training protein; it stays together, with
 * the batch's other groups of that protein, and shares an encoder pass. Step s takes the groups at
 * the positions s·n … s·n + n−1 of an endless row of epochs, each of which is its own keyed
 * permutation of all groups. The batch and its chunks are therefore a pure function of (dataset,
 * settings, seed, step): no rank, no state, no message. Every rank computes the whole batch, in
 * O(batch·log batch) a step, and runs its own chunks. Read next: src/data/pack.h.
 */
#ifndef SEPIT_DATA_SAMPLER_H
#define SEPIT_DATA_SAMPLER_H

#include "io/dataset.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct sampler_config {
    uint64_t seed;         /* run.seed */
    int64_t group;         /* data.group */
    int64_t global_batch;  /* train.global_batch: samples of a step, on average */
    int64_t chunks;        /* train.chunks, a power of two */
    int64_t max_text;      /* data.max_text, for the estimate of a sample's tokens */
    double structure_drop; /* train.structure_drop; 1: never any structure */
} sampler_config;

typedef struct sample {
    int64_t caption, protein; /* indices into the dataset */
    int64_t epoch;
    bool structure; /* false: dropped, or the protein has no structure */
} sample;

/* Samples of chunk c are offset[c] … offset[c+1]−1, in the batch's order; a chunk may be empty. */
typedef struct sampler_batch {
    int64_t count;         /* samples */
    const int64_t *offset; /* [chunks+1] */
    const sample *sample;  /* [count] */
} sampler_batch;

typedef struct sampler {
    sampler_config config;
    const dataset *data; /* borrowed */
    int64_t captions;    /* that train */
    int64_t groups;
    int64_t groups_per_step;       /* n = max(1, round(global_batch / mean captions of a group)) */
    int64_t most_samples;          /* a batch never has more */
    struct sampler_tables *tables; /* owned: 8 bytes per 64 captions, and the batch's arrays */
} sampler;

/* Counts the groups. STATUS_INPUT when the dataset has no caption to train on or train.chunks is no
 * power of two; STATUS_FAILED when memory is short. Local; gives the same on every rank. The caller
 * destroys it, whatever came back; the dataset must live as long. */
status sampler_create(sampler *s, const sampler_config *config, const dataset *data, error *err);
void sampler_destroy(sampler *s);

/* The global batch of step 0, 1, …: borrowed, until the next call. */
void sampler_draw(sampler *s, int64_t step, sampler_batch *batch);

/* Captions first … first+count−1 form group 0 ≤ index < groups (in the dataset's order). */
void sampler_group(const sampler *s, int64_t index, int64_t *first, int64_t *count);

/* Epochs passed when `step` begins, with the fraction. */
double sampler_epoch(const sampler *s, int64_t step);

/* Rank r of R owns the chunks first … end−1, [r·C/R, (r+1)·C/R). */
void sampler_chunks_of_rank(int64_t chunks, int64_t rank, int64_t ranks, int64_t *first,
                            int64_t *end);

#endif
