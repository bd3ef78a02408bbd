// TEST np=1,2,3,4 timeout=60 mode=release,double,asan
/* optimizer: five steps on R ranks against AdamW written out over the whole model in double
 * (Loshchilov and Hutter 2019, algorithm 2), with clipping, group rates and a frozen group. */
#include "parallel/agree.h"
#include "src/base/rng.h"
#include "src/optim/optimizer.h"
#include "tests/test.h"

enum { ROWS = 70, COLS = 613, VECTOR = 5 };

static double gradient_at(int step, int rank, int64_t i) {
    return rng_normal(rng_key_make((uint64_t)(step * 100 + rank), "gradient"), (uint64_t)i, 0);
}

static void declare(params *p) {
    params_init(p);
    const param_group groups[] = {GROUP_ENCODER, GROUP_PROJECTOR, GROUP_LLM};
    const char *const names[] = {"a", "b", "c"};
    for (int t = 0; t < 3; t++) {
        params_declare(p, names[t], ROWS, COLS, groups[t]);
        params_set_init(p, INIT_NORMAL, 1, 0);
        char vector[8];
        snprintf(vector, sizeof vector, "%s.bias", names[t]);
        params_declare_vector(p, vector, VECTOR, groups[t]);
    }
}

/* The slow twin: whole arrays, all ranks' gradients recomputed. */
static void twin_step(const params *p, int ranks, int step, double *w, double *m, double *v) {
    double *g = calloc((size_t)p->elements, sizeof *g), norm = 0;
    for (int64_t t = 0; t < p->count; t++)
        for (int64_t i = p->table[t].offset; i < p->table[t].offset + p->table[t].elements; i++) {
            for (int r = 0; r < ranks && !p->frozen[p->table[t].group]; r++)
                g[i] += (real)gradient_at(step, r, i);
            norm += g[i] * g[i];
        }
    norm = sqrt(norm);
    for (int64_t t = 0; t < p->count; t++) {
        const double rate = p->table[t].group == GROUP_PROJECTOR ? 0.1 : 0.01;
        for (int64_t i = p->table[t].offset; i < p->table[t].offset + p->table[t].elements; i++) {
            if (p->frozen[p->table[t].group])
                continue;
            const double x = g[i] / norm * 0.5;
            m[i] = 0.9 * m[i] + 0.1 * x;
            v[i] = 0.999 * v[i] + 0.001 * x * x;
            w[i] -=
                rate * (m[i] / (1 - pow(0.9, step))) / (sqrt(v[i] / (1 - pow(0.999, step))) + 1e-8);
        }
    }
    free(g);
}

int main(int argc, char **argv) {
    MPI_Init(&argc, &argv);
    const int rank = comm_rank(MPI_COMM_WORLD), ranks = comm_size(MPI_COMM_WORLD);
    params p;
    optimizer o;
    error err = {0};
    declare(&p);
    EXPECT(optimizer_create(&o, MPI_COMM_WORLD, &p, &err) == STATUS_OK, "%s", err.text);
    EXPECT(params_allocate(&p, false, &err) == STATUS_OK, "%s", err.text);
    params_draw(&p, 5);
    p.frozen[GROUP_ENCODER] = true;
    o.group_rate[GROUP_PROJECTOR] = 10;
    EXPECT(optimizer_start(&o, &err) == STATUS_OK, "%s", err.text);

    const size_t n = (size_t)p.elements;
    double *w = calloc(n, sizeof *w), *m = calloc(n, sizeof *m), *v = calloc(n, sizeof *v);
    real *gradient = calloc((size_t)p.storage, sizeof *gradient);
    for (size_t i = 0; i < n; i++)
        w[i] = (double)p.value[i];
    for (int step = 1; step <= 5; step++) {
        for (int64_t t = 0; t < p.count; t++)
            for (int64_t i = p.table[t].offset; i < p.table[t].offset + p.table[t].elements; i++)
                gradient[i] = p.frozen[p.table[t].group] ? 0 : (real)gradient_at(step, rank, i);
        const optimizer_report report = optimizer_step(&o, gradient, 0.01, 0.5);
        EXPECT(!report.skipped);
        twin_step(&p, ranks, step, w, m, v);
    }
    double worst = 0;
    for (size_t i = 0; i < n; i++)
        worst = fmax(worst, fabs((double)p.value[i] - w[i]));
    EXPECT(worst < 200 * (double)REAL_EPSILON, "largest difference %g", worst);

    gradient[0] = (real)NAN;
    gradient[p.table[2].offset] = (real)INFINITY;
    const real before = p.value[p.table[2].offset + 1];
    EXPECT(optimizer_step(&o, gradient, 0.01, 0.5).skipped && o.steps == 5);
    EXPECT(p.value[p.table[2].offset + 1] == before, "a skipped step changed a weight");
    free(w);
    free(m);
    free(v);
    free(gradient);
    optimizer_destroy(&o);
    params_destroy(&p);
    MPI_Finalize();
    return test_end();
}
