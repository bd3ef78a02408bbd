/* ESM-2 protein encoder (Lin et al. 2023), packed: spec/sepit.md §1.
 *
 * Pre-LN blocks with rotary attention, exact GELU and biases everywhere; queries are scaled by
 * d^−1/2 before the rotation. Token dropout's rescaling is part of the embedding.
 * Read next: src/nn/structure.h, which supplies the attention bias and the hidden bias.
 */
#ifndef SEPIT_NN_ESM_H
#define SEPIT_NN_ESM_H

#include "src/nn/batch.h"
#include "src/nn/linear.h"

enum { ESM_VOCABULARY = 33, ESM_CLS = 0, ESM_PAD = 1, ESM_EOS = 2, ESM_UNK = 3, ESM_MASK = 32 };

typedef struct esm_config {
    int64_t layers, D, H, F;
} esm_config;

typedef struct esm_block {
    int64_t norm1_weight, norm1_bias, norm2_weight, norm2_bias;
    linear query, key, value, output, up, down;
} esm_block;

typedef struct esm {
    esm_config config;
    int64_t embedding;                /* [33,D] */
    esm_block *block;                 /* [layers], owned */
    int64_t final_weight, final_bias; /* emb_layer_norm_after */
} esm;

/* Names are those of Hugging Face's EsmModel behind "protein_model.". */
status esm_declare(esm *encoder, const esm_config *config, params *p, error *err);
void esm_destroy(esm *encoder);

/* What structure adds, all NULL for a plain ESM-2. */
typedef struct esm_structure {
    const real *hidden;      /* [T,D] added to the embedding, zero rows where there is none */
    const real *const *bias; /* [B] each NULL or [H,L,L] */
} esm_structure;

typedef struct esm_saved esm_saved; /* in the activation arena */

/* Runs blocks 0 … blocks−1 and returns their output [T,D] (in the activation arena): with
 * blocks = layers − 1 this is the input of the last block, which the LLM reads.
 * saved: NULL for inference, else receives what backward needs. */
real *esm_forward(const nn_context *nn, const params *p, const esm *encoder,
                  const protein_batch *batch, int64_t blocks, esm_structure structure,
                  esm_saved **saved);

/* d_x [T,D] is the gradient of the output and is overwritten on the way down.
 * d_hidden: NULL or [T,D], written. d_bias: NULL or as structure.bias, added to. */
void esm_backward(const nn_context *nn, const params *p, const esm *encoder,
                  const protein_batch *batch, const esm_saved *saved, real *d_x, real *d_hidden,
                  real *const *d_bias);

/* Upper bounds, in bytes, of what forward and backward take from the two arenas for a packed batch
 * of `tokens` run through `blocks` blocks; structure (bias, hidden bias, gradients of either) is
 * the caller's and not counted. bf16: products read bf16 operands (gemm_is_bf16). */
size_t esm_activation_bytes(const esm_config *c, int64_t blocks, int64_t tokens, bool bf16,
                            bool training);
size_t esm_scratch_bytes(const esm_config *c, int64_t tokens, bool bf16);

#endif
