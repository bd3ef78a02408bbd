#include "io/checkpoint_saving.h"
#include "parallel/agree.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

int64_t checkpoint_tensor_bytes(const checkpoint_tensor *t) {
    return manifest_elements(t) * manifest_element_bytes(t->type);
}

/* ---- the table of tensors ---- */

int64_t checkpoint_saving_bytes(const saving *s) {
    int64_t bytes = 0;
    for (int64_t i = 0; i < s->slices; i++)
        bytes += s->slice[i].count * manifest_element_bytes(s->m.tensor[s->slice[i].tensor].type);
    return bytes;
}

/* Adds a tensor; with data, rank 0 writes the whole of it. */
static status add_tensor(saving *s, checkpoint_tensor t, const void *data, error *err) {
    int64_t bytes = 0;
    if (t.rank < 0 || t.rank > CHECKPOINT_RANK || !manifest_name_is_valid(t.name))
        return error_set(err, STATUS_INPUT,
                         "the tensor %s has a name or rank that a checkpoint cannot hold", t.name);
    const int64_t elements = manifest_elements(&t);
    if (elements < 0 || __builtin_mul_overflow(elements, manifest_element_bytes(t.type), &bytes))
        return error_set(err, STATUS_INPUT, "the shape of the tensor %s is not possible", t.name);
    const int64_t i = s->m.tensors;
    s->m.tensor[i] = t;
    s->m.tensor[i].name = strdup(t.name);
    s->m.tensors++;
    if (s->m.tensor[i].name == NULL)
        return error_set(err, STATUS_FAILED, "no memory for the table of tensors");
    if (data != NULL && s->rank == 0)
        s->slice[s->slices++] = (checkpoint_slice){i, 0, elements, data};
    return STATUS_OK;
}

static status fill_table(saving *s, const checkpoint_content *c, error *err) {
    for (int64_t i = 0; i < c->tensors; i++)
        TRY(add_tensor(s, c->tensor[i], NULL, err));
    for (int64_t i = 0; i < c->items; i++) {
        char name[2 * CHECKPOINT_NAME];
        snprintf(name, sizeof name, "/train/%s", c->item[i].name);
        const checkpoint_tensor item = {.name = name, .type = CHECKPOINT_I64};
        TRY(add_tensor(s, item, &c->item[i].value, err));
    }
    const checkpoint_tensor config = {
        .name = "/config", .type = CHECKPOINT_U8, .rank = 1, .shape = {(int64_t)strlen(c->config)}};
    return add_tensor(s, config, c->config, err);
}

static status check_slices(const saving *s, error *err) {
    for (int64_t i = 0; i < s->slices; i++) {
        const checkpoint_slice *slice = &s->slice[i];
        const bool known = slice->tensor >= 0 && slice->tensor < s->m.tensors;
        const int64_t elements = known ? manifest_elements(&s->m.tensor[slice->tensor]) : 0;
        if (!known || slice->first < 0 || slice->count < 0 || slice->first > elements ||
            slice->count > elements - slice->first)
            return error_set(err, STATUS_INPUT,
                             "slice %" PRId64 " (tensor %" PRId64 ", %" PRId64
                             " elements from %" PRId64 " on) lies outside its tensor",
                             i, slice->tensor, slice->count, slice->first);
    }
    return STATUS_OK;
}

status checkpoint_saving_plan(saving *s, const checkpoint_content *c, error *err) {
    const size_t tensors = (size_t)(c->tensors + c->items + 1);
    const size_t slices = (size_t)(c->slices + c->items + 1);
    s->m.step = c->step;
    s->m.tensor = calloc(tensors, sizeof *s->m.tensor);
    s->m.offset = calloc(tensors, sizeof *s->m.offset);
    s->m.digest = calloc(tensors, sizeof *s->m.digest);
    s->slice = calloc(slices, sizeof *s->slice);
    if (!s->m.tensor || !s->m.offset || !s->m.digest || !s->slice)
        return error_set(err, STATUS_FAILED, "no memory for the table of tensors");
    if (c->slices > 0)
        memcpy(s->slice, c->slice, (size_t)c->slices * sizeof *s->slice);
    s->slices = c->slices;
    TRY(fill_table(s, c, err));
    TRY(check_slices(s, err));
    TRY(checkpoint_path(s->data, s->folder, c->step, PART_DATA, err));
    TRY(checkpoint_path(s->text, s->folder, c->step, PART_MANIFEST, err));
    TRY(checkpoint_path(s->data_partial, s->folder, c->step, PART_PARTIAL_DATA, err));
    return checkpoint_path(s->text_partial, s->folder, c->step, PART_PARTIAL_MANIFEST, err);
}

/* ---- agreeing on it ---- */

static uint64_t hash_content(const saving *s, const checkpoint_content *c) {
    uint64_t hash = XXH3_64bits_withSeed(&s->m.step, sizeof s->m.step, 1);
    for (int64_t i = 0; i < s->m.tensors; i++) {
        const checkpoint_tensor *t = &s->m.tensor[i];
        int64_t form[2 + CHECKPOINT_RANK] = {(int64_t)t->type, t->rank};
        for (int k = 0; k < t->rank; k++)
            form[2 + k] = t->shape[k];
        hash = XXH3_64bits_withSeed(t->name, strlen(t->name), hash);
        hash = XXH3_64bits_withSeed(form, sizeof form, hash);
    }
    for (int64_t i = 0; i < c->items; i++)
        hash = XXH3_64bits_withSeed(&c->item[i].value, sizeof(int64_t), hash);
    return XXH3_64bits_withSeed(c->config, strlen(c->config), hash);
}

static status compare_content(const saving *s, const checkpoint_content *c, error *err) {
    const uint64_t hash = hash_content(s, c);
    uint64_t mine[2] = {hash, ~hash}, largest[2];
    MPI_TRY(MPI_Allreduce(mine, largest, 2, MPI_UINT64_T, MPI_MAX, s->comm));
    if (largest[0] == ~largest[1])
        return STATUS_OK;
    return error_set(err, STATUS_INPUT,
                     "the ranks do not give the checkpoint of step %" PRId64
                     " the same tensors, items or configuration",
                     s->m.step);
}

/* Intervals tile [0, n) exactly when their ends cancel: every inner point begins as many of them
 * as it ends. With random numbers h(x) for the points, the sum of h(first) - h(end) is then
 * h(0) - h(n), and otherwise almost never (2^-64): one number per tensor instead of a list. */
static uint64_t point(int64_t x) {
    return XXH3_64bits_withSeed(&x, sizeof x, 2);
}

static status check_tiling(const saving *s, error *err) {
    uint64_t *sum = calloc((size_t)s->m.tensors, 2 * sizeof *sum);
    status code = STATUS_OK;
    if (sum == NULL)
        code = error_set(err, STATUS_FAILED, "no memory to compare the slices");
    code = agree(s->comm, code, err);
    for (int64_t i = 0; i < s->slices && code == STATUS_OK; i++) {
        const checkpoint_slice *slice = &s->slice[i];
        sum[2 * slice->tensor] += (uint64_t)slice->count;
        sum[2 * slice->tensor + 1] += point(slice->first) - point(slice->first + slice->count);
    }
    if (code == STATUS_OK)
        MPI_TRY(MPI_Allreduce(MPI_IN_PLACE, sum, mpi_count(2 * s->m.tensors), MPI_UINT64_T, MPI_SUM,
                              s->comm));
    for (int64_t i = 0; i < s->m.tensors && code == STATUS_OK; i++) {
        const int64_t elements = manifest_elements(&s->m.tensor[i]);
        if (sum[2 * i] != (uint64_t)elements || sum[2 * i + 1] != point(0) - point(elements))
            code = error_set(err, STATUS_INPUT,
                             "the slices of all ranks must cover the %" PRId64
                             " elements of the tensor %s once each; they hold %" PRIu64
                             " elements, with gaps or overlaps",
                             elements, s->m.tensor[i].name, sum[2 * i]);
    }
    free(sum);
    return code;
}

status checkpoint_saving_compare(const saving *s, const checkpoint_content *content, error *err) {
    TRY(compare_content(s, content, err));
    return check_tiling(s, err);
}
