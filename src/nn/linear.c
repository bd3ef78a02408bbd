#include "src/nn/linear.h"

#include "src/tensor/activation.h"

#include <stdio.h>

linear linear_declare(params *p, const char *prefix, int64_t N, int64_t K, bool bias, double scale,
                      param_group group) {
    char name[PARAM_NAME];
    linear layer = {.bias = -1};
    snprintf(name, sizeof name, "%s.weight", prefix);
    layer.weight = params_declare(p, name, N, K, group);
    params_set_init(p, INIT_NORMAL, scale, 0);
    if (bias) {
        snprintf(name, sizeof name, "%s.bias", prefix);
        layer.bias = params_declare_vector(p, name, N, group);
    }
    return layer;
}

void linear_forward(const nn_context *nn, const params *p, const linear *layer, const operand *x,
                    real *y) {
    const operand w = param_operand(p, layer->weight);
    gemm_forward(nn->gemm, x, &w, 0, y);
    if (layer->bias >= 0)
        bias_add(param_value(p, layer->bias), x->rows, w.rows, y);
    nn_progress(nn);
}

void linear_backward(const nn_context *nn, const params *p, const linear *layer, const operand *x,
                     const real *d_y, real beta, real *d_x) {
    const operand w = param_operand(p, layer->weight);
    real *d_w = param_gradient(p, layer->weight);
    const size_t mark = arena_mark(nn->scratch);
    const operand d_y_rounded = gemm_operand(nn->gemm, nn->scratch, d_y, x->rows, w.rows);
    if (d_x != NULL) /* y = x·wᵀ */
        gemm_backward_data(nn->gemm, &d_y_rounded, &w, beta, d_x);
    nn_progress(nn);
    if (d_w != NULL)
        gemm_backward_weight(nn->gemm, &d_y_rounded, x, d_w);
    if (d_w != NULL && layer->bias >= 0) /* y += b */
        bias_backward(d_y, x->rows, w.rows, param_gradient(p, layer->bias));
    nn_progress(nn);
    arena_reset(nn->scratch, mark);
}
