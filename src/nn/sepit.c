#include "src/nn/sepit.h"

#include <string.h>

/* ---- declaration ---- */

static status check_encoder(const esm_config *c, error *err) {
    const struct {
        const char *key;
        int64_t value, least;
    } sizes[] = {{"model.encoder.layers", c->layers, 2},
                 {"model.encoder.width", c->D, 1},
                 {"model.encoder.heads", c->H, 1},
                 {"model.encoder.ffn", c->F, 1}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (sizes[i].value < sizes[i].least)
            error_append(err, STATUS_INPUT, "%s is %lld; it must be at least %lld%s", sizes[i].key,
                         (long long)sizes[i].value, (long long)sizes[i].least,
                         i == 0 ? ", because the language model reads the input of the last" : "");
    if (c->D >= 1 && c->H >= 1 && c->D % (2 * c->H) != 0)
        error_append(err, STATUS_INPUT,
                     "model.encoder.width is %lld and model.encoder.heads is %lld; the width must "
                     "be a multiple of twice the heads, because the rotary embedding turns pairs "
                     "of elements of a head",
                     (long long)c->D, (long long)c->H);
    return err->code;
}

status sepit_declare(sepit *model, const sepit_config *config, error *err) {
    *model = (sepit){.config = *config};
    params *p = &model->params;
    params_init(p);
    params_init(&model->experts);
    check_encoder(&config->encoder, err);
    TRY(llama_check(&config->llm, err));
    if (config->structure)
        structure_declare(&model->structure, p, config->encoder.H, config->encoder.D);
    TRY(esm_declare(&model->encoder, &config->encoder, p, err));
    projector_declare(&model->projector, p, config->encoder.D, config->llm.D);
    return llama_declare(&model->llm, &config->llm, p, &model->experts, err);
}

void sepit_destroy(sepit *model) {
    esm_destroy(&model->encoder);
    llama_destroy(&model->llm);
    params_destroy(&model->params);
    params_destroy(&model->experts);
}

/* ---- proteins: structure → encoder → projector ---- */

typedef struct protein_pass {
    const sepit *model;
    const protein_batch *batch;
    int64_t T;
    real *hidden; /* [T,D] hidden bias; NULL when no protein of the batch has structure */
    real **bias;  /* [B], each NULL or [H,L,L]; NULL likewise */
    esm_saved *encoder;
    projector_saved projector;
} protein_pass;

static int64_t residues_of(const protein_batch *batch, int64_t b) {
    return batch->offset[b + 1] - batch->offset[b] - 2;
}

/* Whether the structure module runs for protein b. */
static bool has_structure(const sepit *model, const protein_batch *batch, int64_t b) {
    return model->config.structure && batch->structure[b] && residues_of(batch, b) > 0;
}

static bool any_structure(const sepit *model, const protein_batch *batch) {
    for (int64_t b = 0; b < batch->B; b++)
        if (has_structure(model, batch, b))
            return true;
    return false;
}

/* Which gradients somebody needs. */
typedef struct backward_needs {
    bool structure;
    bool encoder;   /* or something before it */
    bool projector; /* or something before it */
    bool any;
} backward_needs;

static bool is_trained(const params *p, param_group group) {
    return p->gradient != NULL && !p->frozen[group];
}

/* Whether the other ranks of an expert group wait for this one in every layer. */
static bool exchanges(const nn_context *nn) {
    return nn->moe != NULL && nn->moe->exchange != NULL;
}

static backward_needs needs_of(const nn_context *nn, const sepit *model, const protein_batch *batch,
                               bool training) {
    const params *p = &model->params;
    backward_needs needs = {false};
    if (training && batch->B > 0) {
        needs.structure = is_trained(p, GROUP_STRUCTURE) && any_structure(model, batch);
        needs.encoder = needs.structure || is_trained(p, GROUP_ENCODER);
        needs.projector = needs.encoder || is_trained(p, GROUP_PROJECTOR);
    }
    needs.any = training && (needs.projector || is_trained(p, GROUP_LLM) ||
                             is_trained(p, GROUP_ROUTER) || exchanges(nn));
    return needs;
}

static int64_t bias_elements(const sepit *model, const protein_batch *batch, int64_t b) {
    const int64_t L = residues_of(batch, b);
    return model->config.encoder.H * L * L;
}

static protein_pass pass_begin(const sepit *model, const protein_batch *batch) {
    return (protein_pass){.model = model, .batch = batch, .T = batch->offset[batch->B]};
}

static void run_structure(const nn_context *nn, protein_pass *pass) {
    const sepit *model = pass->model;
    const protein_batch *batch = pass->batch;
    const int64_t D = model->config.encoder.D;
    if (!any_structure(model, batch))
        return;
    pass->hidden = arena_calloc(nn->activations, pass->T * D, sizeof *pass->hidden);
    pass->bias = arena_calloc(nn->activations, batch->B, sizeof *pass->bias);
    for (int64_t b = 0; b < batch->B; b++) {
        if (!has_structure(model, batch, b))
            continue;
        const int64_t first = batch->offset[b] + 1; /* after <cls> */
        pass->bias[b] = ARENA_ARRAY(nn->activations, real, bias_elements(model, batch, b));
        structure_forward(nn, &model->params, &model->structure, batch->coord + 3 * first,
                          residues_of(batch, b), pass->bias[b], pass->hidden + first * D);
    }
}

/* Returns the projected vectors [T,D_llm], and keeps what `needs` asks for. */
static real *encode(const nn_context *nn, protein_pass *pass, backward_needs needs) {
    const sepit *model = pass->model;
    run_structure(nn, pass);
    const esm_structure added = {pass->hidden, (const real *const *)pass->bias};
    /* The LLM reads the input of the last block: spec/sepit.md §1. */
    const int64_t blocks = model->config.encoder.layers - 1;
    const real *x = esm_forward(nn, &model->params, &model->encoder, pass->batch, blocks, added,
                                needs.encoder ? &pass->encoder : NULL);
    real *y = ARENA_ARRAY(nn->activations, real, pass->T * model->config.llm.D);
    projector_forward(nn, &model->params, &model->projector, x, pass->T, y,
                      needs.projector ? &pass->projector : NULL);
    return y;
}

/* Gradients of the attention biases, zero: [B], each NULL or [H,L,L]; in scratch. */
static real **clear_d_bias(const nn_context *nn, const protein_pass *pass) {
    const protein_batch *batch = pass->batch;
    real **d_bias = arena_calloc(nn->scratch, batch->B, sizeof *d_bias);
    for (int64_t b = 0; b < batch->B; b++)
        if (pass->bias[b] != NULL)
            d_bias[b] =
                arena_calloc(nn->scratch, bias_elements(pass->model, batch, b), sizeof **d_bias);
    return d_bias;
}

/* d_x [T,D], the gradient of the encoder's output, is overwritten. */
static void encoder_backward(const nn_context *nn, const protein_pass *pass, backward_needs needs,
                             real *d_x) {
    const sepit *model = pass->model;
    const protein_batch *batch = pass->batch;
    const int64_t D = model->config.encoder.D;
    real **d_bias = needs.structure ? clear_d_bias(nn, pass) : NULL;
    real *d_hidden = needs.structure ? ARENA_ARRAY(nn->scratch, real, pass->T * D) : NULL;
    esm_backward(nn, &model->params, &model->encoder, batch, pass->encoder, d_x, d_hidden, d_bias);
    for (int64_t b = 0; needs.structure && b < batch->B; b++) {
        if (d_bias[b] == NULL)
            continue;
        const int64_t first = batch->offset[b] + 1;
        structure_backward(nn, &model->params, &model->structure, batch->coord + 3 * first,
                           residues_of(batch, b), d_bias[b], d_hidden + first * D);
    }
}

/* d_y [T,D_llm]: the gradient of the projected vectors. */
static void encode_backward(const nn_context *nn, const protein_pass *pass, backward_needs needs,
                            const real *d_y) {
    const sepit *model = pass->model;
    const size_t mark = arena_mark(nn->scratch);
    real *d_x = NULL;
    if (needs.encoder)
        d_x = ARENA_ARRAY(nn->scratch, real, pass->T * model->config.encoder.D);
    projector_backward(nn, &model->params, &model->projector, &pass->projector, d_y, pass->T, d_x);
    if (needs.encoder)
        encoder_backward(nn, pass, needs, d_x);
    arena_reset(nn->scratch, mark);
}

/* ---- text: LLM and loss ---- */

/* d_protein: NULL, or [rows,D_llm], added to. */
static double run_text(const nn_context *nn, const sepit *model, const text_batch *text,
                       const real *protein, real scale, double *nll, real *d_protein) {
    const params *p = &model->params;
    const size_t mark = arena_mark(nn->scratch);
    llama_saved *saved = NULL;
    const real *hidden =
        llama_forward(nn, p, &model->llm, text, protein, scale != 0 ? &saved : NULL);
    real *d_hidden = NULL;
    if (scale != 0)
        d_hidden = ARENA_ARRAY(nn->scratch, real, text->offset[text->B] * model->config.llm.D);
    const double sum = llama_loss(nn, p, &model->llm, text, hidden, scale, nll, d_hidden);
    if (scale != 0)
        llama_backward(nn, p, &model->llm, text, saved, d_hidden, d_protein);
    arena_reset(nn->scratch, mark);
    return sum;
}

/* ---- the chunk ---- */

double sepit_run_chunk(const nn_context *nn, const sepit *model, const chunk_batch *batch,
                       real scale, double *nll) {
    const text_batch *text = &batch->text;
    if (text->supervised == 0 && !exchanges(nn)) /* an empty sum, whatever the model says */
        return 0;
    const backward_needs needs = needs_of(nn, model, &batch->protein, scale != 0);
    const size_t kept = arena_mark(nn->activations), taken = arena_mark(nn->scratch);
    const bool proteins = batch->protein.B > 0;
    protein_pass pass = {0};
    real *vectors = NULL, *d_vectors = NULL;
    if (proteins) {
        pass = pass_begin(model, &batch->protein);
        vectors = encode(nn, &pass, needs);
    }
    if (proteins && needs.projector)
        d_vectors = arena_calloc(nn->scratch, pass.T * model->config.llm.D, sizeof *d_vectors);
    const double sum = run_text(nn, model, text, vectors, needs.any ? scale : 0, nll, d_vectors);
    if (d_vectors != NULL)
        encode_backward(nn, &pass, needs, d_vectors);
    arena_reset(nn->activations, kept);
    arena_reset(nn->scratch, taken);
    return sum;
}

real *sepit_encode(const nn_context *nn, const sepit *model, const protein_batch *batch) {
    protein_pass pass = pass_begin(model, batch);
    return encode(nn, &pass, (backward_needs){false});
}

/* ---- memory ---- */

enum { ARENA_ROUNDING = 64 };

static size_t largest(size_t a, size_t b) {
    return a > b ? a : b;
}

/* Biases, or their gradients, of all proteins, and the hidden bias [T,D] beside them. */
static size_t structure_bytes(const sepit_config *c, const sepit_sizes *s) {
    if (!c->structure || s->residues_squared == 0)
        return 0;
    const size_t bias = arena_bytes(s->residues_squared, (size_t)c->encoder.H * sizeof(real));
    const size_t hidden = arena_bytes(s->protein_tokens, (size_t)c->encoder.D * sizeof(real));
    /* A protein has two tokens at least. */
    const size_t pointers = arena_bytes(s->protein_tokens / 2, sizeof(real *) + ARENA_ROUNDING);
    return bias + hidden + pointers + 2 * ARENA_ROUNDING;
}

size_t sepit_activation_bytes(const sepit_config *c, const sepit_sizes *s, bool bf16,
                              bool training) {
    const int64_t T = s->protein_tokens, blocks = c->encoder.layers - 1;
    size_t bytes = llama_activation_bytes(&c->llm, s->text_tokens, s->expert_rows, bf16, training);
    if (T == 0)
        return bytes;
    bytes += structure_bytes(c, s) + esm_activation_bytes(&c->encoder, blocks, T, bf16, training);
    bytes += arena_bytes(T, (size_t)c->llm.D * sizeof(real)) + ARENA_ROUNDING;
    if (training)
        bytes += projector_activation_bytes(c->encoder.D, c->llm.D, T, bf16);
    return bytes;
}

static size_t encoder_scratch_bytes(const sepit_config *c, const sepit_sizes *s, bool bf16) {
    const size_t encoder = esm_scratch_bytes(&c->encoder, s->protein_tokens, bf16);
    if (!c->structure || s->residues_squared == 0)
        return encoder;
    return largest(encoder,
                   structure_scratch_bytes(c->encoder.H, c->encoder.D, s->longest_protein));
}

static size_t inference_scratch_bytes(const sepit_config *c, const sepit_sizes *s, bool bf16) {
    const int64_t T = s->protein_tokens;
    const size_t text =
        largest(llama_scratch_bytes(&c->llm, s->text_tokens, s->expert_rows, bf16, false),
                llama_loss_bytes(&c->llm, s->supervised, bf16, false));
    if (T == 0)
        return text;
    const size_t map = projector_scratch_bytes(c->encoder.D, c->llm.D, T, bf16, false);
    return largest(text, largest(map, encoder_scratch_bytes(c, s, bf16)));
}

static size_t training_scratch_bytes(const sepit_config *c, const sepit_sizes *s, bool bf16) {
    const int64_t T = s->protein_tokens;
    const size_t row = (size_t)c->llm.D * sizeof(real);
    const size_t d_hidden = arena_bytes(s->text_tokens, row) + ARENA_ROUNDING;
    const size_t text =
        d_hidden + largest(llama_scratch_bytes(&c->llm, s->text_tokens, s->expert_rows, bf16, true),
                           llama_loss_bytes(&c->llm, s->supervised, bf16, true));
    if (T == 0)
        return text;
    const size_t d_vectors = arena_bytes(T, row) + ARENA_ROUNDING;
    const size_t d_x = arena_bytes(T, (size_t)c->encoder.D * sizeof(real)) + ARENA_ROUNDING;
    const size_t map = projector_scratch_bytes(c->encoder.D, c->llm.D, T, bf16, true);
    const size_t encoder = structure_bytes(c, s) + encoder_scratch_bytes(c, s, bf16);
    return d_vectors + largest(text, d_x + largest(map, encoder));
}

size_t sepit_scratch_bytes(const sepit_config *c, const sepit_sizes *s, bool bf16, bool training) {
    const size_t inference = inference_scratch_bytes(c, s, bf16);
    return training ? largest(inference, training_scratch_bytes(c, s, bf16)) : inference;
}
