/* Watchdog: ends a run that hangs, and says which rank is behind.
 *
 * A thread beside every rank's main thread looks at a heartbeat that the main thread moves: which
 * phase of the run it is in, at which step. Each phase has a budget; a rank that stays longer in
 * one place is overdue. The ranks' watchdogs never call MPI, which may be what hangs: each writes
 * where its rank is into a file of its host, RUN/watchdog/heartbeat_HOST, every few seconds. When a
 * rank is overdue it looks twice at what all have written. Who wrote nothing in between is stopped
 * or gone; of the others, the one that did least is behind. As long as that rank is inside its own
 * budget (a long checkpoint), everyone waits on. Else the lowest rank that lives says so in the log
 * and in RUN/watchdog/verdict.txt, and ends the job with STATUS_HUNG. RUN/watchdog/rank_N.txt,
 * of the first 64 ranks and of those that are behind, says where the main thread is.
 *
 * Time that a rank does not run (a job suspended, a laptop asleep) does not count.
 * Read next: src/train/watchdog_judge.h.
 */
#ifndef SEPIT_TRAIN_WATCHDOG_H
#define SEPIT_TRAIN_WATCHDOG_H

#include "src/base/error.h"

#include <mpi.h>
#include <stdint.h>

typedef struct watchdog watchdog;

/* In the order in which a step goes through them. */
typedef enum watchdog_phase {
    WATCHDOG_SETUP,
    WATCHDOG_STEP,
    WATCHDOG_CHECKPOINT,
    WATCHDOG_EVALUATION,
    WATCHDOG_PHASES
} watchdog_phase;

/* Seconds a rank may stay in one place; 0: for ever. A step may take step_factor times the median
 * of the last steps, and at least least_s; until three steps are done it may take as long as the
 * set-up. least_s 0: no watchdog at all. */
typedef struct watchdog_budget {
    double step_factor, least_s;
    double setup_s, checkpoint_s, evaluation_s;
} watchdog_budget;

/* Starts watching, in WATCHDOG_SETUP. Owns *started, which is NULL when the budget says that
 * nothing is to be watched; every function below takes NULL and does nothing. An older verdict in
 * run_folder/watchdog is kept as run_folder/watchdog_K. One watchdog per process.
 * Collective on comm; MPI_THREAD_FUNNELED is enough. Fails on all ranks alike. */
status watchdog_start(watchdog **started, MPI_Comm comm, const char *run_folder,
                      const watchdog_budget *budget, error *err);

/* The main thread moves: it is now in this phase of this step, a step that is being made having the
 * number it will have when it is done. Calling it again with the same phase and step is a sign of
 * life too (an evaluation, per batch). Main thread only; costs a reading of the clock. */
void watchdog_enter(watchdog *w, watchdog_phase phase, int64_t step);

/* The main thread goes into a collective call, or a group of them. All ranks must come by in the
 * same order: who has counted fewer is behind. `verb` must last (a string constant). It is no sign
 * of life. Main thread only; a few nanoseconds. */
void watchdog_note(watchdog *w, const char *verb);

/* Ends the watching. Local. */
void watchdog_stop(watchdog *w);

#endif
