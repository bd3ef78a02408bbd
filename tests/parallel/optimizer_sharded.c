// TEST np=1,2,3,4 timeout=60 mode=release,double,asan
/* optimizer: steps on R ranks, with experts spread over groups of every possible size, against
 * AdamW written out over the whole model in double (Loshchilov and Hutter 2019, algorithm 2), with
 * clipping, group rates, a frozen front and a frozen tensor further on. */
#include "tests/parallel/two_tables.h"

enum { CHUNKS = 12 };

/* The slow twin of one table: whole arrays, all chunks' gradients recomputed. */
typedef struct twin {
    params p;
    double *g, *w, *m, *v;
} twin;

static void twin_create(twin *a) {
    a->p.gradient_from = 0;
    two_draw(&a->p);
    const size_t n = (size_t)a->p.elements;
    a->g = calloc(n, sizeof(double));
    a->w = calloc(n, sizeof(double));
    a->m = calloc(n, sizeof(double));
    a->v = calloc(n, sizeof(double));
    for (size_t i = 0; i < n; i++)
        a->w[i] = (double)a->p.value[i];
}

static void twin_destroy(twin *a) {
    free(a->g);
    free(a->w);
    free(a->m);
    free(a->v);
    params_destroy(&a->p);
}

/* Returns the sum of squares. */
static double twin_gradient(twin *a, int step) {
    double squares = 0;
    memset(a->g, 0, (size_t)a->p.elements * sizeof *a->g);
    for (int64_t t = 0; t < a->p.count; t++) {
        const param *tensor = &a->p.table[t];
        double *g = a->g + tensor->offset;
        for (int c = 0; c < CHUNKS && !a->p.frozen[tensor->group]; c++) {
            const uint64_t key = two_key(tensor, step, c);
            for (int64_t i = 0; i < tensor->elements; i++)
                g[i] += (double)two_gradient_at(key, i);
        }
        for (int64_t i = 0; i < tensor->elements; i++)
            squares += g[i] * g[i];
    }
    return squares;
}

static void twin_update(twin *a, int step, double scale) {
    for (int64_t t = 0; t < a->p.count; t++) {
        const param *tensor = &a->p.table[t];
        const double rate = tensor->group == GROUP_PROJECTOR ? 0.1 : 0.01;
        const double correct_m = 1 - pow(0.9, step), correct_v = 1 - pow(0.999, step);
        for (int64_t i = tensor->offset; i < tensor->offset + tensor->elements; i++) {
            if (a->p.frozen[tensor->group])
                continue;
            const double x = a->g[i] * scale;
            a->m[i] = 0.9 * a->m[i] + 0.1 * x;
            a->v[i] = 0.999 * a->v[i] + 0.001 * x * x;
            a->w[i] -= rate * (a->m[i] / correct_m) / (sqrt(a->v[i] / correct_v) + 1e-8);
        }
    }
}

/* Largest difference of a table's values to the twin's, by name. */
static double worst_difference(const params *p, const twin *a) {
    double worst = 0;
    for (int64_t t = 0; t < p->count; t++) {
        const param *tensor = &p->table[t];
        const int64_t at = params_find(&a->p, tensor->name);
        EXPECT(at >= 0, "%s", tensor->name);
        const double *want = a->w + a->p.table[at].offset;
        for (int64_t i = 0; i < tensor->elements; i++)
            worst = fmax(worst, fabs((double)p->value[tensor->offset + i] - want[i]));
    }
    return worst;
}

/* The frozen front costs nothing, and one rank keeps no sums of its own. */
static void check_memory(const two_tables *m) {
    const params *p = &m->dense;
    const int64_t first = p->table[params_find(p, "projector")].offset;
    const shard *s = &m->optimizer.trained[0].share.shard;
    EXPECT(p->gradient_from == first && s->elements == p->elements - first);
    EXPECT(p->storage == first + s->storage);
    EXPECT((m->optimizer.trained[0].gradient == NULL) == (m->ranks == 1));
    EXPECT((m->optimizer.trained[1].gradient == NULL) == (m->ranks == m->ep));
    const double whole = (double)(s->storage + m->optimizer.trained[1].share.shard.storage);
    if (m->ranks == 1)
        EXPECT(optimizer_bytes(&m->optimizer) == 2 * whole * (double)sizeof(real));
}

/* A gradient that is not finite, in either table and on one rank, changes nothing anywhere. */
static void check_skip(two_tables *m) {
    const size_t n[] = {(size_t)m->dense.elements, (size_t)m->experts.elements};
    for (int bad = 0; bad < 2; bad++) {
        real *before[2];
        for (int t = 0; t < 2; t++) {
            before[t] = malloc(n[t] * sizeof(real));
            memcpy(before[t], m->table[t].params->value, n[t] * sizeof(real));
        }
        const real good = m->gradient[bad][3];
        if (m->rank == m->ranks - 1)
            m->gradient[bad][3] = (real)NAN;
        const real *const gradient[] = {m->gradient[0], m->gradient[1]};
        const optimizer_report report = optimizer_step(&m->optimizer, gradient, 0.01, 0.5);
        EXPECT(report.skipped && m->optimizer.steps == TWO_STEPS);
        m->gradient[bad][3] = good;
        for (int t = 0; t < 2; t++) {
            EXPECT(memcmp(before[t], m->table[t].params->value, n[t] * sizeof(real)) == 0,
                   "a skipped step changed table %d", t);
            free(before[t]);
        }
    }
}

static void check_schedule(const two_tables *m) {
    const uint64_t mine = optimizer_schedule(&m->optimizer);
    uint64_t first = mine;
    MPI_Bcast(&first, 1, MPI_UINT64_T, 0, m->world);
    EXPECT(mine == first, "the schedules differ");
}

static void check_layout(int ep, int64_t E) {
    two_tables m;
    twin dense = {0}, experts = {0};
    two_create(&m, MPI_COMM_WORLD, ep, E, false);
    two_declare(&dense.p, &experts.p, 0, E);
    twin_create(&dense);
    twin_create(&experts);
    check_memory(&m);
    /* CHUNKS numbers are summed in `real`, and the twin adds its squares one by one. */
    const double bound = CHUNKS * (double)REAL_EPSILON +
                         (double)(dense.p.elements + experts.p.elements) * DBL_EPSILON;
    for (int step = 1; step <= TWO_STEPS; step++) {
        const optimizer_report report = two_step(&m, step, CHUNKS);
        const double norm = sqrt(twin_gradient(&dense, step) + twin_gradient(&experts, step));
        EXPECT(!report.skipped && fabs(report.norm / norm - 1) < bound,
               "ep %d: norm %.17g, want %.17g", ep, report.norm, norm);
        twin_update(&dense, step, 0.5 / norm);
        twin_update(&experts, step, 0.5 / norm);
    }
    const double a = worst_difference(&m.dense, &dense);
    const double b = worst_difference(&m.experts, &experts);
    EXPECT(a < 200 * (double)REAL_EPSILON && b < 200 * (double)REAL_EPSILON,
           "ep %d: largest differences %g and %g", ep, a, b);
    check_skip(&m);
    check_schedule(&m);
    twin_destroy(&dense);
    twin_destroy(&experts);
    two_destroy(&m);
}

int main(int argc, char **argv) {
    MPI_Init(&argc, &argv);
    const int ranks = comm_size(MPI_COMM_WORLD);
    for (int ep = 1; ep <= ranks; ep++)
        if (ranks % ep == 0)
            check_layout(ep, ep == 3 ? 3 : 4);
    MPI_Finalize();
    return test_end();
}
