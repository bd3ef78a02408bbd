#include "src/base/error.h"
#include "src/tensor/attention.h"
#include "src/tensor/attention_tile.h"
#include "src/tensor/vecmath.h"

/* One sequence, and the pointers to its first rows. */
typedef struct sequence {
    const attention_shape *shape;
    int64_t n;
    const real *q, *k, *v, *out, *lse, *d_out;
    const real *bias; /* NULL, or [H, n−2, n−2] */
    real *d_q, *d_k, *d_v;
    real *d_bias; /* NULL, or as bias */
} sequence;

/* A tile of keys of one key/value head, with the gradients that gather there. */
typedef struct key_tile {
    int64_t first, keys;
    TILE_ALIGNED real k[ATTENTION_KEYS * ATTENTION_WIDTH];
    TILE_ALIGNED real k_transposed[ATTENTION_WIDTH * ATTENTION_KEYS];
    TILE_ALIGNED real v_transposed[ATTENTION_WIDTH * ATTENTION_KEYS];
    TILE_ALIGNED real d_k[ATTENTION_KEYS * ATTENTION_WIDTH];
    TILE_ALIGNED real d_v[ATTENTION_KEYS * ATTENTION_WIDTH];
} key_tile;

/* A tile of queries of one head, against one tile of keys. */
typedef struct query_tile {
    attention_tile tile;
    int64_t head;
    real lse[ATTENTION_QUERIES], delta[ATTENTION_QUERIES];
    TILE_ALIGNED real q[ATTENTION_QUERIES * ATTENTION_WIDTH]; /* scaled */
    TILE_ALIGNED real d_out[ATTENTION_QUERIES * ATTENTION_WIDTH];
    TILE_ALIGNED real d_q[ATTENTION_QUERIES * ATTENTION_WIDTH];
    TILE_ALIGNED real p[ATTENTION_QUERIES * ATTENTION_KEYS];   /* logits, then probabilities */
    TILE_ALIGNED real d_p[ATTENTION_QUERIES * ATTENTION_KEYS]; /* of p, then of the logits */
} query_tile;

static void load_queries(const sequence *s, const key_tile *kt, query_tile *qt) {
    const attention_shape *shape = s->shape;
    const int64_t d = shape->d, stride = shape->H * d, inner = s->n - 2;
    const int64_t left = s->n - qt->tile.first_query;
    const int64_t queries = left < ATTENTION_QUERIES ? left : ATTENTION_QUERIES;
    const int64_t start = qt->tile.first_query * stride + qt->head * d;
    qt->tile = (attention_tile){.first_query = qt->tile.first_query,
                                .queries = queries,
                                .first_key = kt->first,
                                .keys = kt->keys,
                                .d = d,
                                .causal = shape->causal,
                                .bias = s->bias == NULL ? NULL : s->bias + qt->head * inner * inner,
                                .inner = inner};
    tile_load(s->q + start, stride, queries, d, shape->scale, qt->q, ATTENTION_WIDTH);
    tile_load(s->d_out + start, stride, queries, d, 1, qt->d_out, ATTENTION_WIDTH);
    for (int64_t i = 0; i < queries; i++) {
        qt->lse[i] = s->lse[(qt->tile.first_query + i) * shape->H + qt->head];
        /* Σ_j p_ij·d_p_ij = d_out_i·out_i */
        qt->delta[i] = (real)vec_dot(s->d_out + start + i * stride, s->out + start + i * stride, d);
    }
}

/* p = e^(logits − lse), d_p = d_out·vᵀ, d_logits = p·(d_p − delta). */
static void differentiate_softmax(const key_tile *kt, query_tile *qt) {
    const int64_t columns = tile_width(qt->tile.keys);
    attention_logits(&qt->tile, qt->q, kt->k_transposed, qt->p);
    tile_multiply(&(tile_product){.m = qt->tile.queries,
                                  .n = kt->keys,
                                  .k = qt->tile.d,
                                  .a = qt->d_out,
                                  .a_row = ATTENTION_WIDTH,
                                  .a_col = 1,
                                  .b = kt->v_transposed,
                                  .b_row = ATTENTION_KEYS,
                                  .c = qt->d_p,
                                  .c_row = ATTENTION_KEYS});
    for (int64_t i = 0; i < qt->tile.queries; i++) {
        real *p = qt->p + i * ATTENTION_KEYS, *d_p = qt->d_p + i * ATTENTION_KEYS;
        for (int64_t j = 0; j < columns; j++) {
            p[j] = vec_exp(p[j] - qt->lse[i]);
            d_p[j] = p[j] * (d_p[j] - qt->delta[i]);
        }
    }
}

/* to[keys, d] += aᵀ·b, a [queries, keys], b [queries, d]. */
static void add_over_queries(const query_tile *qt, const real *a, const real *b, real *to) {
    tile_multiply(&(tile_product){.m = qt->tile.keys,
                                  .n = qt->tile.d,
                                  .k = qt->tile.queries,
                                  .a = a,
                                  .a_row = 1,
                                  .a_col = ATTENTION_KEYS,
                                  .b = b,
                                  .b_row = ATTENTION_WIDTH,
                                  .c = to,
                                  .c_row = ATTENTION_WIDTH,
                                  .add = true});
}

/* d_q = scale·d_logits·k; the first tile of keys writes, the others add. */
static void add_d_q(const sequence *s, const key_tile *kt, query_tile *qt) {
    const attention_shape *shape = s->shape;
    const int64_t d = shape->d, stride = shape->H * d;
    real *to = s->d_q + qt->tile.first_query * stride + qt->head * d;
    tile_multiply(&(tile_product){.m = qt->tile.queries,
                                  .n = d,
                                  .k = kt->keys,
                                  .a = qt->d_p,
                                  .a_row = ATTENTION_KEYS,
                                  .a_col = 1,
                                  .b = kt->k,
                                  .b_row = ATTENTION_WIDTH,
                                  .c = qt->d_q,
                                  .c_row = ATTENTION_WIDTH});
    for (int64_t i = 0; i < qt->tile.queries; i++)
        for (int64_t j = 0; j < d; j++) {
            const real before = kt->first == 0 ? 0 : to[i * stride + j];
            to[i * stride + j] = before + shape->scale * qt->d_q[i * ATTENTION_WIDTH + j];
        }
}

static void add_d_bias(const query_tile *qt, real *d_bias) {
    for (int64_t i = 0; i < qt->tile.queries; i++) {
        int64_t first = 0, end = 0;
        real *to = d_bias + attention_bias_span(&qt->tile, i, &first, &end);
        const real *d_logits = qt->d_p + i * ATTENTION_KEYS + first;
        for (int64_t j = 0; j < end - first; j++)
            to[j] += d_logits[j];
    }
}

static void run_query_tile(const sequence *s, key_tile *kt, query_tile *qt) {
    const int64_t inner = s->n - 2;
    load_queries(s, kt, qt);
    differentiate_softmax(kt, qt);
    add_over_queries(qt, qt->p, qt->d_out, kt->d_v); /* out = p·v */
    add_over_queries(qt, qt->d_p, qt->q, kt->d_k);   /* logits = scale·q·kᵀ + bias */
    add_d_q(s, kt, qt);
    if (s->d_bias != NULL)
        add_d_bias(qt, s->d_bias + qt->head * inner * inner);
}

static void load_keys(const sequence *s, int64_t g, int64_t first, key_tile *kt) {
    const int64_t d = s->shape->d, stride = s->shape->K * d, left = s->n - first;
    const int64_t start = first * stride + g * d;
    kt->first = first;
    kt->keys = left < ATTENTION_KEYS ? left : ATTENTION_KEYS;
    tile_load(s->k + start, stride, kt->keys, d, 1, kt->k, ATTENTION_WIDTH);
    tile_load_transposed(s->k + start, stride, kt->keys, d, kt->k_transposed, ATTENTION_KEYS);
    tile_load_transposed(s->v + start, stride, kt->keys, d, kt->v_transposed, ATTENTION_KEYS);
    for (int64_t i = 0; i < kt->keys * ATTENTION_WIDTH; i++)
        kt->d_k[i] = kt->d_v[i] = 0;
}

static void store_keys(const sequence *s, int64_t g, const key_tile *kt) {
    const int64_t d = s->shape->d, stride = s->shape->K * d;
    const int64_t start = kt->first * stride + g * d;
    for (int64_t i = 0; i < kt->keys; i++)
        for (int64_t j = 0; j < d; j++) {
            s->d_k[start + i * stride + j] = kt->d_k[i * ATTENTION_WIDTH + j];
            s->d_v[start + i * stride + j] = kt->d_v[i * ATTENTION_WIDTH + j];
        }
}

/* All that reads key/value head g of the sequence, by one thread: so the order of the sums does not
 * depend on the number of threads. */
static void run_key_head(const sequence *s, int64_t g) {
    const int64_t group = s->shape->H / s->shape->K;
    key_tile kt;
    query_tile qt;
    for (int64_t first = 0; first < s->n; first += ATTENTION_KEYS) {
        load_keys(s, g, first, &kt);
        const int64_t start = s->shape->causal ? first / ATTENTION_QUERIES * ATTENTION_QUERIES : 0;
        for (qt.head = g * group; qt.head < (g + 1) * group; qt.head++)
            for (int64_t query = start; query < s->n; query += ATTENTION_QUERIES) {
                qt.tile.first_query = query;
                run_query_tile(s, &kt, &qt);
            }
        store_keys(s, g, &kt);
    }
}

void attention_backward(const attention_shape *shape, const attention_saved *saved,
                        const real *d_out, attention_gradients gradients) {
    const int64_t H = shape->H, K = shape->K, d = shape->d;
    CHECK(d > 0 && d <= ATTENTION_WIDTH && K > 0 && H % K == 0,
          "%lld heads, %lld key heads, width %lld.", (long long)H, (long long)K, (long long)d);
#pragma omp parallel for collapse(2) schedule(dynamic)
    for (int64_t b = 0; b < shape->B; b++)
        for (int64_t g = 0; g < K; g++) {
            const int64_t first = shape->offset[b], n = shape->offset[b + 1] - first;
            const real *const *bias = saved->bias;
            const sequence s = {
                .shape = shape,
                .n = n,
                .q = saved->q + first * H * d,
                .k = saved->k + first * K * d,
                .v = saved->v + first * K * d,
                .out = saved->out + first * H * d,
                .lse = saved->lse + first * H,
                .d_out = d_out + first * H * d,
                .bias = bias == NULL ? NULL : bias[b],
                .d_q = gradients.d_q + first * H * d,
                .d_k = gradients.d_k + first * K * d,
                .d_v = gradients.d_v + first * K * d,
                .d_bias = gradients.d_bias == NULL ? NULL : gradients.d_bias[b],
            };
            run_key_head(&s, g);
        }
}
