/* Llama language model (Touvron et al. 2023), packed: RMSNorm, rotary grouped-query attention,
 * SwiGLU, no biases (spec/sepit.md §3). In stage 2 the SwiGLU of some or all layers is a mixture of
 * experts (src/nn/moe.h).
 *
 * The protein's projected vectors stand in the sequence where text_batch.token is −1. The output
 * head runs at supervised places only, in blocks of rows, forward and backward together, so that
 * logits [T,V] never exist whole.
 */
#ifndef SEPIT_NN_LLAMA_H
#define SEPIT_NN_LLAMA_H

#include "src/nn/batch.h"
#include "src/nn/moe.h"

typedef struct llama_config {
    int64_t layers, D, H, K, F, V; /* V: rows of the table, added tokens and padding included */
    double norm_eps, rotary_base;
    bool tied; /* the head shares the embedding's table */
    moe_config moe;
} llama_config;

typedef struct llama_block {
    int64_t norm1, norm2; /* RMSNorm weights */
    linear query, key, value, output;
    ffn ffn;       /* where has_experts is false */
    moe_layer moe; /* where it is true */
    bool has_experts;
} llama_block;

typedef struct llama {
    llama_config config;
    int64_t embedding;  /* [V,D] */
    llama_block *block; /* [layers], owned */
    int64_t final_norm;
    int64_t head;          /* [V,D]; = embedding when tied */
    const params *experts; /* borrowed */
} llama;

/* STATUS_INPUT with one line per impossible size, naming the keys model.llm.*; adds to what err
 * says already. */
status llama_check(const llama_config *config, error *err);

/* Names are those of Hugging Face's LlamaForCausalLM behind "text_model."; experts are
 * "…layers.N.mlp.experts.E.*", their router "…layers.N.mlp.gate.weight". Checks the sizes.
 * experts: the table of this rank's experts, borrowed as long as llm lives. Each expert's tensors,
 * of all layers, start at a multiple of LLAMA_EXPERT_ALIGN elements and fill whole multiples, so
 * that the array of all E experts is the ranks' arrays one after the other. */
enum { LLAMA_EXPERT_ALIGN = 16384 };
status llama_declare(llama *llm, const llama_config *config, params *p, params *experts,
                     error *err);
void llama_destroy(llama *llm);

typedef struct llama_saved llama_saved; /* in the activation arena */

/* Embeds the text, merges `protein` [rows,D] (text->source says which row goes where) and runs all
 * blocks and the final norm. Returns hidden states [T,D] in the activation arena.
 * saved: NULL for inference. */
real *llama_forward(const nn_context *nn, const params *p, const llama *llm, const text_batch *text,
                    const real *protein, llama_saved **saved);

/* Cross-entropy at the supervised places of hidden [T,D]; returns Σ nll (see sepit_run_chunk for
 * nll and scale). With scale ≠ 0: d_hidden [T,D] is written, the head's gradient added to. */
double llama_loss(const nn_context *nn, const params *p, const llama *llm, const text_batch *text,
                  const real *hidden, real scale, double *nll, real *d_hidden);

/* d_hidden [T,D] is overwritten on the way down; d_protein [rows,D] (NULL: not wanted) is added
 * to. */
void llama_backward(const nn_context *nn, const params *p, const llama *llm, const text_batch *text,
                    const llama_saved *saved, real *d_hidden, real *d_protein);

/* Key/value cache of one sequence, for generation. */
typedef struct llama_cache {
    int64_t length, capacity;
    real *key, *value; /* [layers, capacity, K, d] */
} llama_cache;

/* Takes its memory from `memory`. */
void llama_cache_create(llama_cache *cache, const llama *llm, int64_t capacity, arena *memory);

/* Appends n positions and returns the logits [V] after the last of them, in nn->activations (the
 * caller resets). x [n,D] are embedded tokens or protein vectors. */
real *llama_decode(const nn_context *nn, const params *p, const llama *llm, llama_cache *cache,
                   const real *x, int64_t n);

/* Row `token` of the embedding table → x [D]. */
void llama_embed(const params *p, const llama *llm, int32_t token, real *x);

/* Upper bounds, in bytes, of what these functions take from the two arenas. tokens: of the packed
 * text; rows: that this rank's experts get at once in one layer (0 for a dense model; see
 * moe_kept_bytes); training: with `saved`, and the backward pass. bf16: products read bf16 operands
 * (gemm_is_bf16). llama_loss takes scratch only; so does llama_decode beside its logits, where
 * `tokens` is the most positions it gets at once. */
size_t llama_activation_bytes(const llama_config *c, int64_t tokens, int64_t rows, bool bf16,
                              bool training);
size_t llama_scratch_bytes(const llama_config *c, int64_t tokens, int64_t rows, bool bf16,
                           bool training);
size_t llama_loss_bytes(const llama_config *c, int64_t supervised, bool bf16, bool training);
size_t llama_decode_bytes(const llama_config *c, int64_t tokens, bool bf16);
/* What llama_cache_create takes. */
size_t llama_cache_bytes(const llama_config *c, int64_t capacity);

#endif
