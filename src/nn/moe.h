/* A feed-forward layer as a mixture of experts (spec/sepit.md §4; GShard, Lepikhin et al. 2021;
 * Switch, Fedus et al. 2022), with the experts spread over the ranks of an expert group.
 *
 *     y[t] = Σ over the k chosen experts e of  w_te · FFN_e(x[t]),   p_t = softmax(W_router·x[t])
 *
 * w_te is p_te, or p_te / Σ of the chosen p with `renormalize`. The tokens of a chunk become rows,
 * sorted by (slice, expert, token); rows travel to the expert's rank, through its FFN, and back
 * (parallel/exchange.h), one slice's travel beside another's products. Choices are made once in the
 * forward pass and kept for the backward pass.
 *
 * Every product is over the rows of one (expert, chunk, slice), so a token's bits do not depend on
 * which rank holds the expert, nor on what the other ranks run; an expert's gradient is added to
 * an array per source rank (moe_run.gradient), so that its sum over chunks can follow the one tree
 * of the batch. With `exact` false the rows of all source ranks are one product.
 * Collective over the expert group: every rank runs every layer, with zero tokens if it has none.
 * Read next: src/nn/router.h, parallel/exchange.h.
 */
#ifndef SEPIT_NN_MOE_H
#define SEPIT_NN_MOE_H

#include "parallel/exchange.h"
#include "src/nn/ffn.h"

#include <stdbool.h>

enum { MOE_LAYER_WORDS = 16, MOE_MOST_EXPERTS = 1024, MOE_MOST_CHOICES = 16 };

/* Who decides, for benchmarks: the router; round robin (token t to expert t mod E and the next);
 * expert 0 first for every token. Gradients flow as for the router's own choice. */
typedef enum moe_force { MOE_FORCE_NONE, MOE_FORCE_BALANCED, MOE_FORCE_HOT } moe_force;

typedef struct moe_config {
    int64_t E;      /* experts of a layer; 0: the model is dense */
    int64_t k;      /* experts per token, 1 … E */
    int64_t slices; /* of a chunk's tokens, ≥ 1 */
    bool renormalize;
    uint64_t layer_mask[MOE_LAYER_WORDS]; /* bit l: layer l of the language model has experts */
    int64_t first_expert, local_experts;  /* that this rank holds; 0 and E without a grid */
} moe_config;

/* Whether language-model layer `layer` has experts, and how many layers have. */
bool moe_has_layer(const moe_config *c, int64_t layer);
int64_t moe_layers(const moe_config *c, int64_t llm_layers);

/* Lanes that the exchange of a model needs. */
int64_t moe_lanes(const moe_config *c);

/* How many lanes the exchange needs (parallel/exchange.h): out and back, for every slice and expert
 * of this rank. */
int64_t moe_lanes(const moe_config *c);

typedef struct moe_layer {
    int64_t index;  /* 0,1,… among the layers with experts */
    int64_t router; /* [E,D] in the model's table */
    ffn *expert;    /* [local_experts], owned; in the experts' table */
} moe_layer;

/* What a pass counts, of the tokens of this rank's own chunk; added to. One array each of
 * moe_count_items and moe_sum_items; moe_count_at and moe_sum_at say where things are. */
typedef struct moe_statistics {
    int64_t *count;
    double *sum;
} moe_statistics;

/* For every layer and expert, rows of text tokens and of protein vectors, chosen (dropped ones
 * included) and dropped: count[moe_count_at(c, layer, e, what)]. */
typedef enum moe_count { MOE_TEXT, MOE_PROTEIN, MOE_DROPPED, MOE_COUNTS } moe_count;
int64_t moe_count_items(const moe_config *c, int64_t layers);
int64_t moe_count_at(const moe_config *c, int64_t layer, int64_t expert, moe_count what);
/* For every layer Σ_t p_te of each expert, then the sums named below:
 * sum[layer·(E + MOE_SUMS) + e], sum[layer·(E + MOE_SUMS) + E + what]. */
typedef enum moe_sum {
    MOE_SUM_ENTROPY, /* Σ_t −Σ_e p ln p, nats */
    MOE_SUM_Z,       /* Σ_t lse² */
    MOE_SUMS
} moe_sum;
int64_t moe_sum_items(const moe_config *c, int64_t layers);

/* What a pass needs beside weights; borrowed from nn_context. A zeroed struct with exact = true is
 * right for inference on one rank. */
typedef struct moe_run {
    exchange *exchange; /* NULL: all experts are on this rank */
    bool exact;
    double capacity; /* most rows of an expert, as ceil(capacity · tokens of the chunk · k / E);
                        overflow is dropped in order of (token, choice); 0: dropless */
    moe_force force;
    /* Choice, not weight: p + bias + jitter · U(−1,1) keyed by (seed, step, chunk, layer, token,
     * expert). Equal scores go to the lower expert. */
    const double *bias; /* [layers,E], or NULL */
    double jitter;      /* 0: none */
    uint64_t seed;
    int64_t step, chunk;
    /* Losses beside the answer's: balance_scale · Σ_layers Σ_e f_e·Σ_t p_te, with f the given
     * fractions (constants), and z_scale · Σ_layers Σ_t lse_t². The caller's scales hold
     * coefficient, E and 1/tokens of the global batch. */
    const double *fraction; /* [layers,E]; read when balance_scale ≠ 0 */
    double balance_scale, z_scale;
    /* Where the experts' gradients go: [ranks of the group] arrays as params.gradient of the
     * experts' table, one per source rank; the same pointer may stand more than once. NULL: not
     * wanted. With exact = false only gradient[0] is used. */
    real **gradient;
    moe_statistics statistics; /* NULL arrays: not wanted */
} moe_run;

/* What forward keeps for backward. */
typedef struct moe_saved moe_saved;

/* x [T,D] (what the router reads too) → y [T,D]. kind[T]: < 0 where a protein vector stands, for
 * the statistics; NULL: all text. What is saved comes from `memory`, *saved included; `memory` may
 * be scratch.
 * p: the model's table (router), experts: the experts' table. Collective over nn->moe->exchange.
 * SEPIT_FAULT=moe-LAYER:RANK (io/durable.h; LAYER is layer->index) makes that rank of the world
 * fail here, for tests: it ends the job with a sentence (comm_abort). */
void moe_forward(const nn_context *nn, const params *p, const params *experts, const moe_config *c,
                 const moe_layer *layer, const operand *x, const int32_t *kind, arena *memory,
                 moe_saved **saved, real *y);

/* d_x [T,D] is written; gradients of router (table p) and experts (nn->moe->gradient) are added
 * to. x and the run's settings as in forward. Collective likewise. */
void moe_backward(const nn_context *nn, const params *p, const params *experts, const moe_config *c,
                  const moe_layer *layer, const operand *x, const moe_saved *saved, const real *d_y,
                  real *d_x);

/* Upper bounds in bytes of one layer, for T tokens of the own chunk and `rows` rows that this
 * rank's experts get at once (T·k without an exchange; at most the tokens of all chunks of the
 * group, times k): what forward takes from `memory`, and what either direction takes from scratch
 beside that. */
size_t moe_kept_bytes(const moe_config *c, int64_t D, int64_t F, int64_t T, int64_t rows,
                      bool bf16);
size_t moe_scratch_bytes(const moe_config *c, int64_t D, int64_t F, int64_t T, int64_t rows,
                         bool bf16, bool training);

#endif
