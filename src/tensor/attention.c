#include "src/tensor/attention.h"

#include "src/base/error.h"
#include "src/tensor/attention_tile.h"
#include "src/tensor/vecmath.h"

enum { PARTS = 4 /* tiles of queries that share one loaded tile of keys */ };

/* One sequence: its queries are the last ones of its positions. Pointers are to its first rows. */
typedef struct sequence {
    const attention_shape *shape;
    const real *q, *k, *v;
    const real *bias; /* NULL, or [H, keys−2, keys−2] */
    int64_t queries, keys;
    bool causal;
    real *out;
    real *lse; /* NULL: not wanted */
} sequence;

/* A tile of queries of one head on its way over the keys. */
typedef struct part {
    attention_tile tile;
    int64_t head;
    int64_t row; /* of its first query, in q and out */
    TILE_ALIGNED real q[ATTENTION_QUERIES * ATTENTION_WIDTH];
    TILE_ALIGNED real out[ATTENTION_QUERIES * ATTENTION_WIDTH]; /* Σ p·v so far */
    real max[ATTENTION_QUERIES];
    double sum[ATTENTION_QUERIES];
} part;

/* Part `index` of the queries that read key/value head `g`: tiles of queries, and within a tile the
 * heads that share g. */
static void part_begin(const sequence *s, int64_t g, int64_t index, part *p) {
    const attention_shape *shape = s->shape;
    const int64_t group = shape->H / shape->K, d = shape->d, inner = s->keys - 2;
    const int64_t left = s->queries - index / group * ATTENTION_QUERIES, width = tile_width(d);
    p->head = g * group + index % group;
    p->row = index / group * ATTENTION_QUERIES;
    p->tile = (attention_tile){.first_query = s->keys - s->queries + p->row,
                               .queries = left < ATTENTION_QUERIES ? left : ATTENTION_QUERIES,
                               .d = d,
                               .causal = s->causal,
                               .bias = s->bias == NULL ? NULL : s->bias + p->head * inner * inner,
                               .inner = inner};
    tile_load(s->q + (p->row * shape->H + p->head) * d, shape->H * d, p->tile.queries, d,
              shape->scale, p->q, ATTENTION_WIDTH);
    for (int64_t i = 0; i < p->tile.queries; i++) {
        p->max[i] = (real)-INFINITY;
        p->sum[i] = 0;
        for (int64_t j = 0; j < width; j++)
            p->out[i * ATTENTION_WIDTH + j] = 0;
    }
}

/* The number of keys that some query of the part sees. */
static int64_t part_keys(const sequence *s, const part *p) {
    const int64_t past = p->tile.first_query + p->tile.queries;
    return s->causal && past < s->keys ? past : s->keys;
}

/* logits → e^(logits − running maximum); what was summed so far is scaled to the new maximum. */
static void softmax_row(part *p, int64_t i, real *row, int64_t columns) {
    const real tile_max = vec_max(row, columns);
    const real max = tile_max > p->max[i] ? tile_max : p->max[i];
    const real shrink = vec_exp(p->max[i] - max);
    const int64_t width = shrink == 1 ? 0 : tile_width(p->tile.d);
    real *out = p->out + i * ATTENTION_WIDTH;
    for (int64_t j = 0; j < columns; j++)
        row[j] = vec_exp(row[j] - max);
    p->sum[i] = p->sum[i] * (double)shrink + vec_sum(row, columns);
    p->max[i] = max;
    for (int64_t j = 0; j < width; j++)
        out[j] *= shrink;
}

/* k: keys transposed [d, ATTENTION_KEYS]; v: [keys, ATTENTION_WIDTH]. */
static void part_add_keys(part *p, int64_t first_key, int64_t keys, const real *k, const real *v) {
    TILE_ALIGNED real logits[ATTENTION_QUERIES * ATTENTION_KEYS];
    p->tile.first_key = first_key;
    p->tile.keys = keys;
    attention_logits(&p->tile, p->q, k, logits);
    for (int64_t i = 0; i < p->tile.queries; i++)
        softmax_row(p, i, logits + i * ATTENTION_KEYS, tile_width(p->tile.keys));
    tile_multiply(&(tile_product){.m = p->tile.queries,
                                  .n = p->tile.d,
                                  .k = keys,
                                  .a = logits,
                                  .a_row = ATTENTION_KEYS,
                                  .a_col = 1,
                                  .b = v,
                                  .b_row = ATTENTION_WIDTH,
                                  .c = p->out,
                                  .c_row = ATTENTION_WIDTH,
                                  .add = true});
}

static void part_end(const sequence *s, const part *p) {
    const attention_shape *shape = s->shape;
    for (int64_t i = 0; i < p->tile.queries; i++) {
        const int64_t row = (p->row + i) * shape->H + p->head;
        const real inverse = (real)(1 / p->sum[i]);
        for (int64_t j = 0; j < shape->d; j++)
            s->out[row * shape->d + j] = p->out[i * ATTENTION_WIDTH + j] * inverse;
        if (s->lse != NULL)
            s->lse[row] = (real)((double)p->max[i] + log(p->sum[i]));
    }
}

/* Parts first … first+count−1 of key/value head g, side by side over the keys. */
static void run_parts(const sequence *s, int64_t g, int64_t first, int64_t count) {
    const attention_shape *shape = s->shape;
    const int64_t stride = shape->K * shape->d, d = shape->d;
    TILE_ALIGNED real k[ATTENTION_WIDTH * ATTENTION_KEYS], v[ATTENTION_KEYS * ATTENTION_WIDTH];
    part parts[PARTS];
    int64_t end = 0;
    for (int64_t i = 0; i < count; i++) {
        part_begin(s, g, first + i, &parts[i]);
        end = part_keys(s, &parts[i]) > end ? part_keys(s, &parts[i]) : end;
    }
    for (int64_t key = 0; key < end; key += ATTENTION_KEYS) {
        const int64_t left = s->keys - key;
        const int64_t keys = left < ATTENTION_KEYS ? left : ATTENTION_KEYS;
        tile_load_transposed(s->k + key * stride + g * d, stride, keys, d, k, ATTENTION_KEYS);
        tile_load(s->v + key * stride + g * d, stride, keys, d, 1, v, ATTENTION_WIDTH);
        for (int64_t i = 0; i < count; i++)
            if (key < part_keys(s, &parts[i]))
                part_add_keys(&parts[i], key, keys, k, v);
    }
    for (int64_t i = 0; i < count; i++)
        part_end(s, &parts[i]);
}

/* Called by every thread of a parallel region. */
static void run_sequence(const sequence *s) {
    const attention_shape *shape = s->shape;
    const int64_t tiles = (s->queries + ATTENTION_QUERIES - 1) / ATTENTION_QUERIES;
    const int64_t parts = tiles * (shape->H / shape->K);
#pragma omp for collapse(2) schedule(dynamic) nowait
    for (int64_t g = 0; g < shape->K; g++)
        for (int64_t first = 0; first < parts; first += PARTS)
            run_parts(s, g, first, parts - first < PARTS ? parts - first : PARTS);
}

static void check_shape(const attention_shape *shape) {
    CHECK(shape->d > 0 && shape->d <= ATTENTION_WIDTH, "A head is %lld wide; 1 to %d can be.",
          (long long)shape->d, ATTENTION_WIDTH);
    CHECK(shape->K > 0 && shape->H % shape->K == 0, "%lld key heads do not divide %lld heads.",
          (long long)shape->K, (long long)shape->H);
}

void attention_forward(const attention_shape *shape, const real *q, const real *k, const real *v,
                       const real *const *bias, real *out, real *lse) {
    const int64_t H = shape->H, K = shape->K, d = shape->d;
    check_shape(shape);
#pragma omp parallel
    for (int64_t b = 0; b < shape->B; b++) {
        const int64_t first = shape->offset[b], n = shape->offset[b + 1] - first;
        const sequence s = {.shape = shape,
                            .q = q + first * H * d,
                            .k = k + first * K * d,
                            .v = v + first * K * d,
                            .bias = bias == NULL ? NULL : bias[b],
                            .queries = n,
                            .keys = n,
                            .causal = shape->causal,
                            .out = out + first * H * d,
                            .lse = lse + first * H};
        run_sequence(&s);
    }
}

void attention_decode(const attention_shape *shape, const real *q, int64_t n, const real *k,
                      const real *v, int64_t length, real *out) {
    check_shape(shape);
    CHECK(n <= length, "%lld queries for %lld positions.", (long long)n, (long long)length);
    const sequence s = {.shape = shape,
                        .q = q,
                        .k = k,
                        .v = v,
                        .queries = n,
                        .keys = length,
                        .causal = true,
                        .out = out};
#pragma omp parallel
    run_sequence(&s);
}
