// TEST timeout=60 mode=double
/* Every gradient of the encoder against central differences, and the encoder frozen. */
#include "tests/numerics/encoder_bench.h"

enum { TD = BENCH_TOKENS * 16, BIAS1 = 2 * 5 * 5, BIAS2 = 2 * 12 * 12 };

typedef struct problem {
    encoder_bench bench;
    real hidden[TD], bias[BIAS1 + BIAS2], coefficient[TD];
} problem;

/* The first protein has no structure. */
static const real *const *bias_of(const problem *at) {
    static const real *bias[BENCH_PROTEINS];
    bias[1] = at->bias;
    bias[2] = at->bias + BIAS1;
    return bias;
}

static double loss(void *context) {
    problem *at = context;
    const protein_batch batch = bench_batch();
    const size_t mark = arena_mark(&at->bench.activations);
    const esm_structure structure = {at->hidden, bias_of(at)};
    const real *x = esm_forward(&at->bench.nn, &at->bench.p, &at->bench.encoder, &batch,
                                BENCH_CONFIG.layers, structure, NULL);
    const double sum = gradcheck_dot(x, at->coefficient, TD);
    arena_reset(&at->bench.activations, mark);
    return sum;
}

static void run_backward(problem *at, real *d_hidden, real *d_bias) {
    const protein_batch batch = bench_batch();
    const size_t mark = arena_mark(&at->bench.activations);
    const esm_structure structure = {at->hidden, bias_of(at)};
    real *const d_biases[BENCH_PROTEINS] = {NULL, d_bias, d_bias + BIAS1};
    real d_x[TD];
    esm_saved *saved = NULL;
    esm_forward(&at->bench.nn, &at->bench.p, &at->bench.encoder, &batch, BENCH_CONFIG.layers,
                structure, &saved);
    memcpy(d_x, at->coefficient, sizeof d_x);
    esm_backward(&at->bench.nn, &at->bench.p, &at->bench.encoder, &batch, saved, d_x, d_hidden,
                 d_biases);
    arena_reset(&at->bench.activations, mark);
    EXPECT(arena_mark(&at->bench.scratch) == 0, "Scratch was not given back.");
}

/* With the encoder frozen, what lies under it (the structure module) gets the same gradient. */
static void expect_frozen(problem *at, const real *d_hidden, const real *d_bias) {
    real other_hidden[TD], other_bias[BIAS1 + BIAS2] = {0};
    at->bench.p.frozen[GROUP_ENCODER] = true;
    memset(at->bench.gradient, 0, (size_t)at->bench.p.elements * sizeof(real));
    run_backward(at, other_hidden, other_bias);
    EXPECT(memcmp(d_hidden, other_hidden, sizeof other_hidden) == 0);
    EXPECT(memcmp(d_bias, other_bias, sizeof other_bias) == 0);
    for (int64_t i = 0; i < at->bench.p.elements; i++)
        EXPECT(at->bench.gradient[i] == 0, "A frozen parameter has a gradient.");
}

int main(void) {
    static problem at;
    static real d_hidden[TD], d_bias[BIAS1 + BIAS2];
    bench_create(&at.bench, false, BENCH_TOKENS);
    gradcheck_fill(at.hidden, TD, "hidden", 0, 0.3);
    gradcheck_fill(at.bias, BIAS1 + BIAS2, "bias", 0, 1);
    gradcheck_fill(at.coefficient, TD, "coefficient", 0, 1);
    run_backward(&at, d_hidden, d_bias);
    gradcheck_params(&at.bench.p, loss, &at);
    gradcheck_array("hidden bias", loss, &at, at.hidden, d_hidden, TD);
    gradcheck_array("attention bias", loss, &at, at.bias, d_bias, BIAS1 + BIAS2);
    expect_frozen(&at, d_hidden, d_bias);
    bench_destroy(&at.bench);
    return test_end();
}
