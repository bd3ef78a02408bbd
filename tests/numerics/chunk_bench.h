/* Small chunks and small models for the tests of the language model and of the whole. */
#ifndef SEPIT_TESTS_CHUNK_BENCH_H
#define SEPIT_TESTS_CHUNK_BENCH_H

#include "src/nn/sepit.h"
#include "tests/numerics/gradcheck.h"
#include "tests/numerics/kernel.h"

enum {
    CHUNK_TOKENS = 1024, /* most tokens of either kind */
    CHUNK_SEQUENCES = 8,
    CHUNK_V = 48,
    ALL_PROTEINS = 4,
    ALL_PROMPTS = 4,
};

/* Residues and structure of the proteins that a chunk may hold: an ordinary one, whose residue 2
 * lacks a coordinate; one without structure; a single residue; one without any residue. */
static const int64_t PROTEIN_RESIDUES[ALL_PROTEINS] = {7, 5, 1, 0};
static const bool PROTEIN_STRUCTURE[ALL_PROTEINS] = {true, false, true, true};

/* A prompt: `before` tokens, the protein's vectors (−1: none), `after` tokens, of which the last
 * `answer` are supervised, each predicting what follows it. */
typedef struct prompt {
    int protein, before, after, answer;
} prompt;

static const prompt PROMPTS[ALL_PROMPTS] = {
    {0, 2, 6, 3}, {0, 3, 5, 4}, {1, 1, 4, 2}, {-1, 0, 6, 5}};

typedef struct chunk {
    chunk_batch batch;
    int64_t protein_offset[CHUNK_SEQUENCES + 1], text_offset[CHUNK_SEQUENCES + 1];
    int32_t protein_token[CHUNK_TOKENS], protein_position[CHUNK_TOKENS];
    float coord[3 * CHUNK_TOKENS];
    bool structure[CHUNK_SEQUENCES];
    int32_t token[CHUNK_TOKENS], position[CHUNK_TOKENS], target[CHUNK_TOKENS];
    int64_t source[CHUNK_TOKENS];
    int64_t first_row[ALL_PROTEINS]; /* of a protein in the chunk */
} chunk;

static inline void chunk_add_protein(chunk *c, int id) {
    protein_batch *batch = &c->batch.protein;
    const int64_t L = PROTEIN_RESIDUES[id], begin = c->protein_offset[batch->B];
    const rng_key key = rng_key_make((uint64_t)id, "coordinates");
    c->first_row[id] = begin;
    c->structure[batch->B] = PROTEIN_STRUCTURE[id];
    for (int64_t i = 0; i < L + 2; i++) {
        const bool inner = i > 0 && i < L + 1;
        c->protein_token[begin + i] = i == 0  ? ESM_CLS
                                      : inner ? 4 + (int)(5 * i + id) % 20
                                              : ESM_EOS;
        c->protein_position[begin + i] = (int32_t)i;
        for (int k = 0; k < 3; k++)
            c->coord[3 * (begin + i) + k] =
                inner && !(id == 0 && i == 3)
                    ? (float)(1.5 * rng_normal(key, (uint64_t)i, (uint64_t)k))
                    : NAN;
    }
    c->protein_offset[++batch->B] = begin + L + 2;
}

static inline void chunk_add_prompt(chunk *c, const prompt *what) {
    text_batch *batch = &c->batch.text;
    const int64_t begin = c->text_offset[batch->B];
    const int64_t rows = what->protein >= 0 ? PROTEIN_RESIDUES[what->protein] + 2 : 0;
    const int64_t n = what->before + rows + what->after;
    for (int64_t i = 0; i < n; i++) {
        const int64_t t = begin + i, row = i - what->before;
        const bool vector = row >= 0 && row < rows;
        c->token[t] = vector ? -1 : (int32_t)((11 * i + 7 * n + what->answer) % CHUNK_V);
        c->source[t] = vector ? c->first_row[what->protein] + row : -1;
        c->position[t] = (int32_t)i;
        c->target[t] = i >= n - what->answer ? (int32_t)((5 * i + n) % CHUNK_V) : -1;
    }
    c->text_offset[++batch->B] = begin + n;
    batch->supervised += what->answer;
}

/* The chunk of these proteins and prompts. */
static inline void chunk_make(chunk *c, int proteins, const int *protein, int prompts,
                              const prompt *what) {
    memset(c, 0, sizeof *c);
    c->batch.protein = (protein_batch){.offset = c->protein_offset,
                                       .token = c->protein_token,
                                       .position = c->protein_position,
                                       .coord = c->coord,
                                       .structure = c->structure};
    c->batch.text = (text_batch){.offset = c->text_offset,
                                 .token = c->token,
                                 .source = c->source,
                                 .position = c->position,
                                 .target = c->target};
    for (int i = 0; i < proteins; i++)
        chunk_add_protein(c, protein[i]);
    for (int i = 0; i < prompts; i++)
        chunk_add_prompt(c, &what[i]);
}

/* Two proteins and three prompts, two of which share the first protein. */
static inline void chunk_make_usual(chunk *c) {
    chunk_make(c, 2, (const int[]){0, 1}, 3, PROMPTS);
}

static inline sepit_sizes chunk_sizes(const chunk *c) {
    const protein_batch *proteins = &c->batch.protein;
    sepit_sizes sizes = {.protein_tokens = proteins->offset[proteins->B],
                         .text_tokens = c->batch.text.offset[c->batch.text.B],
                         .supervised = c->batch.text.supervised};
    for (int64_t b = 0; b < proteins->B; b++) {
        const int64_t L = proteins->offset[b + 1] - proteins->offset[b] - 2;
        if (!proteins->structure[b])
            continue;
        sizes.residues_squared += L * L;
        sizes.longest_protein = L > sizes.longest_protein ? L : sizes.longest_protein;
    }
    return sizes;
}

/* ---- models ---- */

static const sepit_config CHUNK_MODEL = {.encoder = {.layers = 3, .D = 12, .H = 2, .F = 20},
                                         .llm = {.layers = 2,
                                                 .D = 16,
                                                 .H = 4,
                                                 .K = 2,
                                                 .F = 24,
                                                 .V = CHUNK_V,
                                                 .norm_eps = 1e-5,
                                                 .rotary_base = 10000},
                                         .structure = true};

typedef struct machine {
    error err;
    gemm *gemm;
    arena activations, scratch;
    nn_context nn;
} machine;

static inline void machine_try(machine *m, status result) {
    if (result != STATUS_OK) {
        fprintf(stderr, "%s\n", m->err.text);
        exit(1);
    }
}

static inline void machine_create(machine *m, bool bf16, size_t kept, size_t scratch) {
    *m = (machine){0};
    machine_try(m, arena_create(&m->activations, "activations", kept, &m->err));
    machine_try(m, arena_create(&m->scratch, "scratch", scratch, &m->err));
    machine_try(m, gemm_create(&m->gemm, bf16 ? COMPUTE_BF16 : COMPUTE_F32, &m->scratch, &m->err));
    m->nn = (nn_context){.gemm = m->gemm, .activations = &m->activations, .scratch = &m->scratch};
}

static inline void machine_destroy(machine *m) {
    gemm_destroy(m->gemm);
    arena_destroy(&m->activations);
    arena_destroy(&m->scratch);
}

/* Values large enough that every part of the model matters: N(0, 0.3), norms around 1; the Gaussian
 * basis as it is initialised. */
static inline void model_draw(params *p) {
    params_draw(p, 3);
    for (int64_t t = 0; t < p->count; t++)
        if (p->table[t].init != INIT_UNIFORM)
            gradcheck_fill(p->value + p->table[t].offset, p->table[t].elements, p->table[t].name,
                           p->table[t].init == INIT_ONE ? 1 : 0, 0.3);
    params_refresh(p);
}

/* A model with values and a cleared gradient, which the caller frees. */
static inline real *model_ready(params *p, bool bf16) {
    error err = {0};
    if (params_allocate(p, bf16, &err) != STATUS_OK)
        exit(1);
    model_draw(p);
    real *gradient = calloc((size_t)p->elements + 1, sizeof *gradient);
    if (gradient == NULL)
        exit(1);
    params_use_gradient(p, gradient);
    return gradient;
}

/* A whole model and the arenas for one chunk, exactly as large as the model says. */
typedef struct model_bench {
    machine m;
    sepit model;
    real *gradient, *expert_gradient;
    moe_run run;
} model_bench;

/* The same model with experts in every layer of the language model, all on this rank. */
static inline sepit_config model_with_experts(int64_t experts, int64_t k) {
    sepit_config config = CHUNK_MODEL;
    config.llm.moe = (moe_config){
        .E = experts, .k = k, .slices = 2, .layer_mask = {3}, .local_experts = experts};
    return config;
}

static inline void model_create(model_bench *bench, const sepit_config *config, bool bf16,
                                const sepit_sizes *sizes) {
    machine_create(&bench->m, bf16, sepit_activation_bytes(config, sizes, bf16, true),
                   sepit_scratch_bytes(config, sizes, bf16, true));
    machine_try(&bench->m, sepit_declare(&bench->model, config, &bench->m.err));
    bench->gradient = model_ready(&bench->model.params, bf16);
    bench->expert_gradient = model_ready(&bench->model.experts, bf16);
    bench->run = (moe_run){.exact = true, .gradient = &bench->expert_gradient};
    bench->m.nn.moe = &bench->run;
}

static inline void model_destroy(model_bench *bench) {
    free(bench->gradient);
    free(bench->expert_gradient);
    sepit_destroy(&bench->model);
    machine_destroy(&bench->m);
}

/* The gradient is cleared, the chunk run; returns the loss. */
static inline double model_run(model_bench *bench, const chunk *c, real scale, double *nll) {
    const size_t experts = (size_t)bench->model.experts.elements;
    memset(bench->gradient, 0, (size_t)bench->model.params.elements * sizeof *bench->gradient);
    if (experts > 0)
        memset(bench->expert_gradient, 0, experts * sizeof *bench->expert_gradient);
    const double loss = sepit_run_chunk(&bench->m.nn, &bench->model, &c->batch, scale, nll);
    EXPECT(arena_mark(&bench->m.activations) == 0, "Activations were not given back.");
    EXPECT(arena_mark(&bench->m.scratch) == 0, "Scratch was not given back.");
    return loss;
}

/* ---- how far round-off may go ---- */

static inline int64_t chunk_longest(int64_t B, const int64_t *offset) {
    int64_t n = 0;
    for (int64_t b = 0; b < B; b++)
        n = offset[b + 1] - offset[b] > n ? offset[b + 1] - offset[b] : n;
    return n;
}

/* Terms in the sums of the language model for n tokens: in a block the norms, query, logits, mix,
 * output and FFN; then norm, head and softmax. */
static inline double llm_terms(const llama_config *l, int64_t n) {
    return (double)(l->layers * (5 * l->D + l->D / l->H + n + l->F) + 2 * l->D + l->V);
}

/* Terms in the sums along the deepest path from the coordinates to the loss: distance, basis map
 * and Σψ; the encoder's blocks, as in llm_terms; projector; language model. A sum of n terms is off
 * by n·ε/2 of the sum of their sizes (Higham, §3.1); taking that to be at most twice the result,
 * the loss is off by path_terms·ε, and a gradient, which goes the same way once more, by twice
 * that. */
static inline double path_terms(const sepit_config *config, const chunk *c) {
    const esm_config *e = &config->encoder;
    const int64_t protein = chunk_longest(c->batch.protein.B, c->protein_offset);
    const int64_t text = chunk_longest(c->batch.text.B, c->text_offset);
    const int64_t start = 3 + 3 * STRUCTURE_KERNELS + protein;
    const int64_t encoder = 5 * e->D + e->D / e->H + protein + e->F;
    return (double)(start + (e->layers - 1) * encoder + e->D + config->llm.D) +
           llm_terms(&config->llm, text);
}

/* Largest |x − y| over largest |y|. */
static inline double relative_distance(const real *x, const real *y, int64_t n) {
    double most = 0, size = 0;
    for (int64_t i = 0; i < n; i++) {
        most = larger(most, fabs((double)x[i] - (double)y[i]));
        size = larger(size, fabs((double)y[i]));
    }
    return most / fmax(size, 1e-300);
}

#endif
