#include "src/nn/share.h"

#include "parallel/agree.h"

#include <stdlib.h>

int64_t share_local_experts(const share_table *table) {
    const params *p = table->params;
    if (table->experts == 0 || p->count == 0)
        return 0;
    return p->table[p->count - 1].expert - p->table[0].expert + 1;
}

int64_t share_first_expert(const share_table *table) {
    return share_local_experts(table) == 0 ? 0 : table->params->table[0].expert;
}

/* Index of the tensor that holds element `at`, or of the next one if it lies in a gap. */
static int64_t tensor_at(const params *p, int64_t at) {
    int64_t low = 0, high = p->count;
    while (low < high) {
        const int64_t middle = (low + high) / 2;
        const param *t = &p->table[middle];
        if (t->offset + t->elements <= at)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Cuts one owned block at the borders of tensors; counts only when `out` is NULL. */
static int64_t cut_block(const share_part *s, int64_t local, share_segment *out) {
    const params *p = s->params;
    const int64_t end_of_range = s->first + s->shard.elements;
    const int64_t first = s->first + shard_global_index(&s->shard, local);
    const int64_t last =
        first + s->shard.block < end_of_range ? first + s->shard.block : end_of_range;
    int64_t count = 0;
    for (int64_t t = tensor_at(p, first); t < p->count && p->table[t].offset < last; t++) {
        const param *tensor = &p->table[t];
        const int64_t end = tensor->offset + tensor->elements;
        const int64_t from = tensor->offset > first ? tensor->offset : first;
        const int64_t to = end < last ? end : last;
        if (from >= to)
            continue;
        if (out != NULL)
            out[count] = (share_segment){t, from - tensor->offset, local + from - first, to - from};
        count++;
    }
    return count;
}

static int64_t cut_part(const share_part *s, share_segment *out) {
    int64_t count = 0;
    for (int64_t local = 0; local < s->shard.local; local += s->shard.block)
        count += cut_block(s, local, out == NULL ? NULL : out + count);
    return count;
}

status share_create(share_part *s, const share_table *table, int64_t first, int64_t end,
                    error *err) {
    *s = (share_part){.params = table->params, .first = first};
    TRY(shard_create(&s->shard, table->comm, end - first, sizeof(real), err));
    s->segments = cut_part(s, NULL);
    s->segment = malloc(((size_t)s->segments + 1) * sizeof *s->segment);
    status code = STATUS_OK;
    if (s->segment == NULL)
        code = error_set(err, STATUS_FAILED, "no memory for the table of %lld stretches of tensors",
                         (long long)s->segments);
    code = agree(table->comm, code, err);
    if (code == STATUS_OK)
        cut_part(s, s->segment);
    else
        share_destroy(s);
    return code;
}

void share_destroy(share_part *s) {
    free(s->segment);
    shard_destroy(&s->shard);
    *s = (share_part){0};
}

const param *share_param(const share_part *s, const share_segment *segment) {
    return &s->params->table[segment->param];
}

real *share_value(const share_part *s, const share_segment *segment) {
    return s->params->value + share_param(s, segment)->offset + segment->param_offset;
}

void share_gather(share_part *s) {
    shard_gather(&s->shard, s->params->value + s->first);
}
