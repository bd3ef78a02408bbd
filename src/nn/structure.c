#include "src/nn/structure_tile.h"

#include <string.h>

#define PREFIX "protein_model.structure_bias"

static linear declare_linear(params *p, const char *name, int64_t N, int64_t K) {
    return linear_declare(p, name, N, K, true, 0.02, GROUP_STRUCTURE);
}

void structure_declare(structure *module, params *p, int64_t H, int64_t D) {
    const int64_t K = STRUCTURE_KERNELS;
    *module = (structure){.H = H, .D = D};
    module->means = params_declare_vector(p, PREFIX ".gbf.means", K, GROUP_STRUCTURE);
    params_set_init(p, INIT_UNIFORM, 3, 0);
    module->stds = params_declare_vector(p, PREFIX ".gbf.stds", K, GROUP_STRUCTURE);
    params_set_init(p, INIT_UNIFORM, 3, 0);
    module->layer1 = declare_linear(p, PREFIX ".gbf_proj.layer1", K, K);
    module->layer2 = declare_linear(p, PREFIX ".gbf_proj.layer2", H, K);
    module->edge = declare_linear(p, PREFIX ".edge_proj", D, K);
}

/* bias_ij = bias_ji = out, for each head */
static void scatter_bias(const pair_tile *tile, const pair_points *points, const real *out,
                         int64_t H, int64_t L, real *bias) {
#pragma omp parallel for
    for (int64_t h = 0; h < H; h++) {
        real *head = bias + h * L * L;
        for (int64_t t = 0; t < tile->count; t++) {
            const int64_t i = points->residue[tile->first[t]];
            const int64_t j = points->residue[tile->second[t]];
            head[i * L + j] = head[j * L + i] = out[t * H + h];
        }
    }
}

/* hidden_i = 0.01·(W_e·Σ_j ψ_ij + b_e), and 0 for residues that are missing. */
static void project_sum(const nn_context *nn, const params *p, const structure *module,
                        const pair_points *points, const double *sum, int64_t L, real *hidden) {
    const int64_t n = points->n, D = module->D;
    const size_t mark = arena_mark(nn->scratch);
    const operand x = pair_sum_operand(nn, sum, n, nn->scratch);
    real *y = ARENA_ARRAY(nn->scratch, real, n * D);
    linear_forward(nn, p, &module->edge, &x, y);
    memset(hidden, 0, (size_t)(L * D) * sizeof *hidden);
    for (int64_t i = 0; i < n; i++)
        for (int64_t k = 0; k < D; k++)
            hidden[points->residue[i] * D + k] = HIDDEN_SCALE * y[i * D + k];
    arena_reset(nn->scratch, mark);
}

void structure_forward(const nn_context *nn, const params *p, const structure *module,
                       const float *coord, int64_t L, real *bias, real *hidden) {
    arena *scratch = nn->scratch;
    const size_t mark = arena_mark(scratch);
    const int64_t H = module->H;
    const pair_points points = pair_points_present(coord, L, scratch);
    double *sum = arena_calloc(scratch, points.n * STRUCTURE_KERNELS, sizeof *sum);
    gaussian_basis basis;
    gaussian_basis_load(&basis, p, module);
    pair_tile tile = pair_tile_create(scratch);
    tile_arrays a = tile_arrays_create(scratch, H);
    if (points.n < L)
        memset(bias, 0, (size_t)(H * L * L) * sizeof *bias);
    while (pair_tile_next(&tile, &points)) {
        const size_t before = arena_mark(scratch);
        gaussian_basis_forward(&basis, &tile, a.psi);
        pair_tile_sum(&tile, a.psi, sum);
        tile_map_hidden(nn, p, module, tile.count, &a);
        linear_forward(nn, p, &module->layer2, &a.activated_operand, a.out);
        scatter_bias(&tile, &points, a.out, H, L, bias);
        arena_reset(scratch, before);
    }
    project_sum(nn, p, module, &points, sum, L, hidden);
    arena_reset(scratch, mark);
}

size_t structure_scratch_bytes(int64_t H, int64_t D, int64_t L) {
    /* Per residue: index, coordinate, Σψ twice and its gradient (as double and as operand), rows of
     * D and their operand; products may copy what they read. */
    const size_t kernels = STRUCTURE_KERNELS;
    const size_t residue = 8 * (1 + 3 + 5 * kernels + 4 * (size_t)D);
    /* Per pair: indices, distance, ψ, two layers, their gradients, operands and copies. */
    const size_t pair = 8 * (3 + 12 * kernels + 4 * (size_t)H);
    const size_t weights = 8 * kernels * (2 * kernels + (size_t)H + 2 * (size_t)D);
    return arena_bytes(L, residue) + PAIR_TILE * pair + weights + 64 * 64;
}
