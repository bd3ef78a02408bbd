#include "src/tensor/attention_tile.h"

static void add_bias(const attention_tile *tile, real *logits) {
    for (int64_t i = 0; i < tile->queries; i++) {
        int64_t first = 0, end = 0;
        const real *bias = tile->bias + attention_bias_span(tile, i, &first, &end);
        real *row = logits + i * ATTENTION_KEYS + first;
        for (int64_t j = 0; j < end - first; j++)
            row[j] += bias[j];
    }
}

/* Keys past the tile's last, and under `causal` those after the query. */
static void hide_keys(const attention_tile *tile, real *logits) {
    const int64_t columns = tile_width(tile->keys);
    for (int64_t i = 0; i < tile->queries; i++) {
        const int64_t before = tile->first_query + i + 1 - tile->first_key;
        int64_t visible = tile->keys;
        if (tile->causal && before < visible)
            visible = before > 0 ? before : 0;
        for (int64_t j = visible; j < columns; j++)
            logits[i * ATTENTION_KEYS + j] = (real)-INFINITY;
    }
}

void attention_logits(const attention_tile *tile, const real *q, const real *k, real *logits) {
    tile_multiply(&(tile_product){.m = tile->queries,
                                  .n = tile->keys,
                                  .k = tile->d,
                                  .a = q,
                                  .a_row = ATTENTION_WIDTH,
                                  .a_col = 1,
                                  .b = k,
                                  .b_row = ATTENTION_KEYS,
                                  .c = logits,
                                  .c_row = ATTENTION_KEYS});
    if (tile->bias != NULL)
        add_bias(tile, logits);
    hide_keys(tile, logits);
}
