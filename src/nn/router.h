/* The router of a mixture of experts: scores, choice, and the way back.
 *
 * All local and per token: logits (each a dot product in a fixed order with sums in double,
 * whatever the products' type, so that a token's bits do not depend on its neighbours), softmax,
 * the k best experts.
 * Read next: src/nn/moe.h.
 */
#ifndef SEPIT_NN_ROUTER_H
#define SEPIT_NN_ROUTER_H

#include "src/nn/moe.h"

/* Per token of a chunk. */
typedef struct routing {
    int64_t T, E, k;
    real *prob;      /* [T,E] softmax of the logits */
    real *lse;       /* [T] log-sum-exp of the logits */
    int32_t *expert; /* [T,k] chosen, best first */
    real *weight;    /* [T,k] p of the chosen, renormalised where asked */
} routing;

/* Arrays come from `memory`. x [T,D]; W_router = value of layer->router in p. */
void router_forward(const nn_context *nn, const params *p, const moe_config *c,
                    const moe_layer *layer, const operand *x, arena *memory, routing *r);

/* d_weight [T,k]: gradient of the weights. Adds the balance and z losses' gradients as nn->moe
 * says, adds W_routerᵀ·d_logits to d_x [T,D], and d_logitsᵀ·x to the router's gradient. */
void router_backward(const nn_context *nn, const params *p, const moe_config *c,
                     const moe_layer *layer, const operand *x, const routing *r,
                     const real *d_weight, real *d_x);

/* Upper bounds: what forward takes from `memory`, and what backward takes from scratch. */
size_t router_kept_bytes(const moe_config *c, int64_t T);
size_t router_scratch_bytes(const moe_config *c, int64_t T);

#endif
