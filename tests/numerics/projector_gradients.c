// TEST timeout=30 mode=double
/* The projector's output by hand, its gradients against central differences, and no tokens. */
#include "tests/numerics/chunk_bench.h"

enum { T = 9, D = 6, D_LLM = 10 };

typedef struct problem {
    machine m;
    params p;
    projector layer;
    real x[T * D], d_x[T * D], coefficient[T * D_LLM], y[T * D_LLM];
} problem;

static double loss(void *context) {
    problem *at = context;
    projector_forward(&at->m.nn, &at->p, &at->layer, at->x, T, at->y, NULL);
    EXPECT(arena_mark(&at->m.scratch) == 0 && arena_mark(&at->m.activations) == 0);
    return gradcheck_dot(at->y, at->coefficient, T * D_LLM);
}

/* One row of w·x + b, written out. */
static double row_of(const problem *at, const linear *layer, const double *x, int64_t row) {
    const int64_t n = at->p.table[layer->weight].shape[1];
    double sum = param_value(&at->p, layer->bias)[row];
    for (int64_t i = 0; i < n; i++)
        sum += param_value(&at->p, layer->weight)[row * n + i] * x[i];
    return sum;
}

static void check_output(problem *at) {
    loss(at);
    for (int64_t t = 0; t < T; t++) {
        double x[D], act[D_LLM];
        for (int64_t i = 0; i < D; i++)
            x[i] = at->x[t * D + i];
        for (int64_t i = 0; i < D_LLM; i++) {
            const double h = row_of(at, &at->layer.layer1, x, i);
            act[i] = 0.5 * h * erfc(-h / sqrt(2.0));
        }
        for (int64_t i = 0; i < D_LLM; i++)
            EXPECT_CLOSE(at->y[t * D_LLM + i], row_of(at, &at->layer.layer2, act, i), 1e-12);
    }
}

static void check_gradients(problem *at) {
    projector_saved saved;
    projector_forward(&at->m.nn, &at->p, &at->layer, at->x, T, at->y, &saved);
    projector_backward(&at->m.nn, &at->p, &at->layer, &saved, at->coefficient, T, at->d_x);
    arena_reset(&at->m.activations, 0);
    gradcheck_params(&at->p, loss, at);
    gradcheck_array("x", loss, at, at->x, at->d_x, T * D);
    projector_forward(&at->m.nn, &at->p, &at->layer, at->x, 0, at->y, &saved);
    projector_backward(&at->m.nn, &at->p, &at->layer, &saved, at->coefficient, 0, NULL);
}

int main(void) {
    static problem at;
    machine_create(&at.m, false, projector_activation_bytes(D, D_LLM, T, false),
                   projector_scratch_bytes(D, D_LLM, T, false, false));
    params_init(&at.p);
    projector_declare(&at.layer, &at.p, D, D_LLM);
    real *gradient = model_ready(&at.p, false);
    gradcheck_fill(at.x, T * D, "x", 0, 1);
    gradcheck_fill(at.coefficient, T * D_LLM, "coefficient", 0, 1);
    check_output(&at);
    check_gradients(&at);
    free(gradient);
    params_destroy(&at.p);
    machine_destroy(&at.m);
    return test_end();
}
