/* Rows as products read them and as ranks exchange them: bf16 where products are bf16, else real.
 *
 * An operand (src/tensor/gemm.h) is such a matrix for reading; a row_store is one that is written,
 * part by part. Borrows its memory.
 */
#ifndef SEPIT_NN_ROW_STORE_H
#define SEPIT_NN_ROW_STORE_H

#include "src/base/arena.h"
#include "src/base/bf16.h"
#include "src/tensor/gemm.h"

typedef struct row_store {
    void *data; /* [rows, cols]: uint16_t when bf16, else real */
    int64_t rows, cols;
    bool bf16;
} row_store;

/* Not cleared; from `memory`. */
row_store row_store_take(arena *memory, bool bf16, int64_t rows, int64_t cols);
/* What it takes at most. */
size_t row_store_bytes(bool bf16, int64_t rows, int64_t cols);

/* Of one row. */
size_t row_store_row_bytes(const row_store *s);

/* `rows` rows from row `first` on, for reading. */
operand row_store_view(const row_store *s, int64_t first, int64_t rows);

/* To write rows as real numbers: open says where to put them (the rows themselves, or scratch when
 * they will be rounded), close rounds them into their place. The caller gives scratch back. */
real *row_store_open(const row_store *s, int64_t first, int64_t rows, arena *scratch);
void row_store_close(const row_store *s, int64_t first, int64_t rows, const real *written);

/* Rows as real numbers: themselves, or a copy in scratch. */
const real *row_store_read(const row_store *s, int64_t first, int64_t rows, arena *scratch);

/* Columns first … first+n−1 of row `row`, n ≤ ROW_PIECE, as real numbers: in place, or expanded
 * into `buffer`. Exact: every bf16 number is a real one. */
enum { ROW_PIECE = 256 };
static inline const real *row_piece(const operand *x, int64_t row, int64_t first, int64_t n,
                                    real buffer[ROW_PIECE]) {
    const int64_t at = row * x->cols + first;
    if (!x->bf16)
        return (const real *)x->data + at;
    const uint16_t *from = (const uint16_t *)x->data + at;
    for (int64_t j = 0; j < n; j++)
        buffer[j] = (real)bf16_to_float(from[j]);
    return buffer;
}

/* How wide the piece that begins at column `first` of `cols` is. */
static inline int64_t row_piece_width(int64_t first, int64_t cols) {
    return cols - first < ROW_PIECE ? cols - first : ROW_PIECE;
}

#endif
