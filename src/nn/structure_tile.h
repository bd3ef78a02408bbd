/* What the two passes of the structure module share: residues with a coordinate, tiles of pairs of
 * them, and the Gaussian basis on a tile.
 *
 * The pairs (i, j), i ≤ j, of n residues are visited in square blocks, each a tile of at most
 * PAIR_TILE pairs, in an order that depends on n alone; so sums over pairs have the same bits for
 * any number of threads. A block is square so that the bias is written in two compact pieces.
 */
#ifndef SEPIT_NN_STRUCTURE_TILE_H
#define SEPIT_NN_STRUCTURE_TILE_H

#include "src/base/arena.h"
#include "src/nn/structure.h"

/* Sums run over the pairs in order, each thread taking KERNEL_SLICE of the kernels at a time: a
 * cache line of floats. */
enum { PAIR_BLOCK = 32, PAIR_TILE = PAIR_BLOCK * PAIR_BLOCK, KERNEL_SLICE = 16 };

/* The hidden bias is this times W_e·Σψ + b_e. */
#define HIDDEN_SCALE ((real)0.01)

/* The residues that have a coordinate; the numbers 0 … n−1 stand for them below. */
typedef struct pair_points {
    int64_t n;
    int64_t *residue; /* [n] index in the protein */
    real *xyz;        /* [n,3] */
} pair_points;

/* Allocates from `memory`. coord [L,3], NaN where missing. */
pair_points pair_points_present(const float *coord, int64_t L, arena *memory);

typedef struct pair_tile {
    int64_t next_row, next_col; /* where the next block starts */
    int64_t count;
    int64_t *first, *second; /* [PAIR_TILE] first ≤ second */
    real *distance;          /* [PAIR_TILE] */
} pair_tile;

/* A tile before the first one. Allocates from `memory`. */
pair_tile pair_tile_create(arena *memory);
/* Moves on to the next pairs; false after the last. */
bool pair_tile_next(pair_tile *tile, const pair_points *points);

/* ψ_k = peak_k · exp(−½·z²), z = (distance − mean_k) · inverse_k */
typedef struct gaussian_basis {
    real mean[STRUCTURE_KERNELS];
    real inverse[STRUCTURE_KERNELS]; /* 1/σ, σ = |s| + 1e-3 */
    real peak[STRUCTURE_KERNELS];    /* 1/(√(2π)·σ) */
} gaussian_basis;

void gaussian_basis_load(gaussian_basis *basis, const params *p, const structure *module);

/* psi [count,128] of the tile's pairs. */
void gaussian_basis_forward(const gaussian_basis *basis, const pair_tile *tile, real *psi);

/* sum [n,128]: each pair's ψ is added to both its residues, once where they are the same. */
void pair_tile_sum(const pair_tile *tile, const real *psi, double *sum);

/* The layers' arrays for one tile. */
typedef struct tile_arrays {
    real *psi, *hidden, *activated; /* [PAIR_TILE,128] basis; before and after the GELU */
    real *out;                      /* [PAIR_TILE,H] */
    operand psi_operand, activated_operand;
} tile_arrays;

tile_arrays tile_arrays_create(arena *memory, int64_t H);

/* The two-layer map: hidden = W1·ψ + b1, activated = gelu(hidden). The operands come from scratch:
 * the caller resets it. */
void tile_map_hidden(const nn_context *nn, const params *p, const structure *module, int64_t count,
                     tile_arrays *arrays);

/* sum [n,128] as an operand in `memory`. */
operand pair_sum_operand(const nn_context *nn, const double *sum, int64_t n, arena *memory);

#endif
