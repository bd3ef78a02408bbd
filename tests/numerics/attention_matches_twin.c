// TEST timeout=60 mode=release,asan,double
/* Attention, forward and decoding, against a loop over all pairs in double; packing, bias, grouped
 * queries, causal masks, short and empty sequences; the same bits for any number of threads. */
#include "src/tensor/attention.h"
#include "tests/numerics/kernel.h"

enum { SEQUENCES = 7 };
static const int64_t offsets[SEQUENCES + 1] = {0, 1, 3, 3, 53, 150, 153, 353};

typedef struct problem {
    attention_shape shape;
    int64_t T;
    real *q, *k, *v, *out, *lse;
    real *bias[SEQUENCES];
} problem;

static problem problem_create(int64_t H, int64_t K, int64_t d, bool causal, bool bias) {
    problem p = {.shape = {.B = SEQUENCES,
                           .offset = offsets,
                           .H = H,
                           .K = K,
                           .d = d,
                           .scale = (real)(1 / sqrt((double)d)),
                           .causal = causal},
                 .T = offsets[SEQUENCES]};
    p.q = random_array(1, p.T * H * d, 2);
    p.k = random_array(2, p.T * K * d, 2);
    p.v = random_array(3, p.T * K * d, 1);
    p.out = random_array(4, p.T * H * d, 1);
    p.lse = random_array(5, p.T * H, 1);
    for (int b = 0; b < SEQUENCES; b++) { /* a bias for some sequences, none for others */
        const int64_t inner = offsets[b + 1] - offsets[b] - 2;
        if (bias && inner > 0 && b != 4)
            p.bias[b] = random_array(10 + (uint64_t)b, H * inner * inner, 2);
    }
    return p;
}

static void problem_destroy(problem *p) {
    free(p->q);
    free(p->k);
    free(p->v);
    free(p->out);
    free(p->lse);
    for (int b = 0; b < SEQUENCES; b++)
        free(p->bias[b]);
}

static void forward(const problem *p, real *out, real *lse) {
    attention_forward(&p->shape, p->q, p->k, p->v, (const real *const *)p->bias, out, lse);
}

/* Row i of head h of sequence b, the plain way; returns its log-sum-exp. */
static double twin_row(const problem *p, int b, int64_t i, int64_t h, double *out) {
    const attention_shape *s = &p->shape;
    const int64_t first = offsets[b], n = offsets[b + 1] - first, d = s->d;
    const int64_t g = h / (s->H / s->K), keys = s->causal ? i + 1 : n;
    double *e = malloc((size_t)n * sizeof *e), max = -INFINITY, sum = 0;
    for (int64_t j = 0; j < keys; j++) {
        double dot = 0;
        for (int64_t c = 0; c < d; c++)
            dot += (double)p->q[((first + i) * s->H + h) * d + c] *
                   (double)p->k[((first + j) * s->K + g) * d + c];
        e[j] = dot * (double)s->scale;
        if (p->bias[b] != NULL && i > 0 && j > 0 && i < n - 1 && j < n - 1)
            e[j] += (double)p->bias[b][(h * (n - 2) + i - 1) * (n - 2) + j - 1];
        max = fmax(max, e[j]);
    }
    for (int64_t j = 0; j < keys; j++)
        sum += e[j] = exp(e[j] - max);
    for (int64_t c = 0; c < d; c++) {
        out[c] = 0;
        for (int64_t j = 0; j < keys; j++)
            out[c] += e[j] / sum * (double)p->v[((first + j) * s->K + g) * d + c];
    }
    free(e);
    return max + log(sum);
}

/* A logit is a sum of d products, of size up to 16 here (normal q, k and bias of size 2), so it is
 * off by 16·√d·ε or so; as it sits in an exponent, that is the relative error of the result. A few
 * more ε come from the exponential and the sum over keys. */
static void compare_with_twin(const char *name, const problem *p) {
    const int64_t H = p->shape.H, d = p->shape.d;
    const double bound = 16 * (4 + sqrt((double)d)) * (double)REAL_EPSILON;
    double *want = malloc((size_t)d * sizeof *want), worst = 0, worst_lse = 0;
    for (int b = 0; b < SEQUENCES; b++)
        for (int64_t i = 0; i < offsets[b + 1] - offsets[b]; i++)
            for (int64_t h = 0; h < H; h++) {
                const int64_t row = (offsets[b] + i) * H + h;
                const double lse = twin_row(p, b, i, h, want);
                worst = larger(worst, largest_error(p->out + row * d, want, d));
                worst_lse = larger(worst_lse, largest_error(p->lse + row, &lse, 1));
            }
    printf("%s: error %.1e, of lse %.1e, bound %.1e\n", name, worst, worst_lse, bound);
    EXPECT(worst <= bound, "%s: %g", name, worst);
    EXPECT(worst_lse <= bound, "%s: %g", name, worst_lse);
    free(want);
}

/* One call per sequence gives the same bits as the packed call. */
static void compare_with_single(const char *name, const problem *p) {
    const attention_shape *s = &p->shape;
    real *out = random_array(6, p->T * s->H * s->d, 1), *lse = random_array(7, p->T * s->H, 1);
    for (int b = 0; b < SEQUENCES; b++) {
        const int64_t first = offsets[b], alone[2] = {0, offsets[b + 1] - first};
        attention_shape one = *s;
        one.B = 1;
        one.offset = alone;
        attention_forward(&one, p->q + first * s->H * s->d, p->k + first * s->K * s->d,
                          p->v + first * s->K * s->d,
                          p->bias[b] == NULL ? NULL : (const real *const *)&p->bias[b],
                          out + first * s->H * s->d, lse + first * s->H);
    }
    EXPECT(same_bits(out, p->out, p->T * s->H * s->d), "%s: packing changed bits", name);
    EXPECT(same_bits(lse, p->lse, p->T * s->H), "%s: packing changed lse", name);
    free(out);
    free(lse);
}

static void compare_threads(const char *name, const problem *p) {
    const int64_t n = p->T * p->shape.H;
    real *out = random_array(6, n * p->shape.d, 1), *lse = random_array(7, n, 1);
    for (int threads = 2; threads <= 3; threads++) {
        omp_set_num_threads(threads);
        forward(p, out, lse);
        EXPECT(same_bits(out, p->out, n * p->shape.d) && same_bits(lse, p->lse, n),
               "%s: %d threads give other bits", name, threads);
    }
    omp_set_num_threads(1);
    free(out);
    free(lse);
}

/* Decoding the last n positions of the longest sequence gives the rows of the causal forward. */
static void compare_decode(const char *name, const problem *p) {
    const attention_shape *s = &p->shape;
    const int64_t first = offsets[SEQUENCES - 1], length = offsets[SEQUENCES] - first;
    const int64_t counts[] = {0, 1, 2, 49, length};
    real *out = random_array(6, length * s->H * s->d, 1);
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        const int64_t n = counts[i], from = (first + length - n) * s->H * s->d;
        attention_decode(s, p->q + from, n, p->k + first * s->K * s->d, p->v + first * s->K * s->d,
                         length, out);
        EXPECT(same_bits(out, p->out + from, n * s->H * s->d), "%s: decoding %lld of %lld", name,
               (long long)n, (long long)length);
    }
    free(out);
}

static void run(const char *name, int64_t H, int64_t K, int64_t d, bool causal, bool bias) {
    problem p = problem_create(H, K, d, causal, bias);
    omp_set_num_threads(1);
    forward(&p, p.out, p.lse);
    compare_with_twin(name, &p);
    compare_with_single(name, &p);
    compare_threads(name, &p);
    if (causal && !bias)
        compare_decode(name, &p);
    problem_destroy(&p);
}

static void run_empty(void) {
    const int64_t nothing[1] = {0};
    const attention_shape shape = {.B = 0, .offset = nothing, .H = 2, .K = 1, .d = 16, .scale = 1};
    attention_forward(&shape, NULL, NULL, NULL, NULL, NULL, NULL);
    attention_backward(&shape, &(attention_saved){.bias = NULL}, NULL, (attention_gradients){0});
}

/* Logits far beyond what e^x can hold. */
static void run_large_logits(void) {
    const int64_t two[2] = {0, 2};
    const attention_shape shape = {.B = 1, .offset = two, .H = 1, .K = 1, .d = 1, .scale = 1};
    const real q[2] = {1, -1}, k[2] = {1000, -1000}, v[2] = {3, 5};
    real out[2], lse[2];
    attention_forward(&shape, q, k, v, NULL, out, lse);
    EXPECT(out[0] == 3 && out[1] == 5, "%g %g", (double)out[0], (double)out[1]);
    EXPECT(lse[0] == 1000 && lse[1] == 1000, "%g %g", (double)lse[0], (double)lse[1]);
}

/* A NaN in one sequence's values shows in all of that sequence and nowhere else. */
static void run_nan(void) {
    enum { H = 2, WIDTH = 24, SICK = 3 };
    problem p = problem_create(H, H, WIDTH, false, true);
    const int64_t row = H * WIDTH, first = offsets[SICK] * row, end = offsets[SICK + 1] * row;
    real *out = copy_array(p.out, p.T * row);
    forward(&p, p.out, p.lse);
    for (int64_t i = 0; i < row; i++)
        p.v[first + 7 * row + i] = (real)NAN;
    forward(&p, out, p.lse);
    EXPECT(same_bits(out, p.out, first), "before the sequence");
    EXPECT(same_bits(out + end, p.out + end, p.T * row - end), "after the sequence");
    for (int64_t i = first; i < end; i++)
        EXPECT(isnan(out[i]), "element %lld", (long long)i);
    free(out);
    problem_destroy(&p);
}

int main(void) {
    run("plain, d=16", 2, 2, 16, false, false);
    run("bias, d=24", 2, 2, 24, false, true);
    run("causal, grouped, d=64", 6, 2, 64, true, false);
    run("causal, one key head, d=128", 3, 1, 128, true, false);
    run("causal, bias, grouped, d=10", 4, 2, 10, true, true);
    run("one wide, d=1", 1, 1, 1, false, true);
    run_empty();
    run_large_logits();
    run_nan();
    return test_end();
}
