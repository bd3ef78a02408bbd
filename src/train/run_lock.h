/* The lock of a run folder: one job at a time.
 *
 * Two jobs that save into one folder would delete each other's checkpoints. So rank 0 holds a lock
 * of the operating system on RUN/run.lock as long as the job lives. What counts is that lock, never
 * the file: it ends with the process, however that ends, so nothing stale can block a restart. The
 * file only says who holds it. Local disks, NFS 4 and Lustre mounted with -o flock keep such locks
 * for all nodes; one mounted with -o localflock or -o nolock keeps them for a node alone, which
 * cannot be seen from here; where there are none at all, a warning says so and the run goes on.
 */
#ifndef SEPIT_TRAIN_RUN_LOCK_H
#define SEPIT_TRAIN_RUN_LOCK_H

#include "src/base/error.h"

#include <mpi.h>

/* Zeroed: not held. */
typedef struct run_lock {
    int held; /* rank 0: 1 while it has the lock */
    int fd;   /* of run.lock, then */
} run_lock;

/* Takes the lock of `folder`, which is created, as are the ones above, when it is missing; nothing
 * else in it changes. A lock that is held is asked for again for two seconds, because a job that
 * was killed may take that long to be gone; when it is held by an earlier start of this very Slurm
 * job, for three minutes, because a file server gives up the locks of a dead node only after a
 * while. STATUS_INPUT when another job has it, naming host, process, Slurm job and since when;
 * STATUS_FAILED when run.lock cannot be written. Collective on comm; fails on all ranks alike. */
status run_lock_take(run_lock *lock, MPI_Comm comm, const char *folder, error *err);

/* Gives it back, if it is held. Local. */
void run_lock_release(run_lock *lock);

#endif
