/* Agreement: one rank's failure becomes everyone's.
 *
 * Between anything that can fail on one rank alone (a file, a config, memory) and the next
 * collective call stands agree(). After it every rank holds the same code and the same sentence,
 * so all of them leave by the same path and none waits for ever in a collective.
 */
#ifndef SEPIT_PARALLEL_AGREE_H
#define SEPIT_PARALLEL_AGREE_H

#include "src/base/error.h"

#include <mpi.h>
#include <stddef.h>
#include <stdint.h>

/* The largest code of all ranks becomes everyone's; its sentence comes from the lowest rank that
 * has that code, with "rank N: " before it when the communicator has several ranks and the ranks
 * did not all fail alike.
 * Collective on comm. One reduction of 16 bytes when all is well; one broadcast more on failure. */
status agree(MPI_Comm comm, status local, error *err);

/* Ends the job, all ranks of it, with this rank's sentence on standard error and exit status
 * STATUS_FAILED: for a failure in the middle of a step, where the others wait in a collective call
 * and nothing can be agreed any more. Local; does not return. */
_Noreturn void comm_abort(const char *sentence);

/* Ends the job, all ranks of it, with this exit status and no sentence of ours. Local; does not
 * return. Any thread may call it, whatever the other threads do inside MPI: measured with Open MPI
 * 4.1, whose MPI_Abort only talks to the runtime's own thread; and only MPI_Abort keeps the status
 * under both mpirun and srun. */
_Noreturn void comm_end_job(status code);

/* Ends the job with MPI's own text when an MPI call failed. Wrap every MPI call that returns. */
#define MPI_TRY(call) mpi_check((call), #call, __FILE__, __LINE__)
void mpi_check(int code, const char *call, const char *file, int line);

/* A count as MPI's int, or a CHECK failure: nothing wraps silently. */
int mpi_count(int64_t count);

/* Each of n counters becomes its sum over the ranks. Collective. */
void comm_sum(MPI_Comm comm, int64_t *counters, int64_t n);
/* The largest of the ranks' values. Collective. */
double comm_max(MPI_Comm comm, double value);

/* Rank 0's all[ranks·bytes] = every rank's mine[bytes], in order of rank. `all` matters on rank 0
 * only. Collective. */
void comm_gather(MPI_Comm comm, const void *mine, size_t bytes, void *all);

int comm_rank(MPI_Comm comm);
int comm_size(MPI_Comm comm);
/* How many ranks of comm share this rank's node. Collective. */
int comm_node_size(MPI_Comm comm);

#endif
