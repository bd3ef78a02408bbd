/* One matrix product of any layout, private to src/tensor: what src/tensor/gemm.c is made of.
 * product_onednn.c serves fp32 and bf16, product_blas.c the MODE=double build.
 */
#ifndef SEPIT_TENSOR_PRODUCT_H
#define SEPIT_TENSOR_PRODUCT_H

#include "src/base/error.h"
#include "src/tensor/real.h"

#include <stdbool.h>
#include <stdint.h>

/* One factor: element (i, j) is data[i·ld + j], or data[j·ld + i] where transposed. Borrows data:
 * real when !bf16, else uint16_t (bf16). */
typedef struct matrix {
    const void *data;
    int64_t ld;
    bool transposed;
    bool bf16;
} matrix;

/* c[M,N] = a[M,K]·b[K,N] + beta·c, element (i, j) of c at c[i·ldc + j]. M, N, K > 0; a and b are
 * of one type; beta is 0 or 1. */
typedef struct product {
    int64_t M, N, K;
    matrix a, b;
    real beta;
    real *c;
    int64_t ldc;
} product;

typedef struct product_engine product_engine;

/* STATUS_FAILED with the library's reason. */
status product_engine_create(product_engine **engine, error *err);
void product_engine_destroy(product_engine *engine);

/* True where the library takes bf16 factors on this processor. */
bool product_takes_bf16(product_engine *engine);

/* Library, version and instruction set; lives as long as the engine. */
const char *product_library(const product_engine *engine);

/* A library that refuses a product it accepted at the start is a CHECK failure. */
void product_run(product_engine *engine, const product *p);

#endif
