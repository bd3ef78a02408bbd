/* Model and optimizer into a checkpoint, and back.
 *
 * Every rank writes the stretches of values and moments that it owns and reads those of its own
 * layout; the file knows logical tensors only, so the two layouts need not be the same.
 */
#ifndef SEPIT_TRAIN_SAVE_H
#define SEPIT_TRAIN_SAVE_H

#include "io/checkpoint.h"
#include "src/optim/optimizer.h"

/* Where a run stands. */
typedef struct save_state {
    int64_t step;   /* steps done, skipped ones included */
    int64_t tokens; /* trained on so far */
    uint64_t seed;
} save_state;

/* Saves into `folder`. Collective on the optimizer's communicator; fails on all ranks alike. */
status save_checkpoint(const optimizer *o, const char *folder, const save_state *state,
                       const char *config_json, error *err);

/* STATUS_FAILED when the existing `folder` has no room for a checkpoint: said before the first
 * step, not after the last. Collective; fails on all ranks alike. */
status save_check_room(const optimizer *o, const char *folder, error *err);

/* Takes values, moments and state from an open checkpoint. Collective; fails on all ranks alike:
 * STATUS_INPUT when it holds another model. */
status save_restore(optimizer *o, const checkpoint *file, save_state *state, error *err);

#endif
