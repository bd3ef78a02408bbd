/* The training loop of a stage: steps until train.steps, checkpoints on the way and at the end. */
#ifndef SEPIT_TRAIN_LOOP_H
#define SEPIT_TRAIN_LOOP_H

#include "src/train/trainer.h"

/* Runs the steps that remain. Collective; fails on all ranks alike. */
status loop_run(trainer *t, error *err);

#endif
