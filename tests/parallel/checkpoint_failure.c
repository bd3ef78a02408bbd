// TEST np=1,2,4 timeout=60 mode=release,asan
/* A save that fails, at any step on any rank, fails on all with one sentence, leaves nothing of
 * itself, and the checkpoint before it whole. Also the program of checkpoint_kill.sh and
 * checkpoint_full_disk.sh: save FOLDER STEP [ROWS], resume FOLDER STEP [ROWS], full FOLDER 1. */
#include "src/base/log.h"
#include "tests/checkpoint_fixture.h"

#include <sys/resource.h>

enum { ROWS = 1200 }; /* 4.8 MB: two slabs */

static const checkpoint_retention keep = {3, -1, 0};

/* All ranks must hold the same code and text; nothing of step 2 may be there; step 1 is whole. */
static void expect_failed(const char *folder, status code, const error *err, status want) {
    char text[ERROR_TEXT];
    int codes[2] = {(int)code, -(int)code}, largest[2];
    memcpy(text, err->text, sizeof text);
    MPI_Bcast(text, sizeof text, MPI_CHAR, 0, MPI_COMM_WORLD);
    MPI_Allreduce(codes, largest, 2, MPI_INT, MPI_MAX, MPI_COMM_WORLD);
    EXPECT(code == want && err->code == want, "%d: %s", code, err->text);
    EXPECT(largest[0] == -largest[1]);
    EXPECT_TEXT(err->text, text);
    EXPECT(strstr(err->text, "the checkpoint of step 2 was not saved") != NULL, "%s", err->text);
    EXPECT(strchr(err->text, '\n') == NULL);
    MPI_Barrier(MPI_COMM_WORLD);
    EXPECT(fixture_count(folder, "*") == 2, "%lld files", (long long)fixture_count(folder, "*"));
    fixture_expect_newest(MPI_COMM_WORLD, folder, 1, ROWS);
}

static void test_faults(const char *folder) {
    static const char *const first_only[] = {"create", "reserve", "rename-file", "rename-manifest",
                                             "sync-folder"};
    char fault[64];
    for (int i = 0; i < 5 + 2 * comm_size(MPI_COMM_WORLD); i++) {
        if (i < 5)
            snprintf(fault, sizeof fault, "%s", first_only[i]);
        else
            snprintf(fault, sizeof fault, "%s:%d", i % 2 ? "write" : "flush", (i - 5) / 2);
        setenv("SEPIT_FAULT", fault, 1);
        error err = {0};
        const status code = fixture_save(MPI_COMM_WORLD, folder, 2, ROWS, keep, &err);
        unsetenv("SEPIT_FAULT");
        expect_failed(folder, code, &err, STATUS_FAILED);
    }
}

/* One rank may not write so large a file: the system itself says no. */
static void test_file_size_limit(const char *folder) {
    for (int refused = 0; refused < comm_size(MPI_COMM_WORLD); refused++) {
        struct rlimit old, low;
        getrlimit(RLIMIT_FSIZE, &old);
        low = old;
        low.rlim_cur = refused == comm_rank(MPI_COMM_WORLD) ? 4096 : old.rlim_cur;
        setrlimit(RLIMIT_FSIZE, &low);
        error err = {0};
        const status code = fixture_save(MPI_COMM_WORLD, folder, 2, ROWS, keep, &err);
        setrlimit(RLIMIT_FSIZE, &old);
        expect_failed(folder, code, &err, STATUS_FAILED);
    }
}

/* A file stands where the folder should be. */
static void test_no_folder(const char *folder) {
    char inside[256];
    error err = {0};
    snprintf(inside, sizeof inside, "%s/step_00000001.json/deeper", folder);
    const status code = fixture_save(MPI_COMM_WORLD, inside, 2, ROWS, keep, &err);
    expect_failed(folder, code, &err, STATUS_FAILED);
    EXPECT(strstr(err.text, "step_00000001.json") != NULL, "%s", err.text);
}

/* Saves ten numbers in the slices given, on every rank alike but for what the caller changed. */
static status save_ten(const char *folder, const checkpoint_slice *slice, int64_t slices,
                       const char *name, int64_t item, error *err) {
    const checkpoint_tensor tensor = {name, CHECKPOINT_I64, 1, {10}};
    const checkpoint_item items[] = {{"epoch", item}};
    const checkpoint_content content = {2, &tensor, 1, slice, slices, items, 1, "{}"};
    return checkpoint_save(MPI_COMM_WORLD, folder, &content, keep, err);
}

static void test_wrong_content(const char *folder) {
    const int rank = comm_rank(MPI_COMM_WORLD), last = comm_size(MPI_COMM_WORLD) - 1;
    const int64_t ten[10] = {0};
    const struct {
        int64_t slices;
        checkpoint_slice slice[3];
    } wrong[] = {
        {1, {{0, 0, 9, ten}}},                                  /* one missing */
        {2, {{0, 0, 10, ten}, {0, 3, 1, ten}}},                 /* one twice */
        {2, {{0, 0, 5, ten}, {0, 4, 5, ten}}},                  /* as many as wanted, but 4 twice */
        {3, {{0, 0, 5, ten}, {0, 6, 4, ten}, {0, 7, 1, ten}}},  /* likewise */
        {1, {{0, 1, 10, ten}}},                                 /* beyond the end */
        {1, {{2, 0, 10, ten}}},                                 /* no such tensor: an item's */
        {2, {{0, 0, 10, ten}, {0, 5, -1, ten}}},                /* negative */
        {2, {{0, 0, 10, ten}, {0, INT64_MAX, INT64_MAX, ten}}}, /* overflow */
        {0, {{0}}},                                             /* nothing */
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        error err = {0};
        const int64_t mine = rank == last ? wrong[i].slices : 0;
        const status code = save_ten(folder, wrong[i].slice, mine, "/model/a", 0, &err);
        expect_failed(folder, code, &err, STATUS_INPUT);
    }
    const checkpoint_slice all = {0, 0, 10, ten};
    error err = {0};
    if (last > 0) { /* ranks of different opinions */
        const char *name = rank == last ? "/model/b" : "/model/a";
        status code = save_ten(folder, &all, rank == 0, name, 0, &err);
        expect_failed(folder, code, &err, STATUS_INPUT);
        code = save_ten(folder, &all, rank == 0, "/model/a", rank == last, &err);
        expect_failed(folder, code, &err, STATUS_INPUT);
    }
    err = (error){0};
    status code = save_ten(folder, &all, rank == 0, "model/a", 0, &err);
    expect_failed(folder, code, &err, STATUS_INPUT);
    code = save_ten(folder, &all, rank == 0, "/train/epoch", 0, &err); /* an item's name */
    expect_failed(folder, code, &err, STATUS_FAILED);
}

static void test_after_all(const char *folder) {
    error err = {0};
    EXPECT(fixture_save(MPI_COMM_WORLD, folder, 2, ROWS, keep, &err) == STATUS_OK, "%s", err.text);
    fixture_expect_newest(MPI_COMM_WORLD, folder, 2, ROWS);
    EXPECT(fixture_count(folder, "*") == 4);
}

/* In a folder with room for one checkpoint and a bit: the second finds the disk full. */
static void test_full(const char *folder) {
    error err = {0};
    EXPECT(fixture_save(MPI_COMM_WORLD, folder, 1, ROWS, keep, &err) == STATUS_OK, "%s", err.text);
    const status code = fixture_save(MPI_COMM_WORLD, folder, 2, ROWS, keep, &err);
    expect_failed(folder, code, &err, STATUS_FAILED);
    EXPECT(strstr(err.text, "free") != NULL, "%s", err.text);
}

static void test_everything(void) {
    char folder[64];
    error err = {0};
    fixture_make_folder(folder);
    EXPECT(fixture_save(MPI_COMM_WORLD, folder, 1, ROWS, keep, &err) == STATUS_OK, "%s", err.text);
    test_faults(folder);
    test_file_size_limit(folder);
    test_no_folder(folder);
    test_wrong_content(folder);
    test_after_all(folder);
    fixture_remove_folder(folder);
}

/* ---- as a program ---- */

static void save_two(const char *folder, int64_t step, int64_t rows) {
    error err = {0};
    EXPECT(fixture_save(MPI_COMM_WORLD, folder, step, rows, (checkpoint_retention){2, -1, 0},
                        &err) == STATUS_OK,
           "%s", err.text);
}

/* After a kill: the step wanted is found, and the next save works. */
static void resume(const char *folder, int64_t step, int64_t rows) {
    fixture_expect_newest(MPI_COMM_WORLD, folder, step, rows);
    save_two(folder, step + 10, ROWS);
    fixture_expect_newest(MPI_COMM_WORLD, folder, step + 10, ROWS);
}

static void run_command(const char *command, const char *folder, int64_t step, int64_t rows) {
    if (strcmp(command, "full") == 0)
        test_full(folder);
    else if (strcmp(command, "save") == 0)
        save_two(folder, step, rows);
    else
        resume(folder, step, rows);
}

int main(int argc, char **argv) {
    MPI_Init(&argc, &argv);
    log_set_rank(comm_rank(MPI_COMM_WORLD));
    if (argc >= 4)
        run_command(argv[1], argv[2], atoll(argv[3]), argc == 5 ? atoll(argv[4]) : ROWS);
    else
        test_everything();
    MPI_Finalize();
    return test_end();
}
