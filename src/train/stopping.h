/* Stopping a run from outside: SIGUSR1, SIGTERM or SIGINT to any rank, or a file STOP in the run
 * folder.
 *
 * A signal only sets a flag; so each rank looks after every step, and all of them agree on what was
 * seen (parallel/agree.h) before the checkpoint that ends the run. Who cannot wait sends a second
 * signal within ten seconds of the first: it ends the process, and the launcher ends the others.
 * mpirun makes SIGTERM of both SIGINT and SIGTERM and kills its ranks a second later: under it,
 * SIGUSR1 and the file are what leaves time for a checkpoint.
 */
#ifndef SEPIT_TRAIN_STOPPING_H
#define SEPIT_TRAIN_STOPPING_H

#include "src/base/error.h"

#include <stdbool.h>

typedef struct stopping {
    char *file;    /* STOP in the run folder, owned; NULL on all ranks but 0, which looks for it */
    double looked; /* when it did last: clock_seconds() */
    bool found;
} stopping;

/* From now on signals are caught. After MPI_Init, which has handlers of its own; one at a time in a
 * process. The caller ends it. Local. */
void stopping_begin(stopping *s, const char *folder);

/* Whether this rank knows of a wish to stop; then err holds STATUS_STOPPED and whose wish it is.
 * Rank 0 looks for the file at most once a second, and at its first call. Local: pass the code
 * through agree(). */
bool stopping_requested(stopping *s, error *err);

/* The run does stop, on all ranks: the file is removed, so that the next start goes on. Local. */
void stopping_honour(const stopping *s);

/* Signals do again what they did before. */
void stopping_end(stopping *s);

#endif
