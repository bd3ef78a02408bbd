#include "src/nn/llama_block.h"

#include "src/tensor/activation.h"
#include "src/tensor/norm.h"
#include "src/tensor/rotary.h"

/* ---- what a pass shares ---- */

static attention_shape shape_of(const llama_config *c) {
    const int64_t d = c->D / c->H;
    return (attention_shape){
        .H = c->H, .K = c->K, .d = d, .scale = (real)(1 / sqrt((double)d)), .causal = true};
}

llama_pass llama_pass_text(const nn_context *nn, const params *p, const llama *llm,
                           const text_batch *text) {
    attention_shape shape = shape_of(&llm->config);
    shape.B = text->B;
    shape.offset = text->offset;
    return (llama_pass){.nn = nn,
                        .p = p,
                        .config = llm->config,
                        .shape = shape,
                        .position = text->position,
                        .T = text->offset[text->B],
                        .token = text->token,
                        .experts = llm->experts};
}

llama_pass llama_pass_cache(const nn_context *nn, const params *p, const llama *llm,
                            const int32_t *position, int64_t n) {
    return (llama_pass){.nn = nn,
                        .p = p,
                        .config = llm->config,
                        .shape = shape_of(&llm->config),
                        .position = position,
                        .T = n,
                        .experts = llm->experts};
}

/* Where an array stands that products will read: with those who keep the operand, or in scratch
 * when the operand is a rounded copy. */
static arena *home_of(const llama_pass *pass, arena *memory) {
    return gemm_is_bf16(pass->nn->gemm) ? pass->nn->scratch : memory;
}

operand llama_norm_forward(const llama_pass *pass, arena *memory, const real *x, int64_t weight,
                           real **rstd) {
    const int64_t T = pass->T, D = pass->config.D;
    real *y = ARENA_ARRAY(home_of(pass, memory), real, T * D);
    *rstd = ARENA_ARRAY(memory, real, T);
    rmsnorm_forward(x, T, D, param_value(pass->p, weight), (real)pass->config.norm_eps, y, *rstd);
    return gemm_operand(pass->nn->gemm, memory, y, T, D);
}

void llama_norm_backward(const llama_pass *pass, const real *d_y, const real *x, int64_t weight,
                         const real *rstd, real *d_x) {
    rmsnorm_backward(d_y, x, pass->T, pass->config.D, param_value(pass->p, weight), rstd, d_x,
                     param_gradient(pass->p, weight));
}

/* ---- feed-forward ---- */

/* y = middle + FFN(RMSNorm(middle)) */
static void feed_forward(const llama_pass *pass, const llama_block *block, arena *memory,
                         llama_block_saved *s, real *y) {
    s->norm2 = llama_norm_forward(pass, memory, s->middle, block->norm2, &s->rstd2);
    if (block->has_experts)
        moe_forward(pass->nn, pass->p, pass->experts, &pass->config.moe, &block->moe, &s->norm2,
                    pass->token, memory, &s->moe, y);
    else
        ffn_forward(pass->nn, pass->p, &block->ffn, &s->norm2, memory, &s->ffn, y);
    vector_add(s->middle, pass->T * pass->config.D, y);
}

/* d_x [T,D]: in, the gradient of y; out, of middle. */
static void feed_backward(const llama_pass *pass, const llama_block *block,
                          const llama_block_saved *s, real *d_x) {
    arena *scratch = pass->nn->scratch;
    const size_t mark = arena_mark(scratch);
    real *d_norm = ARENA_ARRAY(scratch, real, pass->T * pass->config.D);
    if (block->has_experts)
        moe_backward(pass->nn, pass->p, pass->experts, &pass->config.moe, &block->moe, &s->norm2,
                     s->moe, d_x, d_norm);
    else
        ffn_backward(pass->nn, pass->p, &block->ffn, &s->norm2, &s->ffn, d_x, d_norm);
    llama_norm_backward(pass, d_norm, s->middle, block->norm2, s->rstd2, d_x);
    arena_reset(scratch, mark);
}

/* ---- attention ---- */

/* Fills norm1, rstd1, and the arrays q, k and v, which the caller has placed. */
static void project_inputs(const llama_pass *pass, const llama_block *block, arena *memory,
                           llama_block_saved *s) {
    const attention_shape *a = &pass->shape;
    const double base = pass->config.rotary_base;
    s->norm1 = llama_norm_forward(pass, memory, s->x, block->norm1, &s->rstd1);
    linear_forward(pass->nn, pass->p, &block->query, &s->norm1, s->q);
    linear_forward(pass->nn, pass->p, &block->key, &s->norm1, s->k);
    linear_forward(pass->nn, pass->p, &block->value, &s->norm1, s->v);
    rotary_forward(s->q, pass->position, pass->T, a->H, a->d, base);
    rotary_forward(s->k, pass->position, pass->T, a->K, a->d, base);
}

/* middle = x + O·out */
static void project_output(const llama_pass *pass, const llama_block *block, arena *memory,
                           llama_block_saved *s) {
    const int64_t T = pass->T, D = pass->config.D;
    s->attended = gemm_operand(pass->nn->gemm, memory, s->out, T, D);
    s->middle = ARENA_ARRAY(memory, real, T * D);
    linear_forward(pass->nn, pass->p, &block->output, &s->attended, s->middle);
    vector_add(s->x, T * D, s->middle);
}

/* d_x [T,D]: in, the gradient of middle; out, of x. */
static void attend_backward(const llama_pass *pass, const llama_block *block,
                            const llama_block_saved *s, real *d_x) {
    const attention_shape *a = &pass->shape;
    const int64_t T = pass->T, D = pass->config.D;
    const double base = pass->config.rotary_base;
    arena *scratch = pass->nn->scratch;
    const size_t mark = arena_mark(scratch);
    real *d_out = ARENA_ARRAY(scratch, real, T * D); /* then the gradient of the norm's output */
    linear_backward(pass->nn, pass->p, &block->output, &s->attended, d_x, 0, d_out);

    const attention_saved saved = {s->q, s->k, s->v, s->out, s->lse, NULL};
    const attention_gradients d = {ARENA_ARRAY(scratch, real, T * D),
                                   ARENA_ARRAY(scratch, real, T * a->K * a->d),
                                   ARENA_ARRAY(scratch, real, T * a->K * a->d), NULL};
    attention_backward(a, &saved, d_out, d);
    rotary_backward(d.d_q, pass->position, T, a->H, a->d, base);
    rotary_backward(d.d_k, pass->position, T, a->K, a->d, base);

    real *d_norm = d_out;
    linear_backward(pass->nn, pass->p, &block->query, &s->norm1, d.d_q, 0, d_norm);
    linear_backward(pass->nn, pass->p, &block->key, &s->norm1, d.d_k, 1, d_norm);
    linear_backward(pass->nn, pass->p, &block->value, &s->norm1, d.d_v, 1, d_norm);
    llama_norm_backward(pass, d_norm, s->x, block->norm1, s->rstd1, d_x);
    arena_reset(scratch, mark);
}

/* ---- the block ---- */

void llama_block_forward(const llama_pass *pass, const llama_block *block, arena *memory,
                         llama_block_saved *s, real *y) {
    const attention_shape *a = &pass->shape;
    const int64_t T = pass->T;
    s->q = ARENA_ARRAY(memory, real, T * a->H * a->d);
    s->k = ARENA_ARRAY(memory, real, T * a->K * a->d);
    s->v = ARENA_ARRAY(memory, real, T * a->K * a->d);
    project_inputs(pass, block, memory, s);
    s->out = ARENA_ARRAY(memory, real, T * a->H * a->d);
    s->lse = ARENA_ARRAY(memory, real, T * a->H);
    attention_forward(a, s->q, s->k, s->v, NULL, s->out, s->lse);
    project_output(pass, block, memory, s);
    feed_forward(pass, block, memory, s, y);
}

void llama_block_backward(const llama_pass *pass, const llama_block *block,
                          const llama_block_saved *s, real *d_x) {
    feed_backward(pass, block, s, d_x);
    attend_backward(pass, block, s, d_x);
}

void llama_block_decode(const llama_pass *pass, const llama_block *block, llama_block_cache cache,
                        real *x) {
    const attention_shape *a = &pass->shape;
    arena *scratch = pass->nn->scratch;
    const size_t mark = arena_mark(scratch);
    llama_block_saved s = {.x = x,
                           .q = ARENA_ARRAY(scratch, real, pass->T * a->H * a->d),
                           .k = cache.all_keys + cache.length * a->K * a->d,
                           .v = cache.all_values + cache.length * a->K * a->d};
    project_inputs(pass, block, scratch, &s);
    s.out = ARENA_ARRAY(scratch, real, pass->T * a->H * a->d);
    attention_decode(a, s.q, pass->T, cache.all_keys, cache.all_values, cache.length + pass->T,
                     s.out);
    project_output(pass, block, scratch, &s);
    feed_forward(pass, block, scratch, &s, x);
    arena_reset(scratch, mark);
}

/* ---- memory ---- */

/* The arena rounds each array up to a multiple of this. */
enum { ARENA_ROUNDING = 64, MOST_ARRAYS = 16 };

/* The largest of two sizes. */
static size_t largest(size_t a, size_t b) {
    return a > b ? a : b;
}

size_t llama_block_kept_bytes(const llama_config *c, int64_t T, int64_t rows, bool bf16,
                              bool experts) {
    const int64_t keys = 2 * c->K * (c->D / c->H);
    const int64_t reals = 3 * c->D + keys + c->H + 2;
    /* Operands: two norms and attention's output, which in fp32 is a view. */
    const size_t operands = bf16 ? arena_bytes(T, 3 * (size_t)c->D * sizeof(uint16_t))
                                 : arena_bytes(T, 2 * (size_t)c->D * sizeof(real));
    const size_t feed = experts ? moe_kept_bytes(&c->moe, c->D, c->F, T, rows, bf16)
                                : ffn_kept_bytes(c->F, T, bf16);
    return operands + arena_bytes(T, (size_t)reals * sizeof(real)) + feed +
           MOST_ARRAYS * ARENA_ROUNDING;
}

/* Whether the model has layers of that kind. */
static bool has_layers(const llama_config *c, bool experts) {
    const int64_t layers = moe_layers(&c->moe, c->layers);
    return experts ? layers > 0 : layers < c->layers;
}

/* Scratch of the feed-forward layer, of whichever kind needs more. */
static size_t feed_scratch_bytes(const llama_config *c, int64_t T, int64_t rows, bool bf16,
                                 bool training) {
    size_t bytes = 0;
    if (has_layers(c, false))
        bytes = ffn_scratch_bytes(c->D, c->F, T, bf16, training);
    if (has_layers(c, true))
        bytes = largest(bytes, moe_scratch_bytes(&c->moe, c->D, c->F, T, rows, bf16, training));
    return bytes;
}

static size_t kept_in_scratch(const llama_config *c, int64_t T, int64_t rows, bool bf16) {
    size_t bytes = 0;
    for (int experts = 0; experts < 2; experts++)
        if (has_layers(c, experts))
            bytes = largest(bytes, llama_block_kept_bytes(c, T, rows, bf16, experts));
    return bytes;
}

size_t llama_block_scratch_bytes(const llama_config *c, int64_t T, int64_t rows, bool bf16,
                                 bool training) {
    const size_t products = bf16 ? GEMM_SCRATCH_BYTES : 0;
    const size_t rounding = MOST_ARRAYS * ARENA_ROUNDING;
    /* In bf16 the two norms that were rounded stay in scratch until the block ends. */
    const size_t rounded = bf16 ? arena_bytes(T, 2 * (size_t)c->D * sizeof(real)) : 0;
    const size_t feed = rounded + feed_scratch_bytes(c, T, rows, bf16, training);
    if (!training)
        return kept_in_scratch(c, T, rows, bf16) + feed + products + rounding;
    const int64_t attention = 2 * c->D + 2 * c->K * (c->D / c->H);
    const size_t d_y = bf16 ? arena_bytes(T, (size_t)c->D * sizeof(uint16_t)) : 0;
    const size_t attend = arena_bytes(T, (size_t)attention * sizeof(real)) + d_y;
    const size_t d_norm = arena_bytes(T, (size_t)c->D * sizeof(real));
    return largest(attend, d_norm + feed) + products + rounding;
}
