#include "io/checkpoint_saving.h"
#include "io/crc32c.h"
#include "io/durable.h"

#include <stdlib.h>

/* Bytes from `at` to the end of its slab, at most `most`. */
static int64_t piece_at(const saving *s, int64_t at, int64_t most) {
    const int64_t slab = at / MANIFEST_SLAB;
    const int64_t left = slab * MANIFEST_SLAB + manifest_slab_bytes(s->m.bytes, slab) - at;
    return left < most ? left : most;
}

/* Summed and written part by part, so that each is still in the processor's cache when the system
 * copies it. */
enum { PART_BYTES = 256 << 10 };

/* Writes a piece of one slab and adds its raw sum to the slab's. */
static status write_piece(saving *s, int64_t at, const char *data, int64_t bytes, uint32_t *raw,
                          error *err) {
    *raw = 0;
    for (int64_t done = 0; done < bytes; done += PART_BYTES) {
        const int64_t part = bytes - done < PART_BYTES ? bytes - done : PART_BYTES;
        *raw = crc32c_raw(*raw, data + done, (size_t)part);
        TRY(durable_write_at(s->data_partial, s->fd, at + done, data + done, part, err));
    }
    const int64_t slab = at / MANIFEST_SLAB;
    const int64_t end = slab * MANIFEST_SLAB + manifest_slab_bytes(s->m.bytes, slab);
    s->m.slab[slab] ^= crc32c_shift(*raw, end - at - bytes);
    return STATUS_OK;
}

static status write_slice(saving *s, const checkpoint_slice *slice, error *err) {
    const checkpoint_tensor *t = &s->m.tensor[slice->tensor];
    const int64_t size = manifest_element_bytes(t->type);
    const int64_t tensor_end = s->m.offset[slice->tensor] + checkpoint_tensor_bytes(t);
    int64_t at = s->m.offset[slice->tensor] + slice->first * size;
    int64_t left = slice->count * size;
    const char *from = slice->data;
    while (left > 0) {
        const int64_t bytes = piece_at(s, at, left);
        uint32_t raw = 0;
        TRY(write_piece(s, at, from, bytes, &raw, err));
        s->m.digest[slice->tensor] ^= crc32c_shift(raw, tensor_end - at - bytes);
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
        uint32_t raw = 0;
        TRY(write_piece(s, at, buffer, bytes, &raw, err));
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
        if (checkpoint_tensor_bytes(&s->m.tensor[i]) > 0)
            order[filled++] = i;
    qsort_r(order, (size_t)filled, sizeof *order, compare_offsets, s->m.offset);
    status code = STATUS_OK;
    for (int64_t i = 0; i < filled && code == STATUS_OK; i++) {
        const int64_t offset = s->m.offset[order[i]];
        CHECK(offset >= at, "HDF5 lets two tensors overlap.");
        code = copy_gap(s, at, offset, err);
        at = offset + checkpoint_tensor_bytes(&s->m.tensor[order[i]]);
    }
    free(order);
    return code == STATUS_OK ? copy_gap(s, at, s->m.bytes, err) : code;
}

status checkpoint_saving_write(saving *s, error *err) {
    TRY(durable_open(s->data_partial, 0, &s->fd, err));
    if (s->rank == 0)
        TRY(write_metadata(s, err));
    for (int64_t i = 0; i < s->slices; i++) {
        if (i == s->slices / 2)
            TRY(durable_fault("write", s->rank, err));
        TRY(write_slice(s, &s->slice[i], err));
    }
    TRY(durable_fault("written", s->rank, err));
    TRY(durable_sync(s->data_partial, s->fd, err));
    TRY(durable_fault("flush", s->rank, err));
    return durable_close(s->data_partial, &s->fd, err);
}
