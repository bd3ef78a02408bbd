// TEST np=4 timeout=120
/* The same inputs give the same file, byte for byte, on 1, 2, 3 and 4 ranks; its ledger and its
 * values are those that the inputs were made for. */
#include "io/dataset.h"
#include "src/data/build.h"
#include "tests/parallel/build_fixture.h"

enum { ENTRIES = 60 };

static int length_of(int i) {
    return i == 0 ? 1 : 20 + (i * 37) % 200;
}

static void name_of(int i, char *accession) {
    /* Not in the order of the sorted result. */
    snprintf(accession, 16, "P%05d", (i * 7919) % 10007);
}

/* Sixty entries in three files (one of them compressed), three that are not good, three that
 * come again: an older one, a newer one, and one as old in a later file. */
static void make_entries(const char *folder) {
    char path[FIXTURE_PATH], name[16], command[FIXTURE_PATH + 32];
    static const char *const files[] = {"a.dat", "b.dat", "c.dat"};
    for (int part = 0; part < 3; part++) {
        FILE *f = fopen(fixture_join(path, folder, files[part]), "w");
        name_of(5, name);
        if (part == 2)
            fixture_entry(f, name, "05-MAR-2010", 1002, 72, "", 0);
        for (int i = part * ENTRIES / 3; i < (part + 1) * ENTRIES / 3; i++) {
            name_of(i, name);
            fixture_entry(f, name, "05-MAR-2010", i, length_of(i),
                          i % 3 == 0 ? "" : "CC   -!- FUNCTION: Does something.\n", 0);
            if (i % 25 == 7)
                fixture_entry(f, "Q99999", "05-MAR-2010", i, 50, "", 1);
        }
        name_of(3, name);
        if (part == 1)
            fixture_entry(f, name, "05-MAR-2009", 1000, 70, "", 0);
        name_of(4, name);
        if (part == 1)
            fixture_entry(f, name, "05-MAR-2011", 1001, 71, "", 0);
        fclose(f);
    }
    snprintf(command, sizeof command, "gzip '%s'", path);
    if (system(command) != 0)
        MPI_Abort(MPI_COMM_WORLD, 1);
    FILE *f = fopen(fixture_join(path, folder, "notes.txt"), "w");
    fprintf(f, "neither entry nor structure\n");
    fclose(f);
}

/* One chain for each fate. */
static void make_structures(const char *folder) {
    char path[FIXTURE_PATH], name[16], file[32];
    for (int i = 10; i < 50; i++) {
        name_of(i, name);
        snprintf(file, sizeof file, "s%d.pdb", i);
        fixture_pdb(fixture_join(path, folder, file), name, i, 2, length_of(i), 0);
    }
    name_of(10, name);
    fixture_pdb(fixture_join(path, folder, "t_better.pdb"), name, 10, 0, length_of(10), 0);
    name_of(50, name);
    fixture_pdb(fixture_join(path, folder, "t_other_sequence.pdb"), name, 50, 0, length_of(50), 4);
    fixture_pdb(fixture_join(path, folder, "t_no_entry.pdb"), "O99999", 51, 0, length_of(51), 0);
    fixture_pdb(fixture_join(path, folder, "t_no_link.pdb"), "", 52, 0, length_of(52), 0);
    name_of(53, name);
    snprintf(file, sizeof file, "%s.pdb", name);
    fixture_pdb(fixture_join(path, folder, file), "", 53, 0, length_of(53), 0);
    FILE *f = fopen(fixture_join(path, folder, "t_damaged.pdb"), "w");
    fprintf(f, "HEADER    TEST\nATOM      1  CA  ALA A   1      what is this     0.000\n");
    fclose(f);
}

static void check_ledger(const ledger *l) {
    const struct {
        ledger_row row;
        int64_t count;
    } want[] = {{ENTRIES_IN, 66},        {ENTRIES_KEPT, 60},  {ENTRIES_DAMAGED, 3},
                {ENTRIES_DUPLICATE, 3},  {FILES_IN, 46},      {FILES_KEPT, 45},
                {FILES_DAMAGED, 1},      {PAIRS_IN, 45},      {PAIRS_KEPT, 41},
                {PAIRS_NO_ACCESSION, 1}, {PAIRS_NO_ENTRY, 1}, {PAIRS_WORSE, 1},
                {PAIRS_SHORT, 0},        {PAIRS_DIFFERENT, 1}};
    for (size_t i = 0; i < sizeof want / sizeof *want; i++)
        EXPECT(l->count[want[i].row] == want[i].count, "%s, %s: %lld, want %lld",
               ledger_stage(want[i].row), ledger_reason(want[i].row),
               (long long)l->count[want[i].row], (long long)want[i].count);
    EXPECT(ledger_adds_up(l->count));
}

/* Entry i as it must stand in the file. */
static void check_entry(const dataset *d, int i, error *err) {
    char name[16];
    uint8_t letters[512];
    float coord[512 * 3];
    name_of(i, name);
    const int64_t p = dataset_find(d, name);
    EXPECT(p >= 0, "%s is there", name);
    if (p < 0)
        return;
    const int64_t L = d->offset[p + 1] - d->offset[p];
    const int seed = i == 4 ? 1001 : i; /* the newer record of the two */
    EXPECT(L == (i == 4 ? 71 : length_of(i)), "%s has %lld residues", name, (long long)L);
    EXPECT(dataset_read_protein(d, p, L, letters, coord, err) == STATUS_OK, "%s", err->text);
    /* 10…49 begin at residue 2 but for number 10, whose better file has all; 53 by file name. */
    const int first = i == 10 || i == 53 ? 0 : i > 10 && i < 50 ? 2 : length_of(i);
    EXPECT(d->source[p] == (i == 53 || (i >= 10 && i < 50) ? SOURCE_PDB : SOURCE_NONE));
    for (int k = 0; k < L; k++) {
        float x[3];
        fixture_position(seed, k, x);
        EXPECT(letters[k] == (uint8_t)fixture_letter(seed, k), "%s residue %d", name, k);
        if (k < first || (i == 4))
            EXPECT(isnan(coord[3 * k]), "%s residue %d is missing", name, k);
        else
            EXPECT(memcmp(x, coord + 3 * k, sizeof x) == 0, "%s residue %d: %g", name, k,
                   (double)coord[3 * k]);
    }
}

static void check_dataset(const char *path, MPI_Comm comm) {
    error err = {0};
    dataset *d = NULL;
    EXPECT(dataset_open(&d, comm, path, &err) == STATUS_OK, "%s", err.text);
    if (d == NULL)
        return;
    EXPECT(d->proteins == ENTRIES && d->captions == ENTRIES);
    for (int i = 0; i < ENTRIES; i++)
        check_entry(d, i, &err);
    EXPECT(dataset_find(d, "Q99999") == -1);
    dataset_close(d);
}

/* Builds on the first `size` ranks. */
static void build_on(int size, const char *folder, const char *output) {
    const int rank = comm_rank(MPI_COMM_WORLD);
    MPI_Comm comm;
    MPI_Comm_split(MPI_COMM_WORLD, rank < size ? 0 : MPI_UNDEFINED, rank, &comm);
    if (comm != MPI_COMM_NULL) {
        const char *const paths[] = {folder};
        const build_settings settings = {paths, 1, paths, 1, 0.95, 7, output};
        build_report report;
        error err = {0};
        EXPECT(build_dataset(comm, &settings, &report, &err) == STATUS_OK, "%s", err.text);
        check_ledger(&report.ledger);
        EXPECT(report.with_structure == 41);
        check_dataset(output, comm);
        MPI_Comm_free(&comm);
    }
    MPI_Barrier(MPI_COMM_WORLD);
}

int main(int argc, char **argv) {
    MPI_Init(&argc, &argv);
    char folder[FIXTURE_PATH], inputs[FIXTURE_PATH], path[FIXTURE_PATH], name[32];
    fixture_folder(folder);
    fixture_join(inputs, folder, "inputs");
    if (comm_rank(MPI_COMM_WORLD) == 0) {
        mkdir(inputs, 0777);
        make_entries(inputs);
        make_structures(inputs);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    size_t first_size = 0;
    char *first = NULL;
    for (int size = 1; size <= comm_size(MPI_COMM_WORLD); size++) {
        snprintf(name, sizeof name, "out%d.h5", size);
        build_on(size, inputs, fixture_join(path, folder, name));
        size_t bytes = 0;
        char *data = fixture_read(path, &bytes);
        if (size == 1) {
            first = data;
            first_size = bytes;
            EXPECT(bytes > 10000);
            continue;
        }
        EXPECT(bytes == first_size && data != NULL && memcmp(first, data, bytes) == 0,
               "%d ranks write other bytes than one", size);
        free(data);
    }
    free(first);
    fixture_remove(folder);
    const int code = test_end();
    MPI_Finalize();
    return code;
}
