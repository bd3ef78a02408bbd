// TEST np=1,3 timeout=100
/* A dataset that is written comes back as it was given, whoever wrote which part. One that is
 * missing, cut short anywhere, garbage, another HDF5 file or wrong inside is refused on all ranks
 * alike with a sentence that names it. */
#include "io/dataset.h"
#include "io/dataset_write.h"
#include "io/h5.h"
#include "tests/parallel/build_fixture.h"

#include <errno.h>
#include <stddef.h>

enum { P = 7, L = 1000, LEDGER = 2, SOURCES = 1 };

/* Protein i has L + i residues of one letter; its caption has i + 1 bytes. */
typedef struct contents {
    char accession[P][16];
    int64_t offset[P + 1], text_offset[P + 1], source_offset[SOURCES + 1];
    int32_t number[P];
    uint8_t small[P];
    float nearest[P];
} contents;

static void fill(contents *c) {
    memset(c, 0, sizeof *c);
    for (int i = 0; i < P; i++) {
        memcpy(c->accession[i], "P00000", 6);
        c->accession[i][5] = (char)('0' + i);
        c->offset[i + 1] = c->offset[i] + L + i;
        c->text_offset[i + 1] = c->text_offset[i] + i + 1;
        c->number[i] = i;
        c->nearest[i] = NAN;
    }
    c->source_offset[1] = 4;
}

/* This rank's proteins, every `size`-th: residues and texts; rank 0 also writes the tables. */
static status put(dataset_writer *w, const contents *c, int rank, int size, error *err) {
    for (int i = rank; i < P; i += size) {
        uint8_t letters[L + P], text[P + 1];
        float coord[(L + P) * 3];
        for (int k = 0; k < 3 * (L + i); k++)
            coord[k] = (float)(i * 10000 + k);
        memset(letters, 'A' + i, sizeof letters);
        memset(text, 'a' + i, sizeof text);
        TRY(dataset_writer_put(w, PROTEIN_RESIDUE, c->offset[i], L + i, letters, err));
        TRY(dataset_writer_put(w, PROTEIN_COORD, c->offset[i], L + i, coord, err));
        TRY(dataset_writer_put(w, PROTEIN_PLDDT, c->offset[i], L + i, letters, err));
        TRY(dataset_writer_put(w, CAPTION_QUESTION, c->text_offset[i], i + 1, text, err));
        TRY(dataset_writer_put(w, CAPTION_TEXT, c->text_offset[i], i + 1, text, err));
    }
    if (rank > 0)
        return STATUS_OK;
    TRY(dataset_writer_put(w, PROTEIN_ACCESSION, 0, P, c->accession, err));
    TRY(dataset_writer_put(w, PROTEIN_OFFSET, 0, P + 1, c->offset, err));
    TRY(dataset_writer_put(w, PROTEIN_SOURCE, 0, P, c->small, err));
    TRY(dataset_writer_put(w, PROTEIN_SPLIT, 0, P, c->small, err));
    TRY(dataset_writer_put(w, PROTEIN_NEAREST, 0, P, c->nearest, err));
    TRY(dataset_writer_put(w, CAPTION_PROTEIN, 0, P, c->number, err));
    TRY(dataset_writer_put(w, CAPTION_QUESTION_OFFSET, 0, P + 1, c->text_offset, err));
    TRY(dataset_writer_put(w, CAPTION_OFFSET, 0, P + 1, c->text_offset, err));
    return dataset_writer_put(w, SOURCE_NAME_OFFSET, 0, 2, c->source_offset, err);
}

static void write_file(const char *path, const contents *c) {
    const dataset_sizes sizes = {P,      c->offset[P], P, c->text_offset[P], c->text_offset[P],
                                 LEDGER, SOURCES,      4};
    const dataset_about about = {"test", "{}", "none"};
    error err = {0};
    dataset_writer *w = NULL;
    status code = dataset_writer_create(&w, MPI_COMM_WORLD, path, &sizes, &about, &err);
    if (code == STATUS_OK) {
        code = put(w, c, comm_rank(MPI_COMM_WORLD), comm_size(MPI_COMM_WORLD), &err);
        code = dataset_writer_finish(w, code, &err);
    }
    EXPECT(code == STATUS_OK, "%s", err.text);
}

static void check_round_trip(const char *path) {
    error err = {0};
    dataset *d = NULL;
    EXPECT(dataset_open(&d, MPI_COMM_WORLD, path, &err) == STATUS_OK, "%s", err.text);
    if (d == NULL)
        return;
    EXPECT(d->proteins == P && d->captions == P && d->residues == P * L + P * (P - 1) / 2);
    EXPECT_TEXT(d->config, "{}");
    for (int i = 0; i < P; i++) {
        uint8_t letters[L + P];
        float coord[(L + P) * 3];
        char name[32], question[P + 1], text[P + 1];
        snprintf(name, sizeof name, "P0000%d", i);
        EXPECT(dataset_find(d, name) == i);
        /* A part of it: the first L − 1 residues. */
        EXPECT(dataset_read_protein(d, i, L - 1, letters, coord, &err) == STATUS_OK);
        EXPECT(letters[0] == 'A' + i && letters[L - 2] == 'A' + i);
        EXPECT(coord[0] == (float)(i * 10000) &&
               coord[3 * L - 4] == (float)(i * 10000 + 3 * L - 4));
        EXPECT(dataset_read_caption(d, i, question, text, &err) == STATUS_OK);
        EXPECT(text[0] == 'a' + i && text[i] == 'a' + i);
    }
    EXPECT(dataset_find(d, "P000035") == -1 && dataset_find(d, "Z") == -1);
    EXPECT(dataset_find(d, "P0000345678901234567890") == -1);
    dataset_close(d);
}

/* Opening must fail on every rank, as an input error, with the file's name. */
static void expect_refused(const char *path, const char *what) {
    error err = {0};
    dataset *d = NULL;
    MPI_Barrier(MPI_COMM_WORLD);
    const status code = dataset_open(&d, MPI_COMM_WORLD, path, &err);
    EXPECT(code == STATUS_INPUT && d == NULL, "%s: code %d, %s", what, code, err.text);
    EXPECT(strstr(err.text, path) != NULL, "%s: %s", what, err.text);
    dataset_close(d);
    MPI_Barrier(MPI_COMM_WORLD);
}

static void write_bytes(const char *path, const char *data, size_t size) {
    if (comm_rank(MPI_COMM_WORLD) > 0)
        return;
    FILE *f = fopen(path, "wb");
    EXPECT(fwrite(data, 1, size, f) == size);
    fclose(f);
}

/* Puts `value` into a row of an array of a copy of the good file. */
static void expect_wrong_value(const char *good, const char *path, const char *array, h5_kind kind,
                               int64_t row, const void *value) {
    size_t size = 0;
    char *data = fixture_read(good, &size);
    error err = {0};
    h5_array found = {.kind = kind, .columns = 1};
    snprintf(found.name, sizeof found.name, "%s", array);
    hid_t file = H5I_INVALID_HID;
    EXPECT(h5_open(&file, good, &err) == STATUS_OK, "%s", err.text);
    EXPECT(h5_find_array(file, good, (int64_t)size, &found, &err) == STATUS_OK, "%s", err.text);
    EXPECT(h5_close(file, good, &err) == STATUS_OK);
    memcpy(data + found.address + row * (int64_t)h5_kind_size(kind), value, h5_kind_size(kind));
    write_bytes(path, data, size);
    expect_refused(path, array);
    free(data);
}

static void check_wrong_values(const char *good, const char *path) {
    const int64_t minus = -1, huge = INT64_C(1) << 62, same = 0;
    const int32_t protein = P;
    const uint8_t nine = 9;
    expect_wrong_value(good, path, "/protein/offset", KIND_I64, 0, &minus);
    expect_wrong_value(good, path, "/protein/offset", KIND_I64, 3, &huge);
    expect_wrong_value(good, path, "/protein/offset", KIND_I64, 1, &same);
    expect_wrong_value(good, path, "/protein/offset", KIND_I64, P, &same);
    expect_wrong_value(good, path, "/caption/offset", KIND_I64, 2, &minus);
    expect_wrong_value(good, path, "/caption/question_offset", KIND_I64, P, &huge);
    expect_wrong_value(good, path, "/caption/protein", KIND_I32, 2, &protein);
    expect_wrong_value(good, path, "/protein/accession", KIND_TEXT16, 2,
                       "P00001\0\0\0\0\0\0\0\0\0");
    expect_wrong_value(good, path, "/protein/split", KIND_U8, 0, &nine);
    expect_wrong_value(good, path, "/protein/source", KIND_U8, 6, &nine);
}

static void check_cut_short(const char *good, const char *path) {
    size_t size = 0;
    char *data = fixture_read(good, &size);
    static const size_t small[] = {0, 1, 7, 8, 47, 48, 100, 1000, 5000};
    for (size_t i = 0; i < sizeof small / sizeof *small; i++) {
        write_bytes(path, data, small[i]);
        expect_refused(path, "cut short");
    }
    for (size_t k = 1; k <= 8; k++) {
        write_bytes(path, data, k == 8 ? size - 1 : size * k / 8);
        expect_refused(path, "cut short");
    }
    /* Text, and the right beginning with noise behind it. */
    write_bytes(path, "this is no dataset\n", 19);
    expect_refused(path, "text");
    for (size_t i = 64; i < 6000 && i < size; i++)
        data[i] = (char)(i * 37);
    write_bytes(path, data, size);
    expect_refused(path, "noise");
    free(data);
}

/* Other HDF5 files: empty; of another format; of a later version; with an array of another kind. */
static void check_other_files(const char *path) {
    for (int kind = 0; kind < 4; kind++) {
        error err = {0};
        hid_t file = H5I_INVALID_HID;
        if (comm_rank(MPI_COMM_WORLD) == 0) {
            EXPECT(h5_create(&file, path, &err) == STATUS_OK, "%s", err.text);
            if (kind > 0)
                h5_write_text(file, path, "format", kind == 1 ? "other" : DATASET_FORMAT, &err);
            h5_write_integer(file, path, "version", kind == 2 ? 99 : DATASET_VERSION, &err);
            h5_array array = {"/protein/accession", KIND_U8, 10, 1, 0};
            h5_make_group(file, path, "/protein", &err);
            h5_make_array(file, path, &array, &err);
            EXPECT(h5_close(file, path, &err) == STATUS_OK, "%s", err.text);
        }
        expect_refused(path, "another HDF5 file");
    }
}

/* A link that leads into another file is no array of this one, even if all would fit. */
static void check_links(const char *good, const char *path) {
    static const char *const names[] = {"/protein/residue", "/protein"};
    for (int k = 0; k < 4; k++) {
        size_t size = 0;
        char *data = fixture_read(good, &size);
        write_bytes(path, data, size);
        free(data);
        if (comm_rank(MPI_COMM_WORLD) == 0) {
            const char *name = names[k / 2];
            const hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
            EXPECT(H5Lmove(file, name, file, "/elsewhere", H5P_DEFAULT, H5P_DEFAULT) >= 0);
            EXPECT((k % 2 ? H5Lcreate_soft("/elsewhere", file, name, H5P_DEFAULT, H5P_DEFAULT)
                          : H5Lcreate_external(good, name, file, name, H5P_DEFAULT, H5P_DEFAULT)) >=
                   0);
            EXPECT(H5Fclose(file) >= 0);
        }
        expect_refused(path, "a link");
    }
}

/* A folder that may be written but not opened cannot be synced: then the file is taken back. */
static void check_folder_not_synced(const char *folder, const contents *c) {
    enum { NOBODY = 65534 };
    const int rank = comm_rank(MPI_COMM_WORLD);
    char box[FIXTURE_PATH], path[FIXTURE_PATH];
    error err = {0};
    dataset_writer *w = NULL;
    fixture_join(path, fixture_join(box, folder, "box"), "out.h5");
    if (rank == 0)
        EXPECT(chmod(folder, 0755) == 0 && mkdir(box, 0700) == 0);
    const dataset_sizes sizes = {P,      c->offset[P], P, c->text_offset[P], c->text_offset[P],
                                 LEDGER, SOURCES,      4};
    const dataset_about about = {"test", "{}", "none"};
    status code = dataset_writer_create(&w, MPI_COMM_WORLD, path, &sizes, &about, &err);
    EXPECT(code == STATUS_OK, "%s", err.text);
    code = put(w, c, rank, comm_size(MPI_COMM_WORLD), &err);
    if (rank == 0) {
        EXPECT(chmod(box, 0300) == 0);
        if (geteuid() == 0) /* root may open everything */
            EXPECT(chown(box, NOBODY, NOBODY) == 0 && seteuid(NOBODY) == 0);
    }
    code = dataset_writer_finish(w, code, &err);
    if (rank == 0 && getuid() == 0)
        EXPECT(seteuid(0) == 0);
    MPI_Barrier(MPI_COMM_WORLD);
    EXPECT(code == STATUS_FAILED && strstr(err.text, box) != NULL, "%d: %s", code, err.text);
    EXPECT(access(path, F_OK) != 0 && errno == ENOENT);
    if (rank == 0)
        EXPECT(chmod(box, 0700) == 0 && rmdir(box) == 0);
}

int main(int argc, char **argv) {
    MPI_Init(&argc, &argv);
    char folder[FIXTURE_PATH], good[FIXTURE_PATH], bad[FIXTURE_PATH], none[FIXTURE_PATH];
    fixture_folder(folder);
    fixture_join(good, folder, "good.h5");
    fixture_join(bad, folder, "bad.h5");
    contents c;
    fill(&c);
    write_file(good, &c);
    check_round_trip(good);
    expect_refused(fixture_join(none, folder, "none.h5"), "missing");
    expect_refused(folder, "a folder");
    check_wrong_values(good, bad);
    check_cut_short(good, bad);
    check_other_files(bad);
    check_folder_not_synced(folder, &c);
    check_links(good, bad);
    check_round_trip(good);
    fixture_remove(folder);
    const int code = test_end();
    MPI_Finalize();
    return code;
}
