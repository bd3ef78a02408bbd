#include "src/nn/esm.h"

#include "src/tensor/activation.h"
#include "src/tensor/attention.h"
#include "src/tensor/norm.h"
#include "src/tensor/rotary.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const real NORM_EPS = (real)1e-5;
static const double ROTARY_BASE = 10000;
/* ESM-2 was trained with 15 % of the tokens chosen and 80 % of those shown as <mask>. */
static const double KEPT_IN_TRAINING = 1 - 0.15 * 0.8;

/* What one block keeps for its backward pass, named as in block_forward. */
typedef struct block_saved {
    const real *x;         /* [T,D] input */
    real *statistics1;     /* [2,T] mean and 1/deviation */
    operand norm1;         /* [T,D] */
    real *q, *k, *v, *out; /* [T,D]; q and k rotated */
    real *lse;             /* [T,H] */
    operand attended;      /* [T,D]: out, as products read it */
    real *middle;          /* [T,D] after attention */
    real *statistics2;     /* [2,T] */
    operand norm2;         /* [T,D] */
    real *up;              /* [T,F] before the GELU */
    operand activated;     /* [T,F] after it */
} block_saved;

struct esm_saved {
    int64_t blocks;
    block_saved *block;      /* [blocks] */
    const real *const *bias; /* as in esm_structure, which must live until the backward pass */
};

/* ---- declaration ------------------------------------------------------------------------------
 */

static int64_t declare_norm(params *p, const char *prefix, int64_t D, int64_t *bias) {
    char name[PARAM_NAME];
    snprintf(name, sizeof name, "%s.weight", prefix);
    const int64_t weight = params_declare_vector(p, name, D, GROUP_ENCODER);
    params_set_init(p, INIT_ONE, 0, 0);
    snprintf(name, sizeof name, "%s.bias", prefix);
    *bias = params_declare_vector(p, name, D, GROUP_ENCODER);
    return weight;
}

static linear declare_linear(params *p, int64_t layer, const char *part, int64_t N, int64_t K) {
    char name[PARAM_NAME];
    snprintf(name, sizeof name, "protein_model.encoder.layer.%lld.%s", (long long)layer, part);
    return linear_declare(p, name, N, K, true, 0.02, GROUP_ENCODER);
}

static void declare_block(esm_block *block, int64_t layer, const esm_config *c, params *p) {
    char name[PARAM_NAME - 16];
    snprintf(name, sizeof name, "protein_model.encoder.layer.%lld.attention.LayerNorm",
             (long long)layer);
    block->norm1_weight = declare_norm(p, name, c->D, &block->norm1_bias);
    block->query = declare_linear(p, layer, "attention.self.query", c->D, c->D);
    block->key = declare_linear(p, layer, "attention.self.key", c->D, c->D);
    block->value = declare_linear(p, layer, "attention.self.value", c->D, c->D);
    block->output = declare_linear(p, layer, "attention.output.dense", c->D, c->D);
    snprintf(name, sizeof name, "protein_model.encoder.layer.%lld.LayerNorm", (long long)layer);
    block->norm2_weight = declare_norm(p, name, c->D, &block->norm2_bias);
    block->up = declare_linear(p, layer, "intermediate.dense", c->F, c->D);
    block->down = declare_linear(p, layer, "output.dense", c->D, c->F);
}

status esm_declare(esm *encoder, const esm_config *config, params *p, error *err) {
    *encoder = (esm){.config = *config};
    const esm_config c = *config;
    if (c.layers < 1 || c.D < 1 || c.H < 1 || c.F < 1)
        return error_set(err, STATUS_INPUT,
                         "the protein encoder has %lld layers, width %lld, %lld heads and FFN "
                         "width %lld; each must be at least 1",
                         (long long)c.layers, (long long)c.D, (long long)c.H, (long long)c.F);
    if (c.D % (2 * c.H) != 0)
        return error_set(err, STATUS_INPUT,
                         "the protein encoder's width %lld must be a multiple of twice its %lld "
                         "heads: a head's width is even, for the rotary embedding",
                         (long long)c.D, (long long)c.H);
    encoder->block = calloc((size_t)c.layers, sizeof *encoder->block);
    if (encoder->block == NULL)
        return error_set(err, STATUS_FAILED, "no memory for the table of %lld encoder layers",
                         (long long)c.layers);
    encoder->embedding = params_declare(p, "protein_model.embeddings.word_embeddings.weight",
                                        ESM_VOCABULARY, c.D, GROUP_ENCODER);
    params_set_init(p, INIT_NORMAL, 0.02, 0);
    for (int64_t i = 0; i < c.layers; i++)
        declare_block(&encoder->block[i], i, config, p);
    encoder->final_weight =
        declare_norm(p, "protein_model.encoder.emb_layer_norm_after", c.D, &encoder->final_bias);
    return STATUS_OK;
}

void esm_destroy(esm *encoder) {
    free(encoder->block);
    *encoder = (esm){0};
}

/* ---- embedding --------------------------------------------------------------------------------
 */

/* Token dropout's factor of each token [T]: 0 for <mask>, and the same for the rest of a sequence,
 * so that the embeddings' mean size does not depend on how much of it is masked. */
static real *token_factors(const protein_batch *batch, arena *memory) {
    real *factor = ARENA_ARRAY(memory, real, batch->offset[batch->B]);
    for (int64_t b = 0; b < batch->B; b++) {
        const int64_t begin = batch->offset[b], end = batch->offset[b + 1];
        int64_t masked = 0;
        for (int64_t t = begin; t < end; t++)
            masked += batch->token[t] == ESM_MASK;
        const double kept = (double)(end - begin - masked) / (double)(end - begin);
        for (int64_t t = begin; t < end; t++)
            factor[t] = batch->token[t] == ESM_MASK ? 0 : (real)(KEPT_IN_TRAINING / kept);
    }
    return factor;
}

static void embed(const nn_context *nn, const params *p, const esm *encoder,
                  const protein_batch *batch, const real *hidden, real *x) {
    const int64_t T = batch->offset[batch->B], D = encoder->config.D;
    const real *table = param_value(p, encoder->embedding);
    const size_t mark = arena_mark(nn->scratch);
    const real *factor = token_factors(batch, nn->scratch);
#pragma omp parallel for
    for (int64_t t = 0; t < T; t++) {
        const real *row = table + batch->token[t] * D;
        for (int64_t i = 0; i < D; i++)
            x[t * D + i] = factor[t] * row[i];
    }
    if (hidden != NULL)
        vector_add(hidden, T * D, x);
    arena_reset(nn->scratch, mark);
}

/* Adds to the table's gradient. One row of the table belongs to one thread, which runs over the
 * tokens in order: the same bits for any number of threads. */
static void embed_backward(const nn_context *nn, const params *p, const esm *encoder,
                           const protein_batch *batch, const real *d_x) {
    const int64_t T = batch->offset[batch->B], D = encoder->config.D;
    real *d_table = param_gradient(p, encoder->embedding);
    if (d_table == NULL)
        return;
    const size_t mark = arena_mark(nn->scratch);
    const real *factor = token_factors(batch, nn->scratch);
#pragma omp parallel for schedule(dynamic, 1)
    for (int64_t id = 0; id < ESM_VOCABULARY; id++) {
        real *d_row = d_table + id * D;
        for (int64_t t = 0; t < T; t++) {
            if (batch->token[t] != id)
                continue;
            for (int64_t i = 0; i < D; i++)
                d_row[i] += factor[t] * d_x[t * D + i];
        }
    }
    arena_reset(nn->scratch, mark);
}

/* ---- one block --------------------------------------------------------------------------------
 */

/* What all blocks of one pass share. */
typedef struct block_pass {
    const nn_context *nn;
    const params *p;
    const protein_batch *batch;
    attention_shape shape;
    const real *const *bias;
    int64_t T, D, F;
} block_pass;

static block_pass pass_begin(const nn_context *nn, const params *p, const esm *encoder,
                             const protein_batch *batch, const real *const *bias) {
    const esm_config c = encoder->config;
    const int64_t d = c.D / c.H;
    /* The scale d^−1/2 of the queries commutes with their rotation, so attention applies it. */
    const attention_shape shape = {.B = batch->B,
                                   .offset = batch->offset,
                                   .H = c.H,
                                   .K = c.H,
                                   .d = d,
                                   .scale = (real)(1 / sqrt((double)d)),
                                   .causal = false};
    return (block_pass){nn, p, batch, shape, bias, batch->offset[batch->B], c.D, c.F};
}

/* Where an array stands that products will read: with those who keep the operand, or in scratch
 * when the operand is a rounded copy. */
static arena *home_of(const block_pass *pass, arena *memory) {
    return gemm_is_bf16(pass->nn->gemm) ? pass->nn->scratch : memory;
}

/* LayerNorm of x [T,D] as an operand in `memory`. */
static operand norm_forward(const block_pass *pass, arena *memory, const real *x, int64_t weight,
                            int64_t bias, real **statistics) {
    const int64_t T = pass->T, D = pass->D;
    real *y = ARENA_ARRAY(home_of(pass, memory), real, T * D);
    *statistics = ARENA_ARRAY(memory, real, 2 * T);
    layernorm_forward(x, T, D, param_value(pass->p, weight), param_value(pass->p, bias), NORM_EPS,
                      y, *statistics, *statistics + T);
    return gemm_operand(pass->nn->gemm, memory, y, T, D);
}

static void norm_backward(const block_pass *pass, const real *d_y, const real *x, int64_t weight,
                          int64_t bias, const real *statistics, real *d_x) {
    const layernorm_gradients out = {d_x, param_gradient(pass->p, weight),
                                     param_gradient(pass->p, bias)};
    layernorm_backward(d_y, x, pass->T, pass->D, param_value(pass->p, weight), statistics,
                       statistics + pass->T, out);
}

static real *project(const block_pass *pass, arena *memory, const linear *layer, const operand *x) {
    real *y = ARENA_ARRAY(memory, real, pass->T * pass->D);
    linear_forward(pass->nn, pass->p, layer, x, y);
    return y;
}

/* middle = x + O·attention(LN(x)) */
static void attend_forward(const block_pass *pass, const esm_block *block, arena *memory,
                           block_saved *s) {
    const attention_shape *shape = &pass->shape;
    const int64_t T = pass->T, D = pass->D;
    s->norm1 =
        norm_forward(pass, memory, s->x, block->norm1_weight, block->norm1_bias, &s->statistics1);
    s->q = project(pass, memory, &block->query, &s->norm1);
    s->k = project(pass, memory, &block->key, &s->norm1);
    s->v = project(pass, memory, &block->value, &s->norm1);
    rotary_forward(s->q, pass->batch->position, T, shape->H, shape->d, ROTARY_BASE);
    rotary_forward(s->k, pass->batch->position, T, shape->H, shape->d, ROTARY_BASE);
    s->out = ARENA_ARRAY(memory, real, T * D);
    s->lse = ARENA_ARRAY(memory, real, T * shape->H);
    attention_forward(shape, s->q, s->k, s->v, pass->bias, s->out, s->lse);
    s->attended = gemm_operand(pass->nn->gemm, memory, s->out, T, D);
    s->middle = project(pass, memory, &block->output, &s->attended);
    vector_add(s->x, T * D, s->middle);
}

/* y = middle + W2·gelu(W1·LN(middle)); y may be the block's input x. */
static void feed_forward(const block_pass *pass, const esm_block *block, arena *memory,
                         block_saved *s, real *y) {
    const int64_t T = pass->T, F = pass->F;
    s->norm2 = norm_forward(pass, memory, s->middle, block->norm2_weight, block->norm2_bias,
                            &s->statistics2);
    s->up = ARENA_ARRAY(memory, real, T * F);
    linear_forward(pass->nn, pass->p, &block->up, &s->norm2, s->up);
    real *activated = ARENA_ARRAY(home_of(pass, memory), real, T * F);
    gelu_forward(s->up, T * F, activated);
    s->activated = gemm_operand(pass->nn->gemm, memory, activated, T, F);
    linear_forward(pass->nn, pass->p, &block->down, &s->activated, y);
    vector_add(s->middle, T * pass->D, y);
}

/* d_x [T,D]: in, the gradient of y; out, of middle. */
static void feed_backward(const block_pass *pass, const esm_block *block, const block_saved *s,
                          real *d_x) {
    const int64_t T = pass->T, F = pass->F;
    arena *scratch = pass->nn->scratch;
    const size_t mark = arena_mark(scratch);
    real *d_up = ARENA_ARRAY(scratch, real, T * F);
    real *d_norm = ARENA_ARRAY(scratch, real, T * pass->D);
    linear_backward(pass->nn, pass->p, &block->down, &s->activated, d_x, 0, d_up);
    gelu_backward(d_up, s->up, T * F, d_up);
    linear_backward(pass->nn, pass->p, &block->up, &s->norm2, d_up, 0, d_norm);
    norm_backward(pass, d_norm, s->middle, block->norm2_weight, block->norm2_bias, s->statistics2,
                  d_x);
    arena_reset(scratch, mark);
}

/* d_x [T,D]: in, the gradient of middle; out, of x. */
static void attend_backward(const block_pass *pass, const esm_block *block, const block_saved *s,
                            real *d_x, real *const *d_bias) {
    const attention_shape *shape = &pass->shape;
    const int64_t T = pass->T, D = pass->D;
    const int32_t *position = pass->batch->position;
    arena *scratch = pass->nn->scratch;
    const size_t mark = arena_mark(scratch);
    real *d_out = ARENA_ARRAY(scratch, real, T * D); /* then the gradient of the norm's output */
    linear_backward(pass->nn, pass->p, &block->output, &s->attended, d_x, 0, d_out);

    const attention_saved saved = {s->q, s->k, s->v, s->out, s->lse, pass->bias};
    const attention_gradients d = {ARENA_ARRAY(scratch, real, T * D),
                                   ARENA_ARRAY(scratch, real, T * D),
                                   ARENA_ARRAY(scratch, real, T * D), d_bias};
    attention_backward(shape, &saved, d_out, d);
    rotary_backward(d.d_q, position, T, shape->H, shape->d, ROTARY_BASE);
    rotary_backward(d.d_k, position, T, shape->H, shape->d, ROTARY_BASE);

    real *d_norm = d_out;
    linear_backward(pass->nn, pass->p, &block->query, &s->norm1, d.d_q, 0, d_norm);
    linear_backward(pass->nn, pass->p, &block->key, &s->norm1, d.d_k, 1, d_norm);
    linear_backward(pass->nn, pass->p, &block->value, &s->norm1, d.d_v, 1, d_norm);
    norm_backward(pass, d_norm, s->x, block->norm1_weight, block->norm1_bias, s->statistics1, d_x);
    arena_reset(scratch, mark);
}

/* ---- the encoder ------------------------------------------------------------------------------
 */

/* Without `saved` the blocks work in place on x, and what they would keep lives in scratch. */
static real *run_blocks(const block_pass *pass, const esm *encoder, int64_t blocks, real *x,
                        esm_saved *saved) {
    arena *scratch = pass->nn->scratch, *activations = pass->nn->activations;
    for (int64_t i = 0; i < blocks; i++) {
        block_saved mine = {.x = x};
        const size_t mark = arena_mark(scratch);
        arena *memory = saved != NULL ? activations : scratch;
        real *y = saved != NULL ? ARENA_ARRAY(activations, real, pass->T * pass->D) : x;
        attend_forward(pass, &encoder->block[i], memory, &mine);
        feed_forward(pass, &encoder->block[i], memory, &mine, y);
        arena_reset(scratch, mark);
        if (saved != NULL)
            saved->block[i] = mine;
        x = y;
    }
    return x;
}

real *esm_forward(const nn_context *nn, const params *p, const esm *encoder,
                  const protein_batch *batch, int64_t blocks, esm_structure structure,
                  esm_saved **saved) {
    CHECK(blocks >= 0 && blocks <= encoder->config.layers, "%lld blocks are asked for.",
          (long long)blocks);
    const block_pass pass = pass_begin(nn, p, encoder, batch, structure.bias);
    real *x = ARENA_ARRAY(nn->activations, real, pass.T * pass.D);
    embed(nn, p, encoder, batch, structure.hidden, x);
    esm_saved *kept = NULL;
    if (saved != NULL) {
        kept = ARENA_ARRAY(nn->activations, esm_saved, 1);
        *kept = (esm_saved){.blocks = blocks,
                            .block = ARENA_ARRAY(nn->activations, block_saved, blocks),
                            .bias = structure.bias};
        *saved = kept;
    }
    return run_blocks(&pass, encoder, blocks, x, kept);
}

void esm_backward(const nn_context *nn, const params *p, const esm *encoder,
                  const protein_batch *batch, const esm_saved *saved, real *d_x, real *d_hidden,
                  real *const *d_bias) {
    const block_pass pass = pass_begin(nn, p, encoder, batch, saved->bias);
    for (int64_t i = saved->blocks - 1; i >= 0; i--) {
        feed_backward(&pass, &encoder->block[i], &saved->block[i], d_x);
        attend_backward(&pass, &encoder->block[i], &saved->block[i], d_x, d_bias);
        nn_finished(nn, p->table[encoder->block[i].norm1_weight].offset);
    }
    embed_backward(nn, p, encoder, batch, d_x);
    if (d_hidden != NULL) /* x = factor·table + hidden */
        memcpy(d_hidden, d_x, (size_t)(pass.T * pass.D) * sizeof *d_x);
}

/* ---- memory -----------------------------------------------------------------------------------
 */

/* Bytes of one block's arrays: real and operand elements per token, and the arena's rounding up of
 * each of at most 16 arrays. */
static size_t block_bytes(const esm_config *c, int64_t tokens, bool bf16) {
    const size_t operands =
        arena_bytes(tokens, (size_t)(3 * c->D + c->F) * (bf16 ? sizeof(uint16_t) : sizeof(real)));
    const size_t arrays = arena_bytes(tokens, (size_t)(6 * c->D + c->F + c->H + 4) * sizeof(real));
    return operands + arrays + sizeof(block_saved) + 16 * 64;
}

size_t esm_activation_bytes(const esm_config *c, int64_t blocks, int64_t tokens, bool bf16,
                            bool training) {
    const size_t x = arena_bytes(tokens, (size_t)c->D * sizeof(real)) + sizeof(esm_saved) + 3 * 64;
    return x + (training ? (size_t)blocks * block_bytes(c, tokens, bf16) : 0);
}

/* A product may make a copy of each of its two inputs. */
static size_t product_bytes(const esm_config *c, int64_t tokens) {
    const int64_t widest = c->F > c->D ? c->F : c->D;
    return arena_bytes(2 * (tokens + c->D) * widest, sizeof(real)) + 4 * 64;
}

size_t esm_scratch_bytes(const esm_config *c, int64_t tokens, bool bf16) {
    /* Forward without saving: one block and, in bf16, what was rounded. Backward: gradients. */
    const size_t wide = (size_t)(8 * c->D + 2 * c->F + 1) * sizeof(real);
    const size_t block = block_bytes(c, tokens, bf16) + arena_bytes(tokens, wide) + 16 * 64;
    return block + product_bytes(c, tokens);
}
