// TEST timeout=60 mode=release,double,asan
/* A layer of experts against its slow obvious twin: plain loops over tokens in double, forward and
 * backward, without rows, cells or lanes. */
#include "src/base/bf16.h"
#include "tests/numerics/moe_bench.h"

enum { D = 20, F = 24, T = 37, E_MOST = BENCH_EXPERTS, K_MOST = 3, LAYER = 0 };

/* What the twin computes; arrays are zeroed before. */
typedef struct twin {
    double prob[T][E_MOST], lse[T];
    int expert[T][K_MOST];
    bool dropped[T][K_MOST];
    double weight[T][K_MOST];
    double y[T * D], d_x[T * D], d_router[E_MOST * D];
    double *d_experts; /* as the experts' table */
    int64_t count[E_MOST * MOE_COUNTS];
    double sum[E_MOST + 2];
} twin;

/* One expert at one token: all between x and its output. */
typedef struct one_ffn {
    double gate[F], up[F], act[F], out[D];
} one_ffn;

static const real *tensor(const moe_bench *b, const linear *l) {
    return param_value(&b->experts, l->weight);
}

static double *d_tensor(const moe_bench *b, twin *w, const linear *l) {
    return w->d_experts + b->experts.table[l->weight].offset;
}

static double sigmoid(double x) {
    return 1 / (1 + exp(-x));
}

static void twin_ffn(const moe_bench *b, int e, const real *x, one_ffn *o) {
    const ffn *l = &b->expert[e];
    for (int f = 0; f < F; f++) {
        o->gate[f] = o->up[f] = 0;
        for (int j = 0; j < D; j++) {
            o->gate[f] += (double)tensor(b, &l->gate)[f * D + j] * (double)x[j];
            o->up[f] += (double)tensor(b, &l->up)[f * D + j] * (double)x[j];
        }
        o->act[f] = o->gate[f] * sigmoid(o->gate[f]) * o->up[f];
    }
    for (int j = 0; j < D; j++) {
        o->out[j] = 0;
        for (int f = 0; f < F; f++)
            o->out[j] += (double)tensor(b, &l->down)[j * F + f] * o->act[f];
    }
}

static void twin_ffn_backward(const moe_bench *b, int e, const real *x, const one_ffn *o,
                              const double *d_out, twin *w, double *d_x) {
    const ffn *l = &b->expert[e];
    for (int f = 0; f < F; f++) {
        double d_act = 0;
        for (int j = 0; j < D; j++) {
            d_act += d_out[j] * (double)tensor(b, &l->down)[j * F + f];
            d_tensor(b, w, &l->down)[j * F + f] += d_out[j] * o->act[f];
        }
        const double s = sigmoid(o->gate[f]);
        const double d_up = d_act * o->gate[f] * s;
        const double d_gate = d_act * o->up[f] * s * (1 + o->gate[f] * (1 - s));
        for (int j = 0; j < D; j++) {
            d_tensor(b, w, &l->gate)[f * D + j] += d_gate * (double)x[j];
            d_tensor(b, w, &l->up)[f * D + j] += d_up * (double)x[j];
            d_x[j] += d_gate * (double)tensor(b, &l->gate)[f * D + j] +
                      d_up * (double)tensor(b, &l->up)[f * D + j];
        }
    }
}

static void twin_probabilities(const moe_bench *b, const real *x, int t, twin *w) {
    const int E = (int)b->c.E;
    const real *router = param_value(&b->p, b->layer.router);
    double sum = 0;
    for (int e = 0; e < E; e++) {
        double logit = 0;
        for (int j = 0; j < D; j++)
            logit += (double)router[e * D + j] * (double)x[t * D + j];
        w->prob[t][e] = exp(logit);
        sum += exp(logit);
    }
    w->lse[t] = log(sum);
    for (int e = 0; e < E; e++) {
        w->prob[t][e] /= sum;
        w->sum[e] += w->prob[t][e];
        w->sum[E + MOE_SUM_ENTROPY] -= w->prob[t][e] * log(w->prob[t][e]);
    }
    w->sum[E + MOE_SUM_Z] += w->lse[t] * w->lse[t];
}

/* Experts in order of their scores; the k-th must be well above the next, or rounding could choose
 * otherwise. */
static void twin_choice(const moe_bench *b, int t, twin *w) {
    const int E = (int)b->c.E, k = (int)b->c.k;
    int order[E_MOST];
    double score[E_MOST];
    for (int e = 0; e < E; e++) {
        order[e] = e;
        score[e] = w->prob[t][e] + (b->run.bias != NULL ? b->run.bias[e] : 0);
        if (b->run.force == MOE_FORCE_HOT && e == 0)
            score[e] = 100;
        if (b->run.force == MOE_FORCE_BALANCED)
            score[e] = -(double)((e - t % E + E) % E);
    }
    for (int i = 0; i < E; i++)
        for (int j = i + 1; j < E; j++)
            if (score[order[j]] > score[order[i]]) {
                const int swapped = order[i];
                order[i] = order[j];
                order[j] = swapped;
            }
    for (int c = 0; c < k; c++)
        w->expert[t][c] = order[c];
    EXPECT(k == E || score[order[k - 1]] - score[order[k]] > 1e-5, "token %d is a tie", t);
}

static void twin_weights(const moe_bench *b, int t, twin *w) {
    const int k = (int)b->c.k;
    double sum = 0;
    for (int c = 0; c < k; c++)
        sum += w->prob[t][w->expert[t][c]];
    for (int c = 0; c < k; c++)
        w->weight[t][c] = w->prob[t][w->expert[t][c]] / (b->c.renormalize ? sum : 1);
}

static void twin_drops(const moe_bench *b, int64_t tokens, const int32_t *kind, twin *w) {
    const int k = (int)b->c.k;
    int64_t taken[E_MOST] = {0};
    const double most =
        b->run.capacity > 0 ? ceil(b->run.capacity * (double)(tokens * k) / (double)b->c.E) : 1e9;
    for (int t = 0; t < tokens; t++)
        for (int c = 0; c < k; c++) {
            const int e = w->expert[t][c];
            w->dropped[t][c] = (double)taken[e]++ >= most;
            w->count[e * MOE_COUNTS + (kind[t] < 0 ? MOE_PROTEIN : MOE_TEXT)]++;
            w->count[e * MOE_COUNTS + MOE_DROPPED] += w->dropped[t][c];
        }
}

/* d_p of the token from the weights' gradients and the losses, then through the softmax. */
static void twin_router_backward(const moe_bench *b, const real *x, int t, const double *d_weight,
                                 twin *w) {
    const int E = (int)b->c.E, k = (int)b->c.k;
    const real *router = param_value(&b->p, b->layer.router);
    double d_p[E_MOST], sum = 0;
    for (int e = 0; e < E; e++)
        d_p[e] = b->run.balance_scale == 0 ? 0 : b->run.balance_scale * b->run.fraction[e];
    for (int c = 0; c < k; c++)
        sum += w->prob[t][w->expert[t][c]];
    for (int c = 0; c < k; c++) /* d w_c / d p_i = δ_ci / s − p_c / s² */
        for (int i = 0; i < k; i++) {
            const double p_c = w->prob[t][w->expert[t][c]];
            const double jacobian =
                b->c.renormalize ? (c == i) / sum - p_c / (sum * sum) : (double)(c == i);
            d_p[w->expert[t][i]] += d_weight[c] * jacobian;
        }
    for (int e = 0; e < E; e++) {
        double d_logit = 2 * b->run.z_scale * w->lse[t] * w->prob[t][e];
        for (int i = 0; i < E; i++) /* d p_i / d logit_e = p_i·(δ_ie − p_e) */
            d_logit += d_p[i] * w->prob[t][i] * ((i == e) - w->prob[t][e]);
        for (int j = 0; j < D; j++) {
            w->d_x[t * D + j] += d_logit * (double)router[e * D + j];
            w->d_router[e * D + j] += d_logit * (double)x[t * D + j];
        }
    }
}

static void twin_token(const moe_bench *b, const real *x, const real *d_y, int t, twin *w) {
    double d_weight[K_MOST] = {0};
    for (int c = 0; c < b->c.k; c++) {
        one_ffn o;
        double d_out[D];
        if (w->dropped[t][c])
            continue;
        twin_ffn(b, w->expert[t][c], x + t * D, &o);
        for (int j = 0; j < D; j++) {
            w->y[t * D + j] += w->weight[t][c] * o.out[j];
            d_weight[c] += (double)d_y[t * D + j] * o.out[j];
            d_out[j] = w->weight[t][c] * (double)d_y[t * D + j];
        }
        twin_ffn_backward(b, w->expert[t][c], x + t * D, &o, d_out, w, w->d_x + t * D);
    }
    twin_router_backward(b, x, t, d_weight, w);
}

static void twin_run(const moe_bench *b, const real *x, const int32_t *kind, const real *d_y,
                     twin *w) {
    for (int t = 0; t < b->T; t++) {
        twin_probabilities(b, x, t, w);
        twin_choice(b, t, w);
        twin_weights(b, t, w);
    }
    twin_drops(b, b->T, kind, w);
    for (int t = 0; t < b->T; t++)
        twin_token(b, x, d_y, t, w);
}

/* ---- comparing ---- */

/* Root mean square of the difference over that of what is wanted. */
static double distance(const real *x, const double *want, int64_t n) {
    double off = 0, size = 0;
    for (int64_t i = 0; i < n; i++) {
        off += ((double)x[i] - want[i]) * ((double)x[i] - want[i]);
        size += want[i] * want[i];
    }
    return size > 0 ? sqrt(off / size) : sqrt(off);
}

/* The n roundings of a sum of n products are independent: in root mean square it is off by √n·u
 * times its size. Five such sums follow each other from x to a weight's gradient; n is T, the
 * longest. */
static double bound_of(const moe_bench *b) {
    if (b->bf16) /* at most 12 roundings on a way, each by 2^-9 at most; few large rows may rule */
        return 2 * sqrt(12) / 512;
    return sizeof(real) == sizeof(double) ? 1e-13 : 5 * sqrt(T) * REAL_EPSILON / 2;
}

static void compare(const moe_bench *b, const char *what, const real *x, const double *want,
                    int64_t n) {
    const double off = distance(x, want, n), bound = bound_of(b);
    printf("  %-8s %.2e of %.2e\n", what, off, bound);
    EXPECT(off <= bound, "%s is off by %g", what, off);
}

static const double FRACTION[E_MOST] = {0.3, 0.1, 0.2, 0.1, 0.05, 0.15, 0.06, 0.04};
static const double BIAS[E_MOST] = {0, 0.3, -0.2, 0.1, 0.05, -0.1, 0, 0.2};

static void check(const char *name, moe_config c, moe_run run, int64_t tokens, bool bf16) {
    static moe_bench b;
    static twin w;
    real x[T * D], y[T * D], d_y[T * D], d_x[T * D];
    int32_t kind[T];
    c.local_experts = c.E;
    b = (moe_bench){.D = D, .F = F, .T = tokens, .c = c, .bf16 = bf16, .run = run};
    b.layer.index = LAYER;
    bench_create(&b, tokens * c.k);
    w = (twin){.d_experts = bench_zeros(b.experts.elements, sizeof(double))};
    gradcheck_fill(x, T * D, "tokens", 0, 1);
    gradcheck_fill(d_y, T * D, "d_y", 0, 1);
    for (int i = 0; i < T * D; i++)
        x[i] = (real)bf16_to_float(bf16_from_float((float)x[i])); /* the router reads it as it is */
    for (int t = 0; t < T; t++)
        kind[t] = t % 3 == 0 ? -1 : t;
    printf("%s, %lld tokens%s\n", name, (long long)tokens, bf16 ? ", bf16" : "");
    bench_run(&b, x, kind, y, d_y, d_x);
    twin_run(&b, x, kind, d_y, &w);
    compare(&b, "y", y, w.y, tokens * D);
    compare(&b, "d_x", d_x, w.d_x, tokens * D);
    compare(&b, "router", b.d_router, w.d_router, c.E * D);
    compare(&b, "experts", b.d_experts, w.d_experts, b.experts.elements);
    EXPECT(memcmp(b.count, w.count, sizeof w.count) == 0, "%s: the counts differ", name);
    for (int64_t i = 0; i < c.E + 2; i++)
        EXPECT_CLOSE(b.sum[i], w.sum[i], T * REAL_EPSILON);
    int64_t dropped = 0;
    for (int64_t e = 0; e < c.E; e++)
        dropped += b.count[moe_count_at(&c, LAYER, e, MOE_DROPPED)];
    EXPECT((dropped > 0) == (run.capacity > 0 && tokens > 1), "%lld dropped", (long long)dropped);
    free(w.d_experts);
    bench_destroy(&b);
}

static void check_all(bool bf16) {
    const moe_run plain = {.exact = true},
                  losses = {.balance_scale = 0.7, .fraction = FRACTION, .z_scale = 0.05},
                  small = {.exact = true, .capacity = 0.8, .z_scale = 0.1},
                  hot = {.exact = true, .force = MOE_FORCE_HOT},
                  balanced = {.exact = true, .force = MOE_FORCE_BALANCED},
                  biased = {.exact = true, .bias = BIAS};
    check("one of five", (moe_config){.E = 5, .k = 1, .slices = 1}, plain, T, bf16);
    check("losses", (moe_config){.E = 4, .k = 1, .slices = 2}, losses, T, bf16);
    check("two, renormalised", (moe_config){.E = 4, .k = 2, .slices = 1, .renormalize = true},
          losses, T, bf16);
    check("three of eight", (moe_config){.E = 8, .k = 3, .slices = 3}, plain, T, bf16);
    check("dropped", (moe_config){.E = 4, .k = 2, .slices = 2}, small, T, bf16);
    check("dropped, renormalised", (moe_config){.E = 3, .k = 2, .slices = 5, .renormalize = true},
          small, T, bf16);
    check("hot", (moe_config){.E = 4, .k = 1, .slices = 2}, hot, T, bf16);
    check("hot, two", (moe_config){.E = 4, .k = 2, .slices = 1}, hot, T, bf16);
    check("balanced", (moe_config){.E = 4, .k = 2, .slices = 1}, balanced, T, bf16);
    check("biased", (moe_config){.E = 8, .k = 2, .slices = 1}, biased, T, bf16);
    if (!bf16) /* where a single token's weight gradient cancels, rounding is no longer small */
        check("more slices than tokens", (moe_config){.E = 4, .k = 2, .slices = 4}, plain, 1, bf16);
    check("no token", (moe_config){.E = 4, .k = 2, .slices = 2}, losses, 0, bf16);
}

/* One expert, whose probability is 1: the layer is the feed-forward layer, bit for bit. */
static void check_one_expert(void) {
    static moe_bench b;
    real x[T * D], y[T * D], want[T * D], d_y[T * D], d_x[T * D], d_want[T * D];
    b = (moe_bench){.D = D, .F = F, .T = T, .c = {.E = 1, .k = 1, .slices = 1, .local_experts = 1}};
    bench_create(&b, T);
    gradcheck_fill(x, T * D, "x", 0, 1);
    gradcheck_fill(d_y, T * D, "d_y", 0, 1);
    bench_run(&b, x, NULL, y, d_y, d_x);
    real *d_experts = bench_zeros(b.experts.elements, sizeof *d_experts);
    params_use_gradient(&b.experts, d_experts);
    const operand in = gemm_operand(b.gemm, &b.memory, x, T, D);
    ffn_saved saved;
    ffn_forward(&b.nn, &b.experts, &b.expert[0], &in, &b.memory, &saved, want);
    ffn_backward(&b.nn, &b.experts, &b.expert[0], &in, &saved, d_y, d_want);
    EXPECT(memcmp(y, want, sizeof y) == 0, "one expert is not the FFN, forward");
    EXPECT(memcmp(d_x, d_want, sizeof d_x) == 0, "one expert is not the FFN, backward");
    EXPECT(memcmp(d_experts, b.d_experts, (size_t)b.experts.elements * sizeof(real)) == 0,
           "one expert is not the FFN, weights");
    free(d_experts);
    bench_destroy(&b);
}

/* Jitter changes choices (with step, chunk and token, not with how many tokens there are), never
 * the probabilities. */
static void check_jitter(void) {
    static moe_bench b;
    real x[T * D], y[5][T * D];
    double sum[5][E_MOST + 2];
    gradcheck_fill(x, T * D, "x", 0, 1);
    const moe_config c = {.E = 8, .k = 1, .slices = 1, .local_experts = 8};
    const moe_run runs[5] = {{.seed = 1},
                             {.jitter = 0.4, .seed = 1},
                             {.jitter = 0.4, .seed = 1},
                             {.jitter = 0.4, .seed = 1, .step = 1},
                             {.jitter = 0.4, .seed = 1, .chunk = 1}};
    for (int i = 0; i < 5; i++) {
        b = (moe_bench){.D = D, .F = F, .T = i == 2 ? T - 9 : T, .c = c, .run = runs[i]};
        bench_create(&b, T);
        bench_run(&b, x, NULL, y[i], NULL, NULL);
        memcpy(sum[i], b.sum, sizeof b.sum);
        bench_destroy(&b);
    }
    for (int j = 0; j < (T - 9) * D; j++) /* products of other sizes may round otherwise */
        EXPECT_CLOSE(y[1][j], y[2][j], 1e-5);
    for (int i = 1; i < 5; i += 1 + (i == 1)) {
        EXPECT(memcmp(y[0], y[i], sizeof y[0]) != 0, "no jitter in run %d", i);
        EXPECT(memcmp(sum[0], sum[i], sizeof sum[0]) == 0, "other probabilities in run %d", i);
        EXPECT(i == 1 || memcmp(y[1], y[i], sizeof y[0]) != 0, "the same draws in run %d", i);
    }
}

/* Where all scores are equal the lower numbers win, and what is no number still gives a layer that
 * ends. */
static void check_ties(void) {
    static moe_bench b;
    real x[T * D], y[T * D];
    gradcheck_fill(x, T * D, "x", 0, 1);
    b = (moe_bench){.D = D, .F = F, .T = T, .c = {.E = 8, .k = 3, .slices = 1, .local_experts = 8}};
    bench_create(&b, 3 * T);
    for (int i = 0; i < 2; i++) {
        for (int64_t j = 0; j < b.p.elements; j++)
            b.p.value[j] = i == 0 ? 0 : (real)NAN;
        memset(b.count, 0, sizeof b.count);
        bench_run(&b, x, NULL, y, NULL, NULL);
        for (int64_t e = 0; e < 8; e++)
            EXPECT(b.count[moe_count_at(&b.c, LAYER, e, MOE_TEXT)] == (e < 3 ? T : 0));
    }
    bench_destroy(&b);
}

int main(void) {
    check_all(false);
    if (sizeof(real) == sizeof(float))
        check_all(true);
    check_one_expert();
    check_jitter();
    check_ties();
    return test_end();
}
