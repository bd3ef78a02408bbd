#include "io/checkpoint.h"

#include "io/checkpoint_saving.h"
#include "io/crc32c.h"
#include "io/durable.h"
#include "parallel/agree.h"

#include "src/base/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- begin ---- */

/* Rank 0: the partial file with all its blocks, nothing written yet. */
static status create_file(saving *s, error *err) {
    int64_t bytes = 1 << 20; /* HDF5's own, and what alignment costs: */
    for (int64_t i = 0; i < s->m.tensors; i++)
        bytes += 8192 + checkpoint_tensor_bytes(&s->m.tensor[i]);
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

/* Each agreement is also the barrier between two steps of the protocol. */
static status begin_agreed(saving *s, const checkpoint_content *content, error *err) {
    TRY(checkpoint_saving_compare(s, content, err));
    TRY(agree(s->comm, s->rank == 0 ? create_file(s, err) : STATUS_OK, err));
    return agree(s->comm, share_layout(s, err), err);
}

static void destroy(saving *s) {
    if (s->fd >= 0)
        close(s->fd);
    if (s->skeleton >= 0)
        close(s->skeleton);
    manifest_destroy(&s->m);
    free(s->slice);
    s->slice = NULL;
    s->fd = s->skeleton = -1;
}

static status not_saved(const saving *s, error *err) {
    return error_prefix(err, "the checkpoint of step %" PRId64 " was not saved", s->m.step);
}

status checkpoint_saving_begin(saving *s, MPI_Comm comm, const char *folder,
                               const checkpoint_content *content, error *err) {
    CHECK(content->step >= 0 && content->config != NULL);
    durable_prepare();
    *s = (saving){.comm = comm, .rank = comm_rank(comm), .fd = -1, .skeleton = -1};
    snprintf(s->folder, sizeof s->folder, "%s", folder);
    status code = agree(comm, checkpoint_saving_plan(s, content, err), err);
    if (code != STATUS_OK) {
        not_saved(s, err);
        destroy(s);
        return code;
    }
    code = begin_agreed(s, content, err);
    if (code != STATUS_OK) {
        not_saved(s, err);
        checkpoint_saving_drop(s);
    }
    return code;
}

/* ---- end: the manifest, and the commit ---- */

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
        s->m.digest[i] = crc32c_finish(s->m.digest[i], checkpoint_tensor_bytes(&s->m.tensor[i]));
    size_t length = 0;
    char *text = manifest_format(&s->m, &length);
    if (text == NULL)
        return error_set(err, STATUS_FAILED, "no memory for the manifest of %s", s->data);
    const status code = durable_write_file(s->text_partial, text, (int64_t)length, err);
    free(text);
    return code;
}

/* Rank 0, when everything is on disk: the new names. A job that ends between the two renames leaves
 * the new data under their name and the new manifest as .partial, which is how
 * checkpoint_find_newest knows that they belong together, also when an older checkpoint of this
 * step has left its manifest. That one is replaced: the folder is then synced before each rename,
 * so that a machine that goes down cannot mix the two either. */
static status commit(saving *s, error *err) {
    TRY(durable_fault("rename-file", s->rank, err));
    s->replacing = access(s->text, F_OK) == 0;
    if (s->replacing)
        TRY(durable_sync_folder(s->folder, err));
    TRY(durable_rename(s->data_partial, s->data, err));
    s->renamed = true;
    if (s->replacing)
        TRY(durable_sync_folder(s->folder, err));
    TRY(durable_fault("rename-manifest", s->rank, err));
    TRY(durable_rename(s->text_partial, s->text, err));
    TRY(durable_fault("sync-folder", s->rank, err));
    return durable_sync_folder(s->folder, err);
}

static status end_agreed(saving *s, status written, error *err) {
    TRY(agree(s->comm, written, err));
    gather_sums(s, s->m.slab, s->m.slabs);
    gather_sums(s, s->m.digest, s->m.tensors);
    TRY(agree(s->comm, s->rank == 0 ? write_manifest(s, err) : STATUS_OK, err));
    return agree(s->comm, s->rank == 0 ? commit(s, err) : STATUS_OK, err);
}

/* Rank 0: takes back what this save has put into the folder. What has already taken the place of an
 * older checkpoint stays: it is whole, and the older one is gone. */
static void take_back(const saving *s) {
    if (s->renamed && s->replacing)
        return;
    unlink(s->text_partial);
    unlink(s->data_partial);
    if (s->renamed) {
        unlink(s->text);
        unlink(s->data);
    }
}

status checkpoint_saving_end(saving *s, status written, checkpoint_retention retention,
                             error *err) {
    const status code = end_agreed(s, written, err);
    if (code != STATUS_OK) {
        not_saved(s, err);
        checkpoint_saving_drop(s);
        return code;
    }
    error old = {0};
    if (s->rank == 0 && checkpoint_retain(s->folder, retention, &old) != STATUS_OK)
        log_warn("an old checkpoint stays: %s", old.text);
    destroy(s);
    return STATUS_OK;
}

void checkpoint_saving_drop(saving *s) {
    if (s->rank == 0)
        take_back(s);
    destroy(s);
}

/* ---- all at once ---- */

status checkpoint_save(MPI_Comm comm, const char *folder, const checkpoint_content *content,
                       checkpoint_retention retention, error *err) {
    saving s;
    TRY(checkpoint_saving_begin(&s, comm, folder, content, err));
    return checkpoint_saving_end(&s, checkpoint_saving_write(&s, err), retention, err);
}
