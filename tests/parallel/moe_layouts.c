// TEST np=1,2,4 timeout=90 mode=release,double,asan
/* Four chunks through one layer of experts on every layout (ranks, ep) of these ranks: outputs,
 * gradients of the inputs, of the router and of each expert, chunk by chunk, have the bits of one
 * rank that holds all experts; where sums are inexact they are equal but for rounding. One chunk is
 * empty, and once all tokens go to one expert. */
#include "parallel/agree.h"
#include "src/base/log.h"
#include "tests/numerics/moe_bench.h"

enum { D = 36, F = 28, E = 8, CHUNKS = 4, MOST_T = 40 };

static const int64_t TOKENS[CHUNKS] = {MOST_T, 17, 0, 23};
static const int64_t ALL_TOKENS = MOST_T + 17 + 23;

/* One way to run the layer. */
typedef struct variant {
    const char *name;
    int64_t k, slices;
    bool renormalize, bf16, exact;
    double capacity, jitter;
    moe_force force;
} variant;

static const variant VARIANTS[] = {
    {"one expert", 1, 1, false, false, true, 0, 0, MOE_FORCE_NONE},
    {"two slices", 2, 2, true, false, true, 0, 0, MOE_FORCE_NONE},
    {"capacity and jitter", 2, 3, false, false, true, 1.0, 0.2, MOE_FORCE_NONE},
    {"all to one", 1, 2, false, false, true, 0, 0, MOE_FORCE_HOT},
    {"bf16", 2, 2, false, true, true, 0, 0, MOE_FORCE_NONE},
    {"bf16, all to one", 1, 1, false, true, true, 0, 0, MOE_FORCE_HOT},
    {"inexact", 2, 2, false, false, false, 0, 0, MOE_FORCE_NONE},
};

/* What a chunk gives. */
typedef struct result {
    real y[MOST_T * D], d_x[MOST_T * D], d_router[E * D];
    real *d_experts; /* of all experts, as the one-rank table */
} result;

static int rank, ranks;

static void fill_chunk(int chunk, real *x, real *d_y) {
    char name[32];
    snprintf(name, sizeof name, "x of %d", chunk);
    gradcheck_fill(x, MOST_T * D, name, 0, 1);
    snprintf(name, sizeof name, "d_y of %d", chunk);
    gradcheck_fill(d_y, MOST_T * D, name, 0, 1);
}

/* A layer with the experts of member `member` of a group of ep ranks. */
static void make_bench(moe_bench *b, const variant *v, int member, int ep) {
    static const double fraction[E] = {0.3, 0.2, 0.1, 0.1, 0.1, 0.1, 0.05, 0.05};
    *b = (moe_bench){.D = D, .F = F, .T = MOST_T, .bf16 = v->bf16};
    b->c = (moe_config){.E = E,
                        .k = v->k,
                        .slices = v->slices,
                        .renormalize = v->renormalize,
                        .first_expert = member * (E / ep),
                        .local_experts = E / ep};
    b->run = (moe_run){.capacity = v->capacity,
                       .jitter = v->jitter,
                       .force = v->force,
                       .fraction = fraction,
                       .balance_scale = 0.3,
                       .z_scale = 0.01,
                       .seed = 7,
                       .step = 3};
    bench_create(b, ALL_TOKENS * v->k);
    b->run.exact = v->exact;
}

static void run_chunk(moe_bench *b, int chunk, result *r) {
    static real x[MOST_T * D], d_y[MOST_T * D];
    fill_chunk(chunk, x, d_y);
    b->T = TOKENS[chunk];
    b->run.chunk = chunk;
    memset(b->d_router, 0, (size_t)b->p.elements * sizeof(real));
    bench_run(b, x, NULL, r->y, d_y, r->d_x);
    memcpy(r->d_router, b->d_router, sizeof r->d_router);
}

/* All chunks with all experts on this rank, without an exchange. */
static void run_alone(const variant *v, result want[CHUNKS]) {
    static moe_bench b;
    make_bench(&b, v, 0, 1);
    for (int chunk = 0; chunk < CHUNKS; chunk++) {
        want[chunk].d_experts = bench_zeros(b.experts.elements, sizeof(real));
        b.gradient[0] = want[chunk].d_experts;
        run_chunk(&b, chunk, &want[chunk]);
    }
    bench_destroy(&b);
}

static void expect_same(const char *what, const variant *v, int ep, int chunk, const real *got,
                        const real *want, int64_t n) {
    double off = 0, size = 1e-30;
    for (int64_t i = 0; i < n; i++) {
        off = fmax(off, fabs((double)got[i] - (double)want[i]));
        size = fmax(size, fabs((double)want[i]));
    }
    const bool same = n == 0 || memcmp(got, want, (size_t)n * sizeof *got) == 0;
    EXPECT(v->exact ? same : off <= 1e-5 * size,
           "%s, (%d,%d), rank %d: %s of chunk %d is off by %g of %g", v->name, ranks, ep, rank,
           what, chunk, off, size);
}

/* got: a gradient of this rank's experts; all: of all experts, as the one-rank table has them. */
static void expect_experts(const moe_bench *b, const variant *v, int ep, int chunk, const real *got,
                           const real *all) {
    const int64_t each = b->experts.elements / b->c.local_experts; /* tables are regular */
    expect_same("the experts' gradient", v, ep, chunk, got, all + b->c.first_expert * each,
                b->experts.elements);
}

/* The gradients of one micro-step: by source when exact, else their sum. */
static void check_gradients(const moe_bench *b, const variant *v, int ep, int micro,
                            const result want[CHUNKS]) {
    static real sum[E * 3 * (D * F + PARAM_ALIGN)];
    const int each = CHUNKS / ranks, leader = rank / ep * ep;
    const int64_t n = b->experts.elements * ep;
    memset(sum, 0, sizeof sum);
    for (int source = 0; source < ep; source++) {
        const int chunk = (leader + source) * each + micro;
        if (v->exact)
            expect_experts(b, v, ep, chunk, b->gradient[source], want[chunk].d_experts);
        for (int64_t i = 0; i < n; i++)
            sum[i] += want[chunk].d_experts[i];
    }
    if (!v->exact)
        expect_experts(b, v, ep, micro, b->gradient[0], sum);
}

static void check_layout(const variant *v, int ep, const result want[CHUNKS]) {
    static moe_bench b;
    static result got;
    MPI_Comm group = MPI_COMM_NULL;
    MPI_TRY(MPI_Comm_split(MPI_COMM_WORLD, rank / ep, rank, &group));
    make_bench(&b, v, rank % ep, ep);
    bench_try(&b, exchange_create(&b.run.exchange, group, moe_lanes(&b.c), &b.err));
    for (int source = 0; source < ep; source++)
        b.gradient[source] = bench_zeros(b.experts.elements, sizeof(real));
    for (int micro = 0; micro < CHUNKS / ranks; micro++) {
        const int chunk = rank * (CHUNKS / ranks) + micro;
        for (int source = 0; source < ep; source++)
            memset(b.gradient[source], 0, (size_t)b.experts.elements * sizeof(real));
        run_chunk(&b, chunk, &got);
        const int64_t n = TOKENS[chunk] * D;
        expect_same("y", v, ep, chunk, got.y, want[chunk].y, n);
        expect_same("d_x", v, ep, chunk, got.d_x, want[chunk].d_x, n);
        expect_same("the router's gradient", v, ep, chunk, got.d_router, want[chunk].d_router,
                    E * D);
        check_gradients(&b, v, ep, micro, want);
    }
    for (int source = 0; source < ep; source++)
        free(b.gradient[source]);
    exchange_destroy(b.run.exchange);
    MPI_TRY(MPI_Comm_free(&group));
    bench_destroy(&b);
}

int main(int argc, char **argv) {
    MPI_Init(&argc, &argv);
    rank = comm_rank(MPI_COMM_WORLD);
    ranks = comm_size(MPI_COMM_WORLD);
    log_set_rank(rank);
    for (size_t i = 0; i < sizeof VARIANTS / sizeof VARIANTS[0]; i++) {
        static result want[CHUNKS];
        const variant *v = &VARIANTS[i];
        if (v->bf16 && sizeof(real) == sizeof(double))
            continue;
        run_alone(v, want);
        for (int ep = 1; ep <= ranks; ep *= 2)
            check_layout(v, ep, want);
        for (int chunk = 0; chunk < CHUNKS; chunk++)
            free(want[chunk].d_experts);
    }
    int failures = test_end(), worst = 0;
    MPI_TRY(MPI_Allreduce(&failures, &worst, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD));
    MPI_Finalize();
    return worst;
}
