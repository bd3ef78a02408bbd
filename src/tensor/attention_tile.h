/* What the forward and the backward pass of attention share: the logits of one tile. Private to
 * src/tensor. Both passes compute them by these same operations, hence to the same bits.
 */
#ifndef SEPIT_TENSOR_ATTENTION_TILE_H
#define SEPIT_TENSOR_ATTENTION_TILE_H

#include "src/tensor/tile.h"

#include <stddef.h>

enum {
    ATTENTION_QUERIES = 48, /* of a tile; a multiple of TILE_ROWS */
    ATTENTION_KEYS = 96,    /* of a tile; a multiple of TILE_ROWS and of two vectors */
    ATTENTION_WIDTH = 128   /* widest head */
};

/* Queries first_query … +queries−1 against keys first_key … +keys−1 (positions in the sequence).
 * Key 0 is visible to all. */
typedef struct attention_tile {
    int64_t first_query, queries, first_key, keys;
    int64_t d;
    bool causal;
    const real *bias; /* NULL, or [inner, inner] of this head between positions 1 … inner */
    int64_t inner;
} attention_tile;

/* q: scaled queries [queries, ATTENTION_WIDTH]; k: keys transposed [d, ATTENTION_KEYS] → logits
 * [queries, ATTENTION_KEYS], −∞ where a key is not to be seen, up to column tile_width(keys). */
void attention_logits(const attention_tile *tile, const real *q, const real *k, real *logits);

/* The keys of the tile that have a bias with query row `i`: columns *first … *end−1, and the bias
 * of the first (or d_bias, laid out alike). Empty where the query has none. */
static inline int64_t attention_bias_span(const attention_tile *tile, int64_t i, int64_t *first,
                                          int64_t *end) {
    const int64_t query = tile->first_query + i;
    const int64_t low = tile->first_key > 1 ? tile->first_key : 1;
    const int64_t past = tile->first_key + tile->keys;
    const int64_t high = past < tile->inner + 1 ? past : tile->inner + 1;
    const bool empty = query < 1 || query > tile->inner || low >= high;
    *first = empty ? 0 : low - tile->first_key;
    *end = empty ? 0 : high - tile->first_key;
    return empty ? 0 : (query - 1) * tile->inner + low - 1;
}

#endif
