#include "src/nn/ffn.h"

#include "src/tensor/activation.h"

static int64_t inner_width(const params *p, const ffn *layer) {
    return p->table[layer->gate.weight].shape[0];
}

void ffn_reserve(const nn_context *nn, const params *p, const ffn *layer, int64_t T, arena *memory,
                 ffn_saved *saved) {
    const int64_t F = inner_width(p, layer);
    saved->gate = ARENA_ARRAY(memory, real, T * F);
    saved->up = ARENA_ARRAY(memory, real, T * F);
    saved->activated = row_store_take(memory, gemm_is_bf16(nn->gemm), T, F);
}

void ffn_run(const nn_context *nn, const params *p, const ffn *layer, const operand *x,
             const ffn_saved *saved, real *y) {
    const int64_t T = x->rows, F = inner_width(p, layer);
    linear_forward(nn, p, &layer->gate, x, saved->gate);
    linear_forward(nn, p, &layer->up, x, saved->up);
    const size_t mark = arena_mark(nn->scratch);
    real *product = row_store_open(&saved->activated, 0, T, nn->scratch);
    swiglu_forward(saved->gate, saved->up, T * F, product);
    row_store_close(&saved->activated, 0, T, product);
    arena_reset(nn->scratch, mark);
    const operand activated = row_store_view(&saved->activated, 0, T);
    linear_forward(nn, p, &layer->down, &activated, y);
}

void ffn_forward(const nn_context *nn, const params *p, const ffn *layer, const operand *x,
                 arena *memory, ffn_saved *saved, real *y) {
    ffn_reserve(nn, p, layer, x->rows, memory, saved);
    ffn_run(nn, p, layer, x, saved, y);
}

void ffn_backward(const nn_context *nn, const params *p, const ffn *layer, const operand *x,
                  const ffn_saved *saved, const real *d_y, real *d_x) {
    const int64_t T = x->rows, F = inner_width(p, layer);
    const operand activated = row_store_view(&saved->activated, 0, T);
    const size_t mark = arena_mark(nn->scratch);
    real *d_activated = ARENA_ARRAY(nn->scratch, real, T * F);
    real *d_gate = ARENA_ARRAY(nn->scratch, real, T * F);
    real *d_up = ARENA_ARRAY(nn->scratch, real, T * F);
    linear_backward(nn, p, &layer->down, &activated, d_y, 0, d_activated);
    swiglu_backward(d_activated, saved->gate, saved->up, T * F, d_gate, d_up);
    linear_backward(nn, p, &layer->gate, x, d_gate, 0, d_x);
    linear_backward(nn, p, &layer->up, x, d_up, 1, d_x);
    arena_reset(nn->scratch, mark);
}

/* ---- memory ---- */

enum { ARENA_ROUNDING = 64, MOST_ARRAYS = 4 };

size_t ffn_kept_bytes(int64_t F, int64_t T, bool bf16) {
    return arena_bytes(T * F, 2 * sizeof(real)) + row_store_bytes(bf16, T, F) + 2 * ARENA_ROUNDING;
}

size_t ffn_scratch_bytes(int64_t D, int64_t F, int64_t T, bool bf16, bool training) {
    const size_t products = bf16 ? GEMM_SCRATCH_BYTES : 0;
    const size_t rounding = MOST_ARRAYS * ARENA_ROUNDING;
    if (!training)
        return (bf16 ? arena_bytes(T * F, sizeof(real)) : 0) + products + rounding;
    const int64_t widest = F > D ? F : D;
    const size_t d_y = bf16 ? arena_bytes(T * widest, sizeof(uint16_t)) : 0;
    return arena_bytes(T * F, 3 * sizeof(real)) + d_y + products + rounding;
}
