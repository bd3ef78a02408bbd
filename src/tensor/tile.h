/* Small products of tiles that stay in the cache: what attention is made of. Private to src/tensor.
 *
 * A tile is a row-major array, aligned to 64 bytes, whose rows are a multiple of TILE_LANES apart.
 */
#ifndef SEPIT_TENSOR_TILE_H
#define SEPIT_TENSOR_TILE_H

#include "src/tensor/real.h"

#include <stdbool.h>

/* One vector register of the instruction set the program is built for. */
#ifdef __AVX512F__
#define TILE_VECTOR_BYTES 64
#else
#define TILE_VECTOR_BYTES 32
#endif

enum {
    TILE_LANES = TILE_VECTOR_BYTES / sizeof(real),
    TILE_ROWS = 6 /* of a register block */
};

#define TILE_ALIGNED __attribute__((aligned(64)))

/* c[m,n] = a[m,k]·b[k,n], or c += where `add`. Element (i, l) of a is a[i·a_row + l·a_col], so a
 * may be a transposed tile; b and c are tiles. Rows of a and c up to the next multiple of TILE_ROWS
 * and columns of b and c up to the next multiple of TILE_LANES take part: they must exist, what is
 * in them does not matter. Each element is one sum over l ascending, whatever m and n are. */
typedef struct tile_product {
    int64_t m, n, k;
    const real *a;
    int64_t a_row, a_col;
    const real *b;
    int64_t b_row;
    real *c;
    int64_t c_row;
    bool add;
} tile_product;

void tile_multiply(const tile_product *p);

/* n rounded up to a multiple of TILE_LANES. */
static inline int64_t tile_width(int64_t n) {
    return (n + TILE_LANES - 1) / TILE_LANES * TILE_LANES;
}

/* to[rows, tile_width(cols)] = scale·from, zeros beyond `cols`; rows of `from` are from_row apart,
 * those of `to` to_row. */
void tile_load(const real *from, int64_t from_row, int64_t rows, int64_t cols, real scale, real *to,
               int64_t to_row);

/* The transpose: to[cols, tile_width(rows)], zeros beyond `rows`. */
void tile_load_transposed(const real *from, int64_t from_row, int64_t rows, int64_t cols, real *to,
                          int64_t to_row);

#endif
