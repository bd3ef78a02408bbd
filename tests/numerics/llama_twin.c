// TEST timeout=60 mode=release,double,asan
/* The language model against a slow obvious twin (one sequence at a time, in double, whole
 * attention matrices, whole logits), and decoding with a cache against the whole forward pass. */
#include "tests/numerics/chunk_bench.h"

enum { D = 16, H = 4, K = 2, d = D / H, F = 24, MAX = 400, ROWS = 16 };

typedef struct problem {
    machine m;
    params p, experts;
    llama llm;
    chunk chunk;
    real protein[ROWS * D];
} problem;

static problem at;

/* ---- the twin ---- */

static double weight_at(int64_t index, int64_t row, int64_t col) {
    return (double)param_value(&at.p, index)[row * at.p.table[index].shape[1] + col];
}

/* y = w·x */
static void twin_linear(const linear *layer, const double *x, double *y) {
    const int64_t *shape = at.p.table[layer->weight].shape;
    for (int64_t o = 0; o < shape[0]; o++) {
        y[o] = 0;
        for (int64_t i = 0; i < shape[1]; i++)
            y[o] += weight_at(layer->weight, o, i) * x[i];
    }
}

static void twin_norm(int64_t weight, const double *x, double *y) {
    double square = 0;
    for (int i = 0; i < D; i++)
        square += x[i] * x[i] / D;
    for (int i = 0; i < D; i++)
        y[i] = x[i] / sqrt(square + 1e-5) * weight_at(weight, i, 0);
}

/* Pairs (i, i + d/2) of each head as complex numbers, times exp(√−1·angle). */
static void twin_rotate(double *x, int heads, int position) {
    for (int h = 0; h < heads; h++)
        for (int i = 0; i < d / 2; i++) {
            const double angle = position * pow(10000, -2.0 * i / d);
            double *a = &x[h * d + i], *b = &x[h * d + i + d / 2];
            const double re = *a * cos(angle) - *b * sin(angle);
            *b = *a * sin(angle) + *b * cos(angle);
            *a = re;
        }
}

static double twin_q[MAX][D], twin_k[MAX][K * d], twin_v[MAX][K * d];

/* Head h of the token t looks at the tokens 0 … t. */
static void twin_attend(int t, int h, double *out) {
    double weight[MAX], total = 0;
    const int key = h / (H / K) * d;
    for (int s = 0; s <= t; s++) {
        double logit = 0;
        for (int i = 0; i < d; i++)
            logit += twin_q[t][h * d + i] * twin_k[s][key + i];
        weight[s] = exp(logit / sqrt(d));
        total += weight[s];
    }
    for (int i = 0; i < d; i++) {
        out[h * d + i] = 0;
        for (int s = 0; s <= t; s++)
            out[h * d + i] += weight[s] / total * twin_v[s][key + i];
    }
}

static void twin_ffn(const llama_block *block, const double *x, double *y) {
    double gate[F], up[F];
    twin_linear(&block->ffn.gate, x, gate);
    twin_linear(&block->ffn.up, x, up);
    for (int i = 0; i < F; i++)
        gate[i] *= up[i] / (1 + exp(-gate[i]));
    twin_linear(&block->ffn.down, gate, y);
}

static void twin_block(const llama_block *block, int n, double x[][D]) {
    double normed[D], out[D], y[D];
    for (int t = 0; t < n; t++) {
        twin_norm(block->norm1, x[t], normed);
        twin_linear(&block->query, normed, twin_q[t]);
        twin_linear(&block->key, normed, twin_k[t]);
        twin_linear(&block->value, normed, twin_v[t]);
        twin_rotate(twin_q[t], H, t);
        twin_rotate(twin_k[t], K, t);
    }
    for (int t = 0; t < n; t++) {
        for (int h = 0; h < H; h++)
            twin_attend(t, h, out);
        twin_linear(&block->output, out, y);
        for (int i = 0; i < D; i++)
            x[t][i] += y[i];
        twin_norm(block->norm2, x[t], normed);
        twin_ffn(block, normed, y);
        for (int i = 0; i < D; i++)
            x[t][i] += y[i];
    }
}

/* Logits [CHUNK_V] after each token of sequence b. */
static void twin_logits(int64_t b, double logits[][CHUNK_V]) {
    static double x[MAX][D];
    const text_batch *text = &at.chunk.batch.text;
    const int n = (int)(text->offset[b + 1] - text->offset[b]);
    for (int t = 0; t < n; t++) {
        const int64_t place = text->offset[b] + t, token = text->token[place];
        for (int i = 0; i < D; i++)
            x[t][i] = token >= 0 ? weight_at(at.llm.embedding, token, i)
                                 : (double)at.protein[text->source[place] * D + i];
    }
    for (int64_t i = 0; i < at.llm.config.layers; i++)
        twin_block(&at.llm.block[i], n, x);
    const linear head = {at.llm.head, -1};
    for (int t = 0; t < n; t++) {
        double hidden[D];
        twin_norm(at.llm.final_norm, x[t], hidden);
        twin_linear(&head, hidden, logits[t]);
    }
}

static double twin_nll(const double *logits, int32_t target) {
    double total = 0;
    for (int i = 0; i < CHUNK_V; i++)
        total += exp(logits[i]);
    return log(total) - logits[target];
}

/* ---- the checks ---- */

/* Of what sequence b gives; see path_terms. */
static double bound_of(int64_t b) {
    const int64_t n = at.chunk.batch.text.offset[b + 1] - at.chunk.batch.text.offset[b];
    return llm_terms(&at.llm.config, n) * (double)REAL_EPSILON;
}

static void check_loss(void) {
    static double logits[MAX][CHUNK_V], nll[CHUNK_TOKENS];
    const text_batch *text = &at.chunk.batch.text;
    const real *hidden = llama_forward(&at.m.nn, &at.p, &at.llm, text, at.protein, NULL);
    const double loss = llama_loss(&at.m.nn, &at.p, &at.llm, text, hidden, 0, nll, NULL);
    arena_reset(&at.m.activations, 0);
    double sum = 0;
    int64_t place = 0;
    for (int64_t b = 0; b < text->B; b++) {
        twin_logits(b, logits);
        for (int64_t t = text->offset[b]; t < text->offset[b + 1]; t++) {
            if (text->target[t] < 0)
                continue;
            const double want = twin_nll(logits[t - text->offset[b]], text->target[t]);
            EXPECT_CLOSE(nll[place], want, bound_of(b));
            sum += want;
            place++;
        }
    }
    EXPECT(place == text->supervised);
    EXPECT_CLOSE(loss, sum, llm_terms(&at.llm.config, MAX) * (double)REAL_EPSILON);
}

/* Sequence b as rows that llama_decode reads. */
static void decode_inputs(int64_t b, real *x) {
    const text_batch *text = &at.chunk.batch.text;
    for (int64_t t = text->offset[b]; t < text->offset[b + 1]; t++, x += D) {
        if (text->token[t] >= 0)
            llama_embed(&at.p, &at.llm, text->token[t], x);
        else
            memcpy(x, at.protein + text->source[t] * D, D * sizeof *x);
    }
}

/* The first `prefill` positions at once, the rest one by one. */
static void check_decode(int64_t b, int64_t prefill) {
    static double want[MAX][CHUNK_V];
    static real x[MAX * D];
    const text_batch *text = &at.chunk.batch.text;
    const int64_t n = text->offset[b + 1] - text->offset[b];
    arena memory;
    machine_try(&at.m,
                arena_create(&memory, "cache", llama_cache_bytes(&at.llm.config, n), &at.m.err));
    llama_cache cache;
    llama_cache_create(&cache, &at.llm, n, &memory);
    twin_logits(b, want);
    decode_inputs(b, x);
    while (cache.length < n) {
        const int64_t step = cache.length == 0 ? prefill : 1;
        const real *logits =
            llama_decode(&at.m.nn, &at.p, &at.llm, &cache, x + cache.length * D, step);
        for (int i = 0; i < CHUNK_V; i++)
            EXPECT_CLOSE(logits[i], want[cache.length - 1][i], bound_of(b));
        arena_reset(&at.m.activations, 0);
        EXPECT(arena_mark(&at.m.scratch) == 0, "Scratch was not given back.");
    }
    EXPECT(at.m.scratch.peak <= at.m.scratch.capacity);
    arena_destroy(&memory);
}

static void check_empty(void) {
    chunk none;
    chunk_make(&none, 0, NULL, 0, NULL);
    llama_saved *saved = NULL;
    const text_batch *text = &none.batch.text;
    real *hidden = llama_forward(&at.m.nn, &at.p, &at.llm, text, NULL, &saved);
    EXPECT(llama_loss(&at.m.nn, &at.p, &at.llm, text, hidden, 1, NULL, hidden) == 0);
    llama_backward(&at.m.nn, &at.p, &at.llm, text, saved, hidden, NULL);
    arena_reset(&at.m.activations, 0);
}

static size_t scratch_bytes(const llama_config *config, const sepit_sizes *s) {
    const size_t sizes[] = {llama_scratch_bytes(config, s->text_tokens, 0, false, true),
                            llama_scratch_bytes(config, s->text_tokens, 0, false, false),
                            llama_loss_bytes(config, s->supervised, false, true),
                            llama_decode_bytes(config, s->text_tokens, false)};
    size_t most = 0;
    for (int i = 0; i < 4; i++)
        most = sizes[i] > most ? sizes[i] : most;
    return most;
}

int main(void) {
    /* More supervised places than one block of the head has rows, ending inside a sequence. */
    const prompt prompts[] = {{0, 2, 6, 3}, {1, 3, 240, 200}, {0, 3, 5, 0}, {-1, 0, 300, 299}};
    const llama_config *config = &CHUNK_MODEL.llm;
    chunk_make(&at.chunk, 2, (const int[]){0, 1}, 4, prompts);
    const sepit_sizes sizes = chunk_sizes(&at.chunk);
    machine_create(&at.m, false, llama_activation_bytes(config, sizes.text_tokens, 0, false, true),
                   scratch_bytes(config, &sizes));
    params_init(&at.p);
    machine_try(&at.m, llama_declare(&at.llm, config, &at.p, &at.experts, &at.m.err));
    real *gradient = model_ready(&at.p, false);
    gradcheck_fill(at.protein, ROWS * D, "protein", 0, 1);
    check_loss();
    check_decode(0, 1);
    check_decode(0, 12);
    check_decode(0, 17);
    check_decode(1, 240);
    check_empty();
    free(gradient);
    llama_destroy(&at.llm);
    params_destroy(&at.p);
    machine_destroy(&at.m);
    return test_end();
}
