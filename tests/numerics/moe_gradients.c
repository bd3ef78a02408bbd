// TEST timeout=60 mode=double
/* Every gradient of a layer of experts (input, router, each expert's tensors) against central
 * differences, with the losses beside the answer's. The tokens lean clearly towards their experts,
 * so that the small steps of the differences move none to another. */
#include "tests/numerics/moe_bench.h"

enum { D = 12, F = 10, T = 11, E = 4 };

typedef struct problem {
    moe_bench b;
    real x[T * D], y[T * D], d_y[T * D], d_x[T * D];
    int64_t chosen[E * MOE_COUNTS]; /* at the start */
} problem;

static const double FRACTION[E] = {0.4, 0.3, 0.2, 0.1};

/* Σ d_y·y + balance_scale·Σ f_e·Σ p_te + z_scale·Σ lse², from what the layer itself counts. */
static double run(problem *at, bool backward) {
    moe_bench *b = &at->b;
    memset(b->sum, 0, sizeof b->sum);
    memset(b->count, 0, sizeof b->count);
    bench_run(b, at->x, NULL, at->y, backward ? at->d_y : NULL, at->d_x);
    double loss = gradcheck_dot(at->d_y, at->y, T * D);
    for (int e = 0; e < E; e++)
        loss += b->run.balance_scale * FRACTION[e] * b->sum[e];
    return loss + b->run.z_scale * b->sum[E + MOE_SUM_Z];
}

static double loss(void *context) {
    problem *at = context;
    const double value = run(at, false);
    EXPECT(memcmp(at->b.count, at->chosen, sizeof at->chosen) == 0, "A token changed its expert.");
    return value;
}

/* x[t] = noise + W_e + W_e'/2: logits far apart. */
static void fill_tokens(problem *at) {
    const real *router = param_value(&at->b.p, at->b.layer.router);
    gradcheck_fill(at->x, T * D, "x", 0, 0.2);
    for (int t = 0; t < T; t++)
        for (int j = 0; j < D; j++)
            at->x[t * D + j] += router[t % E * D + j] + router[(t / 2 + 1) % E * D + j] / 2;
}

static void check(const char *name, moe_config c, moe_run run_with) {
    static problem at;
    memset(&at, 0, sizeof at);
    c.E = c.local_experts = E;
    at.b = (moe_bench){.D = D, .F = F, .T = T, .c = c, .run = run_with};
    printf("%s\n", name);
    bench_create(&at.b, T * c.k);
    fill_tokens(&at);
    gradcheck_fill(at.d_y, T * D, "d_y", 0, 1);
    run(&at, true);
    memcpy(at.chosen, at.b.count, sizeof at.chosen);
    int64_t dropped = 0;
    for (int e = 0; e < E; e++)
        dropped += at.chosen[e * MOE_COUNTS + MOE_DROPPED];
    EXPECT((dropped > 0) == (run_with.capacity > 0), "%lld dropped", (long long)dropped);
    params_use_gradient(&at.b.experts, at.b.d_experts);
    gradcheck_array("x", loss, &at, at.x, at.d_x, T * D);
    gradcheck_params(&at.b.p, loss, &at);
    gradcheck_params(&at.b.experts, loss, &at);
    bench_destroy(&at.b);
}

int main(void) {
    const moe_run plain = {.exact = true},
                  losses = {.balance_scale = 0.9, .fraction = FRACTION, .z_scale = 0.07},
                  small = {.exact = true, .capacity = 0.7};
    check("one", (moe_config){.k = 1, .slices = 1}, plain);
    check("one, losses", (moe_config){.k = 1, .slices = 2}, losses);
    check("two", (moe_config){.k = 2, .slices = 2}, plain);
    check("two, renormalised, losses", (moe_config){.k = 2, .slices = 1, .renormalize = true},
          losses);
    check("three, dropped", (moe_config){.k = 3, .slices = 1}, small);
    check("two, renormalised, dropped", (moe_config){.k = 2, .slices = 1, .renormalize = true},
          small);
    return test_end();
}
