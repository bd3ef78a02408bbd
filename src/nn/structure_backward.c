/* Backward pass of the structure module: the forward pass of each tile once more, then back. */
#include "src/nn/structure_tile.h"

#include "src/tensor/activation.h"

/* d_out[t,h] = d_bias_ij + d_bias_ji, the two places that pair t was written to. */
static void gather_bias(const pair_tile *tile, const pair_points *points, const real *d_bias,
                        int64_t H, int64_t L, real *d_out) {
#pragma omp parallel for
    for (int64_t h = 0; h < H; h++) {
        const real *head = d_bias + h * L * L;
        for (int64_t t = 0; t < tile->count; t++) {
            const int64_t i = points->residue[tile->first[t]];
            const int64_t j = points->residue[tile->second[t]];
            d_out[t * H + h] = i == j ? head[i * L + i] : head[i * L + j] + head[j * L + i];
        }
    }
}

/* Sums over all pairs, each kernel's in the order of the pairs. */
typedef struct basis_gradient {
    double mean[STRUCTURE_KERNELS]; /* Σ d_ψ·ψ·z,      d_μ = this/σ */
    double std[STRUCTURE_KERNELS];  /* Σ d_ψ·ψ·(z²−1), d_σ = this/σ */
} basis_gradient;

/* Σ_i and, where i ≠ j, Σ_j contain ψ_ij: d_psi += d_sum_i + d_sum_j */
static void spread_sum(const pair_tile *tile, const real *d_sum, real *d_psi) {
#pragma omp parallel for
    for (int64_t t = 0; t < tile->count; t++) {
        const int64_t i = tile->first[t], j = tile->second[t];
        const real *d_i = d_sum + i * STRUCTURE_KERNELS, *d_j = d_sum + j * STRUCTURE_KERNELS;
        real *d = d_psi + t * STRUCTURE_KERNELS;
        for (int k = 0; k < STRUCTURE_KERNELS; k++)
            d[k] += i == j ? d_i[k] : d_i[k] + d_j[k];
    }
}

/* ψ = peak·exp(−½·z²), z = (distance − μ)/σ, peak ∝ 1/σ */
static void basis_backward(const gaussian_basis *basis, const pair_tile *tile, const real *psi,
                           const real *d_psi, basis_gradient *d) {
#pragma omp parallel for
    for (int slice = 0; slice < STRUCTURE_KERNELS; slice += KERNEL_SLICE)
        for (int64_t t = 0; t < tile->count; t++)
            for (int k = slice; k < slice + KERNEL_SLICE; k++) {
                const int64_t at = t * STRUCTURE_KERNELS + k;
                const real z = (tile->distance[t] - basis->mean[k]) * basis->inverse[k];
                const real g = d_psi[at] * psi[at];
                d->mean[k] += (double)(g * z);
                d->std[k] += (double)(g * (z * z - 1));
            }
}

/* σ = |s| + 1e-3 */
static void add_basis_gradient(const params *p, const structure *module,
                               const gaussian_basis *basis, const basis_gradient *d) {
    const real *stds = param_value(p, module->stds);
    real *d_means = param_gradient(p, module->means), *d_stds = param_gradient(p, module->stds);
    for (int k = 0; k < STRUCTURE_KERNELS; k++) {
        d_means[k] += (real)(d->mean[k] * (double)basis->inverse[k]);
        const double d_sigma = d->std[k] * (double)basis->inverse[k];
        d_stds[k] += (real)(stds[k] < 0 ? -d_sigma : d_sigma);
    }
}

/* Gradients of one tile's arrays. */
typedef struct tile_gradients {
    real *hidden, *psi; /* [PAIR_TILE,128] */
    real *out;          /* [PAIR_TILE,H] */
} tile_gradients;

/* Rows of d_hidden that have a coordinate, as the gradient of W_e·Σψ + b_e. */
static real *gather_hidden(const pair_points *points, const real *d_hidden, int64_t D,
                           arena *memory) {
    real *d_edge = ARENA_ARRAY(memory, real, points->n * D);
    for (int64_t i = 0; i < points->n; i++)
        for (int64_t k = 0; k < D; k++)
            d_edge[i * D + k] = HIDDEN_SCALE * d_hidden[points->residue[i] * D + k];
    return d_edge;
}

/* The gradient of Σψ; that of W_e has to wait until Σψ is complete. */
static real *sum_backward(const nn_context *nn, const params *p, const structure *module,
                          const real *d_edge, int64_t n) {
    real *d_sum = ARENA_ARRAY(nn->scratch, real, n * STRUCTURE_KERNELS);
    const size_t mark = arena_mark(nn->scratch);
    const operand d_y = gemm_operand(nn->gemm, nn->scratch, d_edge, n, module->D);
    const operand w = param_operand(p, module->edge.weight);
    gemm_backward_data(nn->gemm, &d_y, &w, 0, d_sum);
    arena_reset(nn->scratch, mark);
    return d_sum;
}

/* The two-layer map, from d->out to d->psi. */
static void map_backward(const nn_context *nn, const params *p, const structure *module,
                         const tile_arrays *a, int64_t count, const tile_gradients *d) {
    linear_backward(nn, p, &module->layer2, &a->activated_operand, d->out, 0, d->hidden);
    gelu_backward(d->hidden, a->hidden, count * STRUCTURE_KERNELS, d->hidden);
    linear_backward(nn, p, &module->layer1, &a->psi_operand, d->hidden, 0, d->psi);
}

void structure_backward(const nn_context *nn, const params *p, const structure *module,
                        const float *coord, int64_t L, const real *d_bias, const real *d_hidden) {
    if (param_gradient(p, module->means) == NULL)
        return;
    arena *scratch = nn->scratch;
    const size_t mark = arena_mark(scratch);
    const int64_t H = module->H, tile_size = (int64_t)PAIR_TILE * STRUCTURE_KERNELS;
    const pair_points points = pair_points_present(coord, L, scratch);
    double *sum = arena_calloc(scratch, points.n * STRUCTURE_KERNELS, sizeof *sum);
    gaussian_basis basis;
    gaussian_basis_load(&basis, p, module);
    basis_gradient d_basis = {0};
    pair_tile tile = pair_tile_create(scratch);
    tile_arrays a = tile_arrays_create(scratch, H);
    const tile_gradients d = {ARENA_ARRAY(scratch, real, tile_size),
                              ARENA_ARRAY(scratch, real, tile_size), a.out};
    const real *d_edge = gather_hidden(&points, d_hidden, module->D, scratch);
    const real *d_sum = sum_backward(nn, p, module, d_edge, points.n);
    while (pair_tile_next(&tile, &points)) {
        const size_t before = arena_mark(scratch);
        gaussian_basis_forward(&basis, &tile, a.psi);
        pair_tile_sum(&tile, a.psi, sum);
        tile_map_hidden(nn, p, module, tile.count, &a);
        gather_bias(&tile, &points, d_bias, H, L, d.out);
        map_backward(nn, p, module, &a, tile.count, &d);
        spread_sum(&tile, d_sum, d.psi);
        basis_backward(&basis, &tile, a.psi, d.psi, &d_basis);
        arena_reset(scratch, before);
    }
    const operand x = pair_sum_operand(nn, sum, points.n, scratch);
    linear_backward(nn, p, &module->edge, &x, d_edge, 0, NULL);
    add_basis_gradient(p, module, &basis, &d_basis);
    arena_reset(scratch, mark);
}
