// TEST timeout=60 mode=double,release,asan
/* Attention's backward pass: central differences in the double build; in all builds, that packing
 * and the number of threads change no bit, and that d_bias is added to. */
#include "src/tensor/attention.h"
#include "tests/numerics/kernel.h"

enum { SEQUENCES = 6 };
static const int64_t offsets[SEQUENCES + 1] = {0, 1, 3, 3, 110, 112, 170};

enum { Q, K_, V, BIAS, INPUTS };

typedef struct problem {
    attention_shape shape;
    int64_t T;
    int64_t size[INPUTS];
    real *input[INPUTS]; /* BIAS: those of all sequences, end to end */
    real *weight;        /* the scalar is Σ weight·out */
    real *gradient[INPUTS];
    int varied; /* which input the scalar function varies */
} problem;

/* The bias of sequence b inside `all`; sequence 3 has none. */
static real *bias_of(const problem *p, real *all, int b) {
    int64_t start = 0;
    for (int i = 0; i < b; i++) {
        const int64_t inner = offsets[i + 1] - offsets[i] - 2;
        start += inner > 0 && i != 3 ? p->shape.H * inner * inner : 0;
    }
    return b != 3 && offsets[b + 1] - offsets[b] > 2 ? all + start : NULL;
}

static int64_t bias_size(int64_t H) {
    int64_t size = 0;
    for (int b = 0; b < SEQUENCES; b++) {
        const int64_t inner = offsets[b + 1] - offsets[b] - 2;
        size += inner > 0 && b != 3 ? H * inner * inner : 0;
    }
    return size;
}

static problem problem_create(int64_t H, int64_t K, int64_t d, bool causal) {
    problem p = {.shape = {.B = SEQUENCES,
                           .offset = offsets,
                           .H = H,
                           .K = K,
                           .d = d,
                           .scale = (real)(1 / sqrt((double)d)),
                           .causal = causal},
                 .T = offsets[SEQUENCES]};
    p.size[Q] = p.T * H * d;
    p.size[K_] = p.size[V] = p.T * K * d;
    p.size[BIAS] = bias_size(H);
    for (int i = 0; i < INPUTS; i++) {
        p.input[i] = random_array((uint64_t)i, p.size[i], 1);
        p.gradient[i] = random_array(20, p.size[i], 1);
    }
    memset(p.gradient[BIAS], 0, (size_t)p.size[BIAS] * sizeof(real));
    p.weight = random_array(30, p.size[Q], 1);
    return p;
}

static void problem_destroy(problem *p) {
    for (int i = 0; i < INPUTS; i++) {
        free(p->input[i]);
        free(p->gradient[i]);
    }
    free(p->weight);
}

static void forward(const problem *p, real *const *input, real *out, real *lse) {
    const real *bias[SEQUENCES];
    for (int b = 0; b < SEQUENCES; b++)
        bias[b] = bias_of(p, input[BIAS], b);
    attention_forward(&p->shape, input[Q], input[K_], input[V], bias, out, lse);
}

static void backward(const problem *p, real *const *gradient) {
    const real *bias[SEQUENCES];
    real *d_bias[SEQUENCES];
    real *out = copy_array(p->weight, p->size[Q]), *lse = copy_array(p->weight, p->size[Q]);
    for (int b = 0; b < SEQUENCES; b++) {
        bias[b] = bias_of(p, p->input[BIAS], b);
        d_bias[b] = bias_of(p, gradient[BIAS], b);
    }
    forward(p, p->input, out, lse);
    const attention_saved saved = {p->input[Q], p->input[K_], p->input[V], out, lse, bias};
    attention_backward(
        &p->shape, &saved, p->weight,
        (attention_gradients){gradient[Q], gradient[K_], gradient[V], (real *const *)d_bias});
    free(out);
    free(lse);
}

static double scalar(const void *context, const real *x) {
    const problem *p = context;
    real *out = copy_array(p->weight, p->size[Q]), *lse = copy_array(p->weight, p->size[Q]);
    real *varied = copy_array(x, p->size[p->varied]), *input[INPUTS];
    memcpy(input, p->input, sizeof input);
    input[p->varied] = varied;
    forward(p, input, out, lse);
    double sum = 0;
    for (int64_t i = 0; i < p->size[Q]; i++)
        sum += (double)out[i] * (double)p->weight[i];
    free(out);
    free(lse);
    free(varied);
    return sum;
}

static void compare_threads(const problem *p) {
    for (int threads = 2; threads <= 3; threads++) {
        real *again[INPUTS];
        for (int i = 0; i < INPUTS; i++)
            again[i] = random_array(40, p->size[i], 1);
        memset(again[BIAS], 0, (size_t)p->size[BIAS] * sizeof(real));
        omp_set_num_threads(threads);
        backward(p, again);
        omp_set_num_threads(1);
        for (int i = 0; i < INPUTS; i++) {
            EXPECT(same_bits(again[i], p->gradient[i], p->size[i]), "%d threads, input %d", threads,
                   i);
            free(again[i]);
        }
    }
}

/* A second call overwrites d_q, d_k and d_v and adds to d_bias. */
static void call_again(const problem *p) {
    real *again[INPUTS];
    for (int i = 0; i < INPUTS; i++)
        again[i] = copy_array(p->gradient[i], p->size[i]);
    backward(p, again);
    for (int i = 0; i < BIAS; i++)
        EXPECT(same_bits(again[i], p->gradient[i], p->size[i]), "input %d was added to", i);
    for (int64_t i = 0; i < p->size[BIAS]; i++)
        EXPECT(again[BIAS][i] == 2 * p->gradient[BIAS][i], "d_bias %lld", (long long)i);
    for (int i = 0; i < INPUTS; i++)
        free(again[i]);
}

/* Sequence 3 alone gets the bits it gets in the pack. */
static void run_alone(const problem *p) {
    const attention_shape *s = &p->shape;
    const int64_t first = offsets[3], n = offsets[4] - first, alone[2] = {0, n};
    attention_shape one = *s;
    one.B = 1;
    one.offset = alone;
    const int64_t q = first * s->H * s->d, k = first * s->K * s->d;
    real *out = copy_array(p->weight, n * s->H * s->d), *lse = copy_array(p->weight, n * s->H);
    real *d_q = copy_array(out, n * s->H * s->d), *d_k = copy_array(out, n * s->K * s->d);
    real *d_v = copy_array(out, n * s->K * s->d);
    attention_forward(&one, p->input[Q] + q, p->input[K_] + k, p->input[V] + k, NULL, out, lse);
    const attention_saved saved = {
        p->input[Q] + q, p->input[K_] + k, p->input[V] + k, out, lse, NULL};
    attention_backward(&one, &saved, p->weight + q, (attention_gradients){d_q, d_k, d_v, NULL});
    EXPECT(same_bits(d_q, p->gradient[Q] + q, n * s->H * s->d), "d_q alone");
    EXPECT(same_bits(d_k, p->gradient[K_] + k, n * s->K * s->d), "d_k alone");
    EXPECT(same_bits(d_v, p->gradient[V] + k, n * s->K * s->d), "d_v alone");
    free(out);
    free(lse);
    free(d_q);
    free(d_k);
    free(d_v);
}

static void run(int64_t H, int64_t K, int64_t d, bool causal) {
    static const char *const names[INPUTS] = {"attention q", "attention k", "attention v",
                                              "attention bias"};
    problem p = problem_create(H, K, d, causal);
    omp_set_num_threads(1);
    backward(&p, p.gradient);
    if (sizeof(real) == sizeof(double))
        for (p.varied = 0; p.varied < INPUTS; p.varied++)
            check_gradient(names[p.varied], scalar, &p, p.input[p.varied], p.gradient[p.varied],
                           p.size[p.varied]);
    compare_threads(&p);
    call_again(&p);
    run_alone(&p);
    problem_destroy(&p);
}

int main(void) {
    run(2, 2, 16, false);
    run(4, 2, 24, true);
    run(3, 1, 10, false);
    return test_end();
}
