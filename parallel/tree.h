/* Sums along one fixed binary tree: neighbours first, then neighbours of those, for any count.
 * The result depends on the items and their order, never on who held them.
 */
#ifndef SEPIT_PARALLEL_TREE_H
#define SEPIT_PARALLEL_TREE_H

#include <mpi.h>
#include <stddef.h>
#include <stdint.h>

/* Sums `rows` rows of n elements (width 4: float, 8: double) into row 0; the rest is overwritten.
 * Local. */
void tree_sum_rows(void *data, int64_t rows, int64_t n, size_t width);

/* y[n] += x[n] in the type of that width: one node of the tree. Local. */
void tree_add(void *y, const void *x, int64_t n, size_t width);

/* The tree sum of items[n], each of which is filled in on one rank and zero on the others. The
 * items are overwritten. Collective on comm; every rank gets the sum. */
double tree_sum_shared(MPI_Comm comm, double *items, int64_t n);

/* values[n] become their sums over the ranks, on every rank, with the bits of tree_sum_rows over
 * the ranks' rows in order. Collective on comm. Latency O(log ranks), no memory beside 64 KiB. */
void tree_sum_vector(MPI_Comm comm, double *values, int64_t n);

#endif
