/* Structure module: Cα distances → Gaussian basis → attention bias and hidden bias
 * (spec/sepit.md §2).
 *
 * ψ [L,L,128] never exists whole: distances, basis and the two-layer map to head biases are one
 * tiled kernel, in the forward pass and again in the backward pass. The distance is symmetric, so
 * only half of the pairs are computed. A residue without a coordinate has zero bias as row and as
 * column, takes no part in Σψ, and gets no hidden bias at all.
 * Cost per protein: time O(L²·128·(128+H)), memory [H,L,L] for the bias beside O(tile).
 */
#ifndef SEPIT_NN_STRUCTURE_H
#define SEPIT_NN_STRUCTURE_H

#include "src/nn/linear.h"

enum { STRUCTURE_KERNELS = 128 };

typedef struct structure {
    int64_t H, D;
    int64_t means, stds;   /* μ, s [128] */
    linear layer1, layer2; /* W1 [128,128], W2 [H,128], with biases */
    linear edge;           /* W_e [D,128], with bias */
} structure;

/* Names: PREFIX.gbf.means, .gbf.stds, .gbf_proj.layer1.*, .gbf_proj.layer2.*, .edge_proj.* with
 * PREFIX "protein_model.structure_bias". */
void structure_declare(structure *module, params *p, int64_t H, int64_t D);

/* coord [L,3] in Å, NaN where missing → bias [H,L,L] and hidden [L,D] = 0.01·(W_e·Σψ + b_e), both
 * written whole. */
void structure_forward(const nn_context *nn, const params *p, const structure *module,
                       const float *coord, int64_t L, real *bias, real *hidden);

/* Adds to the module's gradients. d_bias [H,L,L], d_hidden [L,D]. */
void structure_backward(const nn_context *nn, const params *p, const structure *module,
                        const float *coord, int64_t L, const real *d_bias, const real *d_hidden);

/* Largest use of scratch by either function. */
size_t structure_scratch_bytes(int64_t H, int64_t D, int64_t L);

#endif
