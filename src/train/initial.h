/* The weights that a run starts from: the key init.all.
 *
 * A checkpoint of the same model is taken as it is. A dense checkpoint for a model with experts is
 * upcycled (src/train/upcycle.h), with a receipt: how far the logits of the new model are from the
 * dense one's on real samples, and how far the experts are from each other. Only weights are taken:
 * step, optimizer and random state begin anew.
 * Read next: src/train/upcycle.h, io/checkpoint.h.
 */
#ifndef SEPIT_TRAIN_INITIAL_H
#define SEPIT_TRAIN_INITIAL_H

#include "parallel/grid.h"
#include "src/base/config.h"
#include "src/nn/sepit.h"

/* Fills both tables of the model, which are allocated and drawn, from init.all: a checkpoint
 * (….h5), a run folder or its checkpoints folder, of which the newest good checkpoint is taken and
 * where nothing is changed. Nothing happens when init.all has no value.
 * probe: samples of this rank for the receipt, which looks at their first 64 supervised places; may
 * be empty; a chunk that fits nn's arenas. It runs with the settings of nn->moe (capacity, jitter,
 * forced choice), which a model with experts needs.
 * *receipt: one line, logged too, that the caller frees; NULL where nothing happened.
 * Memory: while a dense model is upcycled each rank keeps it beside the model, values and rounded
 * copies, as well as the activations of one inference pass; it is gone before the upcycled model
 * runs its pass, and before gradients or optimizer state are touched. Two times 64 rows of logits.
 * Collective on the grid's world; fails on all ranks alike. STATUS_INPUT when
 * there is no good checkpoint, or it is of another model, or moe.upcycle does not fit moe.*; then
 * the tables may be half filled. */
status initial_weights(sepit *model, const nn_context *nn, const chunk_batch *probe,
                       const config *c, const grid *g, char **receipt, error *err);

#endif
