/* A chunk's samples, packed end to end as the model reads them (src/nn/batch.h).
 *
 * Two steps: pack_read fetches what the samples need from the dataset; pack_build tokenizes and
 * lays out. Whoever has no dataset (one protein from a file and a question) fills a pack_input by
 * hand and calls pack_build alone. All memory comes from the caller's arena: resetting it ends the
 * life of everything here.
 * Read next: src/nn/batch.h.
 */
#ifndef SEPIT_DATA_PACK_H
#define SEPIT_DATA_PACK_H

#include "src/base/arena.h"
#include "src/data/prompt.h"
#include "src/data/sampler.h"
#include "src/nn/batch.h"

typedef struct pack_protein {
    int64_t L;              /* residues, the whole protein's */
    const uint8_t *letters; /* [min(L, 1022)] */
    const float *coord;     /* [min(L, 1022),3] in Å, NaN = missing; NULL: none at all */
} pack_protein;

typedef struct pack_sample {
    int64_t protein; /* index into pack_input.protein */
    bool structure;  /* wanted; a protein without any coordinate runs without it anyway */
    const char *question, *answer; /* no NUL at the end; answer NULL: for generation */
    int64_t question_bytes, answer_bytes;
} pack_sample;

typedef struct pack_input {
    int64_t proteins, samples;
    const pack_protein *protein; /* [proteins] each protein once */
    const pack_sample *sample;   /* [samples] */
} pack_input;

typedef struct pack_settings {
    const tokenizer *tokenizer;
    const char *system; /* data.system */
    int64_t max_text;   /* data.max_text */
} pack_settings;

/* An encoder pass is one protein, once with and once without structure when samples ask for both.
 */
typedef struct pack_counts {
    int64_t samples;        /* packed */
    int64_t without_room;   /* left out: their prompt alone needs data.max_text or more */
    int64_t cut_answers;    /* lost the tail of their answer, or just </s> */
    int64_t cut_proteins;   /* encoder passes over a protein cut to 1022 residues */
    int64_t protein_tokens; /* <cls> and <eos> included */
    int64_t text_tokens;    /* places of the text batch, protein vectors included */
    int64_t supervised;
    int64_t residues_squared; /* Σ L² over encoder passes with structure, L after the cut */
    int64_t longest_protein;  /* largest L after the cut */
    int64_t longest_needed; /* ids of the longest prompt before its answer: names what would fit */
} pack_counts;

typedef struct packed_chunk {
    chunk_batch batch;
    const int64_t *sample; /* [batch.text.B] which sample of the input a sequence is */
    pack_counts counts;
} packed_chunk;

/* Reads the proteins (each once, cut to 1022 residues) and texts of `count` samples into `memory`.
 * Passes on the dataset's failures. Local. Compares each sample with the proteins so far: O(n²) for
 * the n proteins of a chunk. */
status pack_read(const dataset *d, const sample *samples, int64_t count, arena *memory,
                 pack_input *input, error *err);

/* Packs the samples in their order. Encoder passes come in the order of their first use, keyed
 * (protein, structure on/off). A sample whose prompt leaves no room for an answer is left out and
 * counted. No sample gives a batch with B = 0. STATUS_FAILED when the tokenizer fails. Borrows
 * nothing from the input. */
status pack_build(const pack_settings *settings, const pack_input *input, arena *memory,
                  packed_chunk *packed, error *err);

/* Upper bound of what pack_read and pack_build together take from the arena for any chunk of at
 * most `samples` samples of this dataset, in bytes (most of it never touched). */
size_t pack_bytes(const dataset *d, int64_t samples, const pack_settings *settings);

#endif
