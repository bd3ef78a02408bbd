/* All that a training run needs, set up once: data, model, optimizer, memory, run folder.
 *
 * Setting up is collective; whatever one rank finds wrong ends the run on all of them before
 * step 1. Read next: src/train/loop.c.
 */
#ifndef SEPIT_TRAIN_TRAINER_H
#define SEPIT_TRAIN_TRAINER_H

#include "io/dataset.h"
#include "io/tokenizer.h"
#include "parallel/grid.h"
#include "src/base/config.h"
#include "src/data/pack.h"
#include "src/data/sampler.h"
#include "src/nn/sepit.h"
#include "src/optim/optimizer.h"
#include "src/train/bad_steps.h"
#include "src/train/compatible.h"
#include "src/train/experts.h"
#include "src/train/gradients.h"
#include "src/train/run_folder.h"
#include "src/train/run_lock.h"
#include "src/train/save.h"
#include "src/train/stopping.h"
#include "src/train/watchdog.h"

typedef struct trainer {
    grid grid;
    MPI_Comm comm;        /* the grid's world; borrowed */
    const config *config; /* borrowed */
    run_lock lock;        /* of the run folder */
    run_folder folder;
    watchdog *watchdog;
    stopping stopping;
    bad_steps bad_steps;
    saver saver;
    inputs_identity inputs;
    dataset *data;
    tokenizer tokenizer;
    pack_settings packing;
    sampler sampler;
    int64_t first_chunk, end_chunk; /* this rank's chunks of every batch */
    sepit model;
    optimizer optimizer;
    gradients gradients;
    experts experts;
    arena activations, scratch, batch;
    nn_context nn;
    packed_chunk *chunk; /* [end_chunk − first_chunk] of the current step */
    double *own_loss;    /* likewise */
    double *chunk_loss;  /* [train.chunks] of all ranks, overwritten when they are summed */
    save_state state;
    int node_ranks; /* ranks that share this one's node */
    bool bf16;
} trainer;

/* Prepares everything and, when the run folder holds a good checkpoint, continues from it.
 * Collective on comm; fails on all ranks alike. The caller destroys it, whatever came back. */
status trainer_create(trainer *t, MPI_Comm comm, const config *c, error *err);
void trainer_destroy(trainer *t);

#endif
