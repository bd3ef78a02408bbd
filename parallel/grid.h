/* The process grid: who shares what with whom.
 *
 *     rank          0  1  2  3  4  5  6  7        ep = 4, eight ranks
 *     expert group  0  0  0  0  1  1  1  1        together hold every expert once; exchange tokens
 *     expert data   0  1  2  3  0  1  2  3        hold the same experts; share their optimizer
 *
 * Every rank has data of its own. Dense parameters are replicated over the world; rank r holds the
 * experts [p·E/ep, (p+1)·E/ep) with p = r mod ep. Consecutive ranks form an expert group, because
 * they usually share a node, and the exchange of tokens is the traffic that should stay inside one.
 * Read next: parallel/exchange.h.
 */
#ifndef SEPIT_PARALLEL_GRID_H
#define SEPIT_PARALLEL_GRID_H

#include "src/base/error.h"

#include <mpi.h>
#include <stdint.h>

typedef struct grid {
    MPI_Comm world;        /* owned duplicate: all ranks */
    MPI_Comm expert_group; /* owned: ep consecutive ranks */
    MPI_Comm expert_data;  /* owned: the ranks/ep ranks that hold the same experts */
    int ranks, rank;
    int ep;                              /* ranks of an expert group */
    int member;                          /* this rank in its expert group: rank mod ep */
    int64_t experts;                     /* E; 0: none */
    int64_t first_expert, local_experts; /* those of this rank */
} grid;

/* STATUS_INPUT with a sentence when `ranks` ranks cannot form expert groups of `ep` that share
 * `experts` experts (0: a dense model, for which only ep = 1 is possible) evenly. Local. */
status grid_check(int64_t ranks, int64_t ep, int64_t experts, error *err);

/* Collective on comm; grid_check's failures, on all ranks alike. Pairs with grid_destroy. */
status grid_create(grid *g, MPI_Comm comm, int64_t ep, int64_t experts, error *err);
/* Collective. Nothing to do for a zeroed struct. */
void grid_destroy(grid *g);

#endif
