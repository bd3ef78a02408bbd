#include "src/nn/llama.h"

#include "src/nn/llama_block.h"
#include "src/tensor/norm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double INIT_SCALE = 0.02;

/* ---- declaration ---- */

static int64_t declare_norm(params *p, const char *name, int64_t D) {
    const int64_t weight = params_declare_vector(p, name, D, GROUP_LLM);
    params_set_init(p, INIT_ONE, 0, 0);
    return weight;
}

static int64_t declare_block_norm(params *p, int64_t layer, const char *part, int64_t D) {
    char name[PARAM_NAME];
    snprintf(name, sizeof name, "text_model.model.layers.%lld.%s.weight", (long long)layer, part);
    return declare_norm(p, name, D);
}

static linear declare_linear(params *p, int64_t layer, const char *part, int64_t N, int64_t K) {
    char name[PARAM_NAME];
    snprintf(name, sizeof name, "text_model.model.layers.%lld.%s", (long long)layer, part);
    return linear_declare(p, name, N, K, false, INIT_SCALE, GROUP_LLM);
}

static ffn declare_ffn(params *p, int64_t layer, const char *prefix, const llama_config *c) {
    char part[64];
    ffn made;
    snprintf(part, sizeof part, "%s.gate_proj", prefix);
    made.gate = declare_linear(p, layer, part, c->F, c->D);
    snprintf(part, sizeof part, "%s.up_proj", prefix);
    made.up = declare_linear(p, layer, part, c->F, c->D);
    snprintf(part, sizeof part, "%s.down_proj", prefix);
    made.down = declare_linear(p, layer, part, c->D, c->F);
    return made;
}

static int64_t declare_router(params *p, int64_t layer, const llama_config *c) {
    char name[PARAM_NAME];
    snprintf(name, sizeof name, "text_model.model.layers.%lld.mlp.gate.weight", (long long)layer);
    const int64_t router = params_declare(p, name, c->moe.E, c->D, GROUP_ROUTER);
    params_set_init(p, INIT_NORMAL, INIT_SCALE, 0);
    return router;
}

static void declare_block(llama_block *block, int64_t layer, const llama_config *c, params *p) {
    const int64_t keys = c->K * (c->D / c->H);
    block->norm1 = declare_block_norm(p, layer, "input_layernorm", c->D);
    block->query = declare_linear(p, layer, "self_attn.q_proj", c->D, c->D);
    block->key = declare_linear(p, layer, "self_attn.k_proj", keys, c->D);
    block->value = declare_linear(p, layer, "self_attn.v_proj", keys, c->D);
    block->output = declare_linear(p, layer, "self_attn.o_proj", c->D, c->D);
    block->norm2 = declare_block_norm(p, layer, "post_attention_layernorm", c->D);
    block->has_experts = moe_has_layer(&c->moe, layer);
    if (block->has_experts)
        block->moe.router = declare_router(p, layer, c);
    else
        block->ffn = declare_ffn(p, layer, "mlp", c);
}

/* Numbers the layers with experts and makes room for this rank's in each. */
static status number_experts(llama *llm, error *err) {
    const int64_t local = llm->config.moe.local_experts;
    int64_t index = 0;
    for (int64_t i = 0; i < llm->config.layers; i++) {
        llama_block *block = &llm->block[i];
        if (!block->has_experts)
            continue;
        block->moe.index = index++;
        block->moe.expert = calloc((size_t)local, sizeof *block->moe.expert);
        if (block->moe.expert == NULL)
            return error_set(err, STATUS_FAILED, "no memory for the table of %lld experts",
                             (long long)local);
    }
    return STATUS_OK;
}

static void check_experts(const moe_config *c, int64_t layers, error *err) {
    if (c->E == 0)
        return;
    if (c->E < 1 || c->E > MOE_MOST_EXPERTS)
        error_append(err, STATUS_INPUT, "moe.experts is %lld; it must be from 1 to %d",
                     (long long)c->E, MOE_MOST_EXPERTS);
    if (c->k < 1 || c->k > c->E || c->k > MOE_MOST_CHOICES)
        error_append(err, STATUS_INPUT,
                     "moe.top_k is %lld; it must be at least 1, and at most moe.experts (%lld) and "
                     "%d",
                     (long long)c->k, (long long)c->E, MOE_MOST_CHOICES);
    if (moe_layers(c, layers) == 0)
        error_append(err, STATUS_INPUT,
                     "moe.layers names none of the %lld layers of the language model",
                     (long long)layers);
}

status llama_check(const llama_config *c, error *err) {
    const struct {
        const char *key;
        int64_t value;
    } sizes[] = {{"model.llm.layers", c->layers}, {"model.llm.width", c->D},
                 {"model.llm.heads", c->H},       {"model.llm.kv_heads", c->K},
                 {"model.llm.ffn", c->F},         {"the language model's vocabulary", c->V}};
    bool counted = true;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        if (sizes[i].value >= 1)
            continue;
        counted = false;
        error_append(err, STATUS_INPUT, "%s is %lld; it must be at least 1", sizes[i].key,
                     (long long)sizes[i].value);
    }
    if (!counted)
        return err->code;
    if (c->D % (2 * c->H) != 0)
        error_append(err, STATUS_INPUT,
                     "model.llm.width is %lld and model.llm.heads is %lld; the width must be a "
                     "multiple of twice the heads, because the rotary embedding turns pairs of "
                     "elements of a head",
                     (long long)c->D, (long long)c->H);
    check_experts(&c->moe, c->layers, err);
    if (c->H % c->K != 0)
        error_append(err, STATUS_INPUT,
                     "model.llm.heads is %lld and model.llm.kv_heads is %lld; the heads must be a "
                     "multiple of the key/value heads, which they share evenly",
                     (long long)c->H, (long long)c->K);
    return err->code;
}

/* Expert by expert, each with its tensors of all layers, in whole blocks. */
static void declare_experts(llama *llm, params *experts) {
    const moe_config *c = &llm->config.moe;
    for (int64_t e = 0; e < c->local_experts; e++) {
        char prefix[48];
        snprintf(prefix, sizeof prefix, "mlp.experts.%lld", (long long)(c->first_expert + e));
        for (int64_t i = 0; i < llm->config.layers; i++) {
            const int64_t first = experts->count;
            if (llm->block[i].has_experts)
                llm->block[i].moe.expert[e] = declare_ffn(experts, i, prefix, &llm->config);
            for (int64_t t = first; t < experts->count; t++)
                experts->table[t].expert = c->first_expert + e;
        }
        params_align(experts, LLAMA_EXPERT_ALIGN);
    }
}

status llama_declare(llama *llm, const llama_config *config, params *p, params *experts,
                     error *err) {
    *llm = (llama){.config = *config, .experts = experts};
    TRY(llama_check(config, err));
    llm->block = calloc((size_t)config->layers, sizeof *llm->block);
    if (llm->block == NULL)
        return error_set(err, STATUS_FAILED, "no memory for the table of %lld Llama layers",
                         (long long)config->layers);
    llm->embedding =
        params_declare(p, "text_model.model.embed_tokens.weight", config->V, config->D, GROUP_LLM);
    params_set_init(p, INIT_NORMAL, INIT_SCALE, 0);
    for (int64_t i = 0; i < config->layers; i++)
        declare_block(&llm->block[i], i, config, p);
    TRY(number_experts(llm, err));
    declare_experts(llm, experts);
    llm->final_norm = declare_norm(p, "text_model.model.norm.weight", config->D);
    llm->head = llm->embedding;
    if (!config->tied) {
        llm->head = params_declare(p, "text_model.lm_head.weight", config->V, config->D, GROUP_LLM);
        params_set_init(p, INIT_NORMAL, INIT_SCALE, 0);
    }
    return STATUS_OK;
}

void llama_destroy(llama *llm) {
    for (int64_t i = 0; llm->block != NULL && i < llm->config.layers; i++)
        free(llm->block[i].moe.expert);
    free(llm->block);
    *llm = (llama){0};
}

/* ---- embedding and merge ---- */

void llama_embed(const params *p, const llama *llm, int32_t token, real *x) {
    const int64_t D = llm->config.D;
    CHECK(token >= 0 && token < llm->config.V, "Token %d is not in the vocabulary.", (int)token);
    memcpy(x, param_value(p, llm->embedding) + token * D, (size_t)D * sizeof *x);
}

static void merge_forward(const params *p, const llama *llm, const text_batch *text,
                          const real *protein, real *x) {
    const int64_t T = text->offset[text->B], D = llm->config.D;
#pragma omp parallel for
    for (int64_t t = 0; t < T; t++) {
        if (text->token[t] >= 0)
            llama_embed(p, llm, text->token[t], x + t * D);
        else
            memcpy(x + t * D, protein + text->source[t] * D, (size_t)D * sizeof *x);
    }
}

static void add_row(const real *x, int64_t D, real *y) {
    for (int64_t i = 0; i < D; i++)
        y[i] += x[i];
}

/* Adds row by row in the order of the tokens: the same bits every time. */
static void merge_backward(const params *p, const llama *llm, const text_batch *text,
                           const real *d_x, real *d_protein) {
    const int64_t T = text->offset[text->B], D = llm->config.D;
    real *d_table = param_gradient(p, llm->embedding);
    for (int64_t t = 0; t < T; t++) {
        if (text->token[t] >= 0 && d_table != NULL)
            add_row(d_x + t * D, D, d_table + text->token[t] * D);
        if (text->token[t] < 0 && d_protein != NULL)
            add_row(d_x + t * D, D, d_protein + text->source[t] * D);
    }
}

/* ---- the whole model ---- */

struct llama_saved {
    llama_block_saved *block; /* [layers] */
    const real *x;            /* [T,D] output of the last block */
    real *rstd;               /* [T] of the final norm */
};

/* Without `saved` the blocks work in place on x, and what they would keep lives in scratch. */
static real *run_blocks(const llama_pass *pass, const llama *llm, real *x, llama_saved *saved) {
    arena *scratch = pass->nn->scratch, *activations = pass->nn->activations;
    for (int64_t i = 0; i < llm->config.layers; i++) {
        llama_block_saved mine = {.x = x};
        const size_t mark = arena_mark(scratch);
        real *y = x;
        if (saved != NULL)
            y = ARENA_ARRAY(activations, real, pass->T * llm->config.D);
        llama_block_forward(pass, &llm->block[i], saved != NULL ? activations : scratch, &mine, y);
        arena_reset(scratch, mark);
        if (saved != NULL)
            saved->block[i] = mine;
        x = y;
    }
    return x;
}

real *llama_forward(const nn_context *nn, const params *p, const llama *llm, const text_batch *text,
                    const real *protein, llama_saved **saved) {
    const llama_pass pass = llama_pass_text(nn, p, llm, text);
    const int64_t T = pass.T, D = llm->config.D;
    arena *activations = nn->activations;
    real *x = ARENA_ARRAY(activations, real, T * D);
    merge_forward(p, llm, text, protein, x);
    llama_saved *kept = NULL;
    if (saved != NULL) {
        kept = ARENA_ARRAY(activations, llama_saved, 1);
        kept->block = ARENA_ARRAY(activations, llama_block_saved, llm->config.layers);
        *saved = kept;
    }
    x = run_blocks(&pass, llm, x, kept);

    real *hidden = ARENA_ARRAY(activations, real, T * D);
    real *rstd = ARENA_ARRAY(activations, real, T);
    rmsnorm_forward(x, T, D, param_value(p, llm->final_norm), (real)llm->config.norm_eps, hidden,
                    rstd);
    if (kept != NULL) {
        kept->x = x;
        kept->rstd = rstd;
    }
    return hidden;
}

void llama_backward(const nn_context *nn, const params *p, const llama *llm, const text_batch *text,
                    const llama_saved *saved, real *d_hidden, real *d_protein) {
    const llama_pass pass = llama_pass_text(nn, p, llm, text);
    const int64_t n = pass.T * llm->config.D;
    const size_t mark = arena_mark(nn->scratch);
    real *d_x = arena_calloc(nn->scratch, n, sizeof *d_x);
    llama_norm_backward(&pass, d_hidden, saved->x, llm->final_norm, saved->rstd, d_x);
    for (int64_t i = llm->config.layers - 1; i >= 0; i--) {
        llama_block_backward(&pass, &llm->block[i], &saved->block[i], d_x);
        nn_finished(nn, p->table[llm->block[i].norm1].offset);
    }
    merge_backward(p, llm, text, d_x, d_protein);
    nn_finished(nn, p->table[llm->embedding].offset);
    arena_reset(nn->scratch, mark);
}

/* ---- memory ---- */

size_t llama_activation_bytes(const llama_config *c, int64_t tokens, int64_t rows, bool bf16,
                              bool training) {
    const size_t x = arena_bytes(tokens, (size_t)c->D * sizeof(real)) + 64;
    const size_t ends = 2 * x + arena_bytes(tokens, sizeof(real)) + 64;
    if (!training)
        return ends;
    const int64_t mixed = moe_layers(&c->moe, c->layers);
    const size_t around = x + sizeof(llama_block_saved);
    size_t blocks = (size_t)(c->layers - mixed) *
                    (around + llama_block_kept_bytes(c, tokens, rows, bf16, false));
    if (mixed > 0)
        blocks += (size_t)mixed * (around + llama_block_kept_bytes(c, tokens, rows, bf16, true));
    return ends + blocks + sizeof(llama_saved) + 2 * 64;
}

size_t llama_scratch_bytes(const llama_config *c, int64_t tokens, int64_t rows, bool bf16,
                           bool training) {
    const size_t d_x = training ? arena_bytes(tokens, (size_t)c->D * sizeof(real)) + 64 : 0;
    return d_x + llama_block_scratch_bytes(c, tokens, rows, bf16, training);
}
