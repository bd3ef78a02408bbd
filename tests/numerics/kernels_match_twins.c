// TEST timeout=60 mode=release,asan,double
/* Activations, norms, rotary embedding and loss against plain loops in double, with bounds from the
 * number of terms; rows of 0 and 1; backward functions add where they say so; the same bits for 1,
 * 2 and 3 threads. */
#include "src/tensor/activation.h"
#include "src/tensor/loss.h"
#include "src/tensor/norm.h"
#include "src/tensor/rotary.h"
#include "tests/numerics/kernel.h"

static const double eps = (double)REAL_EPSILON;

static double normal_below(double x) {
    return 0.5 * erfc(-x / sqrt(2));
}

static void activations(int64_t n) {
    real *x = random_array(1, n, 3), *up = random_array(2, n, 1), *d = random_array(3, n, 1);
    real *y = random_array(4, n, 1), *d_up = random_array(5, n, 1);
    gelu_forward(x, n, y);
    for (int64_t i = 0; i < n; i++) {
        const double v = (double)x[i], want = v * normal_below(v);
        EXPECT(fabs((double)y[i] - want) <= 2 * eps * (fabs(v) + fabs(want)), "gelu(%g)", v);
    }
    gelu_backward(d, x, n, y);
    for (int64_t i = 0; i < n; i++) {
        const double v = (double)x[i], w = (double)d[i];
        const double want = w * (normal_below(v) + v * exp(-v * v / 2) / sqrt(2 * M_PI));
        EXPECT(fabs((double)y[i] - want) <= 6 * eps * fabs(w), "gelu'(%g)", v);
    }
    swiglu_forward(x, up, n, y);
    for (int64_t i = 0; i < n; i++) {
        const double want = (double)x[i] / (1 + exp(-(double)x[i])) * (double)up[i];
        EXPECT(fabs((double)y[i] - want) <= 6 * eps * fabs(want), "swiglu(%g)", (double)x[i]);
    }
    swiglu_backward(d, x, up, n, y, d_up);
    for (int64_t i = 0; i < n; i++) {
        const double g = (double)x[i], s = 1 / (1 + exp(-g)), w = (double)d[i];
        const double size = fabs(w) * (1 + fabs(g)) * (1 + fabs((double)up[i]));
        EXPECT(fabs((double)d_up[i] - w * g * s) <= 6 * eps * size, "d_up at %g", g);
        EXPECT(fabs((double)y[i] - w * (double)up[i] * s * (1 + g * (1 - s))) <= 6 * eps * size,
               "d_gate at %g", g);
    }
    free(x);
    free(up);
    free(d);
    free(y);
    free(d_up);
}

static void vectors(int64_t T, int64_t D) {
    const int64_t n = T * D;
    real *x = random_array(1, n, 1), *y = random_array(2, n, 1), *was = copy_array(y, n);
    real *bias = random_array(3, D, 1), *d_bias = random_array(4, D, 1);
    real *bias_was = copy_array(d_bias, D);
    vector_add(x, n, y);
    for (int64_t i = 0; i < n; i++)
        EXPECT(y[i] == was[i] + x[i], "vector_add");
    memcpy(y, was, (size_t)n * sizeof *y);
    bias_add(bias, T, D, y);
    for (int64_t i = 0; i < n; i++)
        EXPECT(y[i] == was[i] + bias[i % D], "bias_add");
    bias_backward(x, T, D, d_bias);
    for (int64_t j = 0; j < D; j++) {
        double want = 0;
        for (int64_t t = 0; t < T; t++)
            want += (double)x[t * D + j];
        /* the same sum in double; rounded once, then added to what was there */
        EXPECT(fabs((double)d_bias[j] - (double)bias_was[j] - want) <=
                   eps * (fabs(want) + fabs((double)bias_was[j])),
               "bias_backward");
    }
    free(x);
    free(y);
    free(was);
    free(bias);
    free(d_bias);
    free(bias_was);
}

typedef struct norm_case {
    int64_t T, D;
    real *x, *d_y, *weight, *bias, *y, *mean, *rstd, *d_x, *d_weight, *d_bias;
} norm_case;

static norm_case norm_create(int64_t T, int64_t D) {
    return (norm_case){T,
                       D,
                       random_array(1, T * D, 2),
                       random_array(2, T * D, 1),
                       random_array(3, D, 1),
                       random_array(4, D, 1),
                       random_array(5, T * D, 1),
                       random_array(6, T, 1),
                       random_array(7, T, 1),
                       random_array(8, T * D, 1),
                       random_array(9, D, 1),
                       random_array(10, D, 1)};
}

static void norm_destroy(norm_case *c) {
    real *all[] = {c->x,    c->d_y,  c->weight, c->bias,     c->y,
                   c->mean, c->rstd, c->d_x,    c->d_weight, c->d_bias};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        free(all[i]);
}

/* Mean and 1/√(variance + 1e-5) of row t; RMSNorm takes the mean to be 0. */
static void row_moments(const norm_case *c, int64_t t, bool centred, double *mean, double *rstd) {
    double square = 0;
    *mean = 0;
    for (int64_t j = 0; centred && j < c->D; j++)
        *mean += (double)c->x[t * c->D + j] / (double)c->D;
    for (int64_t j = 0; j < c->D; j++)
        square += pow((double)c->x[t * c->D + j] - *mean, 2) / (double)c->D;
    *rstd = 1 / sqrt(square + 1e-5);
}

static void check_norm_forward(const norm_case *c, bool centred) {
    for (int64_t i = 0; i < c->T * c->D; i++) {
        double mean = 0, rstd = 0;
        row_moments(c, i / c->D, centred, &mean, &rstd);
        const double weight = (double)c->weight[i % c->D];
        const double bias = centred ? (double)c->bias[i % c->D] : 0;
        const double n = ((double)c->x[i] - mean) * rstd, want = n * weight + bias;
        /* the mean is rounded once, which a small deviation rstd⁻¹ magnifies */
        const double size = fabs(n * weight) + fabs(bias) + fabs(mean * rstd * weight);
        EXPECT(fabs((double)c->y[i] - want) <= 6 * eps * size, "norm %lld: %g not %g", (long long)i,
               (double)c->y[i], want);
    }
}

static void check_norm_backward(const norm_case *c, const norm_case *was, bool centred) {
    const int64_t D = c->D;
    double *d_weight = calloc((size_t)D, sizeof *d_weight), *d_bias = calloc((size_t)D, 8);
    for (int64_t t = 0; t < c->T; t++) {
        double mean = 0, rstd = 0, mean_g = 0, mean_gn = 0;
        row_moments(c, t, centred, &mean, &rstd);
        for (int64_t j = 0; j < D; j++) {
            const double d = (double)c->d_y[t * D + j];
            const double n = ((double)c->x[t * D + j] - mean) * rstd;
            d_weight[j] += d * n;
            d_bias[j] += d;
            mean_g += centred ? d * (double)c->weight[j] / (double)D : 0;
            mean_gn += d * (double)c->weight[j] * n / (double)D;
        }
        for (int64_t j = 0; j < D; j++) {
            const double g = (double)c->d_y[t * D + j] * (double)c->weight[j];
            const double n = ((double)c->x[t * D + j] - mean) * rstd;
            const double d_x = rstd * (g - mean_g - n * mean_gn);
            const double before = (double)was->d_x[t * D + j];
            const double size = fabs(before) + rstd * (fabs(g) + fabs(mean_g) + fabs(n * mean_gn)) *
                                                   (1 + fabs(mean) * rstd);
            EXPECT(fabs((double)c->d_x[t * D + j] - before - d_x) <= 8 * eps * size, "d_x");
        }
    }
    for (int64_t j = 0; j < D; j++) {
        const double w = (double)was->d_weight[j] + d_weight[j];
        const double b = (double)was->d_bias[j] + d_bias[j];
        /* T terms whose sizes are 2/π on average, each with a few roundings */
        const double bound = 8 * eps * (double)(c->T + 2);
        EXPECT(fabs((double)c->d_weight[j] - w) <= bound, "d_weight");
        EXPECT(!centred || fabs((double)c->d_bias[j] - b) <= bound, "d_bias");
    }
    free(d_weight);
    free(d_bias);
}

static void norms(int64_t T, int64_t D) {
    for (int centred = 0; centred <= 1; centred++) {
        norm_case c = norm_create(T, D), was = norm_create(T, D);
        if (centred)
            layernorm_forward(c.x, T, D, c.weight, c.bias, (real)1e-5, c.y, c.mean, c.rstd);
        else
            rmsnorm_forward(c.x, T, D, c.weight, (real)1e-5, c.y, c.rstd);
        check_norm_forward(&c, centred);
        if (centred)
            layernorm_backward(c.d_y, c.x, T, D, c.weight, c.mean, c.rstd,
                               (layernorm_gradients){c.d_x, c.d_weight, c.d_bias});
        else
            rmsnorm_backward(c.d_y, c.x, T, D, c.weight, c.rstd, c.d_x, c.d_weight);
        check_norm_backward(&c, &was, centred);
        norm_destroy(&c);
        norm_destroy(&was);
    }
}

static void rotary(int64_t T, int64_t H, int64_t d) {
    const int64_t n = T * H * d;
    real *x = random_array(1, n, 1), *was = copy_array(x, n);
    int32_t *position = calloc((size_t)T + 1, sizeof *position);
    for (int64_t t = 0; t < T; t++)
        position[t] = (int32_t)(t * 97 % 4099);
    rotary_forward(x, position, T, H, d, 10000);
    for (int64_t i = 0; i < n; i++) {
        const int64_t j = i % d, pair = j % (d / 2);
        const double angle = position[i / (H * d)] * pow(10000, -2.0 * (double)pair / (double)d);
        const double a = (double)was[i - j + pair], b = (double)was[i - j + pair + d / 2];
        const double want =
            j < d / 2 ? a * cos(angle) - b * sin(angle) : b * cos(angle) + a * sin(angle);
        EXPECT(fabs((double)x[i] - want) <= 4 * eps * (fabs(a) + fabs(b)), "rotary");
    }
    rotary_backward(x, position, T, H, d, 10000);
    for (int64_t i = 0; i < n; i++)
        EXPECT(fabs((double)(x[i] - was[i])) <= 20 * eps, "rotary back and forth");
    free(x);
    free(was);
    free(position);
}

static void loss(int64_t T, int64_t V, double spread) {
    const int64_t n = T * V;
    real *logits = random_array(1, n, spread), *was = copy_array(logits, n);
    int32_t *target = calloc((size_t)T + 1, sizeof *target);
    double *nll = calloc((size_t)T + 1, sizeof *nll);
    for (int64_t t = 0; t < T; t++)
        target[t] = (int32_t)(t * 31 % V);
    cross_entropy(logits, target, T, V, 0, nll);
    EXPECT(same_bits(logits, was, n), "scale 0 leaves the logits alone");
    cross_entropy(logits, target, T, V, (real)0.5, nll);
    for (int64_t t = 0; t < T; t++) {
        const real *row = was + t * V;
        double max = -INFINITY, sum = 0;
        for (int64_t j = 0; j < V; j++)
            max = fmax(max, (double)row[j]);
        for (int64_t j = 0; j < V; j++)
            sum += exp((double)row[j] - max);
        const double want = max + log(sum) - (double)row[target[t]];
        /* each difference row − max is rounded, and is the exponent of a term */
        const double bound = (4 + 12 * spread) * eps;
        EXPECT(fabs(nll[t] - want) <= bound * (1 + fabs(want)), "nll %g not %g", nll[t], want);
        for (int64_t j = 0; j < V; j++) {
            const double p = exp((double)row[j] - max) / sum;
            EXPECT(fabs((double)logits[t * V + j] - 0.5 * (p - (j == target[t]))) <= bound,
                   "d_logits");
        }
    }
    free(logits);
    free(was);
    free(target);
    free(nll);
}

/* Everything above once more, hashed, so that thread counts can be compared. */
static uint64_t hash_of(const real *x, int64_t n, uint64_t hash) {
    for (int64_t i = 0; i < n; i++) {
        uint64_t bits = 0;
        memcpy(&bits, x + i, sizeof *x);
        hash = (hash ^ bits) * 0x100000001B3U;
    }
    return hash;
}

static uint64_t all_bits(void) {
    enum { T = 301, D = 203, HEADS = 29, V = D };
    norm_case c = norm_create(T, D);
    int32_t position[T];
    double nll[T];
    uint64_t hash = 1;
    for (int t = 0; t < T; t++)
        position[t] = t % V;
    layernorm_forward(c.x, T, D, c.weight, c.bias, (real)1e-5, c.y, c.mean, c.rstd);
    layernorm_backward(c.d_y, c.x, T, D, c.weight, c.mean, c.rstd,
                       (layernorm_gradients){c.d_x, c.d_weight, c.d_bias});
    hash = hash_of(c.y, T * D, hash_of(c.d_x, T * D, hash));
    rmsnorm_forward(c.x, T, D, c.weight, (real)1e-5, c.y, c.rstd);
    rmsnorm_backward(c.d_y, c.x, T, D, c.weight, c.rstd, c.d_x, c.d_weight);
    bias_backward(c.d_y, T, D, c.d_bias);
    hash = hash_of(c.d_weight, D, hash_of(c.d_bias, D, hash));
    gelu_forward(c.x, T * D, c.y);
    hash = hash_of(c.y, T * D, hash);
    gelu_backward(c.d_y, c.x, T * D, c.y);
    hash = hash_of(c.y, T * D, hash);
    swiglu_backward(c.d_y, c.x, c.y, T * D, c.d_x, c.x);
    bias_add(c.bias, T, D, c.x);
    rotary_forward(c.x, position, T, HEADS / 2, 14, 1e4);
    cross_entropy(c.x, position, T, V, 1, nll);
    hash = hash_of(c.x, T * D, hash_of(c.d_x, T * D, hash));
    norm_destroy(&c);
    return hash;
}

static void threads(void) {
    omp_set_num_threads(1);
    const uint64_t one = all_bits();
    for (int n = 2; n <= 3; n++) {
        omp_set_num_threads(n);
        EXPECT(all_bits() == one, "%d threads give other bits", n);
    }
    omp_set_num_threads(1);
}

int main(void) {
    activations(0);
    activations(1);
    activations(20011);
    vectors(0, 5);
    vectors(1, 1);
    vectors(300, 77);
    norms(0, 8);
    norms(1, 1);
    norms(7, 320);
    norms(130, 67);
    rotary(0, 2, 4);
    rotary(50, 3, 10);
    rotary(9, 2, 200);
    loss(0, 5, 1);
    loss(3, 1, 1);
    loss(5, 1000, 1);
    loss(40, 33, 30);
    threads();
    return test_end();
}
