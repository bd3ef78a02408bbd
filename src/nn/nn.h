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
    /* Optional, borrowed: */
    const struct moe_run *moe;       /* of models with experts (src/nn/moe.h) */
    void (*progress)(void *context); /* called between products, so that what is in flight
                                        between ranks moves on */
    void (*finished)(void *context, int64_t element); /* backward: no gradient at or after this
                                                         element of the model's table changes any
                                                         more; elements fall from call to call */
    void *context;                                    /* of both */
} nn_context;

static inline void nn_progress(const nn_context *nn) {
    if (nn->progress != NULL)
        nn->progress(nn->context);
}

/* True for the sake of the reader: what a pass is for. */
typedef enum nn_pass { NN_INFERENCE, NN_TRAINING } nn_pass;

static inline void nn_finished(const nn_context *nn, int64_t element) {
    if (nn->finished != NULL)
        nn->finished(nn->context, element);
}

#endif
