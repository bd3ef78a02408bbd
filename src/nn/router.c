#include "src/nn/router.h"

#include "src/base/rng.h"
#include "src/nn/row_store.h"
#include "src/tensor/vecmath.h"

enum {
    SPLIT = 16384, /* fewer products are not worth waking threads for */
    ARENA_ROUNDING = 64
};

/* ---- forward, token by token ---- */

/* logit_e = W_e·x[t], in pieces of the row, columns ascending. */
static void find_logits(const operand *x, int64_t t, const real *weight, int64_t E, double *logit) {
    real buffer[ROW_PIECE];
    for (int64_t e = 0; e < E; e++)
        logit[e] = 0;
    for (int64_t first = 0; first < x->cols; first += ROW_PIECE) {
        const int64_t n = row_piece_width(first, x->cols);
        const real *piece = row_piece(x, t, first, n, buffer);
        for (int64_t e = 0; e < E; e++)
            logit[e] += vec_dot(piece, weight + e * x->cols + first, n);
    }
}

/* p_e = e^(logit_e − lse), lse = ln Σ e^logit */
static real find_softmax(const double *logit, int64_t E, real *prob) {
    double most = logit[0], sum = 0;
    for (int64_t e = 1; e < E; e++)
        most = fmax(most, logit[e]);
    for (int64_t e = 0; e < E; e++)
        sum += exp(logit[e] - most);
    const double lse = most + log(sum);
    for (int64_t e = 0; e < E; e++)
        prob[e] = (real)exp(logit[e] - lse);
    return (real)lse;
}

/* U(−1,1) for one token and expert. Within the counters' bits: 2^24 chunks, 2^44 tokens; E < 2^10
 * and layers are bounded by moe.h. */
static double draw_jitter(const moe_run *run, rng_key key, int64_t layer, int64_t t, int64_t e) {
    const uint64_t pass = (uint64_t)run->step << 24 | (uint64_t)run->chunk;
    const uint64_t place = (uint64_t)layer << 54 | (uint64_t)t << 10 | (uint64_t)e;
    return 2 * rng_uniform(key, pass, place) - 1;
}

/* What the choice goes by. */
static void find_scores(const moe_run *run, int64_t layer, int64_t t, const real *prob, int64_t E,
                        double *score) {
    for (int64_t e = 0; e < E; e++)
        score[e] = (double)prob[e] + (run->bias != NULL ? run->bias[layer * E + e] : 0);
    if (run->jitter != 0) {
        const rng_key key = rng_key_make(run->seed, "router jitter");
        for (int64_t e = 0; e < E; e++)
            score[e] += run->jitter * draw_jitter(run, key, layer, t, e);
    }
    if (run->force == MOE_FORCE_HOT)
        score[0] = INFINITY;
}

/* The k best, best first, equal ones in order of their numbers. Scores that are not numbers (the
 * step will be skipped for them) still give k different experts. */
static void pick_best(const double *score, int64_t E, int64_t k, int32_t *expert) {
    bool taken[MOE_MOST_EXPERTS] = {false};
    for (int64_t c = 0; c < k; c++) {
        int64_t best = -1;
        for (int64_t e = 0; e < E; e++)
            if (!taken[e] && (best < 0 || score[e] > score[best]))
                best = e;
        taken[best] = true;
        expert[c] = (int32_t)best;
    }
}

static void choose(const moe_run *run, int64_t layer, int64_t t, routing *r) {
    double score[MOE_MOST_EXPERTS];
    int32_t *expert = r->expert + t * r->k;
    if (run->force == MOE_FORCE_BALANCED) {
        for (int64_t c = 0; c < r->k; c++)
            expert[c] = (int32_t)((t + c) % r->E);
        return;
    }
    find_scores(run, layer, t, r->prob + t * r->E, r->E, score);
    pick_best(score, r->E, r->k, expert);
}

/* Σ p over the chosen, or 1 where weights are not renormalised. */
static double chosen_sum(const routing *r, int64_t t, bool renormalize) {
    double sum = 0;
    for (int64_t c = 0; renormalize && c < r->k; c++)
        sum += (double)r->prob[t * r->E + r->expert[t * r->k + c]];
    return renormalize ? sum : 1;
}

static void find_weights(const routing *r, int64_t t, bool renormalize) {
    const double sum = chosen_sum(r, t, renormalize);
    for (int64_t c = 0; c < r->k; c++)
        r->weight[t * r->k + c] = (real)((double)r->prob[t * r->E + r->expert[t * r->k + c]] / sum);
}

void router_forward(const nn_context *nn, const params *p, const moe_config *c,
                    const moe_layer *layer, const operand *x, arena *memory, routing *r) {
    const int64_t T = x->rows, E = c->E, k = c->k;
    CHECK(E >= 1 && E <= MOE_MOST_EXPERTS && k >= 1 && k <= E && k <= MOE_MOST_CHOICES,
          "%lld of %lld experts.", (long long)k, (long long)E);
    *r = (routing){T,
                   E,
                   k,
                   ARENA_ARRAY(memory, real, T * E),
                   ARENA_ARRAY(memory, real, T),
                   ARENA_ARRAY(memory, int32_t, T * k),
                   ARENA_ARRAY(memory, real, T * k)};
    const real *weight = param_value(p, layer->router);
#pragma omp parallel for if (T * E * x->cols > SPLIT)
    for (int64_t t = 0; t < T; t++) {
        double logit[MOE_MOST_EXPERTS];
        find_logits(x, t, weight, E, logit);
        r->lse[t] = find_softmax(logit, E, r->prob + t * E);
        choose(nn->moe, layer->index, t, r);
        find_weights(r, t, c->renormalize);
    }
}

/* ---- backward ---- */

/* d_prob [E] of token t: from the losses and from the weights of the chosen experts.
 * w_c = p_c / s, s = Σ p over the chosen: d_p_c = (d_w_c − Σ_j d_w_j·w_j) / s; without
 * renormalising w_c = p_c. */
static void prob_backward(const moe_run *run, int64_t layer, const routing *r, int64_t t,
                          bool renormalize, const real *d_weight, double *d_prob) {
    const int32_t *expert = r->expert + t * r->k;
    const real *d_w = d_weight + t * r->k, *w = r->weight + t * r->k;
    for (int64_t e = 0; e < r->E; e++) /* balance_scale · Σ_e f_e·p_te */
        d_prob[e] =
            run->balance_scale != 0 ? run->balance_scale * run->fraction[layer * r->E + e] : 0;
    const double sum = chosen_sum(r, t, renormalize);
    double common = 0;
    for (int64_t c = 0; renormalize && c < r->k; c++)
        common += (double)d_w[c] * (double)w[c];
    for (int64_t c = 0; c < r->k; c++)
        d_prob[expert[c]] += ((double)d_w[c] - common) / sum;
}

/* p = softmax(logits): d_logit_e = p_e·(d_p_e − Σ_j d_p_j·p_j); z_scale·lse² adds
 * 2·z_scale·lse·p_e. */
static void softmax_backward(const moe_run *run, const routing *r, int64_t t, const double *d_prob,
                             real *d_logit) {
    const real *prob = r->prob + t * r->E;
    double common = 0;
    for (int64_t e = 0; e < r->E; e++)
        common += d_prob[e] * (double)prob[e];
    const double z = 2 * run->z_scale * (double)r->lse[t];
    for (int64_t e = 0; e < r->E; e++)
        d_logit[e] = (real)((double)prob[e] * (d_prob[e] - common + z));
}

/* logit_e = W_e·x: d_x += Σ_e d_logit_e·W_e, experts ascending. */
static void input_backward(const real *d_logit, const real *weight, int64_t E, int64_t D,
                           real *d_x) {
    for (int64_t e = 0; e < E; e++)
        for (int64_t j = 0; j < D; j++)
            d_x[j] += d_logit[e] * weight[e * D + j];
}

/* d_W_e += Σ_t d_logit_te·x[t] in the columns of one piece, tokens ascending. */
static void weight_backward(const real *d_logit, const operand *x, int64_t E, int64_t e,
                            int64_t first, real *d_weight) {
    const int64_t n = row_piece_width(first, x->cols);
    double sum[ROW_PIECE] = {0};
    real buffer[ROW_PIECE];
    for (int64_t t = 0; t < x->rows; t++) {
        const real *piece = row_piece(x, t, first, n, buffer);
        const double d = (double)d_logit[t * E + e];
        for (int64_t j = 0; j < n; j++)
            sum[j] += d * (double)piece[j];
    }
    for (int64_t j = 0; j < n; j++)
        d_weight[e * x->cols + first + j] += (real)sum[j];
}

void router_backward(const nn_context *nn, const params *p, const moe_config *c,
                     const moe_layer *layer, const operand *x, const routing *r,
                     const real *d_weight, real *d_x) {
    const int64_t T = r->T, E = r->E, D = x->cols;
    const real *weight = param_value(p, layer->router);
    real *d_router = param_gradient(p, layer->router);
    const size_t mark = arena_mark(nn->scratch);
    real *d_logit = ARENA_ARRAY(nn->scratch, real, T * E);
#pragma omp parallel for if (T * E * D > SPLIT)
    for (int64_t t = 0; t < T; t++) {
        double d_prob[MOE_MOST_EXPERTS];
        prob_backward(nn->moe, layer->index, r, t, c->renormalize, d_weight, d_prob);
        softmax_backward(nn->moe, r, t, d_prob, d_logit + t * E);
        input_backward(d_logit + t * E, weight, E, D, d_x + t * D);
    }
    const int64_t pieces = (D + ROW_PIECE - 1) / ROW_PIECE;
#pragma omp parallel for if (T * E * D > SPLIT)
    for (int64_t i = 0; i < (d_router != NULL ? E * pieces : 0); i++)
        weight_backward(d_logit, x, E, i / pieces, i % pieces * ROW_PIECE, d_router);
    arena_reset(nn->scratch, mark);
}

/* ---- memory ---- */

size_t router_kept_bytes(const moe_config *c, int64_t T) {
    const int64_t reals = c->E + 1 + c->k;
    return arena_bytes(T, (size_t)reals * sizeof(real) + (size_t)c->k * sizeof(int32_t)) +
           4 * ARENA_ROUNDING;
}

size_t router_scratch_bytes(const moe_config *c, int64_t T) {
    return arena_bytes(T * c->E, sizeof(real)) + ARENA_ROUNDING;
}
