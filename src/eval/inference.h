/* A trained model ready to be asked: what score and generate share. */
#ifndef SEPIT_EVAL_INFERENCE_H
#define SEPIT_EVAL_INFERENCE_H

#include "io/dataset.h"
#include "src/base/config.h"
#include "src/data/pack.h"
#include "src/nn/sepit.h"

typedef struct inference {
    tokenizer tokenizer;
    pack_settings packing;
    sepit model;
    nn_context nn;
    moe_run moe; /* of models with experts; all of them are on every rank */
    arena activations, scratch, batch;
    int64_t step; /* of the checkpoint */
    bool bf16;
} inference;

/* Loads the tokenizer and the newest good checkpoint of run.dir on every rank. Collective on comm;
 * fails on all ranks alike. The caller destroys it, whatever came back. */
status inference_create(inference *f, MPI_Comm comm, const config *c, error *err);
void inference_destroy(inference *f);

/* STATUS_FAILED when a chunk of this size does not fit the machine. Local. */
status inference_check_memory(const inference *f, const pack_counts *counts, error *err);

#endif
