/* What all layers share: dimension letters, the context, and parameters.
 *
 * Letters, used everywhere in src/nn: B sequences · T tokens · L residues · D width · H heads ·
 * K key/value heads · d width of a head · F FFN width · V vocabulary · E experts. Gradients are
 * d_x. Matrices are row-major; a batch is packed end to end, never padded.
 *
 * A layer is a struct of pointers into the parameter table, with NAME_forward and NAME_backward
 * side by side. Forward writes what backward needs into a NAME_saved struct, whose arrays come
 * from the activation arena; the arena is reset once per chunk. Temporaries come from scratch and
 * are given back before the function returns.
 * Read next: src/nn/params.h, src/nn/linear.h.
 */
#ifndef SEPIT_NN_NN_H
#define SEPIT_NN_NN_H

#include "src/base/arena.h"
#include "src/tensor/gemm.h"
#include "src/tensor/real.h"

typedef struct nn_context {
    gemm *gemm;
    arena *activations; /* kept from forward to backward of one chunk */
    arena *scratch;     /* given back by the function that took it */
} nn_context;

/* True for the sake of the reader: what a pass is for. */
typedef enum nn_pass { NN_INFERENCE, NN_TRAINING } nn_pass;

#endif
