#include "src/tensor/tile.h"

enum { VECTORS = 2 /* TILE_ROWS × VECTORS sums stay in registers: 12 of AVX2's 16 */ };

typedef real vector __attribute__((vector_size(TILE_VECTOR_BYTES), may_alias));

/* Rows i … i+TILE_ROWS−1, `vectors` vectors of columns from j on. `vectors` is a constant wherever
 * this is inlined, so that the sums become registers. */
static inline __attribute__((always_inline)) void block(const tile_product *p, int64_t i, int64_t j,
                                                        const int vectors) {
    const int64_t a_row = p->a_row, a_col = p->a_col, b_row = p->b_row, k = p->k;
    const real *a = p->a + i * a_row, *b = p->b + j;
    const bool add = p->add;
    vector sum[TILE_ROWS][VECTORS];
#pragma GCC unroll 6
    for (int r = 0; r < TILE_ROWS; r++)
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++)
            sum[r][v] = (vector){0};
    for (int64_t l = 0; l < k; l++) {
        vector from[VECTORS];
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++)
            from[v] = *(const vector *)(b + l * b_row + v * TILE_LANES);
#pragma GCC unroll 6
        for (int r = 0; r < TILE_ROWS; r++)
#pragma GCC unroll 2
            for (int v = 0; v < vectors; v++)
                sum[r][v] += a[r * a_row + l * a_col] * from[v];
    }
#pragma GCC unroll 6
    for (int r = 0; r < TILE_ROWS; r++) {
        vector *to = (vector *)(p->c + (i + r) * p->c_row + j);
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++) {
            if (add)
                sum[r][v] += to[v];
            to[v] = sum[r][v];
        }
    }
}

void tile_multiply(const tile_product *p) {
    int64_t j = 0;
    for (; j + TILE_LANES < p->n; j += VECTORS * TILE_LANES)
        for (int64_t i = 0; i < p->m; i += TILE_ROWS)
            block(p, i, j, VECTORS);
    if (j < p->n)
        for (int64_t i = 0; i < p->m; i += TILE_ROWS)
            block(p, i, j, 1);
}

void tile_load(const real *from, int64_t from_row, int64_t rows, int64_t cols, real scale, real *to,
               int64_t to_row) {
    const int64_t width = tile_width(cols);
    for (int64_t i = 0; i < rows; i++) {
        for (int64_t j = 0; j < cols; j++)
            to[i * to_row + j] = scale * from[i * from_row + j];
        for (int64_t j = cols; j < width; j++)
            to[i * to_row + j] = 0;
    }
}

void tile_load_transposed(const real *from, int64_t from_row, int64_t rows, int64_t cols, real *to,
                          int64_t to_row) {
    const int64_t width = tile_width(rows);
    for (int64_t j = 0; j < cols; j++)
        for (int64_t i = rows; i < width; i++)
            to[j * to_row + i] = 0;
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < cols; j++)
            to[j * to_row + i] = from[i * from_row + j];
}
