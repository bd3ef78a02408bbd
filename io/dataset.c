#include "io/dataset.h"

#include "io/durable.h"
#include "io/h5.h"
#include "parallel/agree.h"
#include "parallel/exchange_records.h"
#include "parallel/node_shared.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TEXTS = 3 };

/* What rank 0 learns from the HDF5 file and tells everyone. */
typedef struct header {
    h5_array arrays[DATASET_ARRAYS];
    int64_t text_bytes[TEXTS]; /* NUL included */
} header;

struct dataset_file {
    int fd;
    header head;
    char *text[TEXTS];
    node_shared shared;
};

/* The arrays that live in shared memory, and where. */
enum { TABLES = 7, TABLE_ALIGNMENT = 64 };
static const dataset_array tables[TABLES] = {
    PROTEIN_ACCESSION, PROTEIN_OFFSET,          PROTEIN_SOURCE, PROTEIN_SPLIT,
    CAPTION_PROTEIN,   CAPTION_QUESTION_OFFSET, CAPTION_OFFSET};

/* ---- the header, rank 0 ---------------------------------------------------------------------- */

static status file_size(const char *path, int64_t *size, error *err) {
    struct stat info;
    if (stat(path, &info) != 0)
        return error_set(err, STATUS_INPUT,
                         "%s: %s; make a dataset with `sepit build`, or set data.path", path,
                         strerror(errno));
    if (!S_ISREG(info.st_mode))
        return error_set(err, STATUS_INPUT, "%s: is no file; data.path names a dataset file", path);
    *size = info.st_size;
    return STATUS_OK;
}

static status check_rows(const char *path, const h5_array *array, int64_t rows, error *err) {
    if (array->rows == rows)
        return STATUS_OK;
    return error_set(err, STATUS_INPUT,
                     "%s: %s has %lld rows where %lld are expected; make the dataset again", path,
                     array->name, (long long)array->rows, (long long)rows);
}

/* Arrays that go together have the same number of rows. */
static status check_shapes(const char *path, const h5_array *a, error *err) {
    const int64_t P = a[PROTEIN_ACCESSION].rows, C = a[CAPTION_PROTEIN].rows;
    if (P == 0)
        return error_set(err, STATUS_INPUT, "%s: holds no protein", path);
    TRY(check_rows(path, &a[PROTEIN_OFFSET], P + 1, err));
    TRY(check_rows(path, &a[PROTEIN_COORD], a[PROTEIN_RESIDUE].rows, err));
    TRY(check_rows(path, &a[PROTEIN_PLDDT], a[PROTEIN_RESIDUE].rows, err));
    for (int i = PROTEIN_SOURCE; i <= PROTEIN_NEAREST; i++)
        TRY(check_rows(path, &a[i], P, err));
    TRY(check_rows(path, &a[CAPTION_QUESTION_OFFSET], C + 1, err));
    TRY(check_rows(path, &a[CAPTION_OFFSET], C + 1, err));
    TRY(check_rows(path, &a[LEDGER_REASON], a[LEDGER_STAGE].rows, err));
    TRY(check_rows(path, &a[LEDGER_COUNT], a[LEDGER_STAGE].rows, err));
    TRY(check_rows(path, &a[SOURCE_NAME_OFFSET], a[SOURCE_KIND].rows + 1, err));
    TRY(check_rows(path, &a[SOURCE_SIZE], a[SOURCE_KIND].rows, err));
    return check_rows(path, &a[SOURCE_HASH], a[SOURCE_KIND].rows, err);
}

static status read_header(hid_t file, const char *path, int64_t size, struct dataset_file *f,
                          error *err) {
    static const char *const names[TEXTS] = {"tool", "config", "split_method"};
    char *format = NULL;
    int64_t version = 0;
    if (h5_read_text(file, path, "format", &format, err) != STATUS_OK ||
        strcmp(format, DATASET_FORMAT) != 0) {
        free(format);
        return error_set(err, STATUS_INPUT,
                         "%s: is an HDF5 file but no dataset of this program (its attribute "
                         "`format` should be \"%s\"); `sepit build` makes one",
                         path, DATASET_FORMAT);
    }
    free(format);
    TRY(h5_read_integer(file, path, "version", &version, err));
    if (version != DATASET_VERSION)
        return error_set(err, STATUS_INPUT,
                         "%s: has version %lld of the format and this program reads %d; make the "
                         "dataset again",
                         path, (long long)version, DATASET_VERSION);
    for (int a = 0; a < DATASET_ARRAYS; a++)
        TRY(h5_find_array(file, path, size, &f->head.arrays[a], err));
    TRY(check_shapes(path, f->head.arrays, err));
    for (int t = 0; t < TEXTS; t++) {
        TRY(h5_read_text(file, path, names[t], &f->text[t], err));
        f->head.text_bytes[t] = (int64_t)strlen(f->text[t]) + 1;
    }
    return STATUS_OK;
}

static status load_header(const char *path, struct dataset_file *f, error *err) {
    int64_t size = 0;
    hid_t file = H5I_INVALID_HID;
    dataset_layout(f->head.arrays);
    TRY(file_size(path, &size, err));
    TRY(h5_open(&file, path, err));
    const status code = read_header(file, path, size, f, err);
    error closing = {0};
    const status closed = h5_close(file, path, code == STATUS_OK ? err : &closing);
    return code != STATUS_OK ? code : closed;
}

/* Rank 0's header for everyone. */
static void share_header(MPI_Comm comm, struct dataset_file *f) {
    exchange_broadcast(comm, sizeof f->head, &f->head);
    for (int t = 0; t < TEXTS; t++) {
        if (f->text[t] == NULL)
            f->text[t] = malloc((size_t)f->head.text_bytes[t]);
        CHECK(f->text[t] != NULL, "out of memory: an attribute of the dataset.");
        exchange_broadcast(comm, f->head.text_bytes[t], f->text[t]);
    }
}

/* ---- the tables, once per node --------------------------------------------------------------- */

static int64_t table_bytes(const h5_array *array) {
    return (h5_array_bytes(array) + TABLE_ALIGNMENT - 1) / TABLE_ALIGNMENT * TABLE_ALIGNMENT;
}

static status load_tables(const dataset *d, error *err) {
    char *to = d->file->shared.base;
    for (int t = 0; t < TABLES; t++) {
        const h5_array *array = &d->file->head.arrays[tables[t]];
        TRY(durable_read_at(d->path, d->file->fd, array->address, to, h5_array_bytes(array), err));
        to += table_bytes(array);
    }
    return STATUS_OK;
}

static void place_tables(dataset *d) {
    const char *at = d->file->shared.base, *place[TABLES];
    for (int t = 0; t < TABLES; t++) {
        place[t] = at;
        at += table_bytes(&d->file->head.arrays[tables[t]]);
    }
    d->accession = place[0];
    d->offset = (const int64_t *)place[1];
    d->source = (const uint8_t *)place[2];
    d->split = (const uint8_t *)place[3];
    d->caption_protein = (const int32_t *)place[4];
    d->caption_question_offset = (const int64_t *)place[5];
    d->caption_offset = (const int64_t *)place[6];
}

/* Offsets must lead from 0 to `total` without going back; `least` is the shortest record. */
static status check_offsets(const dataset *d, dataset_array array, const int64_t *offset,
                            int64_t count, int64_t total, int64_t least, error *err) {
    int64_t bad = offset[0] == 0 ? -1 : 0;
    for (int64_t i = 0; i < count && bad < 0; i++)
        if (offset[i + 1] < offset[i] || offset[i + 1] - offset[i] < least)
            bad = i + 1;
    if (bad < 0 && offset[count] != total)
        bad = count;
    if (bad < 0)
        return STATUS_OK;
    return error_set(err, STATUS_INPUT,
                     "%s: %s[%lld] is %lld; offsets must rise from 0 to %lld: the file is damaged, "
                     "make the dataset again",
                     d->path, d->file->head.arrays[array].name, (long long)bad,
                     (long long)offset[bad], (long long)total);
}

static status damaged(const dataset *d, dataset_array array, int64_t row, const char *rule,
                      error *err) {
    return error_set(err, STATUS_INPUT,
                     "%s: %s[%lld] is not %s: the file is damaged, make the dataset again", d->path,
                     d->file->head.arrays[array].name, (long long)row, rule);
}

static status check_tables(const dataset *d, error *err) {
    const h5_array *arrays = d->file->head.arrays;
    TRY(check_offsets(d, PROTEIN_OFFSET, d->offset, d->proteins, d->residues, 1, err));
    TRY(check_offsets(d, CAPTION_QUESTION_OFFSET, d->caption_question_offset, d->captions,
                      arrays[CAPTION_QUESTION].rows, 0, err));
    TRY(check_offsets(d, CAPTION_OFFSET, d->caption_offset, d->captions, arrays[CAPTION_TEXT].rows,
                      0, err));
    for (int64_t i = 0; i < d->proteins; i++) {
        const char *name = d->accession + i * ACCESSION_SIZE;
        if (*name == '\0' || (i > 0 && memcmp(name - ACCESSION_SIZE, name, ACCESSION_SIZE) >= 0))
            return damaged(d, PROTEIN_ACCESSION, i, "above the one before", err);
        if (d->source[i] > SOURCE_SYNTHETIC)
            return damaged(d, PROTEIN_SOURCE, i, "0, 1, 2 or 3", err);
        if (d->split[i] > 2)
            return damaged(d, PROTEIN_SPLIT, i, "0, 1 or 2", err);
    }
    for (int64_t i = 0; i < d->captions; i++)
        if (d->caption_protein[i] < (i > 0 ? d->caption_protein[i - 1] : 0) ||
            d->caption_protein[i] >= d->proteins)
            return damaged(d, CAPTION_PROTEIN, i, "a protein, in rising order", err);
    return STATUS_OK;
}

/* Every rank's descriptor, then the tables by each node's first rank. */
static status open_tables(dataset *d, MPI_Comm comm, error *err) {
    struct dataset_file *f = d->file;
    f->fd = open(d->path, O_RDONLY | O_CLOEXEC);
    status local = STATUS_OK;
    if (f->fd < 0)
        local = error_set(err, STATUS_INPUT, "%s: cannot be opened on this node: %s", d->path,
                          strerror(errno));
    TRY(agree(comm, local, err));
    int64_t bytes = 0;
    for (int t = 0; t < TABLES; t++)
        bytes += table_bytes(&f->head.arrays[tables[t]]);
    TRY(node_shared_create(&f->shared, comm, (size_t)bytes, err));
    place_tables(d);
    if (f->shared.filler && (local = load_tables(d, err)) == STATUS_OK)
        local = check_tables(d, err);
    node_shared_fence(&f->shared);
    return agree(comm, local, err);
}

status dataset_open(dataset **opened, MPI_Comm comm, const char *path, error *err) {
    dataset *d = calloc(1, sizeof *d);
    struct dataset_file *f = calloc(1, sizeof *f);
    char *copy = strdup(path);
    CHECK(d != NULL && f != NULL && copy != NULL, "out of memory: a dataset's header.");
    f->fd = -1;
    d->file = f;
    d->path = copy;
    status code = agree(comm, comm_rank(comm) == 0 ? load_header(path, f, err) : STATUS_OK, err);
    if (code == STATUS_OK) {
        share_header(comm, f);
        d->proteins = f->head.arrays[PROTEIN_ACCESSION].rows;
        d->residues = f->head.arrays[PROTEIN_RESIDUE].rows;
        d->captions = f->head.arrays[CAPTION_PROTEIN].rows;
        d->tool = f->text[0];
        d->config = f->text[1];
        d->split_method = f->text[2];
        code = open_tables(d, comm, err);
    }
    if (code != STATUS_OK) {
        dataset_close(d);
        d = NULL;
    }
    *opened = d;
    return code;
}

void dataset_close(dataset *d) {
    if (d == NULL)
        return;
    node_shared_destroy(&d->file->shared);
    if (d->file->fd >= 0)
        close(d->file->fd);
    for (int t = 0; t < TEXTS; t++)
        free(d->file->text[t]);
    free(d->file);
    free(d->path);
    free(d);
}

/* ---- records --------------------------------------------------------------------------------- */

int64_t dataset_find(const dataset *d, const char *accession) {
    char wanted[ACCESSION_SIZE] = {0};
    if (strlen(accession) > ACCESSION_SIZE)
        return -1;
    memcpy(wanted, accession, strlen(accession));
    int64_t low = 0, high = d->proteins;
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        const int order = memcmp(d->accession + middle * ACCESSION_SIZE, wanted, ACCESSION_SIZE);
        if (order == 0)
            return middle;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return -1;
}

int64_t dataset_rows(const dataset *d, dataset_array array) {
    return d->file->head.arrays[array].rows;
}

status dataset_read_rows(const dataset *d, dataset_array array, int64_t first, int64_t count,
                         void *rows, error *err) {
    const h5_array *a = &d->file->head.arrays[array];
    CHECK(first >= 0 && count >= 0 && first <= a->rows - count, "%s: rows %lld + %lld of %lld.",
          a->name, (long long)first, (long long)count, (long long)a->rows);
    const int64_t row = a->columns * (int64_t)h5_kind_size(a->kind);
    return durable_read_at(d->path, d->file->fd, a->address + first * row, rows, count * row, err);
}

status dataset_read_protein(const dataset *d, int64_t i, int64_t count, uint8_t *letters,
                            float *coord, error *err) {
    CHECK(i >= 0 && i < d->proteins, "protein %lld of %lld.", (long long)i, (long long)d->proteins);
    CHECK(count >= 0 && count <= d->offset[i + 1] - d->offset[i], "%lld residues of protein %lld.",
          (long long)count, (long long)i);
    TRY(dataset_read_rows(d, PROTEIN_RESIDUE, d->offset[i], count, letters, err));
    if (coord == NULL)
        return STATUS_OK;
    return dataset_read_rows(d, PROTEIN_COORD, d->offset[i], count, coord, err);
}

status dataset_read_caption(const dataset *d, int64_t i, char *question, char *text, error *err) {
    CHECK(i >= 0 && i < d->captions, "caption %lld of %lld.", (long long)i, (long long)d->captions);
    const int64_t *q = d->caption_question_offset + i, *t = d->caption_offset + i;
    TRY(dataset_read_rows(d, CAPTION_QUESTION, q[0], q[1] - q[0], question, err));
    return dataset_read_rows(d, CAPTION_TEXT, t[0], t[1] - t[0], text, err);
}
