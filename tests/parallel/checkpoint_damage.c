// TEST np=1,3 timeout=120 mode=release,asan
/* Whatever is done to the newest checkpoint's files is noticed: they are renamed and the one before
 * is found. */
#include "src/base/log.h"
#include "tests/checkpoint_fixture.h"

enum { ROWS = 3, TRIALS = 400, GOOD = 1, NEWEST = 2 };

typedef struct file_copy {
    char path[256];
    char *data;
    size_t bytes;
} file_copy;

static file_copy load(const char *folder, const char *name) {
    file_copy f = {0};
    struct stat info = {0};
    snprintf(f.path, sizeof f.path, "%s/%s", folder, name);
    stat(f.path, &info);
    f.data = malloc((size_t)info.st_size + 1);
    FILE *file = fopen(f.path, "rb");
    if (file == NULL)
        abort();
    f.bytes = fread(f.data, 1, (size_t)info.st_size, file);
    fclose(file);
    return f;
}

static void store(const char *path, const char *data, size_t bytes) {
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(data, 1, bytes, file) != bytes || fclose(file) != 0)
        abort();
}

/* Spoils the file in one of seven ways, for certain. */
static void spoil(const file_copy *f, uint64_t trial) {
    const rng_key key = rng_key_make(11, "damage");
    const size_t at = (size_t)rng_below(key, trial, 1, f->bytes);
    const size_t size = 1 + (size_t)rng_below(key, trial, 2, f->bytes - at);
    char *data = malloc(2 * f->bytes);
    size_t bytes = f->bytes;
    memcpy(data, f->data, bytes);
    switch (trial % 7) {
    case 0: /* one bit */
        data[at] = (char)(data[at] ^ 1 << rng_below(key, trial, 3, 8));
        break;
    case 1: /* random bytes, the first of them certainly another */
        for (size_t i = 0; i < size; i++)
            data[at + i] = (char)rng_bits(key, trial, 10 + i);
        data[at] = (char)~f->data[at];
        break;
    case 2: /* cut short */
        bytes = at;
        break;
    case 3: /* nothing left */
        bytes = 0;
        break;
    case 4: /* longer */
        memcpy(data + bytes, f->data, size);
        bytes += size;
        break;
    case 5: /* another file altogether */
        for (size_t i = 0; i < bytes; i++)
            data[i] = (char)('a' + i % 26);
        break;
    default: /* a hole of zeros, in a file without its first bytes */
        memset(data + at, 0, size);
        data[0] = (char)~data[0];
    }
    store(f->path, data, bytes);
    free(data);
}

static void expect_good_found(const char *folder, const char *what, int64_t trial) {
    char want[256], *path = NULL;
    error err = {0};
    snprintf(want, sizeof want, "%s/step_%08d.h5", folder, GOOD);
    EXPECT(checkpoint_find_newest(&path, MPI_COMM_WORLD, folder, &err) == STATUS_OK, "%s",
           err.text);
    EXPECT(path != NULL && strcmp(path, want) == 0, "%s, trial %lld: found %s", what,
           (long long)trial, path ? path : "none");
    free(path);
}

static void test_mutations(const char *folder) {
    const int rank = comm_rank(MPI_COMM_WORLD);
    file_copy data = {0}, text = {0};
    if (rank == 0) {
        data = load(folder, "step_00000002.h5");
        text = load(folder, "step_00000002.json");
    }
    for (uint64_t trial = 0; trial < TRIALS; trial++) {
        if (rank == 0) {
            store(data.path, data.data, data.bytes);
            store(text.path, text.data, text.bytes);
            spoil(trial % 2 ? &data : &text, trial / 2);
        }
        MPI_Barrier(MPI_COMM_WORLD);
        expect_good_found(folder, "mutation", (int64_t)trial);
        EXPECT(fixture_count(folder, "step_00000002.h5.bad-*") > 0);
        EXPECT(fixture_count(folder, "step_00000002.h5") == 0);
        EXPECT(fixture_count(folder, "step_00000002.json") == 0);
        MPI_Barrier(MPI_COMM_WORLD);
    }
    if (rank == 0) {
        store(data.path, data.data, data.bytes);
        store(text.path, text.data, text.bytes);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    fixture_expect_newest(MPI_COMM_WORLD, folder, NEWEST, ROWS);
    free(data.data);
    free(text.data);
}

/* Runs a shell command in the folder on rank 0. */
static void shell(const char *folder, const char *command) {
    char line[1024];
    MPI_Barrier(MPI_COMM_WORLD);
    if (comm_rank(MPI_COMM_WORLD) == 0) {
        snprintf(line, sizeof line, "cd '%s' && %s", folder, command);
        EXPECT(system(line) == 0, "%s", line);
    }
    MPI_Barrier(MPI_COMM_WORLD);
}

static void test_swaps(const char *folder) {
    static const struct {
        const char *what, *command, *bad;
    } swaps[] = {
        {"the manifest of another", "cp step_00000001.json step_00000002.json", "*.bad-*"},
        {"the data of another", "cp step_00000001.h5 step_00000002.h5", "*.bad-checksum"},
        {"another under its name",
         "cp step_00000001.h5 step_00000003.h5; cp step_00000001.json step_00000003.json",
         "step_00000003.h5.bad-step"},
        {"no manifest", "rm step_00000002.json", "step_00000002.h5.bad-no-manifest"},
        {"no data", "rm step_00000002.h5", "step_00000002.json.bad-no-file"},
        {"a cut file", "truncate -s 5000 step_00000002.h5", "step_00000002.h5.bad-size"},
        {"a pipe", "rm step_00000002.h5; mkfifo step_00000002.h5", "step_00000002.h5.bad-*"},
        {"a folder", "rm step_00000002.json; mkdir step_00000002.json", "step_00000002.json.bad-*"},
    };
    shell(folder, "rm -rf *.bad-* && mkdir ../kept && cp step* ../kept");
    for (size_t i = 0; i < sizeof swaps / sizeof swaps[0]; i++) {
        shell(folder, "rm -rf step* && cp ../kept/* .");
        shell(folder, swaps[i].command);
        if (strstr(swaps[i].command, "00000003") != NULL)
            shell(folder, "rm step_00000002.*");
        expect_good_found(folder, swaps[i].what, (int64_t)i);
        EXPECT(fixture_count(folder, swaps[i].bad) > 0, "%s: no %s", swaps[i].what, swaps[i].bad);
    }
}

/* Names that are no checkpoints are left alone; with nothing good the run must not start anew. */
static void test_none_good(const char *folder) {
    char *path = NULL, other[256];
    error err = {0};
    shell(folder, "rm -rf step* && cp ../kept/* . && for f in step*; do echo x >$f; done");
    for (int i = 0; i < 2; i++) {
        EXPECT(checkpoint_find_newest(&path, MPI_COMM_WORLD, folder, &err) == STATUS_INPUT);
        EXPECT(path == NULL && strstr(err.text, folder) != NULL, "%s", err.text);
        MPI_Barrier(MPI_COMM_WORLD); /* rank 0 has renamed the last */
        EXPECT(fixture_count(folder, "step_0000000?.h5.bad-*") == 2);
    }
    shell(folder, "rm -rf * && touch notes step_1.h5 step_000000001.h5 step_0000000x.json "
                  "step_00000007.h5.partial step_99999999999999999999.h5 step_00000007.h5x");
    err = (error){0};
    EXPECT(checkpoint_find_newest(&path, MPI_COMM_WORLD, folder, &err) == STATUS_OK && !path, "%s",
           err.text);
    EXPECT(fixture_count(folder, "*") == 7);
    snprintf(other, sizeof other, "%s/not/there", folder);
    EXPECT(checkpoint_find_newest(&path, MPI_COMM_WORLD, other, &err) == STATUS_OK && !path, "%s",
           err.text);
}

int main(int argc, char **argv) {
    MPI_Init(&argc, &argv);
    log_set_rank(comm_rank(MPI_COMM_WORLD));
    log_set_level(LOG_ERROR); /* hundreds of warnings are expected */
    char root[64], folder[96];
    error err = {0};
    fixture_make_folder(root);
    snprintf(folder, sizeof folder, "%s/checkpoints", root);
    const checkpoint_retention keep = {5, -1, 0};
    for (int64_t step = GOOD; step <= NEWEST; step++)
        EXPECT(fixture_save(MPI_COMM_WORLD, folder, step, ROWS, keep, &err) == STATUS_OK, "%s",
               err.text);
    test_mutations(folder);
    test_swaps(folder);
    test_none_good(folder);
    fixture_remove_folder(root);
    MPI_Finalize();
    return test_end();
}
