#include "src/optim/optimizer.h"

#include "parallel/agree.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

status optimizer_create(optimizer *o, MPI_Comm comm, params *p, error *err) {
    *o = (optimizer){.rule = {0.9, 0.999, 1e-8, 0}, .params = p};
    for (int g = 0; g < GROUP_COUNT; g++)
        o->group_rate[g] = 1;
    TRY(shard_create(&o->shard, comm, p->elements, sizeof(real), err));
    params_reserve(p, o->shard.storage);
    return STATUS_OK;
}

/* Index of the tensor that holds element `global`, or of the next one if it lies in a gap. */
static int64_t tensor_at(const params *p, int64_t global) {
    int64_t low = 0, high = p->count;
    while (low < high) {
        const int64_t middle = (low + high) / 2;
        const param *t = &p->table[middle];
        if (t->offset + t->elements <= global)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Cuts one owned block at tensor borders; counts only when `out` is NULL. */
static int64_t cut_block(const optimizer *o, int64_t local, optimizer_segment *out) {
    const params *p = o->params;
    const int64_t first = shard_global_index(&o->shard, local), last = first + o->shard.block;
    int64_t count = 0;
    for (int64_t t = tensor_at(p, first); t < p->count && p->table[t].offset < last; t++) {
        const param *tensor = &p->table[t];
        const int64_t end = tensor->offset + tensor->elements;
        const int64_t from = tensor->offset > first ? tensor->offset : first;
        const int64_t to = end < last ? end : last;
        if (from >= to)
            continue;
        if (out != NULL)
            out[count] =
                (optimizer_segment){t, from - tensor->offset, local + from - first, to - from};
        count++;
    }
    return count;
}

static int64_t cut_part(const optimizer *o, optimizer_segment *out) {
    int64_t count = 0;
    for (int64_t local = 0; local < o->shard.local; local += o->shard.block)
        count += cut_block(o, local, out == NULL ? NULL : out + count);
    return count;
}

status optimizer_start(optimizer *o, error *err) {
    const size_t n = (size_t)o->shard.local + 1;
    o->segments = cut_part(o, NULL);
    o->segment = malloc(((size_t)o->segments + 1) * sizeof *o->segment);
    o->gradient = calloc(n, sizeof(real));
    o->value = calloc(n, sizeof(real));
    o->m = calloc(n, sizeof(real));
    o->v = calloc(n, sizeof(real));
    status code = STATUS_OK;
    if (!o->segment || !o->gradient || !o->value || !o->m || !o->v)
        code = error_set(err, STATUS_FAILED,
                         "no memory for the optimizer: %zu bytes asked for; more ranks need less "
                         "each",
                         4 * n * sizeof(real));
    TRY(agree(o->shard.comm, code, err));
    cut_part(o, o->segment);
    for (int64_t i = 0; i < o->segments; i++) {
        const optimizer_segment *s = &o->segment[i];
        const param *tensor = &o->params->table[s->param];
        memcpy(o->value + s->local, o->params->value + tensor->offset + s->param_offset,
               (size_t)s->count * sizeof(real));
    }
    return STATUS_OK;
}

void optimizer_destroy(optimizer *o) {
    free(o->segment);
    free(o->gradient);
    free(o->value);
    free(o->m);
    free(o->v);
    shard_destroy(&o->shard);
    *o = (optimizer){0};
}

static void update_segment(optimizer *o, const optimizer_segment *s, double lr, double scale) {
    const param *tensor = &o->params->table[s->param];
    if (o->params->frozen[tensor->group])
        return;
    adamw_update(&o->rule, o->steps, lr * o->group_rate[tensor->group], scale, s->count,
                 o->gradient + s->local, o->value + s->local, o->m + s->local, o->v + s->local);
}

optimizer_report optimizer_step(optimizer *o, const real *gradient, double lr, double clip) {
    shard_reduce(&o->shard, gradient, o->gradient);
    const double norm = sqrt(shard_sum_squares(&o->shard, o->gradient));
    if (!isfinite(norm)) /* the same number on every rank */
        return (optimizer_report){norm, true};
    o->steps++;
    const double scale = clip > 0 && norm > clip ? clip / norm : 1;
    for (int64_t i = 0; i < o->segments; i++)
        update_segment(o, &o->segment[i], lr, scale);
    shard_gather(&o->shard, o->value, o->params->value);
    params_refresh(o->params);
    return (optimizer_report){norm, false};
}
