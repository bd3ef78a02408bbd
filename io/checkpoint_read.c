#include "io/checkpoint_files.h"
#include "io/crc32c.h"
#include "io/durable.h"
#include "parallel/agree.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MANIFEST_LIMIT = 1 << 30, CACHED_BYTES = 256 << 10 /* summed while in the cache */ };

struct checkpoint {
    char *path;
    int fd;
    manifest m;
};

/* Opens a regular file for reading; never waits, as a pipe of that name would make it do. */
static status open_regular(const char *path, int *fd, int64_t *bytes, error *err) {
    *fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (*fd < 0)
        return error_set(err, errno == ENOENT ? STATUS_INPUT : STATUS_FAILED, "cannot open %s: %s",
                         path, strerror(errno));
    struct stat info;
    const int code = fstat(*fd, &info);
    if (code == 0 && S_ISREG(info.st_mode)) {
        *bytes = info.st_size;
        return STATUS_OK;
    }
    const status result =
        code == 0 ? error_set(err, STATUS_INPUT, "%s is not a file", path)
                  : error_set(err, STATUS_FAILED, "cannot look at %s: %s", path, strerror(errno));
    close(*fd);
    *fd = -1;
    return result;
}

static status read_text(const char *path, char **text, int64_t *bytes, error *err) {
    int fd = -1;
    TRY(open_regular(path, &fd, bytes, err));
    status code = STATUS_OK;
    if (*bytes > MANIFEST_LIMIT)
        code = error_set(err, STATUS_INPUT, "%s has %" PRId64 " bytes, too many for a manifest",
                         path, *bytes);
    else if ((*text = malloc((size_t)*bytes + 1)) == NULL)
        code = error_set(err, STATUS_FAILED, "no memory to read %s", path);
    else
        code = durable_read_at(path, fd, 0, *text, *bytes, err);
    close(fd);
    return code;
}

/* Rank 0 reads the text, all get it. On success the caller frees it. */
static status share_text(MPI_Comm comm, const char *path, char **text, int64_t *bytes, error *err) {
    const int rank = comm_rank(comm);
    *text = NULL;
    *bytes = 0;
    TRY(agree(comm, rank == 0 ? read_text(path, text, bytes, err) : STATUS_OK, err));
    MPI_TRY(MPI_Bcast(bytes, 1, MPI_INT64_T, 0, comm));
    status code = STATUS_OK;
    if (rank != 0 && (*text = malloc((size_t)*bytes + 1)) == NULL)
        code = error_set(err, STATUS_FAILED, "no memory for the text of %s", path);
    TRY(agree(comm, code, err));
    MPI_TRY(MPI_Bcast(*text, mpi_count(*bytes), MPI_CHAR, 0, comm));
    return STATUS_OK;
}

static status load_manifest(manifest *m, MPI_Comm comm, const char *path, const char **reason,
                            error *err) {
    char *text = NULL;
    int64_t bytes = 0;
    *reason = "no-manifest";
    status code = share_text(comm, path, &text, &bytes, err);
    if (code == STATUS_OK) {
        *reason = "manifest";
        code = manifest_parse(m, text, (size_t)bytes, err);
        if (code != STATUS_OK)
            error_prefix(err, "%s", path);
        code = agree(comm, code, err);
    }
    free(text);
    return code;
}

static status open_data(checkpoint *c, MPI_Comm comm, const char **reason, error *err) {
    int64_t bytes = 0;
    *reason = "no-file";
    status code = open_regular(c->path, &c->fd, &bytes, err);
    if (code == STATUS_OK && bytes != c->m.bytes) {
        *reason = "size";
        code =
            error_set(err, STATUS_INPUT,
                      "%s has %" PRId64 " bytes where its manifest says %" PRId64 "; it is damaged",
                      c->path, bytes, c->m.bytes);
    }
    /* A file that rank 0 sees whole and another rank does not is no damaged file. */
    const bool elsewhere = code == STATUS_INPUT && comm_rank(comm) != 0;
    return agree(comm, elsewhere ? STATUS_FAILED : code, err);
}

status checkpoint_open_with(checkpoint **opened, MPI_Comm comm, const char *path,
                            const char *manifest_path, const char **reason, error *err) {
    *opened = NULL;
    checkpoint *c = calloc(1, sizeof *c);
    status code = STATUS_OK;
    if (c != NULL) {
        c->fd = -1;
        c->path = strdup(path);
    }
    if (c == NULL || c->path == NULL)
        code = error_set(err, STATUS_FAILED, "no memory to open %s", path);
    code = agree(comm, code, err);
    if (code == STATUS_OK)
        code = load_manifest(&c->m, comm, manifest_path, reason, err);
    if (code == STATUS_OK)
        code = open_data(c, comm, reason, err);
    if (code == STATUS_OK)
        *opened = c;
    else
        checkpoint_close(c);
    return code;
}

status checkpoint_open(checkpoint **opened, MPI_Comm comm, const char *path, error *err) {
    char manifest_path[CHECKPOINT_PATH];
    const char *reason = NULL;
    const size_t length = strlen(path);
    *opened = NULL;
    if (length < 4 || length >= CHECKPOINT_PATH - 4 || strcmp(path + length - 3, ".h5") != 0)
        return error_set(err, STATUS_INPUT, "%s is not the name of a checkpoint: expected ….h5",
                         path);
    snprintf(manifest_path, sizeof manifest_path, "%.*s.json", (int)length - 3, path);
    return checkpoint_open_with(opened, comm, path, manifest_path, &reason, err);
}

void checkpoint_close(checkpoint *c) {
    if (c == NULL)
        return;
    if (c->fd >= 0)
        close(c->fd);
    manifest_destroy(&c->m);
    free(c->path);
    free(c);
}

/* ---- verifying ---- */

/* The first tensor with bytes in [from, to), for the message. */
static const char *tensor_inside(const manifest *m, int64_t from, int64_t to) {
    for (int64_t i = 0; i < m->tensors; i++) {
        const checkpoint_tensor *t = &m->tensor[i];
        const int64_t bytes = manifest_elements(t) * manifest_element_bytes(t->type);
        if (bytes > 0 && m->offset[i] < to && m->offset[i] + bytes > from)
            return t->name;
    }
    return "no tensor";
}

static status verify_slab(const checkpoint *c, int64_t i, void *buffer, error *err) {
    const int64_t from = i * MANIFEST_SLAB, bytes = manifest_slab_bytes(c->m.bytes, i);
    uint32_t raw = 0;
    for (int64_t at = 0; at < bytes; at += CACHED_BYTES) {
        const int64_t part = bytes - at < CACHED_BYTES ? bytes - at : CACHED_BYTES;
        TRY(durable_read_at(c->path, c->fd, from + at, buffer, part, err));
        raw = crc32c_raw(raw, buffer, (size_t)part);
    }
    const uint32_t found = crc32c_finish(raw, bytes);
    if (found == c->m.slab[i])
        return STATUS_OK;
    return error_set(err, STATUS_INPUT,
                     "%s is damaged between the bytes %" PRId64 " and %" PRId64
                     " (there begins or goes on: %s): checksum %08" PRIx32 ", expected %08" PRIx32,
                     c->path, from, from + bytes, tensor_inside(&c->m, from, from + bytes), found,
                     c->m.slab[i]);
}

status checkpoint_verify(const checkpoint *c, MPI_Comm comm, error *err) {
    const int64_t rank = comm_rank(comm), size = comm_size(comm);
    const int64_t first = c->m.slabs / size * rank + (c->m.slabs % size * rank) / size;
    const int64_t end = c->m.slabs / size * (rank + 1) + (c->m.slabs % size * (rank + 1)) / size;
    void *buffer = malloc(CACHED_BYTES);
    status code = STATUS_OK;
    if (buffer == NULL)
        code = error_set(err, STATUS_FAILED, "no memory to verify %s", c->path);
    for (int64_t i = first; i < end && code == STATUS_OK; i++)
        code = verify_slab(c, i, buffer, err);
    free(buffer);
    return agree(comm, code, err);
}

/* ---- looking up and reading ---- */

int64_t checkpoint_step(const checkpoint *c) {
    return c->m.step;
}

int64_t checkpoint_tensors(const checkpoint *c) {
    return c->m.tensors;
}

const checkpoint_tensor *checkpoint_tensor_at(const checkpoint *c, int64_t index) {
    CHECK(index >= 0 && index < c->m.tensors, "There is no tensor %lld.", (long long)index);
    return &c->m.tensor[index];
}

const checkpoint_tensor *checkpoint_find(const checkpoint *c, const char *name) {
    const int64_t i = manifest_find(&c->m, name);
    return i < 0 ? NULL : &c->m.tensor[i];
}

int64_t checkpoint_elements(const checkpoint_tensor *tensor) {
    return manifest_elements(tensor);
}

uint32_t checkpoint_digest(const checkpoint *c, const char *name) {
    const int64_t i = manifest_find(&c->m, name);
    CHECK(i >= 0, "There is no tensor %s.", name);
    return c->m.digest[i];
}

status checkpoint_read(const checkpoint *c, const char *name, checkpoint_type type, int64_t first,
                       int64_t count, void *dst, error *err) {
    const int64_t i = manifest_find(&c->m, name);
    if (i < 0)
        return error_set(err, STATUS_INPUT, "%s has no tensor %s", c->path, name);
    const int64_t elements = manifest_elements(&c->m.tensor[i]);
    if (c->m.tensor[i].type != type)
        return error_set(err, STATUS_INPUT, "%s: the tensor %s is not of the type expected",
                         c->path, name);
    if (first < 0 || count < 0 || first > elements || count > elements - first)
        return error_set(err, STATUS_INPUT,
                         "%s: %" PRId64 " elements from %" PRId64 " on are wanted of the tensor %s"
                         ", which has %" PRId64,
                         c->path, count, first, name, elements);
    const int64_t size = manifest_element_bytes(type);
    return durable_read_at(c->path, c->fd, c->m.offset[i] + first * size, dst, count * size, err);
}

status checkpoint_read_item(const checkpoint *c, const char *name, int64_t *value, error *err) {
    char path[CHECKPOINT_NAME];
    snprintf(path, sizeof path, "/train/%s", name);
    return checkpoint_read(c, path, CHECKPOINT_I64, 0, 1, value, err);
}

status checkpoint_read_config(const checkpoint *c, char **text, error *err) {
    const checkpoint_tensor *t = checkpoint_find(c, "/config");
    const int64_t bytes = t == NULL ? 0 : manifest_elements(t);
    *text = calloc((size_t)bytes + 1, 1);
    if (*text == NULL)
        return error_set(err, STATUS_FAILED, "no memory for the configuration of %s", c->path);
    const status code = checkpoint_read(c, "/config", CHECKPOINT_U8, 0, bytes, *text, err);
    if (code != STATUS_OK) {
        free(*text);
        *text = NULL;
    }
    return code;
}
