#include "src/nn/row_store.h"

enum {
    SPLIT = 65536, /* fewer elements are not worth waking threads for */
    ARENA_ROUNDING = 64
};

static size_t element_bytes(bool bf16) {
    return bf16 ? sizeof(uint16_t) : sizeof(real);
}

row_store row_store_take(arena *memory, bool bf16, int64_t rows, int64_t cols) {
    void *data = arena_alloc(memory, arena_bytes(rows * cols, element_bytes(bf16)));
    return (row_store){data, rows, cols, bf16};
}

size_t row_store_bytes(bool bf16, int64_t rows, int64_t cols) {
    return arena_bytes(rows * cols, element_bytes(bf16)) + ARENA_ROUNDING;
}

size_t row_store_row_bytes(const row_store *s) {
    return (size_t)s->cols * element_bytes(s->bf16);
}

static void *row_address(const row_store *s, int64_t row) {
    return (char *)s->data + (size_t)row * row_store_row_bytes(s);
}

operand row_store_view(const row_store *s, int64_t first, int64_t rows) {
    return (operand){row_address(s, first), rows, s->cols, s->bf16};
}

real *row_store_open(const row_store *s, int64_t first, int64_t rows, arena *scratch) {
    return s->bf16 ? ARENA_ARRAY(scratch, real, rows * s->cols) : row_address(s, first);
}

void row_store_close(const row_store *s, int64_t first, int64_t rows, const real *written) {
    if (!s->bf16)
        return;
    const int64_t n = rows * s->cols;
    uint16_t *rounded = row_address(s, first);
#pragma omp parallel for if (n > SPLIT)
    for (int64_t i = 0; i < n; i++)
        rounded[i] = bf16_from_float((float)written[i]);
}

const real *row_store_read(const row_store *s, int64_t first, int64_t rows, arena *scratch) {
    if (!s->bf16)
        return row_address(s, first);
    const int64_t n = rows * s->cols;
    const uint16_t *from = row_address(s, first);
    real *expanded = ARENA_ARRAY(scratch, real, n);
#pragma omp parallel for if (n > SPLIT)
    for (int64_t i = 0; i < n; i++)
        expanded[i] = (real)bf16_to_float(from[i]);
    return expanded;
}
