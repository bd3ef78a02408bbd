// TEST timeout=60 mode=double
/* Every kernel's backward function against central differences along a random direction. */
#include "src/tensor/activation.h"
#include "src/tensor/gemm.h"
#include "src/tensor/loss.h"
#include "src/tensor/norm.h"
#include "src/tensor/rotary.h"
#include "tests/numerics/kernel.h"

enum { T = 6, D = 24, HEADS = 2, WIDTH = 12, N = 10, SIZE = T * D };

/* The inputs of all kernels, and Σ weight·output as the scalar. */
typedef struct inputs {
    real *x, *y;         /* [T,D] */
    real *weight, *bias; /* [D] */
    real *matrix;        /* [N,D] */
    real *scalar;        /* [T,D], weights of the outputs */
    int32_t position[T]; /* also targets */
    gemm *engine;
} inputs;

static double total(const inputs *in, const real *output, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += (double)output[i] * (double)in->scalar[i];
    return sum;
}

static double gelu(const void *context, const real *x) {
    real out[SIZE];
    gelu_forward(x, SIZE, out);
    return total(context, out, SIZE);
}

static double swiglu_of_gate(const void *context, const real *x) {
    const inputs *in = context;
    real out[SIZE];
    swiglu_forward(x, in->y, SIZE, out);
    return total(in, out, SIZE);
}

static double swiglu_of_up(const void *context, const real *x) {
    const inputs *in = context;
    real out[SIZE];
    swiglu_forward(in->x, x, SIZE, out);
    return total(in, out, SIZE);
}

static double layernorm(const inputs *in, const real *x, const real *weight, const real *bias) {
    real out[SIZE], mean[T], rstd[T];
    layernorm_forward(x, T, D, weight, bias, (real)1e-5, out, mean, rstd);
    return total(in, out, SIZE);
}

static double layernorm_of_x(const void *context, const real *x) {
    const inputs *in = context;
    return layernorm(in, x, in->weight, in->bias);
}

static double layernorm_of_weight(const void *context, const real *weight) {
    const inputs *in = context;
    return layernorm(in, in->x, weight, in->bias);
}

static double layernorm_of_bias(const void *context, const real *bias) {
    const inputs *in = context;
    return layernorm(in, in->x, in->weight, bias);
}

static double rmsnorm_of_x(const void *context, const real *x) {
    const inputs *in = context;
    real out[SIZE], rstd[T];
    rmsnorm_forward(x, T, D, in->weight, (real)1e-5, out, rstd);
    return total(in, out, SIZE);
}

static double rmsnorm_of_weight(const void *context, const real *weight) {
    const inputs *in = context;
    real out[SIZE], rstd[T];
    rmsnorm_forward(in->x, T, D, weight, (real)1e-5, out, rstd);
    return total(in, out, SIZE);
}

static double rotary(const void *context, const real *x) {
    const inputs *in = context;
    real out[SIZE];
    memcpy(out, x, sizeof out);
    rotary_forward(out, in->position, T, HEADS, WIDTH, 100);
    return total(in, out, SIZE);
}

static double bias(const void *context, const real *x) {
    const inputs *in = context;
    real out[SIZE];
    memcpy(out, in->x, sizeof out);
    bias_add(x, T, D, out);
    return total(in, out, SIZE);
}

static double loss(const void *context, const real *x) {
    const inputs *in = context;
    real out[SIZE];
    double nll[T], sum = 0;
    memcpy(out, x, sizeof out);
    cross_entropy(out, in->position, T, D, 0, nll);
    for (int t = 0; t < T; t++)
        sum += nll[t];
    return sum;
}

static double linear(const inputs *in, const real *x, const real *matrix) {
    real out[T * N];
    const operand a = gemm_operand(in->engine, NULL, x, T, D);
    const operand w = gemm_operand(in->engine, NULL, matrix, N, D);
    gemm_forward(in->engine, &a, &w, 0, out);
    return total(in, out, (int64_t)T * N);
}

static double linear_of_x(const void *context, const real *x) {
    const inputs *in = context;
    return linear(in, x, in->matrix);
}

static double linear_of_weight(const void *context, const real *matrix) {
    const inputs *in = context;
    return linear(in, in->x, matrix);
}

static void check_activations(const inputs *in) {
    real d_x[SIZE], d_up[SIZE];
    gelu_backward(in->scalar, in->x, SIZE, d_x);
    check_gradient("gelu", gelu, in, in->x, d_x, SIZE);
    swiglu_backward(in->scalar, in->x, in->y, SIZE, d_x, d_up);
    check_gradient("swiglu gate", swiglu_of_gate, in, in->x, d_x, SIZE);
    check_gradient("swiglu up", swiglu_of_up, in, in->y, d_up, SIZE);
}

static void check_norms(const inputs *in) {
    real out[SIZE], mean[T], rstd[T];
    real d_x[SIZE] = {0}, d_weight[D] = {0}, d_bias[D] = {0};
    layernorm_forward(in->x, T, D, in->weight, in->bias, (real)1e-5, out, mean, rstd);
    layernorm_backward(in->scalar, in->x, T, D, in->weight, mean, rstd,
                       (layernorm_gradients){d_x, d_weight, d_bias});
    check_gradient("layernorm x", layernorm_of_x, in, in->x, d_x, SIZE);
    check_gradient("layernorm weight", layernorm_of_weight, in, in->weight, d_weight, D);
    check_gradient("layernorm bias", layernorm_of_bias, in, in->bias, d_bias, D);
    memset(d_x, 0, sizeof d_x);
    memset(d_weight, 0, sizeof d_weight);
    rmsnorm_forward(in->x, T, D, in->weight, (real)1e-5, out, rstd);
    rmsnorm_backward(in->scalar, in->x, T, D, in->weight, rstd, d_x, d_weight);
    check_gradient("rmsnorm x", rmsnorm_of_x, in, in->x, d_x, SIZE);
    check_gradient("rmsnorm weight", rmsnorm_of_weight, in, in->weight, d_weight, D);
}

static void check_rest(const inputs *in) {
    real d_x[SIZE], d_bias[D] = {0}, d_matrix[N * D] = {0};
    double nll[T];
    memcpy(d_x, in->scalar, sizeof d_x);
    rotary_backward(d_x, in->position, T, HEADS, WIDTH, 100);
    check_gradient("rotary", rotary, in, in->x, d_x, SIZE);
    bias_backward(in->scalar, T, D, d_bias);
    check_gradient("bias", bias, in, in->bias, d_bias, D);
    memcpy(d_x, in->x, sizeof d_x);
    cross_entropy(d_x, in->position, T, D, 1, nll);
    check_gradient("cross entropy", loss, in, in->x, d_x, SIZE);
    const operand x = gemm_operand(in->engine, NULL, in->x, T, D);
    const operand w = gemm_operand(in->engine, NULL, in->matrix, N, D);
    const operand d_y = gemm_operand(in->engine, NULL, in->scalar, T, N);
    gemm_backward_data(in->engine, &d_y, &w, 0, d_x);
    check_gradient("linear x", linear_of_x, in, in->x, d_x, SIZE);
    gemm_backward_weight(in->engine, &d_y, &x, d_matrix);
    check_gradient("linear weight", linear_of_weight, in, in->matrix, d_matrix, (int64_t)N * D);
}

int main(void) {
    error err = {STATUS_OK, ""};
    inputs in = {.x = random_array(1, SIZE, 1),
                 .y = random_array(2, SIZE, 1),
                 .weight = random_array(3, D, 1),
                 .bias = random_array(4, D, 1),
                 .matrix = random_array(5, (int64_t)N * D, 1),
                 .scalar = random_array(6, SIZE, 1)};
    for (int t = 0; t < T; t++)
        in.position[t] = 3 * t;
    EXPECT(gemm_create(&in.engine, COMPUTE_F32, NULL, &err) == STATUS_OK, "%s", err.text);
    check_activations(&in);
    check_norms(&in);
    check_rest(&in);
    gemm_destroy(in.engine);
    free(in.x);
    free(in.y);
    free(in.weight);
    free(in.bias);
    free(in.matrix);
    free(in.scalar);
    return test_end();
}
