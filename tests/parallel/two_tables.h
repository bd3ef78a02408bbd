/* A model of two params tables for tests of what shares them: one held by all ranks, with a frozen
 * front and a frozen tensor further on, and one of experts; on a layout of `ranks` ranks in expert
 * groups of `ep`. Gradients are those of the chunks of a batch: each rank has the tree's sum over
 * its own chunks, or for its experts over the chunks of its group, as in training. */
#ifndef SEPIT_TESTS_TWO_TABLES_H
#define SEPIT_TESTS_TWO_TABLES_H

#include "parallel/agree.h"
#include "parallel/tree.h"
#include "src/base/rng.h"
#include "src/optim/optimizer.h"
#include "tests/test.h"

enum { TWO_ROWS = 37, TWO_COLS = 451, TWO_LAYERS = 2, TWO_STEPS = 3, TWO_SEED = 5 };

typedef struct two_tables {
    MPI_Comm world, data; /* data: the ranks that hold the same experts */
    int ranks, rank, ep;
    int64_t E, local;
    params dense, experts;
    share_table table[SHARE_TABLES];
    optimizer optimizer;
    real *gradient[SHARE_TABLES];
} two_tables;

static inline void two_tensor(params *p, const char *name, param_group group) {
    char bias[PARAM_NAME];
    params_declare(p, name, TWO_ROWS, TWO_COLS, group);
    params_set_init(p, INIT_NORMAL, 1, 0);
    snprintf(bias, sizeof bias, "%s.bias", name);
    params_declare_vector(p, bias, 5, group);
    params_set_init(p, INIT_NORMAL, 1, 0);
}

static inline void two_declare(params *dense, params *experts, int64_t first, int64_t local) {
    params_init(dense);
    params_init(experts);
    two_tensor(dense, "encoder.a", GROUP_ENCODER);
    two_tensor(dense, "encoder.b", GROUP_ENCODER);
    two_tensor(dense, "projector", GROUP_PROJECTOR);
    two_tensor(dense, "structure", GROUP_STRUCTURE); /* frozen between trained ones */
    two_tensor(dense, "llm", GROUP_LLM);
    for (int64_t e = first; e < first + local; e++) {
        params_align(experts, SHARD_SUM_BLOCK);
        for (int layer = 0; layer < TWO_LAYERS; layer++)
            for (int kind = 0; kind < 2; kind++) {
                char name[PARAM_NAME];
                snprintf(name, sizeof name, "model.layers.%d.mlp.experts.%lld.%s.weight", layer,
                         (long long)e, kind == 0 ? "gate_proj" : "down_proj");
                params_declare(experts, name, TWO_COLS - layer, TWO_ROWS, GROUP_LLM);
                params_set_expert(experts, e);
                params_set_init(experts, INIT_NORMAL, 1, 0);
            }
    }
    dense->frozen[GROUP_ENCODER] = dense->frozen[GROUP_STRUCTURE] = true;
}

static inline void two_draw(params *p) {
    error err = {0};
    EXPECT(params_allocate(p, false, &err) == STATUS_OK, "%s", err.text);
    params_draw(p, TWO_SEED);
}

/* Collective on comm, which has a multiple of ep ranks. encoder: whether it is trained, too. */
static inline void two_create(two_tables *m, MPI_Comm comm, int ep, int64_t E, bool encoder) {
    error err = {0};
    *m = (two_tables){.world = comm, .ep = ep, .E = E, .local = E / ep};
    m->ranks = comm_size(comm);
    m->rank = comm_rank(comm);
    MPI_Comm_split(comm, m->rank % ep, m->rank, &m->data);
    two_declare(&m->dense, &m->experts, m->rank % ep * m->local, m->local);
    if (encoder)
        m->dense.frozen[GROUP_ENCODER] = false;
    m->table[0] = (share_table){&m->dense, comm, 0};
    m->table[1] = (share_table){&m->experts, m->data, E};
    EXPECT(optimizer_create(&m->optimizer, m->table, 2, &err) == STATUS_OK, "%s", err.text);
    m->optimizer.group_rate[GROUP_PROJECTOR] = 10;
    for (int t = 0; t < 2; t++) {
        const params *p = m->table[t].params;
        two_draw(m->table[t].params);
        m->gradient[t] = calloc((size_t)(p->storage - p->gradient_from) + 1, sizeof(real));
    }
}

static inline void two_destroy(two_tables *m) {
    optimizer_destroy(&m->optimizer);
    for (int t = 0; t < 2; t++) {
        free(m->gradient[t]);
        params_destroy(m->table[t].params);
    }
    MPI_Comm_free(&m->data);
}

/* Where a tensor's numbers come from: cheap, for there are many; and with sums over chunks that
 * stay far from zero, where AdamW would show round-off as a whole step. */
static inline uint64_t two_key(const param *tensor, int step, int chunk) {
    return rng_below(rng_key_make((uint64_t)(step * 100 + chunk), tensor->name), 0, 0, 1U << 31)
           << 32;
}

static inline real two_gradient_at(uint64_t key, int64_t i) {
    uint64_t x = (key ^ (uint64_t)i) * 0x9E3779B97F4A7C15U;
    x = (x ^ x >> 29) * 0xBF58476D1CE4E5B9U;
    const double size = (double)(x >> 40) / (double)(1 << 24) - 0.05;
    return (real)(i % 3 == 0 ? -size : size);
}

/* The sum over chunks [first, end) along the tree. */
static inline void two_sum_chunks(const params *p, int step, int first, int end, real *gradient) {
    real *rows = malloc((size_t)((end - first) * p->elements + 1) * sizeof *rows);
    for (int64_t t = 0; t < p->count; t++) {
        const param *tensor = &p->table[t];
        const int64_t n = tensor->elements;
        if (p->frozen[tensor->group])
            continue;
        for (int c = first; c < end; c++) {
            const uint64_t key = two_key(tensor, step, c);
            for (int64_t i = 0; i < n; i++)
                rows[(c - first) * n + i] = two_gradient_at(key, i);
        }
        tree_sum_rows(rows, end - first, n, sizeof(real));
        memcpy(gradient + tensor->offset - p->gradient_from, rows, (size_t)n * sizeof *rows);
    }
    free(rows);
}

/* Begins to sum the gradient, of which nothing but garbage is there at first, and releases it
 * tensor by tensor, each rank in pieces of its own. */
static inline void two_release(two_tables *m, int t) {
    const params *p = m->table[t].params;
    const int64_t storage = p->storage - p->gradient_from;
    real *gradient = m->gradient[t], *done = malloc((size_t)(storage + 1) * sizeof *done);
    memcpy(done, gradient, (size_t)storage * sizeof *done);
    for (int64_t i = 0; i < storage; i++)
        gradient[i] = (real)1e9;
    optimizer_reduce_begin(&m->optimizer, t, gradient);
    int64_t end = storage;
    for (int64_t i = p->count - 1; end > 0; i -= 1 + m->rank % 3) {
        const int64_t element = i < 0 ? p->gradient_from : p->table[i].offset;
        const int64_t first = element > p->gradient_from ? element - p->gradient_from : 0;
        memcpy(gradient + first, done + first, (size_t)(end - first) * sizeof *done);
        end = first;
        optimizer_reduce_ready(&m->optimizer, t, element);
        optimizer_progress(&m->optimizer);
    }
    free(done);
}

/* Steps count from 1; `chunks` is a multiple of the ranks. In odd steps the sums are released in
 * pieces. */
static inline optimizer_report two_step(two_tables *m, int step, int chunks) {
    const int each = chunks / m->ranks, group = m->rank / m->ep * m->ep;
    two_sum_chunks(&m->dense, step, m->rank * each, (m->rank + 1) * each, m->gradient[0]);
    two_sum_chunks(&m->experts, step, group * each, (group + m->ep) * each, m->gradient[1]);
    for (int t = 0; t < 2 && step % 2 == 1; t++)
        two_release(m, t);
    const real *const gradient[] = {m->gradient[0], m->gradient[1]};
    return optimizer_step(&m->optimizer, gradient, 0.01, 0.5);
}

#endif
