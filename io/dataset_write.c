#include "io/dataset_write.h"

#include "io/durable.h"
#include "io/h5.h"
#include "parallel/agree.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HEADER_BYTES = 1 << 20 /* more than names, attributes and alignment take */ };

struct dataset_writer {
    MPI_Comm comm; /* borrowed */
    char *path, *partial, *folder;
    int fd;
    h5_array arrays[DATASET_ARRAYS];
};

static void set_rows(h5_array *arrays, const dataset_sizes *s) {
    for (int a = PROTEIN_ACCESSION; a <= PROTEIN_NEAREST; a++)
        arrays[a].rows = s->proteins;
    arrays[PROTEIN_OFFSET].rows = s->proteins + 1;
    arrays[PROTEIN_RESIDUE].rows = s->residues;
    arrays[PROTEIN_COORD].rows = s->residues;
    arrays[PROTEIN_PLDDT].rows = s->residues;
    arrays[CAPTION_PROTEIN].rows = s->captions;
    arrays[CAPTION_QUESTION_OFFSET].rows = s->captions + 1;
    arrays[CAPTION_QUESTION].rows = s->question_bytes;
    arrays[CAPTION_OFFSET].rows = s->captions + 1;
    arrays[CAPTION_TEXT].rows = s->caption_bytes;
    for (int a = LEDGER_STAGE; a <= LEDGER_COUNT; a++)
        arrays[a].rows = s->ledger_rows;
    for (int a = SOURCE_KIND; a <= SOURCE_HASH; a++)
        arrays[a].rows = s->sources;
    arrays[SOURCE_NAME_OFFSET].rows = s->sources + 1;
    arrays[SOURCE_NAME].rows = s->source_name_bytes;
}

/* Groups, arrays and attributes of the open file. */
static status fill_skeleton(hid_t file, const char *path, h5_array *arrays,
                            const dataset_about *about, error *err) {
    static const char *const groups[] = {"/protein", "/caption", "/ledger", "/source"};
    for (size_t g = 0; g < sizeof groups / sizeof *groups; g++)
        TRY(h5_make_group(file, path, groups[g], err));
    for (int a = 0; a < DATASET_ARRAYS; a++)
        TRY(h5_make_array(file, path, &arrays[a], err));
    TRY(h5_write_text(file, path, "format", DATASET_FORMAT, err));
    TRY(h5_write_integer(file, path, "version", DATASET_VERSION, err));
    TRY(h5_write_text(file, path, "tool", about->tool, err));
    TRY(h5_write_text(file, path, "config", about->config, err));
    return h5_write_text(file, path, "split_method", about->split_method, err);
}

/* The header in memory, closed; the arrays know their addresses. */
static status make_header(dataset_writer *w, const dataset_about *about, int *header, error *err) {
    char path[H5_MEMORY_PATH];
    hid_t file = H5I_INVALID_HID;
    TRY(h5_create_in_memory(&file, header, path, err));
    const status filled = fill_skeleton(file, path, w->arrays, about, err);
    error closing = {0};
    const status closed = h5_close(file, path, &closing);
    TRY(filled);
    return closed == STATUS_OK ? STATUS_OK : error_set(err, closed, "%s", closing.text);
}

/* The partial file: all of its blocks, then the header. */
static status make_partial(dataset_writer *w, int header, error *err) {
    struct stat info;
    if (fstat(header, &info) != 0)
        return error_set(err, STATUS_FAILED, "cannot look at the header: %s", strerror(errno));
    int64_t end = info.st_size;
    for (int a = 0; a < DATASET_ARRAYS; a++)
        if (w->arrays[a].address + h5_array_bytes(&w->arrays[a]) > end)
            end = w->arrays[a].address + h5_array_bytes(&w->arrays[a]);
    int fd = -1;
    TRY(durable_open(w->partial, 1, &fd, err));
    status code = durable_reserve(w->partial, fd, end, err);
    if (code == STATUS_OK)
        code = durable_copy_written(header, w->partial, fd, err);
    error closing = {0};
    const status closed = durable_close(w->partial, &fd, &closing);
    TRY(code);
    return closed == STATUS_OK ? STATUS_OK : error_set(err, closed, "%s", closing.text);
}

/* Rank 0's part of creating: the file laid out, with all of its blocks. */
static status lay_out(dataset_writer *w, const dataset_about *about, error *err) {
    int64_t bytes = HEADER_BYTES;
    for (int a = 0; a < DATASET_ARRAYS; a++)
        bytes += h5_array_bytes(&w->arrays[a]);
    TRY(durable_make_folder(w->folder, err));
    TRY(durable_check_space(w->folder, bytes, err));
    int header = -1;
    status code = make_header(w, about, &header, err);
    if (code == STATUS_OK)
        code = make_partial(w, header, err);
    if (header >= 0)
        close(header);
    return code;
}

static char *join(const char *a, const char *b) {
    char *text = malloc(strlen(a) + strlen(b) + 1);
    CHECK(text != NULL, "out of memory: a path.");
    strcpy(text, a);
    return strcat(text, b);
}

static dataset_writer *make_writer(MPI_Comm comm, const char *path, const dataset_sizes *sizes) {
    dataset_writer *w = calloc(1, sizeof *w);
    CHECK(w != NULL, "out of memory: a writer.");
    w->comm = comm;
    w->fd = -1;
    w->path = join(path, "");
    w->partial = join(path, ".partial");
    w->folder = join(path, "");
    char *slash = strrchr(w->folder, '/');
    if (slash == NULL)
        strcpy(w->folder, *path != '\0' ? "." : "");
    else
        slash[slash == w->folder] = '\0';
    dataset_layout(w->arrays);
    set_rows(w->arrays, sizes);
    return w;
}

static void free_writer(dataset_writer *w) {
    free(w->path);
    free(w->partial);
    free(w->folder);
    free(w);
}

status dataset_writer_create(dataset_writer **created, MPI_Comm comm, const char *path,
                             const dataset_sizes *sizes, const dataset_about *about, error *err) {
    *created = NULL;
    durable_prepare();
    dataset_writer *w = make_writer(comm, path, sizes);
    status local = STATUS_OK;
    if (comm_rank(comm) == 0)
        local = lay_out(w, about, err);
    local = agree(comm, local, err);
    if (local == STATUS_OK) {
        MPI_TRY(MPI_Bcast(w->arrays, (int)sizeof w->arrays, MPI_BYTE, 0, comm));
        local = agree(comm, durable_open(w->partial, 0, &w->fd, err), err);
    }
    if (local != STATUS_OK)
        return dataset_writer_finish(w, local, err);
    *created = w;
    return STATUS_OK;
}

status dataset_writer_put(dataset_writer *w, dataset_array array, int64_t first, int64_t count,
                          const void *rows, error *err) {
    const h5_array *a = &w->arrays[array];
    const int64_t row = a->columns * (int64_t)h5_kind_size(a->kind);
    CHECK(first >= 0 && count >= 0 && first <= a->rows - count, "%s: rows %lld + %lld of %lld.",
          a->name, (long long)first, (long long)count, (long long)a->rows);
    if (count == 0)
        return STATUS_OK;
    return durable_write_at(w->partial, w->fd, a->address + first * row, rows, count * row, err);
}

status dataset_writer_finish(dataset_writer *w, status local, error *err) {
    if (local == STATUS_OK)
        local = durable_sync(w->partial, w->fd, err);
    error closing = {0};
    if (w->fd >= 0 && durable_close(w->partial, &w->fd, &closing) != STATUS_OK &&
        local == STATUS_OK)
        local = error_set(err, closing.code, "%s", closing.text);
    local = agree(w->comm, local, err);
    const int rank = comm_rank(w->comm);
    if (local == STATUS_OK) {
        if (rank == 0)
            local = durable_rename(w->partial, w->path, err);
        if (rank == 0 && local == STATUS_OK) {
            local = durable_sync_folder(w->folder, err);
            if (local != STATUS_OK)
                unlink(w->path);
        }
        local = agree(w->comm, local, err);
    }
    if (local != STATUS_OK && rank == 0)
        unlink(w->partial);
    free_writer(w);
    return local;
}
