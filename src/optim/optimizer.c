#include "src/optim/optimizer.h"

#include "parallel/agree.h"
#include "parallel/tree.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

double optimizer_arrays(int ranks) {
    return ranks == 1 ? 2 : 3.0 / ranks;
}

/* ---- setting up ------------------------------------------------------------------------------ */

static status allocate_moments(optimizer_part *part, error *err) {
    const size_t n = (size_t)part->share.shard.local + 1;
    const bool alone = part->share.shard.ranks == 1;
    part->m = calloc(n, sizeof(real));
    part->v = calloc(n, sizeof(real));
    part->gradient = alone ? NULL : calloc(n, sizeof(real));
    if (part->m == NULL || part->v == NULL || (part->gradient == NULL && !alone))
        return error_set(err, STATUS_FAILED,
                         "no memory for the optimizer: %zu bytes asked for; more ranks need less "
                         "each",
                         (alone ? 2 : 3) * n * sizeof(real));
    return STATUS_OK;
}

/* Splits the table into its frozen front and the rest. The caller agrees. */
static status create_parts(optimizer *o, int t, error *err) {
    params *p = o->table[t].params;
    const int64_t first = params_first_trained(p);
    optimizer_part *part = &o->trained[t];
    TRY(share_create(&o->frozen[t], &o->table[t], 0, first, err));
    TRY(share_create(&part->share, &o->table[t], first, p->elements, err));
    p->gradient_from = first;
    params_reserve(p, first + part->share.shard.storage);
    return allocate_moments(part, err);
}

/* The blocks of an expert, after a check that they are its own: the pieces of all ranks in order
 * are then the array of all experts. */
static int64_t blocks_of_expert(const optimizer *o, int t) {
    const params *p = o->table[t].params;
    const int64_t local = share_local_experts(&o->table[t]);
    const int64_t blocks = shard_sum_blocks(&o->trained[t].share.shard);
    if (local == 0 || blocks == 0)
        return 0;
    CHECK(o->trained[t].share.first == 0, "An experts' table is frozen in part.");
    CHECK(blocks % local == 0 && p->count % local == 0, "The experts are not of one size.");
    for (int64_t e = 0; e < local; e++)
        CHECK(p->table[e * (p->count / local)].offset == e * (blocks / local) * SHARD_SUM_BLOCK,
              "Expert %lld does not begin with a block of its own.", (long long)e);
    return blocks / local;
}

/* Where each table's blocks lie in the model's one list. */
static status place_blocks(optimizer *o, error *err) {
    int64_t place[SHARE_TABLES] = {0};
    for (int t = 0; t < o->tables; t++) {
        const share_table *table = &o->table[t];
        const int64_t each = blocks_of_expert(o, t);
        place[t] = o->blocks + each * share_first_expert(table);
        o->blocks += table->experts > 0 ? each * table->experts
                                        : shard_sum_blocks(&o->trained[t].share.shard);
    }
    o->squares = calloc((size_t)o->blocks + 1, sizeof *o->squares);
    if (o->squares == NULL)
        return error_set(err, STATUS_FAILED, "no memory for the sums of %lld blocks",
                         (long long)o->blocks);
    for (int t = 0; t < o->tables; t++)
        o->trained[t].squares = o->squares + place[t];
    return STATUS_OK;
}

status optimizer_create(optimizer *o, const share_table *table, int tables, error *err) {
    CHECK(tables > 0 && tables <= SHARE_TABLES);
    *o = (optimizer){.rule = {0.9, 0.999, 1e-8, 0}, .tables = tables};
    for (int g = 0; g < GROUP_COUNT; g++)
        o->group_rate[g] = 1;
    for (int t = 0; t < tables; t++) {
        o->table[t] = table[t];
        TRY(agree(table[0].comm, create_parts(o, t, err), err));
    }
    return agree(table[0].comm, place_blocks(o, err), err);
}

void optimizer_destroy(optimizer *o) {
    for (int t = 0; t < o->tables; t++) {
        free(o->trained[t].gradient);
        free(o->trained[t].m);
        free(o->trained[t].v);
        share_destroy(&o->trained[t].share);
        share_destroy(&o->frozen[t]);
    }
    free(o->squares);
    *o = (optimizer){0};
}

double optimizer_bytes(const optimizer *o) {
    double bytes = 0;
    for (int t = 0; t < o->tables; t++) {
        const shard *s = &o->trained[t].share.shard;
        bytes += optimizer_arrays(s->ranks) * (double)s->storage * (double)sizeof(real);
    }
    return bytes;
}

/* ---- a step ---------------------------------------------------------------------------------- */

void optimizer_reduce_begin(optimizer *o, int table, const real *gradient) {
    optimizer_part *part = &o->trained[table];
    CHECK(part->sum == NULL, "The gradient of a table is summed twice in a step.");
    part->sum = part->gradient == NULL ? gradient : part->gradient;
    if (part->gradient != NULL)
        shard_reduce_begin(&part->share.shard, gradient, part->gradient);
}

void optimizer_reduce_ready(optimizer *o, int table, int64_t element) {
    optimizer_part *part = &o->trained[table];
    if (part->gradient != NULL)
        shard_reduce_ready(&part->share.shard,
                           element > part->share.first ? element - part->share.first : 0);
}

void optimizer_progress(optimizer *o) {
    for (int t = 0; t < o->tables; t++)
        shard_progress(&o->trained[t].share.shard);
}

/* Each block is filled in by the one rank of the world that owns it. */
static double global_norm(optimizer *o) {
    memset(o->squares, 0, (size_t)o->blocks * sizeof *o->squares);
    for (int t = 0; t < o->tables; t++)
        shard_block_squares(&o->trained[t].share.shard, o->trained[t].sum, o->trained[t].squares);
    return sqrt(tree_sum_shared(o->table[0].comm, o->squares, o->blocks));
}

static void update_part(optimizer *o, optimizer_part *part, double lr, double scale) {
    for (int64_t i = 0; i < part->share.segments; i++) {
        const share_segment *s = &part->share.segment[i];
        const param_group group = share_param(&part->share, s)->group;
        if (!part->share.params->frozen[group])
            adamw_update(&o->rule, o->steps, lr * o->group_rate[group], scale, s->count,
                         part->sum + s->local, share_value(&part->share, s), part->m + s->local,
                         part->v + s->local);
    }
    share_gather(&part->share);
    params_refresh(part->share.params);
}

optimizer_report optimizer_step(optimizer *o, const real *const gradient[], double lr,
                                double clip) {
    for (int t = 0; t < o->tables; t++)
        if (o->trained[t].sum == NULL)
            optimizer_reduce_begin(o, t, gradient[t]);
    for (int t = 0; t < o->tables; t++)
        if (o->trained[t].gradient != NULL)
            shard_reduce_end(&o->trained[t].share.shard);
    const double norm = global_norm(o);
    const bool finite = isfinite(norm) && isfinite(lr); /* the same numbers on every rank */
    const double scale = clip > 0 && norm > clip ? clip / norm : 1;
    o->steps += finite;
    for (int t = 0; t < o->tables; t++) {
        if (finite)
            update_part(o, &o->trained[t], lr, scale);
        o->trained[t].sum = NULL;
    }
    return (optimizer_report){norm, !finite};
}

uint64_t optimizer_schedule(const optimizer *o) {
    uint64_t hash = 0;
    for (int t = 0; t < o->tables; t++) {
        hash = hash * 0x100000001B3u ^ shard_schedule(&o->frozen[t].shard);
        hash = hash * 0x100000001B3u ^ shard_schedule(&o->trained[t].share.shard);
    }
    return hash;
}
