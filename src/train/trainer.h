/* All that a training run needs, set up once: data, model, optimizer, memory, run folder.
 *
 * Setting up is collective; whatever one rank finds wrong ends the run on all of them before
 * step 1. Read next: src/train/loop.c.
 */
#ifndef SEPIT_TRAIN_TRAINER_H
#define SEPIT_TRAIN_TRAINER_H

#include "io/dataset.h"
#include "io/tokenizer.h"
#include "src/base/config.h"
#include "src/data/pack.h"
#include "src/data/sampler.h"
#include "src/nn/sepit.h"
#include "src/optim/optimizer.h"
#include "src/train/gradients.h"
#include "src/train/run_folder.h"
#include "src/train/save.h"

typedef struct trainer {
    MPI_Comm comm;        /* borrowed */
    const config *config; /* borrowed */
    run_folder folder;
    dataset *data;
    tokenizer tokenizer;
    pack_settings packing;
    sampler sampler;
    int64_t first_chunk, end_chunk; /* this rank's chunks of every batch */
    sepit model;
    optimizer optimizer;
    gradients gradients;
    arena activations, scratch, batch;
    nn_context nn;
    packed_chunk *chunk; /* [end_chunk − first_chunk] of the current step */
    double *chunk_loss;  /* [train.chunks] */
    save_state state;
    bool bf16;
} trainer;

/* Prepares everything and, when the run folder holds a good checkpoint, continues from it.
 * Collective on comm; fails on all ranks alike. The caller destroys it, whatever came back. */
status trainer_create(trainer *t, MPI_Comm comm, const config *c, error *err);
void trainer_destroy(trainer *t);

#endif
