/* Node-shared tables: one copy per node of what every rank only reads.
 *
 * The ranks of a node share one block of memory; the node's first rank fills it, a fence makes it
 * visible, and from then on everybody reads. An offset table of 10^7 records costs a node 80 MB,
 * however many ranks it runs. The block is a file in /dev/shm that has all of its pages before
 * anyone uses it and no name soon after; MPI's own shared windows would wait for ever, or die at a
 * page, where /dev/shm is full.
 */
#ifndef SEPIT_PARALLEL_NODE_SHARED_H
#define SEPIT_PARALLEL_NODE_SHARED_H

#include "src/base/error.h"

#include <mpi.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct node_shared {
    MPI_Comm node; /* owned: the ranks of comm that share memory with this one */
    void *base;    /* the node's block, at the start of a page; NULL: there is none */
    size_t bytes;
    bool filler; /* this rank is the node's first: it writes */
} node_shared;

/* Makes a block of `bytes` (the same on all ranks) on every node. STATUS_FAILED on all ranks when a
 * node has no room for it. Collective on comm. Pairs with node_shared_destroy. */
status node_shared_create(node_shared *shared, MPI_Comm comm, size_t bytes, error *err);

/* What the filler wrote before is visible to the whole node after. Collective on the node. */
void node_shared_fence(node_shared *shared);

/* Collective on the node. Nothing to do for a zeroed struct. */
void node_shared_destroy(node_shared *shared);

#endif
