// TEST timeout=60 mode=release,double,asan
/* The whole model against values from an independent implementation in PyTorch
 * (tests/numerics/golden/README.md): structure bias, encoder states, projected vectors, hidden
 * states, logits, losses and every gradient.
 *
 * fp64: 1e-9. fp32: a sum of n terms is off by n·ε/2 of the sum of their sizes, which is taken to
 * be at most twice the result; the sums along the deepest path from the coordinates to the loss add
 * up, and the backward pass goes the same way once more. Both relative to an array's root mean
 * square (the sum of n elements: n times that). bf16: the loss only, where each product rounds two
 * factors by 2^-9 at most, independently.
 */
#include "tests/numerics/chunk_bench.h"
#include "tests/numerics/golden_file.h"

static const size_t PLENTY = (size_t)64 << 20;

/* ---- one case ---- */

typedef struct golden_case {
    const golden *file;
    const char *name;
    sepit_config config;
    chunk chunk;
    model_bench bench;
    double tolerance; /* of the arrays compared now */
    double worst;     /* largest error so far, relative as said above */
} golden_case;

/* "CASE/WHATb" of the file, b left out where negative; NULL when it is not there. */
static const record *find(const golden_case *at, const char *what, int b) {
    char name[2 * GOLDEN_NAME];
    if (b < 0)
        snprintf(name, sizeof name, "%s/%s", at->name, what);
    else
        snprintf(name, sizeof name, "%s/%s%d", at->name, what, b);
    return golden_find(at->file, name);
}

static const double *input(const golden_case *at, const char *what, int64_t count) {
    const record *r = find(at, what, -1);
    if (r == NULL || r->count != count) {
        fprintf(stderr, "%s: %s/%s is missing or of another size\n", GOLDEN_FILE, at->name, what);
        exit(1);
    }
    return r->value;
}

static void read_config(golden_case *at) {
    const double *e = input(at, "encoder", 4), *l = input(at, "llm", 9);
    at->config = (sepit_config){.encoder = {.layers = (int64_t)e[0],
                                            .D = (int64_t)e[1],
                                            .H = (int64_t)e[2],
                                            .F = (int64_t)e[3]},
                                .llm = {.layers = (int64_t)l[0],
                                        .D = (int64_t)l[1],
                                        .H = (int64_t)l[2],
                                        .K = (int64_t)l[3],
                                        .F = (int64_t)l[4],
                                        .V = (int64_t)l[5],
                                        .norm_eps = l[6],
                                        .rotary_base = l[7],
                                        .tied = l[8] != 0},
                                .structure = true};
}

static void add_protein(golden_case *at, const record *tokens, const record *coord) {
    chunk *c = &at->chunk;
    protein_batch *batch = &c->batch.protein;
    const int64_t begin = c->protein_offset[batch->B], n = tokens->count - 1;
    c->structure[batch->B] = tokens->value[0] != 0;
    c->first_row[batch->B] = begin;
    for (int64_t i = 0; i < n; i++) {
        const bool residue = i > 0 && i < n - 1;
        c->protein_token[begin + i] = (int32_t)tokens->value[1 + i];
        c->protein_position[begin + i] = (int32_t)i;
        for (int64_t k = 0; k < 3; k++)
            c->coord[3 * (begin + i) + k] = residue ? (float)coord->value[3 * (i - 1) + k] : NAN;
    }
    c->protein_offset[++batch->B] = begin + n;
}

/* r: protein, number of tokens of the answer, tokens with −1 where the protein's vectors stand. */
static void add_prompt(golden_case *at, const record *r) {
    chunk *c = &at->chunk;
    text_batch *batch = &c->batch.text;
    const int protein = (int)r->value[0];
    const int64_t begin = c->text_offset[batch->B], answer = (int64_t)r->value[1];
    int64_t n = 0;
    for (int64_t i = 2; i < r->count; i++) {
        const int32_t token = (int32_t)r->value[i];
        const bool place = token < 0; /* one entry, many rows */
        const int64_t row = place ? c->protein_offset[protein] : -1;
        const int64_t rows = place ? c->protein_offset[protein + 1] - row : 1;
        for (int64_t k = 0; k < rows; k++, n++) {
            c->token[begin + n] = token;
            c->source[begin + n] = place ? row + k : -1;
        }
    }
    for (int64_t i = 0; i < n; i++) {
        c->position[begin + i] = (int32_t)i;
        const bool predicts = i >= n - 1 - answer && i < n - 1;
        c->target[begin + i] = predicts ? c->token[begin + i + 1] : -1;
    }
    batch->supervised += answer;
    c->text_offset[++batch->B] = begin + n;
}

static void read_chunk(golden_case *at) {
    const record *r;
    chunk_make(&at->chunk, 0, NULL, 0, NULL);
    for (int b = 0; (r = find(at, "protein", b)) != NULL; b++)
        add_protein(at, r, find(at, "coord", b));
    for (int b = 0; (r = find(at, "prompt", b)) != NULL; b++)
        add_prompt(at, r);
}

/* ---- comparison ---- */

static void expect_near(golden_case *at, const record *want, const char *what, double x, double y,
                        double size) {
    const double off = fabs(x - y) / size;
    if (!(off <= at->worst))
        at->worst = off;
    EXPECT(off <= at->tolerance, "%s of %s is %.17g, want %.17g: off by %.1e, allowed %.1e", what,
           want->name, x, y, off, at->tolerance);
}

/* x [n] is to be `want`; an array that is all zero there is to be exactly that. */
static void check_array(golden_case *at, const record *want, const real *x, int64_t n) {
    EXPECT(want != NULL && want->elements == n, "An array of %lld elements is not in %s.",
           (long long)n, GOLDEN_FILE);
    if (want == NULL || want->elements != n)
        return;
    const uint64_t seed = golden_seed(want->name);
    double square = 0, sum = 0, moment = 0;
    for (int64_t i = 0; i < n; i++) {
        const double value = (double)x[i];
        square += value * value;
        sum += value;
        moment += value * golden_number(seed, i);
    }
    if (want->norm == 0) {
        EXPECT(square == 0, "%s is to be zero.", want->name);
        return;
    }
    const double size = want->norm / sqrt((double)n);
    expect_near(at, want, "the norm", sqrt(square), want->norm, size * sqrt((double)n));
    expect_near(at, want, "the sum", sum, want->sum, size * (double)n);
    expect_near(at, want, "the moment", moment, want->moment, size * (double)n);
    for (int64_t i = 0; i < want->count; i++)
        expect_near(at, want, "an element", (double)x[i * want->stride], want->value[i],
                    fmax(size, fabs(want->value[i])));
}

static void use_bound(golden_case *at, bool gradient) {
    const double passes = gradient ? 2 : 1;
    at->worst = 0;
    at->tolerance = sizeof(real) == sizeof(double)
                        ? 1e-9
                        : passes * path_terms(&at->config, &at->chunk) * (double)REAL_EPSILON;
}

static void print_worst(const golden_case *at, const char *what) {
    printf("%-7s %-9s largest error %.1e, allowed %.1e\n", at->name, what, at->worst,
           at->tolerance);
}

/* ---- forward: module by module ---- */

static void check_encoder(golden_case *at) {
    const nn_context *nn = &at->bench.m.nn;
    const sepit *model = &at->bench.model;
    const protein_batch *batch = &at->chunk.batch.protein;
    const int64_t D = at->config.encoder.D, H = at->config.encoder.H;
    const size_t mark = arena_mark(nn->activations);
    real *hidden = arena_calloc(nn->activations, batch->offset[batch->B] * D, sizeof *hidden);
    const real *bias[CHUNK_SEQUENCES] = {NULL};
    for (int b = 0; b < batch->B; b++) {
        const int64_t first = batch->offset[b] + 1, L = batch->offset[b + 1] - 1 - first;
        if (!batch->structure[b])
            continue;
        real *mine = ARENA_ARRAY(nn->activations, real, H * L * L);
        structure_forward(nn, &model->params, &model->structure, batch->coord + 3 * first, L, mine,
                          hidden + first * D);
        check_array(at, find(at, "bias", b), mine, H * L * L);
        check_array(at, find(at, "hidden", b), hidden + first * D, L * D);
        bias[b] = mine;
    }
    const real *x = esm_forward(nn, &model->params, &model->encoder, batch,
                                at->config.encoder.layers - 1, (esm_structure){hidden, bias}, NULL);
    for (int b = 0; b < batch->B; b++)
        check_array(at, find(at, "encoded", b), x + batch->offset[b] * D,
                    (batch->offset[b + 1] - batch->offset[b]) * D);
    arena_reset(nn->activations, mark);
}

/* Logits after a prompt's last token, its tokens fed all but two at once, then one by one. */
static void check_logits(golden_case *at, int b, const real *protein) {
    const nn_context *nn = &at->bench.m.nn;
    const llama *llm = &at->bench.model.llm;
    const params *p = &at->bench.model.params;
    const text_batch *text = &at->chunk.batch.text;
    const int64_t D = at->config.llm.D, first = text->offset[b], n = text->offset[b + 1] - first;
    real *x = ARENA_ARRAY(nn->activations, real, n * D);
    for (int64_t i = 0; i < n; i++)
        if (text->token[first + i] >= 0)
            llama_embed(p, llm, text->token[first + i], x + i * D);
        else
            memcpy(x + i * D, protein + text->source[first + i] * D, (size_t)D * sizeof *x);
    llama_cache cache;
    llama_cache_create(&cache, llm, n, nn->activations);
    llama_decode(nn, p, llm, &cache, x, n - 2);
    llama_decode(nn, p, llm, &cache, x + (n - 2) * D, 1);
    const real *logits = llama_decode(nn, p, llm, &cache, x + (n - 1) * D, 1);
    check_array(at, find(at, "logits", b), logits, at->config.llm.V);
}

static void check_text(golden_case *at) {
    const nn_context *nn = &at->bench.m.nn;
    const sepit *model = &at->bench.model;
    const protein_batch *proteins = &at->chunk.batch.protein;
    const text_batch *text = &at->chunk.batch.text;
    const int64_t D = at->config.llm.D;
    const size_t mark = arena_mark(nn->activations);
    const real *y = sepit_encode(nn, model, proteins);
    for (int b = 0; b < proteins->B; b++)
        check_array(at, find(at, "projected", b), y + proteins->offset[b] * D,
                    (proteins->offset[b + 1] - proteins->offset[b]) * D);
    const real *last = llama_forward(nn, &model->params, &model->llm, text, y, NULL);
    for (int b = 0; b < text->B; b++) {
        check_array(at, find(at, "last", b), last + text->offset[b] * D,
                    (text->offset[b + 1] - text->offset[b]) * D);
        check_logits(at, b, y);
    }
    arena_reset(nn->activations, mark);
}

/* ---- the whole ---- */

static void check_loss(golden_case *at, double loss, const double *nll) {
    const double want = *input(at, "loss", 1);
    expect_near(at, find(at, "loss", -1), "the value", loss, want, want);
    for (int b = 0; b < at->chunk.batch.text.B; b++) {
        const record *r = find(at, "nll", b);
        for (int64_t i = 0; i < r->count; i++)
            expect_near(at, r, "an nll", nll[i], r->value[i], r->norm / sqrt((double)r->count));
        nll += r->count;
    }
}

static void check_gradients(golden_case *at) {
    const params *p = &at->bench.model.params;
    char name[2 * GOLDEN_NAME];
    int64_t there = 0;
    snprintf(name, sizeof name, "%s/d:", at->name);
    for (int64_t i = 0; i < at->file->count; i++)
        there += strncmp(at->file->record[i].name, name, strlen(name)) == 0;
    EXPECT(there == p->count, "%lld tensors here, %lld in %s", (long long)p->count,
           (long long)there, GOLDEN_FILE);
    for (int64_t t = 0; t < p->count; t++) {
        const param *tensor = &p->table[t];
        snprintf(name, sizeof name, "d:%s", tensor->name);
        check_array(at, find(at, name, -1), at->bench.gradient + tensor->offset, tensor->elements);
    }
}

static void create_model(golden_case *at, bool bf16) {
    model_bench *bench = &at->bench;
    machine_create(&bench->m, bf16, PLENTY, PLENTY + GEMM_SCRATCH_BYTES);
    machine_try(&bench->m, sepit_declare(&bench->model, &at->config, &bench->m.err));
    bench->gradient = model_ready(&bench->model.params, bf16);
    golden_fill(&bench->model.params);
}

static void check_case(golden_case *at) {
    double nll[CHUNK_TOKENS];
    create_model(at, false);
    use_bound(at, false);
    check_encoder(at);
    check_text(at);
    check_loss(at, model_run(&at->bench, &at->chunk, 1, nll), nll);
    print_worst(at, "forward");
    use_bound(at, true);
    check_gradients(at);
    print_worst(at, "gradients");
    model_destroy(&at->bench);
}

static void check_bf16(golden_case *at) {
    const int64_t blocks = at->config.encoder.layers - 1 + at->config.llm.layers;
    const int64_t products = 3 + 7 * blocks + 2 + 1; /* structure, blocks, projector, head */
    create_model(at, true);
    use_bound(at, false);
    at->tolerance = sqrt(2 * (double)products) / 512;
    const double want = *input(at, "loss", 1);
    const double loss = model_run(&at->bench, &at->chunk, 1, NULL);
    expect_near(at, find(at, "loss", -1), "the value in bf16", loss, want, want);
    print_worst(at, "bf16 loss");
    model_destroy(&at->bench);
}

int main(void) {
    static golden file;
    static golden_case at;
    static const char *names[] = {"untied", "tied"};
    golden_load(&file);
    for (int i = 0; i < 2; i++) {
        at = (golden_case){.file = &file, .name = names[i]};
        read_config(&at);
        read_chunk(&at);
        check_case(&at);
        if (sizeof(real) == sizeof(float))
            check_bf16(&at);
    }
    golden_destroy(&file);
    return test_end();
}
