/* Counting what a mixture of experts does, for moe.c: see moe_statistics in src/nn/moe.h. */
#ifndef SEPIT_NN_MOE_STATISTICS_H
#define SEPIT_NN_MOE_STATISTICS_H

#include "src/nn/moe_dispatch.h"

/* Adds what the pass over this rank's tokens chose; kind as in moe_forward. */
void moe_statistics_add(const moe_statistics *to, const moe_config *c, int64_t layer,
                        const routing *r, const moe_plan *plan, const int32_t *kind);

#endif
