#include "src/nn/structure_tile.h"

#include "src/tensor/activation.h"
#include "src/tensor/vecmath.h"

pair_points pair_points_present(const float *coord, int64_t L, arena *memory) {
    pair_points points = {.n = 0,
                          .residue = ARENA_ARRAY(memory, int64_t, L),
                          .xyz = ARENA_ARRAY(memory, real, 3 * L)};
    for (int64_t i = 0; i < L; i++) {
        const float *r = coord + 3 * i;
        if (isnan(r[0]) || isnan(r[1]) || isnan(r[2]))
            continue;
        for (int axis = 0; axis < 3; axis++)
            points.xyz[3 * points.n + axis] = (real)r[axis];
        points.residue[points.n++] = i;
    }
    return points;
}

pair_tile pair_tile_create(arena *memory) {
    return (pair_tile){.first = ARENA_ARRAY(memory, int64_t, PAIR_TILE),
                       .second = ARENA_ARRAY(memory, int64_t, PAIR_TILE),
                       .distance = ARENA_ARRAY(memory, real, PAIR_TILE)};
}

static int64_t smaller(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static real distance_of(const real *a, const real *b) {
    const real x = a[0] - b[0], y = a[1] - b[1], z = a[2] - b[2];
    return (real)sqrt(x * x + y * y + z * z);
}

bool pair_tile_next(pair_tile *tile, const pair_points *points) {
    const int64_t n = points->n, row = tile->next_row, col = tile->next_col;
    tile->count = 0;
    if (row >= n)
        return false;
    for (int64_t i = row; i < smaller(row + PAIR_BLOCK, n); i++)
        for (int64_t j = i > col ? i : col; j < smaller(col + PAIR_BLOCK, n); j++) {
            tile->first[tile->count] = i;
            tile->second[tile->count] = j;
            tile->distance[tile->count++] = distance_of(points->xyz + 3 * i, points->xyz + 3 * j);
        }
    tile->next_col = col + PAIR_BLOCK;
    if (tile->next_col >= n)
        tile->next_row = tile->next_col = row + PAIR_BLOCK;
    return true;
}

void gaussian_basis_load(gaussian_basis *basis, const params *p, const structure *module) {
    const real *means = param_value(p, module->means), *stds = param_value(p, module->stds);
    for (int k = 0; k < STRUCTURE_KERNELS; k++) {
        const double sigma = fabs((double)stds[k]) + 1e-3;
        basis->mean[k] = means[k];
        basis->inverse[k] = (real)(1 / sigma);
        basis->peak[k] = (real)(1 / (sqrt(2 * M_PI) * sigma));
    }
}

/* exp(−½·z²), and 0 where it is below 1e-26: a kernel that far away adds nothing to any sum, and
 * its products would be denormal numbers, on which arithmetic is slow. */
static inline real bell(real z) {
    const real exponent = (real)-0.5 * z * z;
    return exponent < -60 ? 0 : vec_exp(exponent);
}

void gaussian_basis_forward(const gaussian_basis *basis, const pair_tile *tile, real *psi) {
#pragma omp parallel for
    for (int64_t t = 0; t < tile->count; t++) {
        const real distance = tile->distance[t];
        for (int k = 0; k < STRUCTURE_KERNELS; k++) {
            const real z = (distance - basis->mean[k]) * basis->inverse[k];
            psi[t * STRUCTURE_KERNELS + k] = basis->peak[k] * bell(z);
        }
    }
}

static void add_slice(const real *psi, double *sum) {
    for (int k = 0; k < KERNEL_SLICE; k++)
        sum[k] += (double)psi[k];
}

void pair_tile_sum(const pair_tile *tile, const real *psi, double *sum) {
#pragma omp parallel for
    for (int slice = 0; slice < STRUCTURE_KERNELS; slice += KERNEL_SLICE)
        for (int64_t t = 0; t < tile->count; t++) {
            const real *from = psi + t * STRUCTURE_KERNELS + slice;
            const int64_t i = tile->first[t], j = tile->second[t];
            add_slice(from, sum + i * STRUCTURE_KERNELS + slice);
            if (j != i)
                add_slice(from, sum + j * STRUCTURE_KERNELS + slice);
        }
}

tile_arrays tile_arrays_create(arena *memory, int64_t H) {
    const int64_t n = PAIR_TILE * STRUCTURE_KERNELS;
    return (tile_arrays){.psi = ARENA_ARRAY(memory, real, n),
                         .hidden = ARENA_ARRAY(memory, real, n),
                         .activated = ARENA_ARRAY(memory, real, n),
                         .out = ARENA_ARRAY(memory, real, PAIR_TILE * H)};
}

void tile_map_hidden(const nn_context *nn, const params *p, const structure *module, int64_t count,
                     tile_arrays *a) {
    const int64_t K = STRUCTURE_KERNELS;
    a->psi_operand = gemm_operand(nn->gemm, nn->scratch, a->psi, count, K);
    linear_forward(nn, p, &module->layer1, &a->psi_operand, a->hidden);
    gelu_forward(a->hidden, count * K, a->activated);
    a->activated_operand = gemm_operand(nn->gemm, nn->scratch, a->activated, count, K);
}

operand pair_sum_operand(const nn_context *nn, const double *sum, int64_t n, arena *memory) {
    real *copy = ARENA_ARRAY(memory, real, n * STRUCTURE_KERNELS);
    for (int64_t i = 0; i < n * STRUCTURE_KERNELS; i++)
        copy[i] = (real)sum[i];
    return gemm_operand(nn->gemm, memory, copy, n, STRUCTURE_KERNELS);
}
