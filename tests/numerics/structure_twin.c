// TEST timeout=60 mode=release,double,asan
/* The tiled module against a twin that holds ψ whole, for 1 residue, one tile and several; missing
 * residues have no part in anything. The bound follows round-off (ε a term) through each sum. */
#include "tests/numerics/structure_bench.h"

enum { K = STRUCTURE_KERNELS, MAX = 70 };

/* Double copies of the parameters, and ψ [L,L,K] with a bound of its round-off. */
typedef struct twin {
    double mean[K], sigma[K], w1[K * K], b1[K], w2[BENCH_H * K], b2[BENCH_H];
    double we[BENCH_D * K], be[BENCH_D];
    double psi[MAX * MAX * K], slack[MAX * MAX * K];
    bool present[MAX];
} twin;

static void copy_values(const structure_bench *bench, const char *name, double *to) {
    char full[100];
    snprintf(full, sizeof full, "protein_model.structure_bias.%s", name);
    const int64_t index = params_find(&bench->p, full);
    EXPECT(index >= 0, "There is no %s.", full);
    for (int64_t i = 0; i < bench->p.table[index].elements; i++)
        to[i] = (double)param_value(&bench->p, index)[i];
}

static void twin_load(twin *w, const structure_bench *bench) {
    copy_values(bench, "gbf.means", w->mean);
    copy_values(bench, "gbf.stds", w->sigma);
    copy_values(bench, "gbf_proj.layer1.weight", w->w1);
    copy_values(bench, "gbf_proj.layer1.bias", w->b1);
    copy_values(bench, "gbf_proj.layer2.weight", w->w2);
    copy_values(bench, "gbf_proj.layer2.bias", w->b2);
    copy_values(bench, "edge_proj.weight", w->we);
    copy_values(bench, "edge_proj.bias", w->be);
    for (int k = 0; k < K; k++)
        w->sigma[k] = fabs(w->sigma[k]) + 1e-3;
}

static void twin_basis(twin *w, const float *coord, int L) {
    for (int i = 0; i < L; i++)
        w->present[i] =
            !isnan(coord[3 * i]) && !isnan(coord[3 * i + 1]) && !isnan(coord[3 * i + 2]);
    for (int i = 0; i < L; i++)
        for (int j = 0; j < L; j++) {
            double square = 0;
            for (int axis = 0; axis < 3; axis++)
                square += pow((double)coord[3 * i + axis] - (double)coord[3 * j + axis], 2);
            for (int k = 0; k < K; k++) {
                const double z = (sqrt(square) - w->mean[k]) / w->sigma[k];
                const double psi = exp(-0.5 * z * z) / (sqrt(2 * M_PI) * w->sigma[k]);
                const double off = 4 * (sqrt(square) + w->mean[k]) / w->sigma[k];
                w->psi[(i * L + j) * K + k] = psi;
                w->slack[(i * L + j) * K + k] =
                    REAL_EPSILON * psi * (8 + fabs(z) * off + 2 * z * z) + 1e-26 / w->sigma[k];
            }
        }
}

/* Σ_k w[k]·x[k] + b, and its slack where x has `slack`. */
static double twin_dot(const double *w, const double *x, const double *slack, double b,
                       double *out_slack) {
    double sum = b, round_off = fabs(b);
    *out_slack = 0;
    for (int k = 0; k < K; k++) {
        sum += w[k] * x[k];
        round_off += fabs(w[k] * x[k]);
        *out_slack += fabs(w[k]) * slack[k];
    }
    *out_slack += K * REAL_EPSILON * round_off;
    return sum;
}

static void expect_bias(const twin *w, int L, int i, int j, const real *bias) {
    double activated[K], slack[K], bound;
    const double *psi = w->psi + (i * L + j) * K, *psi_slack = w->slack + (i * L + j) * K;
    const bool here = w->present[i] && w->present[j];
    for (int k = 0; k < K && here; k++) {
        const double x = twin_dot(w->w1 + k * K, psi, psi_slack, w->b1[k], &bound);
        activated[k] = 0.5 * x * (1 + erf(x / sqrt(2)));
        slack[k] = 1.13 * bound + 4 * REAL_EPSILON * fabs(x); /* |gelu'| < 1.13 */
    }
    for (int h = 0; h < BENCH_H; h++) {
        const real got = bias[(h * L + i) * L + j];
        if (!here) {
            EXPECT(got == 0, "Residue %d or %d is missing.", i, j);
            continue;
        }
        const double want = twin_dot(w->w2 + h * K, activated, slack, w->b2[h], &bound);
        EXPECT(fabs((double)got - want) <= bound, "bias[%d,%d,%d] = %.9g, want %.9g within %.2g", h,
               i, j, (double)got, want, bound);
    }
}

static void expect_hidden(const twin *w, int L, int i, const real *hidden) {
    double sum[K] = {0}, slack[K] = {0}, bound;
    for (int j = 0; j < L; j++)
        for (int k = 0; k < K && w->present[j]; k++) {
            sum[k] += w->psi[(i * L + j) * K + k];
            slack[k] += w->slack[(i * L + j) * K + k];
        }
    for (int o = 0; o < BENCH_D; o++) {
        const real got = hidden[i * BENCH_D + o];
        if (!w->present[i]) {
            EXPECT(got == 0, "Residue %d is missing.", i);
            continue;
        }
        const double want = 0.01 * twin_dot(w->we + o * K, sum, slack, w->be[o], &bound);
        EXPECT(fabs((double)got - want) <= 0.011 * bound + REAL_EPSILON * fabs(want),
               "hidden[%d,%d] = %.9g, want %.9g within %.2g", i, o, (double)got, want, bound);
    }
}

static void expect_twin(const structure_bench *bench, const float *coord, int L) {
    static twin w;
    static real bias[BENCH_H * MAX * MAX], hidden[MAX * BENCH_D];
    for (int i = 0; i < BENCH_H * L * L; i++)
        bias[i] = (real)NAN;
    for (int i = 0; i < L * BENCH_D; i++)
        hidden[i] = (real)NAN;
    structure_forward(&bench->nn, &bench->p, &bench->module, coord, L, bias, hidden);
    twin_load(&w, bench);
    twin_basis(&w, coord, L);
    for (int i = 0; i < L; i++) {
        expect_hidden(&w, L, i, hidden);
        for (int j = 0; j < L; j++)
            expect_bias(&w, L, i, j, bias);
    }
}

/* What a missing residue's other two numbers are does not matter, nor does its gradient. */
static void expect_no_influence(structure_bench *bench, float *coord, int missing) {
    enum { L = 40, BIAS = BENCH_H * L * L, HIDDEN = L * BENCH_D };
    static real bias[2][BIAS], hidden[2][HIDDEN], d_bias[BIAS], d_hidden[HIDDEN];
    const size_t bytes = (size_t)bench->p.elements * sizeof(real);
    real *first = malloc(bytes);
    if (first == NULL)
        exit(1);
    gradcheck_fill(d_bias, BIAS, "d_bias", 0, 1);
    gradcheck_fill(d_hidden, HIDDEN, "d_hidden", 0, 1);
    for (int turn = 0; turn < 2; turn++) {
        memset(bench->gradient, 0, bytes);
        structure_forward(&bench->nn, &bench->p, &bench->module, coord, L, bias[turn],
                          hidden[turn]);
        structure_backward(&bench->nn, &bench->p, &bench->module, coord, L, d_bias, d_hidden);
        if (turn == 0)
            memcpy(first, bench->gradient, bytes);
        coord[3 * missing + 1] = 55;
        for (int i = 0; i < BENCH_D; i++)
            d_hidden[missing * BENCH_D + i] += 9;
        for (int i = 0; i < L; i++)
            d_bias[missing * L + i] += 9, d_bias[i * L + missing] -= 9;
    }
    EXPECT(memcmp(bias[0], bias[1], sizeof bias[0]) == 0);
    EXPECT(memcmp(hidden[0], hidden[1], sizeof hidden[0]) == 0);
    EXPECT(memcmp(first, bench->gradient, bytes) == 0);
    free(first);
}

int main(void) {
    structure_bench bench;
    float coord[3 * MAX];
    bench_create(&bench, false, MAX);
    bench_draw(&bench);
    bench_trace(coord, MAX);
    expect_twin(&bench, coord, 1);
    expect_twin(&bench, coord, 32);
    expect_twin(&bench, coord, MAX);
    bench_remove(coord, 3, 0);
    bench_remove(coord, 4, 1);
    bench_remove(coord, 39, 2);
    expect_twin(&bench, coord, 40);
    expect_no_influence(&bench, coord, 3);
    for (int i = 0; i < 10; i++) /* all but one missing */
        if (i != 6)
            bench_remove(coord, i, 0);
    expect_twin(&bench, coord, 10);
    bench_remove(coord, 6, 0);
    expect_twin(&bench, coord, 10);
    bench_destroy(&bench);
    return test_end();
}
