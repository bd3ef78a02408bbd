#include "io/checkpoint.h"

#include "io/checkpoint_files.h"
#include "io/crc32c.h"
#include "io/durable.h"
#include "parallel/agree.h"

#include "src/base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

typedef struct saving {
    MPI_Comm comm;
    int rank;
    const char *folder;
    const checkpoint_content *content;
    manifest m;              /* the content's tensors, the items, /config; sums being gathered */
    checkpoint_slice *slice; /* [slices] the content's, on rank 0 also the items and /config */
    int64_t slices;
    char data[CHECKPOINT_PATH], data_partial[CHECKPOINT_PATH];
    char text[CHECKPOINT_PATH], text_partial[CHECKPOINT_PATH]; /* of the manifest */
    int fd;                                                    /* of data_partial */
    int skeleton; /* rank 0: HDF5's own bytes, see checkpoint_create_skeleton */
    bool renamed; /* rank 0: the data have their final name */
} saving;

static int64_t tensor_bytes(const checkpoint_tensor *t) {
    return manifest_elements(t) * manifest_element_bytes(t->type);
}

/* ---- the table of tensors ---- */

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

static status fill_table(saving *s, error *err) {
    const checkpoint_content *c = s->content;
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

static status make_table(saving *s, error *err) {
    const checkpoint_content *c = s->content;
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
    TRY(fill_table(s, err));
    TRY(check_slices(s, err));
    TRY(checkpoint_path(s->data, s->folder, c->step, PART_DATA, err));
    TRY(checkpoint_path(s->text, s->folder, c->step, PART_MANIFEST, err));
    TRY(checkpoint_path(s->data_partial, s->folder, c->step, PART_PARTIAL_DATA, err));
    return checkpoint_path(s->text_partial, s->folder, c->step, PART_PARTIAL_MANIFEST, err);
}

/* ---- agreeing on it ---- */

static uint64_t hash_content(const saving *s) {
    uint64_t hash = XXH3_64bits_withSeed(&s->m.step, sizeof s->m.step, 1);
    for (int64_t i = 0; i < s->m.tensors; i++) {
        const checkpoint_tensor *t = &s->m.tensor[i];
        int64_t form[2 + CHECKPOINT_RANK] = {(int64_t)t->type, t->rank};
        for (int k = 0; k < t->rank; k++)
            form[2 + k] = t->shape[k];
        hash = XXH3_64bits_withSeed(t->name, strlen(t->name), hash);
        hash = XXH3_64bits_withSeed(form, sizeof form, hash);
    }
    for (int64_t i = 0; i < s->content->items; i++)
        hash = XXH3_64bits_withSeed(&s->content->item[i].value, sizeof(int64_t), hash);
    return XXH3_64bits_withSeed(s->content->config, strlen(s->content->config), hash);
}

static status compare_content(const saving *s, error *err) {
    const uint64_t hash = hash_content(s);
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

/* ---- the file ---- */

/* Rank 0: the partial file with all its blocks, nothing written yet. */
static status create_file(saving *s, error *err) {
    int64_t bytes = 1 << 20; /* HDF5's own, and what alignment costs: */
    for (int64_t i = 0; i < s->m.tensors; i++)
        bytes += 8192 + tensor_bytes(&s->m.tensor[i]);
    TRY(durable_make_folder(s->folder, err));
    TRY(checkpoint_remove_partial(s->folder, err));
    TRY(durable_check_space(s->folder, bytes, err));
    TRY(durable_fault("create", s->rank, err));
    TRY(checkpoint_create_skeleton(&s->skeleton, &s->m, err));
    TRY(durable_open(s->data_partial, 1, &s->fd, err));
    TRY(durable_fault("reserve", s->rank, err));
    TRY(durable_reserve(s->data_partial, s->fd, s->m.bytes, err));
    return durable_close(s->data_partial, &s->fd, err);
}

/* Everyone learns where the tensors lie, and gets room for the checksums. */
static status share_layout(saving *s, error *err) {
    MPI_TRY(MPI_Bcast(&s->m.bytes, 1, MPI_INT64_T, 0, s->comm));
    MPI_TRY(MPI_Bcast(s->m.offset, mpi_count(s->m.tensors), MPI_INT64_T, 0, s->comm));
    s->m.slabs = (s->m.bytes - 1) / MANIFEST_SLAB + 1;
    s->m.slab = calloc((size_t)s->m.slabs, sizeof *s->m.slab);
    if (s->m.slab == NULL)
        return error_set(err, STATUS_FAILED, "no memory for %" PRId64 " checksums", s->m.slabs);
    return STATUS_OK;
}

/* Bytes from `at` to the end of its slab, at most `most`. */
static int64_t piece_at(const saving *s, int64_t at, int64_t most) {
    const int64_t slab = at / MANIFEST_SLAB;
    const int64_t left = slab * MANIFEST_SLAB + manifest_slab_bytes(s->m.bytes, slab) - at;
    return left < most ? left : most;
}

/* Adds a piece's raw sum to its slab's. */
static uint32_t add_to_slab(saving *s, int64_t at, const void *data, int64_t bytes) {
    const int64_t slab = at / MANIFEST_SLAB;
    const int64_t end = slab * MANIFEST_SLAB + manifest_slab_bytes(s->m.bytes, slab);
    const uint32_t raw = crc32c_raw(0, data, (size_t)bytes);
    s->m.slab[slab] ^= crc32c_shift(raw, end - at - bytes);
    return raw;
}

static status write_slice(saving *s, const checkpoint_slice *slice, error *err) {
    const checkpoint_tensor *t = &s->m.tensor[slice->tensor];
    const int64_t size = manifest_element_bytes(t->type);
    const int64_t tensor_end = s->m.offset[slice->tensor] + tensor_bytes(t);
    int64_t at = s->m.offset[slice->tensor] + slice->first * size;
    int64_t left = slice->count * size;
    const char *from = slice->data;
    while (left > 0) {
        const int64_t bytes = piece_at(s, at, left);
        const uint32_t raw = add_to_slab(s, at, from, bytes);
        s->m.digest[slice->tensor] ^= crc32c_shift(raw, tensor_end - at - bytes);
        TRY(durable_write_at(s->data_partial, s->fd, at, from, bytes, err));
        at += bytes;
        from += bytes;
        left -= bytes;
    }
    return STATUS_OK;
}

static int compare_offsets(const void *a, const void *b, void *context) {
    const int64_t *offset = context;
    const int64_t x = offset[*(const int64_t *)a], y = offset[*(const int64_t *)b];
    return (x > y) - (x < y);
}

/* Copies and sums the bytes [at, end), which belong to no tensor. */
static status copy_gap(saving *s, int64_t at, int64_t end, error *err) {
    char buffer[16384];
    while (at < end) {
        const int64_t most = end - at < (int64_t)sizeof buffer ? end - at : (int64_t)sizeof buffer;
        const int64_t bytes = piece_at(s, at, most);
        TRY(durable_read_at("the skeleton", s->skeleton, at, buffer, bytes, err));
        add_to_slab(s, at, buffer, bytes);
        TRY(durable_write_at(s->data_partial, s->fd, at, buffer, bytes, err));
        at += bytes;
    }
    return STATUS_OK;
}

/* Rank 0: HDF5's own bytes, between the tensors. */
static status write_metadata(saving *s, error *err) {
    int64_t *order = malloc((size_t)s->m.tensors * sizeof *order);
    if (order == NULL)
        return error_set(err, STATUS_FAILED, "no memory to sort the tensors");
    int64_t filled = 0, at = 0;
    for (int64_t i = 0; i < s->m.tensors; i++)
        if (tensor_bytes(&s->m.tensor[i]) > 0)
            order[filled++] = i;
    qsort_r(order, (size_t)filled, sizeof *order, compare_offsets, s->m.offset);
    status code = STATUS_OK;
    for (int64_t i = 0; i < filled && code == STATUS_OK; i++) {
        const int64_t offset = s->m.offset[order[i]];
        CHECK(offset >= at, "HDF5 lets two tensors overlap.");
        code = copy_gap(s, at, offset, err);
        at = offset + tensor_bytes(&s->m.tensor[order[i]]);
    }
    free(order);
    return code == STATUS_OK ? copy_gap(s, at, s->m.bytes, err) : code;
}

/* This rank's part of the data, on disk when it returns. */
static status write_data(saving *s, error *err) {
    TRY(durable_open(s->data_partial, 0, &s->fd, err));
    if (s->rank == 0)
        TRY(write_metadata(s, err));
    for (int64_t i = 0; i < s->slices; i++)
        TRY(write_slice(s, &s->slice[i], err));
    TRY(durable_fault("write", s->rank, err));
    TRY(durable_sync(s->data_partial, s->fd, err));
    TRY(durable_fault("flush", s->rank, err));
    return durable_close(s->data_partial, &s->fd, err);
}

/* ---- the manifest, and the commit ---- */

/* The XOR of all ranks' raw sums, on rank 0. */
static void gather_sums(const saving *s, uint32_t *sum, int64_t count) {
    enum { BLOCK = 1 << 20 };
    for (int64_t i = 0; i < count; i += BLOCK) {
        const int block = mpi_count(count - i < BLOCK ? count - i : BLOCK);
        const void *from = s->rank == 0 ? MPI_IN_PLACE : sum + i;
        MPI_TRY(MPI_Reduce(from, sum + i, block, MPI_UINT32_T, MPI_BXOR, 0, s->comm));
    }
}

static status write_manifest(saving *s, error *err) {
    for (int64_t i = 0; i < s->m.slabs; i++)
        s->m.slab[i] = crc32c_finish(s->m.slab[i], manifest_slab_bytes(s->m.bytes, i));
    for (int64_t i = 0; i < s->m.tensors; i++)
        s->m.digest[i] = crc32c_finish(s->m.digest[i], tensor_bytes(&s->m.tensor[i]));
    size_t length = 0;
    char *text = manifest_format(&s->m, &length);
    if (text == NULL)
        return error_set(err, STATUS_FAILED, "no memory for the manifest of %s", s->data);
    const status code = durable_write_file(s->text_partial, text, (int64_t)length, err);
    free(text);
    return code;
}

/* Rank 0, when everything is on disk: the new names. */
static status commit(saving *s, error *err) {
    TRY(durable_fault("rename-file", s->rank, err));
    /* An older checkpoint of this step: its manifest must not stand beside the new data. */
    if (unlink(s->text) != 0 && errno != ENOENT)
        return error_set(err, STATUS_FAILED, "cannot replace %s: %s", s->text, strerror(errno));
    TRY(durable_rename(s->data_partial, s->data, err));
    s->renamed = true;
    TRY(durable_fault("rename-manifest", s->rank, err));
    TRY(durable_rename(s->text_partial, s->text, err));
    TRY(durable_fault("sync-folder", s->rank, err));
    return durable_sync_folder(s->folder, err);
}

/* Each agreement is also the barrier between two steps of the protocol. */
static status save_agreed(saving *s, error *err) {
    const bool first = s->rank == 0;
    TRY(compare_content(s, err));
    TRY(check_tiling(s, err));
    TRY(agree(s->comm, first ? create_file(s, err) : STATUS_OK, err));
    TRY(agree(s->comm, share_layout(s, err), err));
    TRY(agree(s->comm, write_data(s, err), err));
    gather_sums(s, s->m.slab, s->m.slabs);
    gather_sums(s, s->m.digest, s->m.tensors);
    TRY(agree(s->comm, first ? write_manifest(s, err) : STATUS_OK, err));
    return agree(s->comm, first ? commit(s, err) : STATUS_OK, err);
}

/* Rank 0: takes back what this save has put into the folder. */
static void take_back(const saving *s) {
    unlink(s->text_partial);
    unlink(s->data_partial);
    if (s->renamed) {
        unlink(s->text);
        unlink(s->data);
    }
}

static void destroy(saving *s) {
    if (s->fd >= 0)
        close(s->fd);
    if (s->skeleton >= 0)
        close(s->skeleton);
    manifest_destroy(&s->m);
    free(s->slice);
}

status checkpoint_save(MPI_Comm comm, const char *folder, const checkpoint_content *content,
                       checkpoint_retention retention, error *err) {
    CHECK(content->step >= 0 && content->config != NULL);
    durable_prepare();
    saving s = {.comm = comm, .rank = comm_rank(comm), .folder = folder, .content = content};
    s.fd = s.skeleton = -1;
    const status made = agree(comm, make_table(&s, err), err);
    const status code = made == STATUS_OK ? save_agreed(&s, err) : made;
    if (code != STATUS_OK) {
        if (s.rank == 0 && made == STATUS_OK)
            take_back(&s);
        error_prefix(err, "the checkpoint of step %" PRId64 " was not saved", content->step);
    } else if (s.rank == 0) {
        error old = {0};
        if (checkpoint_retain(folder, retention, &old) != STATUS_OK)
            log_warn("an old checkpoint stays: %s", old.text);
    }
    destroy(&s);
    return code;
}
