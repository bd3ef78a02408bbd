/* What the benchmarks share. */
#ifndef SEPIT_CLI_BENCH_H
#define SEPIT_CLI_BENCH_H

#include "src/base/config.h"
#include "src/base/error.h"

#include <mpi.h>

/* The median of n values, which are reordered. */
double bench_median(double *values, int n);

/* sepit bench exchange: tokens to the ranks of their experts and back. Collective on comm. */
status bench_exchange(MPI_Comm comm, error *err);

/* sepit bench checkpoint: writing and reading one, at once and beside products; keys bench.mib,
 * bench.folder, bench.rounds. Collective on comm. */
status bench_checkpoint(MPI_Comm comm, const config *c, error *err);

/* sepit bench moe: a layer of experts beside a dense one; keys bench.* and compute.dtype.
 * Collective on comm. */
status bench_moe(MPI_Comm comm, const config *c, error *err);

#endif
