#include "src/train/replicas.h"

#include "parallel/agree.h"
#include "parallel/guard.h"

#include <stdio.h>
#include <stdlib.h>

/* Some ranks of the world: rank i of comm is its rank first + i·stride. */
typedef struct holders {
    MPI_Comm comm;
    int first, stride;
} holders;

/* Whether all holders have the same n hashes; else *found names the rank as the world counts it. */
static bool compare(const holders *h, const uint64_t *hash, int64_t n, guard_difference *found) {
    const bool same = guard_compare(h->comm, hash, n, found);
    found->rank = h->first + found->rank * h->stride;
    return same;
}

/* STATUS_FAILED on all holders when one of them has another table. */
static status compare_table(const holders *h, const params *p, error *err) {
    uint64_t *hash = malloc((size_t)(p->count + 1) * sizeof *hash);
    CHECK(hash != NULL, "No memory for %lld hashes.", (long long)p->count);
    for (int64_t i = 0; i < p->count; i++)
        hash[i] = guard_hash(param_value(p, i), (size_t)p->table[i].elements * sizeof(real), 0);
    guard_difference found;
    char what[PARAM_NAME + 16];
    status code = STATUS_OK;
    if (!compare(h, hash, p->count, &found)) {
        snprintf(what, sizeof what, "tensor %s", p->table[found.item].name);
        code = guard_refuse(&found, what, err);
    }
    free(hash);
    return code;
}

status replicas_compare(const trainer *t, error *err) {
    const grid *g = &t->grid;
    const holders world = {t->comm, 0, 1}, group = {g->expert_group, g->rank - g->member, 1},
                  data = {g->expert_data, g->member, g->ep};
    const uint64_t calls = optimizer_schedule(&t->optimizer);
    guard_difference found;
    if (!compare(&world, &calls, 1, &found))
        return guard_refuse(&found, "the sequence of collective calls", err);
    TRY(compare_table(&world, &t->model.params, err));
    if (t->experts.layers == 0)
        return STATUS_OK;
    status code = STATUS_OK;
    if (t->experts.run.exchange != NULL) {
        const uint64_t exchanged = exchange_schedule(t->experts.run.exchange);
        if (!compare(&group, &exchanged, 1, &found))
            code = guard_refuse(&found, "the sequence of exchanges in an expert group", err);
    }
    TRY(agree(t->comm, code, err));
    return agree(t->comm, compare_table(&data, &t->model.experts, err), err);
}
