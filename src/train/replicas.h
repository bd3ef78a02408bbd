/* Guard: what several ranks hold alike must stay alike (parallel/guard.h).
 *
 * A flipped bit or a bug on one rank would otherwise train on in silence. Compared are the values
 * of every replicated tensor, of this rank's experts among the ranks that hold the same ones, and
 * the sequence of collective calls.
 */
#ifndef SEPIT_TRAIN_REPLICAS_H
#define SEPIT_TRAIN_REPLICAS_H

#include "src/train/trainer.h"

/* STATUS_FAILED on all ranks with the tensor and the rank that differ. Collective on t->comm; reads
 * all weights once (10 GB/s or so), one reduction of 16 bytes per tensor. */
status replicas_compare(const trainer *t, error *err);

#endif
