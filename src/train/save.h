/* Model and optimizer into a checkpoint, and back.
 *
 * Every rank writes the stretches of values and moments that it owns and reads those of its own
 * layout; the file knows logical tensors only (the experts of a layer are one), so the two layouts
 * need not be the same. Moments exist for trained tensors only.
 */
#ifndef SEPIT_TRAIN_SAVE_H
#define SEPIT_TRAIN_SAVE_H

#include "io/checkpoint.h"
#include "src/optim/optimizer.h"

#include <stdbool.h>

/* Where a run stands. */
typedef struct save_state {
    int64_t step;   /* steps done, skipped ones included */
    int64_t tokens; /* trained on so far */
    uint64_t seed;
    int64_t data_hash, tokenizer_hash; /* of what the run reads (src/train/compatible.h) */
    /* Of a model with experts: the fraction of tokens of each expert in the step before, and what
     * is added to the router's scores: /train/router_fraction and /train/router_bias. Each
     * [router_layers, experts], borrowed, the same on all ranks; NULL: not kept. */
    int64_t router_layers, experts;
    double *router_fraction, *router_bias;
    char *upcycle; /* the receipt of upcycling, text: becomes /train/upcycle; NULL: none. Owned by
                      whoever holds the state: free() it */
} save_state;

/* Saves into `folder`, keeping the newest two. Collective on all ranks; fails on all alike. */
status save_checkpoint(const optimizer *o, const char *folder, const save_state *state,
                       const char *config_json, error *err);

/* ---- the checkpoints of a run ---- */

typedef struct save_policy {
    checkpoint_retention keep;
    bool beside;          /* asynchronous: written by a thread while training goes on */
    bool goes_on_unsaved; /* a checkpoint that cannot be saved is a warning, not the end */
} save_policy;

/* Saves a run's checkpoints, one at a time. */
typedef struct saver {
    const optimizer *optimizer; /* borrowed */
    const char *folder;         /* borrowed */
    save_policy policy;         /* policy.keep.step, the best so far, is the caller's to change */
    checkpoint_writer *writer;  /* owned; NULL: each save is done when save_begin returns */
    int64_t saved;              /* step of the newest that this saver has on disk; -1: none */
    error failure;              /* of the newest asked for, when the run goes on without it */
} saver;

/* With policy->beside, takes memory for a copy of what this rank saves and says how much that is.
 * Collective; fails on all ranks alike. The caller calls save_close, whatever came back. */
status save_open(saver *s, const optimizer *o, const char *folder, const save_state *state,
                 const save_policy *policy, error *err);
/* Local. What is under way and was not finished is thrown away. */
void save_close(saver *s);

/* Saves; with policy.beside, begins to, and the run may change everything as soon as this returns.
 * While the one before is still being written, waits for it, and says so. Collective; a failure is
 * STATUS_OK with a warning if the policy wants the run to go on, otherwise one on all ranks. */
status save_begin(saver *s, const save_state *state, const char *config_json, error *err);

/* Between two steps: ends the save under way once all ranks have written theirs. Collective; one
 * reduction of four bytes while there is one, nothing otherwise. Fails as save_begin does. */
status save_poll(saver *s, error *err);

/* Before the run ends: waits for the save under way. STATUS_OK means that the newest checkpoint
 * asked for is on disk; its failure is one whatever the policy. Collective. */
status save_finish(saver *s, error *err);

/* STATUS_FAILED when the existing `folder` has no room for a checkpoint: said before the first
 * step, not after the last. Collective; fails on all ranks alike. */
status save_check_room(const optimizer *o, const char *folder, error *err);

/* Takes values, moments and state from an open checkpoint. The state's arrays, where not NULL, are
 * filled in; one that the file does not have stays as it is. A tensor that is trained now and was
 * not when the file was saved has no moments there: they start at zero, and the log says so.
 * Collective; fails on all ranks alike: STATUS_INPUT when it holds another model. */
status save_restore(optimizer *o, const checkpoint *file, save_state *state, error *err);

#endif
