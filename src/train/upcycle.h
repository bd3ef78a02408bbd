/* Upcycling: the weights of a mixture of experts from those of a dense model (Komatsuzaki et al.
 * 2023). The feed-forward layer of every layer that has experts becomes all of them; everything
 * else, layers without experts included, is copied as it is.
 *
 *     copy   every expert is the dense FFN; routers stay as drawn
 *     exact  routers are zero, so every p is 1/E, and the down projections carry the factor that
 *            makes up for it: the model's output is the dense one, whoever is chosen
 *     drop   Drop-Upcycling (Nakamura et al. 2025, arXiv 2502.19261): copies, of which a share of
 *            the intermediate indices is drawn anew for each expert; routers stay as drawn
 *
 * Every weight is a pure function of the dense model, the seed, the layer and the expert: the same
 * wherever the expert lives.
 * Read next: src/train/initial.h.
 */
#ifndef SEPIT_TRAIN_UPCYCLE_H
#define SEPIT_TRAIN_UPCYCLE_H

#include "src/base/config.h"
#include "src/nn/sepit.h"

#include <mpi.h>

typedef enum upcycle_mode { UPCYCLE_COPY, UPCYCLE_EXACT, UPCYCLE_DROP } upcycle_mode;

typedef struct upcycle {
    upcycle_mode mode;
    double drop; /* share of the F intermediate indices, with UPCYCLE_DROP */
    uint64_t seed;
} upcycle;

/* The keys moe.upcycle, moe.drop and run.seed. STATUS_INPUT for exact without moe.jitter: with
 * equal probabilities every token would go to the lowest experts. Local. */
status upcycle_read(const config *c, upcycle *how, error *err);

/* Fills model->params and this rank's model->experts, both allocated and the routers drawn, and
 * their rounded copies. dense: the same sizes without experts, with its weights. Local.
 *
 * exact: the k chosen weights are 1/E each, so down = E/k · dense; with moe.renormalize they are
 * 1/k, so down = dense.
 * drop: S is a set of round(drop·F) of the F indices, one per (seed, layer, expert) and the same
 * for the three matrices: rows of gate and up, columns of down. Each matrix becomes
 *     W̃ = I_S ⊙ R + (1 − I_S) ⊙ W,   R ~ N(μ, σ²),
 * with μ and σ the mean and standard deviation (over n, not n − 1) of the replaced entries I_S ⊙ W
 * of that dense matrix, as the paper has it. Index i is in S when
 * rng_permute(rng_key_make(seed, "upcycle layer L expert E"), i, F) < round(drop·F); element j of
 * R is a normal at the counter (j, 0) of rng_key_make(seed, "upcycle NAME"), NAME the expert's
 * tensor. */
void upcycle_weights(const upcycle *how, const sepit *dense, sepit *model);

/* Mean of ‖W_e − W_0‖ / ‖W_0‖ over the layers with experts and the experts e > 0 of all ranks; W:
 * gate, up and down of one expert. 0 for a single expert. Each rank makes its own elements of W_0
 * again from the dense model, which costs as much as making an expert. Collective on world; the
 * same bits on any layout. */
double upcycle_distance(const upcycle *how, const sepit *dense, const sepit *model, MPI_Comm world);

#endif
