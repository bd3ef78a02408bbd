/* SEPIT: encoder with structure module → projector → LLM → loss on the answer (spec/sepit.md).
 *
 * One call runs a whole chunk, forward and backward; a chunk never sees another one. The numerical
 * core does not know that MPI exists.
 * Read next: src/nn/esm.h, src/nn/structure.h, src/nn/llama.h.
 */
#ifndef SEPIT_NN_SEPIT_H
#define SEPIT_NN_SEPIT_H

#include "src/nn/batch.h"
#include "src/nn/esm.h"
#include "src/nn/llama.h"
#include "src/nn/nn.h"
#include "src/nn/params.h"
#include "src/nn/projector.h"
#include "src/nn/structure.h"

typedef struct sepit_config {
    esm_config encoder;
    llama_config llm;
    bool structure; /* false: the structure module does not exist */
} sepit_config;

typedef struct sepit {
    sepit_config config;
    /* Owned; not allocated by sepit_declare. */
    params params;  /* replicated on every rank */
    params experts; /* of this rank only; empty in a dense model */
    esm encoder;
    structure structure;
    projector projector;
    llama llm;
} sepit;

/* Declares every tensor of the model in model->params, in the order of the forward pass, and this
 * rank's experts in model->experts. The caller then calls params_allocate and params_draw (or loads
 * values) for both. The model must not move afterwards.
 * STATUS_INPUT when the sizes do not fit together (width not a multiple of heads, …). */
status sepit_declare(sepit *model, const sepit_config *config, error *err);
void sepit_destroy(sepit *model);

/* Runs the chunk. nll: NULL, or [text.supervised]: −log p of each supervised place, in order.
 * scale ≠ 0 also runs the backward pass of scale·Σ nll and adds to the gradients in params.
 * In a model with experts, whose ranks exchange tokens, all ranks of an expert group run a chunk at
 * the same time (collective over nn->moe->exchange), an empty one where a rank has no other.
 * Returns Σ nll. Memory comes from nn->activations and nn->scratch, both reset on return. */
double sepit_run_chunk(const nn_context *nn, const sepit *model, const chunk_batch *batch,
                       real scale, double *nll);

/* Encoder and projector alone, for generation: the vectors [T,D_llm] of all protein tokens, in
 * nn->activations (the caller resets; the encoder's memory stays taken until then). */
real *sepit_encode(const nn_context *nn, const sepit *model, const protein_batch *batch);

/* Upper bounds of the two arenas for a chunk with these sizes, in bytes; they hold for sepit_encode
 * as well. training: for scale ≠ 0, and for 0 too; else for 0 only. bf16: products read bf16
 * operands (gemm_is_bf16). */
typedef struct sepit_sizes {
    int64_t protein_tokens, text_tokens, supervised;
    int64_t residues_squared; /* Σ L² over proteins with structure */
    int64_t longest_protein;  /* residues of the longest of them */
    int64_t expert_rows;      /* that this rank's experts get at once in a layer; 0: dense model */
} sepit_sizes;
size_t sepit_activation_bytes(const sepit_config *config, const sepit_sizes *sizes, bool bf16,
                              bool training);
size_t sepit_scratch_bytes(const sepit_config *config, const sepit_sizes *sizes, bool bf16,
                           bool training);

#endif
