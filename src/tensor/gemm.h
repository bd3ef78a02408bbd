/* Matrix products: oneDNN in fp32 and bf16 (fp32 accumulation), OpenBLAS dgemm in MODE=double.
 *
 * All matrices are dense and row-major. A linear layer y = x·wᵀ has exactly three products, and
 * these are the three verbs here. Inputs are `operand`s: in fp32 an operand is a borrowed view; in
 * bf16 it is a rounded copy, made once by whoever holds the data and used by every product that
 * reads it (and kept for the backward pass, at half the memory). Sums and results are `real`.
 * Where the processor has no bf16 instructions oneDNN refuses bf16 products; then the same rounded
 * inputs go through the fp32 product, and gemm_describe says so.
 * Read next: src/nn/linear.h.
 */
#ifndef SEPIT_TENSOR_GEMM_H
#define SEPIT_TENSOR_GEMM_H

#include "src/base/arena.h"
#include "src/tensor/real.h"

#include <stdbool.h>
#include <stdint.h>

typedef enum compute_dtype { COMPUTE_F32, COMPUTE_BF16 } compute_dtype;

/* A matrix [rows, cols], row-major. Borrows `data`: real when !bf16, else uint16_t (bf16). */
typedef struct operand {
    const void *data;
    int64_t rows, cols;
    bool bf16;
} operand;

typedef struct gemm gemm;

/* The most that one product takes from scratch, and only where bf16 operands go through fp32
 * products; one row of either operand must fit into a third of it. */
#define GEMM_SCRATCH_BYTES ((size_t)192 << 20)

/* One engine per rank, used by one thread at a time; products are threaded inside. In MODE=double
 * the dtype is ignored (everything is fp64). `scratch` is borrowed: products may take memory from
 * it while they run and give it back; it may be NULL where operands are not bf16. STATUS_FAILED
 * with oneDNN's reason. */
status gemm_create(gemm **engine, compute_dtype dtype, arena *scratch, error *err);
void gemm_destroy(gemm *engine);

/* True where products read bf16 operands. */
bool gemm_is_bf16(const gemm *engine);

/* One line, e.g. "oneDNN 2.6.3, AVX2, bf16 rounded inputs through fp32 products (no bf16
 * instructions here)". Valid as long as the engine. */
const char *gemm_describe(const gemm *engine);

/* x [rows, cols] as an operand: a view in fp32 and fp64, a rounded copy taken from `memory` in
 * bf16 (round to nearest even). */
operand gemm_operand(const gemm *engine, arena *memory, const real *x, int64_t rows, int64_t cols);

/* y[M,N] = x[M,K]·w[N,K]ᵀ + beta·y.   Any of M, N, K may be 0. beta is 0 (whatever y holds, NaN
 * too) or 1. Operands that do not fit together are a CHECK failure, in all three. */
void gemm_forward(gemm *engine, const operand *x, const operand *w, real beta, real *y);

/* d_x[M,K] = d_y[M,N]·w[N,K] + beta·d_x */
void gemm_backward_data(gemm *engine, const operand *d_y, const operand *w, real beta, real *d_x);

/* d_w[N,K] += d_y[M,N]ᵀ·x[M,K] */
void gemm_backward_weight(gemm *engine, const operand *d_y, const operand *x, real *d_w);

/* Floating-point operations asked for since the engine was made: 2·M·N·K each. */
int64_t gemm_flops(const gemm *engine);

#endif
