#include "src/nn/projector.h"

#include "src/tensor/activation.h"

void projector_declare(projector *layer, params *p, int64_t D, int64_t D_llm) {
    *layer = (projector){.D = D, .D_llm = D_llm};
    layer->layer1 =
        linear_declare(p, "multi_modal_projector.linear_1", D_llm, D, true, 0.02, GROUP_PROJECTOR);
    layer->layer2 = linear_declare(p, "multi_modal_projector.linear_2", D_llm, D_llm, true, 0.02,
                                   GROUP_PROJECTOR);
}

void projector_forward(const nn_context *nn, const params *p, const projector *layer, const real *x,
                       int64_t T, real *y, projector_saved *saved) {
    const int64_t N = layer->D_llm;
    const size_t mark = arena_mark(nn->scratch);
    arena *memory = saved != NULL ? nn->activations : nn->scratch;
    /* What products read is kept as an operand; in bf16 its unrounded source is not. */
    arena *source = gemm_is_bf16(nn->gemm) ? nn->scratch : memory;
    projector_saved s = {.x = gemm_operand(nn->gemm, memory, x, T, layer->D)};
    s.hidden = ARENA_ARRAY(memory, real, T * N);
    linear_forward(nn, p, &layer->layer1, &s.x, s.hidden);
    real *activated = ARENA_ARRAY(source, real, T * N);
    gelu_forward(s.hidden, T * N, activated);
    s.act = gemm_operand(nn->gemm, memory, activated, T, N);
    linear_forward(nn, p, &layer->layer2, &s.act, y);
    if (saved != NULL)
        *saved = s;
    arena_reset(nn->scratch, mark);
}

void projector_backward(const nn_context *nn, const params *p, const projector *layer,
                        const projector_saved *saved, const real *d_y, int64_t T, real *d_x) {
    const int64_t n = T * layer->D_llm;
    const size_t mark = arena_mark(nn->scratch);
    real *d_hidden = ARENA_ARRAY(nn->scratch, real, n);
    linear_backward(nn, p, &layer->layer2, &saved->act, d_y, 0, d_hidden);
    gelu_backward(d_hidden, saved->hidden, n, d_hidden);
    linear_backward(nn, p, &layer->layer1, &saved->x, d_hidden, 0, d_x);
    arena_reset(nn->scratch, mark);
}

size_t projector_activation_bytes(int64_t D, int64_t D_llm, int64_t T, bool bf16) {
    const size_t operands = bf16 ? arena_bytes(T, (size_t)(D + D_llm) * sizeof(uint16_t))
                                 : arena_bytes(T, (size_t)D_llm * sizeof(real));
    return operands + arena_bytes(T, (size_t)D_llm * sizeof(real)) + 3 * 64;
}

size_t projector_scratch_bytes(int64_t D, int64_t D_llm, int64_t T, bool bf16, bool training) {
    const size_t rows = arena_bytes(T, (size_t)D_llm * sizeof(real)) + 64;
    const size_t rounded = bf16 ? arena_bytes(T, (size_t)D_llm * sizeof(uint16_t)) + 64 : 0;
    /* Training: d_hidden and a rounded gradient, or the GELU before it is rounded. Inference: all
     * that training keeps is here. */
    const size_t kept = training ? rounded : projector_activation_bytes(D, D_llm, T, bf16);
    return rows + kept + (bf16 ? GEMM_SCRATCH_BYTES : 0);
}
