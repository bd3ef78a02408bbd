/* Exchange of rows inside an expert group: tokens go to the ranks that hold their experts and come
 * back (DESIGN.md §5).
 *
 * First the counts, in one small all-to-all; then the rows, in `lanes`: each lane is one
 * all-to-all of rows of any counts that is begun, runs while the caller computes, and is ended.
 * Several lanes may be in flight; every rank of the group must begin them in the same order. MPI
 * moves data only inside its own calls here, so whoever computes between begin and end calls
 * exchange_progress now and then (between products).
 * Memory: O(ranks of the group) per lane; the rows are the caller's. Messages: one per pair of
 * ranks, lane and direction.
 */
#ifndef SEPIT_PARALLEL_EXCHANGE_H
#define SEPIT_PARALLEL_EXCHANGE_H

#include "src/base/error.h"

#include <mpi.h>
#include <stddef.h>
#include <stdint.h>

typedef struct exchange exchange;

/* Collective on comm (duplicated). STATUS_FAILED on all ranks when memory is short. */
status exchange_create(exchange **x, MPI_Comm comm, int64_t lanes, error *err);
/* Collective. NULL is allowed. */
void exchange_destroy(exchange *x);

int exchange_ranks(const exchange *x);
int exchange_rank(const exchange *x);

/* received[j·n + i] = what rank j has in send[me·n + i]: n counters for every rank. Collective. */
void exchange_counts(exchange *x, const int64_t *send, int64_t n, int64_t *received);

/* What one lane moves. Counts and starts are in rows, by rank, [ranks]; they and the row buffers
 * are borrowed until exchange_end. Rows for rank j are send[send_first[j] … + send_count[j]), rows
 * from rank j arrive at receive[receive_first[j] …). What is received never overlaps what is sent;
 * a side without rows may have any address, or none. */
typedef struct exchange_rows {
    const void *send;
    const int64_t *send_first, *send_count;
    void *receive;
    const int64_t *receive_first, *receive_count;
    size_t row_bytes;
} exchange_rows;

/* Begins lane 0 ≤ lane < lanes; it must not be in flight. More rows than MPI can count in one call
 * (2^31 − 1, starts included) end the job with a sentence: never wrapped. Collective, in the same
 * order on every rank; does not block. */
void exchange_begin(exchange *x, int64_t lane, const exchange_rows *rows);

/* Lets MPI move what is in flight. Local, a microsecond. */
void exchange_progress(exchange *x);

/* Returns when the lane's rows have arrived and its send buffer is free again. */
void exchange_end(exchange *x, int64_t lane);

/* What the lanes since the last call cost this rank. */
typedef struct exchange_times {
    double waited_s; /* spent in exchange_end with nothing else to do */
    double hidden_s; /* outside this module while a lane was in flight: beside computation */
    double moving_s; /* inside exchange_begin and exchange_progress: MPI's own work */
    double counts_s; /* inside exchange_counts: mostly waiting for the group's slowest rank */
    int64_t bytes;   /* sent to other ranks */
} exchange_times;
exchange_times exchange_take_times(exchange *x);

/* From now on a lane ends no sooner than `seconds` after its begin: a slow network, for tests and
 * benchmarks of overlap. 0 by default. */
void exchange_set_delay(exchange *x, double seconds);

/* Rolling hash of the collective calls so far (which verb, which lane, row size): equal on all
 * ranks of the group as long as they agree on what they do. */
uint64_t exchange_schedule(const exchange *x);

/* What a lane does, by one plain MPI_Alltoallv: the yardstick of benchmarks and tests. No lane may
 * be in flight. Collective. */
void exchange_blocking(exchange *x, const exchange_rows *rows);

#endif
