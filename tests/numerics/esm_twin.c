// TEST timeout=60 mode=release,double,asan
/* The encoder against a slow obvious twin (one protein at a time, in double, whole attention
 * matrices), packed against one at a time, and the embedding's rescaling by hand. */
#include "tests/numerics/encoder_bench.h"

enum { D = 16, H = 2, F = 24, d = D / H, MAX = 14 };

static const double *value_of(const encoder_bench *bench, const char *name) {
    static double copy[16][F * D * 2];
    static int next;
    const int64_t index = params_find(&bench->p, name);
    EXPECT(index >= 0, "There is no %s.", name);
    next = (next + 1) % 16;
    for (int64_t i = 0; i < bench->p.table[index].elements; i++)
        copy[next][i] = (double)param_value(&bench->p, index)[i];
    return copy[next];
}

static const double *layer_value(const encoder_bench *bench, int layer, const char *part) {
    char name[200];
    snprintf(name, sizeof name, "protein_model.encoder.layer.%d.%s", layer, part);
    return value_of(bench, name);
}

static void twin_linear(const encoder_bench *bench, int layer, const char *part, const double *x,
                        int rows, int in, int out, double *y) {
    char name[100];
    snprintf(name, sizeof name, "%s.weight", part);
    const double *w = layer_value(bench, layer, name);
    snprintf(name, sizeof name, "%s.bias", part);
    const double *b = layer_value(bench, layer, name);
    for (int t = 0; t < rows; t++)
        for (int o = 0; o < out; o++) {
            double sum = b[o];
            for (int i = 0; i < in; i++)
                sum += w[o * in + i] * x[t * in + i];
            y[t * out + o] = sum;
        }
}

static void twin_norm(const encoder_bench *bench, int layer, const char *part, const double *x,
                      int rows, double *y) {
    char name[100];
    snprintf(name, sizeof name, "%s.weight", part);
    const double *w = layer_value(bench, layer, name);
    snprintf(name, sizeof name, "%s.bias", part);
    const double *b = layer_value(bench, layer, name);
    for (int t = 0; t < rows; t++) {
        double mean = 0, variance = 0;
        for (int i = 0; i < D; i++)
            mean += x[t * D + i] / D;
        for (int i = 0; i < D; i++)
            variance += (x[t * D + i] - mean) * (x[t * D + i] - mean) / D;
        for (int i = 0; i < D; i++)
            y[t * D + i] = (x[t * D + i] - mean) / sqrt(variance + 1e-5) * w[i] + b[i];
    }
}

/* Scales if asked, then rotates element i of each head with element i + d/2. */
static void twin_rotate(double *x, int rows, double scale) {
    for (int t = 0; t < rows; t++)
        for (int h = 0; h < H; h++)
            for (int i = 0; i < d / 2; i++) {
                double *a = x + t * D + h * d + i, *b = a + d / 2;
                const double angle = t * pow(10000, -2.0 * i / d);
                const double x0 = *a * scale, x1 = *b * scale;
                *a = x0 * cos(angle) - x1 * sin(angle);
                *b = x1 * cos(angle) + x0 * sin(angle);
            }
}

/* bias: NULL or [H,rows−2,rows−2], between residues only. */
static void twin_attention(const double *q, const double *k, const double *v, const real *bias,
                           int rows, double *out) {
    for (int h = 0; h < H; h++)
        for (int t = 0; t < rows; t++) {
            double p[MAX], sum = 0;
            for (int u = 0; u < rows; u++) {
                double logit = 0;
                for (int i = 0; i < d; i++)
                    logit += q[t * D + h * d + i] * k[u * D + h * d + i];
                const int L = rows - 2, row = t - 1, col = u - 1;
                if (bias != NULL && row >= 0 && row < L && col >= 0 && col < L)
                    logit += (double)bias[(h * L + row) * L + col];
                sum += p[u] = exp(logit);
            }
            for (int i = 0; i < d; i++) {
                double mix = 0;
                for (int u = 0; u < rows; u++)
                    mix += p[u] / sum * v[u * D + h * d + i];
                out[t * D + h * d + i] = mix;
            }
        }
}

static void twin_block(const encoder_bench *bench, int layer, const real *bias, int rows,
                       double *x) {
    double normed[MAX * D], q[MAX * D], k[MAX * D], v[MAX * D], y[MAX * D], up[MAX * F];
    twin_norm(bench, layer, "attention.LayerNorm", x, rows, normed);
    twin_linear(bench, layer, "attention.self.query", normed, rows, D, D, q);
    twin_linear(bench, layer, "attention.self.key", normed, rows, D, D, k);
    twin_linear(bench, layer, "attention.self.value", normed, rows, D, D, v);
    twin_rotate(q, rows, 1 / sqrt((double)d));
    twin_rotate(k, rows, 1);
    twin_attention(q, k, v, bias, rows, y);
    twin_linear(bench, layer, "attention.output.dense", y, rows, D, D, v);
    for (int i = 0; i < rows * D; i++)
        x[i] += v[i];
    twin_norm(bench, layer, "LayerNorm", x, rows, normed);
    twin_linear(bench, layer, "intermediate.dense", normed, rows, D, F, up);
    for (int i = 0; i < rows * F; i++)
        up[i] *= 0.5 * (1 + erf(up[i] / sqrt(2)));
    twin_linear(bench, layer, "output.dense", up, rows, F, D, v);
    for (int i = 0; i < rows * D; i++)
        x[i] += v[i];
}

static void twin_encode(const encoder_bench *bench, const int32_t *token, int rows,
                        const real *hidden, const real *bias, double *x) {
    const double *table = value_of(bench, "protein_model.embeddings.word_embeddings.weight");
    double masked = 0;
    for (int t = 0; t < rows; t++)
        masked += token[t] == 32;
    for (int i = 0; i < rows * D; i++) {
        const int32_t id = token[i / D];
        const double row = id == 32 ? 0 : table[id * D + i % D];
        x[i] = row * (1 - 0.15 * 0.8) / (1 - masked / rows) + (double)hidden[i];
    }
    for (int layer = 0; layer < 2; layer++)
        twin_block(bench, layer, bias, rows, x);
}

typedef struct structure_arrays {
    real hidden[BENCH_TOKENS * D], bias[BENCH_PROTEINS][H * 12 * 12];
} structure_arrays;

/* Proteins begin … end−1 of the batch in one call. */
static void encode(const encoder_bench *bench, int begin, int end, const structure_arrays *s,
                   bool keep, real *out) {
    const protein_batch all = bench_batch();
    const int64_t first = all.offset[begin];
    int64_t offset[BENCH_PROTEINS + 1];
    for (int b = begin; b <= end; b++)
        offset[b - begin] = all.offset[b] - first;
    const protein_batch batch = {.B = end - begin,
                                 .offset = offset,
                                 .token = all.token + first,
                                 .position = all.position + first};
    const real *bias[BENCH_PROTEINS] = {NULL, s->bias[1], s->bias[2]}; /* none for protein 0 */
    const esm_structure structure = {s->hidden + first * D, bias + begin};
    esm_saved *saved;
    const size_t mark = arena_mark(bench->nn.activations);
    const real *x = esm_forward(&bench->nn, &bench->p, &bench->encoder, &batch, 2, structure,
                                keep ? &saved : NULL);
    memcpy(out, x, (size_t)(offset[end - begin] * D) * sizeof *x);
    arena_reset(bench->nn.activations, mark);
}

/* The sums on the way through the two blocks (norms, query, logits, mix, output, FFN) have so many
 * terms; a sum of n terms is off by n·ε/2 of the sum of their sizes (Higham, §3.1), which is taken
 * to be at most twice the result. */
static const double TOLERANCE = 2 * (5 * D + d + MAX + F) * REAL_EPSILON;

static void expect_twin_and_packing(const encoder_bench *bench) {
    static structure_arrays s;
    real packed[BENCH_TOKENS * D], alone[BENCH_TOKENS * D], kept[BENCH_TOKENS * D];
    double twin[MAX * D];
    gradcheck_fill(s.hidden, BENCH_TOKENS * D, "hidden", 0, 0.3);
    gradcheck_fill(s.bias[0], BENCH_PROTEINS * H * 12 * 12, "bias", 0, 2);
    encode(bench, 0, BENCH_PROTEINS, &s, false, packed);
    encode(bench, 0, BENCH_PROTEINS, &s, true, kept);
    EXPECT(memcmp(packed, kept, sizeof packed) == 0, "Training and inference differ.");
    for (int b = 0; b < BENCH_PROTEINS; b++) {
        const int64_t first = BENCH_OFFSET[b];
        const int rows = (int)(BENCH_OFFSET[b + 1] - first);
        encode(bench, b, b + 1, &s, true, alone + first * D);
        twin_encode(bench, BENCH_TOKEN + first, rows, s.hidden + first * D,
                    b == 0 ? NULL : s.bias[b], twin);
        for (int i = 0; i < rows * D; i++)
            EXPECT_CLOSE(packed[first * D + i], twin[i], TOLERANCE);
    }
    for (int i = 0; i < BENCH_TOKENS * D; i++)
        EXPECT_CLOSE(packed[i], alone[i], TOLERANCE);
}

/* <cls> A <mask> G <eos>: one of five tokens is masked, so the rest grows by 0.88/0.8 = 1.1. */
static void expect_rescaling(const encoder_bench *bench) {
    const int64_t offset[] = {0, 5};
    const int32_t token[] = {0, 5, 32, 6, 2}, position[] = {0, 1, 2, 3, 4};
    const protein_batch batch = {.B = 1, .offset = offset, .token = token, .position = position};
    const real *x = esm_forward(&bench->nn, &bench->p, &bench->encoder, &batch, 0,
                                (esm_structure){NULL, NULL}, NULL);
    const real *table = param_value(&bench->p, bench->encoder.embedding);
    for (int t = 0; t < 5; t++)
        for (int i = 0; i < D; i++) {
            const double want = t == 2 ? 0 : 1.1 * (double)table[token[t] * D + i];
            EXPECT_CLOSE(x[t * D + i], want, 8 * REAL_EPSILON);
        }
    arena_reset(bench->nn.activations, 0);
}

static void expect_empty(const encoder_bench *bench) {
    const int64_t offset[] = {0};
    const protein_batch batch = {.B = 0, .offset = offset};
    esm_saved *saved = NULL;
    real nothing[1];
    esm_forward(&bench->nn, &bench->p, &bench->encoder, &batch, 2, (esm_structure){NULL, NULL},
                &saved);
    esm_backward(&bench->nn, &bench->p, &bench->encoder, &batch, saved, nothing, NULL, NULL);
    for (int64_t i = 0; i < bench->p.elements; i++)
        EXPECT(bench->gradient[i] == 0, "An empty batch has a gradient.");
    arena_reset(bench->nn.activations, 0);
}

/* Width 18 over 3 heads works; 15 over 3 would be odd heads. */
static void expect_refusal(void) {
    const int64_t widths[] = {18, 15, 16, 0};
    for (int i = 0; i < 4; i++) {
        const esm_config config = {.layers = 1, .D = widths[i], .H = 3, .F = 4};
        error err = {0};
        esm encoder;
        params p;
        params_init(&p);
        const status got = esm_declare(&encoder, &config, &p, &err);
        EXPECT(got == (i == 0 ? STATUS_OK : STATUS_INPUT), "Width %d: %s", (int)widths[i],
               err.text);
        esm_destroy(&encoder);
        params_destroy(&p);
    }
}

int main(void) {
    expect_refusal();
    encoder_bench bench;
    bench_create(&bench, false, BENCH_TOKENS);
    expect_rescaling(&bench);
    expect_twin_and_packing(&bench);
    expect_empty(&bench);
    bench_destroy(&bench);
    return test_end();
}
