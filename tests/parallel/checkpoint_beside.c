// TEST np=1,2,4 timeout=60 mode=release,asan
/* A save beside the caller's work writes what was there when it began, the same bytes as a save at
 * once, under its name only when it has ended; whatever fails on whatever rank and at whatever
 * moment fails on all, with one sentence, and leaves the checkpoints before it whole. Also the
 * program of checkpoint_kill.sh and checkpoint_full_disk.sh: begin FOLDER STEP, fill FOLDER 1. */
#include "src/base/log.h"
#include "tests/checkpoint_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/syscall.h>

enum { ROWS = 1200 }; /* 4.8 MB: two slabs */

static const checkpoint_retention keep = {3, -1, 0};

/* ---- a file system that cannot reserve, and fills up just then --------------------------------
 */

static char filler[128];

int fallocate(int fd, int mode, off_t offset, off_t bytes);
int fallocate(int fd, int mode, off_t offset, off_t bytes) {
    (void)mode;
    if (filler[0] == '\0') {
        errno = posix_fallocate(fd, offset, bytes);
        return errno == 0 ? 0 : -1;
    }
    const int hog = open(filler, O_CREAT | O_WRONLY | O_TRUNC, 0666);
    static const char zeros[65536];
    while (write(hog, zeros, sizeof zeros) > 0)
        continue;
    close(hog);
    errno = EOPNOTSUPP;
    return -1;
}

/* ---- a disk that is slow for one rank ---------------------------------------------------------
 */

static bool slow;

int fsync(int fd) {
    if (slow)
        usleep(50000);
    return (int)syscall(SYS_fsync, fd);
}

/* ---- helpers --------------------------------------------------------------------------------- */

static bool same_file(const char *a, const char *b) {
    char command[600];
    snprintf(command, sizeof command, "cmp -s '%s' '%s'", a, b);
    return system(command) == 0;
}

static checkpoint_writer *new_writer(const char *folder, int64_t bytes) {
    checkpoint_writer *w = NULL;
    error err = {0};
    EXPECT(checkpoint_writer_create(&w, MPI_COMM_WORLD, folder, bytes, &err) == STATUS_OK, "%s",
           err.text);
    return w;
}

/* Both ways the save may end; polled until it does, which is at the same poll on all ranks. */
static status end(checkpoint_writer *w, bool poll, error *err) {
    status code = STATUS_OK;
    if (!poll)
        return checkpoint_finish(w, err);
    int64_t polls = 0;
    while (checkpoint_under_way(w) >= 0 && code == STATUS_OK) {
        code = checkpoint_poll(w, err);
        polls++;
    }
    EXPECT(comm_max(MPI_COMM_WORLD, (double)polls) == (double)polls);
    return code;
}

/* All ranks hold the same code and text; nothing of step 2 is there; step 1 is whole. */
static void expect_failed(const char *folder, const checkpoint_writer *w, status code,
                          const error *err) {
    char text[ERROR_TEXT];
    int codes[2] = {(int)code, -(int)code}, largest[2];
    memcpy(text, err->text, sizeof text);
    MPI_Bcast(text, sizeof text, MPI_CHAR, 0, MPI_COMM_WORLD);
    MPI_Allreduce(codes, largest, 2, MPI_INT, MPI_MAX, MPI_COMM_WORLD);
    EXPECT(code == STATUS_FAILED && largest[0] == -largest[1], "%d: %s", code, err->text);
    EXPECT_TEXT(err->text, text);
    EXPECT(strstr(err->text, "the checkpoint of step 2 was not saved") != NULL, "%s", err->text);
    EXPECT(checkpoint_under_way(w) == -1);
    MPI_Barrier(MPI_COMM_WORLD);
    EXPECT(fixture_count(folder, "step_*") == 2, "%lld files",
           (long long)fixture_count(folder, "step_*"));
    fixture_expect_newest(MPI_COMM_WORLD, folder, 1, ROWS);
}

static void expect_saved(const char *folder, checkpoint_writer *w, int64_t step) {
    error err = {0};
    EXPECT(fixture_begin(w, MPI_COMM_WORLD, step, ROWS, keep, &err) == STATUS_OK, "%s", err.text);
    EXPECT(checkpoint_finish(w, &err) == STATUS_OK, "%s", err.text);
    fixture_expect_newest(MPI_COMM_WORLD, folder, step, ROWS);
    EXPECT(fixture_count(folder, "*.partial") == 0);
}

/* ---- what is asked --------------------------------------------------------------------------- */

static void test_same_bytes(const char *root) {
    char folder[128], beside[200], at_once[200];
    error err = {0};
    snprintf(folder, sizeof folder, "%s/beside", root);
    snprintf(beside, sizeof beside, "%s/step_00000007.h5", folder);
    snprintf(at_once, sizeof at_once, "%s/step_00000007.h5", root);
    EXPECT(fixture_save(MPI_COMM_WORLD, root, 7, ROWS, keep, &err) == STATUS_OK, "%s", err.text);
    checkpoint_writer *w = new_writer(folder, 0);
    EXPECT(checkpoint_under_way(w) == -1 && checkpoint_poll(w, &err) == STATUS_OK &&
           checkpoint_finish(w, &err) == STATUS_OK);
    slow = comm_rank(MPI_COMM_WORLD) == comm_size(MPI_COMM_WORLD) - 1;
    EXPECT(fixture_begin(w, MPI_COMM_WORLD, 7, ROWS, keep, &err) == STATUS_OK, "%s", err.text);
    EXPECT(checkpoint_under_way(w) == 7);
    EXPECT(checkpoint_poll(w, &err) == STATUS_OK && checkpoint_under_way(w) == 7);
    MPI_Barrier(MPI_COMM_WORLD);
    EXPECT(fixture_count(folder, "step_00000007.h5.partial") == 1);
    EXPECT(fixture_count(folder, "*.h5") == 0 && fixture_count(folder, "*.json") == 0);
    MPI_Barrier(MPI_COMM_WORLD);
    EXPECT(end(w, true, &err) == STATUS_OK && checkpoint_under_way(w) == -1, "%s", err.text);
    slow = false;
    fixture_expect_newest(MPI_COMM_WORLD, folder, 7, ROWS);
    EXPECT(same_file(beside, at_once));
    strcpy(strrchr(beside, '.'), ".json");
    strcpy(strrchr(at_once, '.'), ".json");
    EXPECT(same_file(beside, at_once));
    checkpoint_writer_destroy(w);
}

/* A second save waits for the first; one that is never ended leaves nothing. */
static void test_one_at_a_time(const char *root) {
    char folder[128];
    error err = {0};
    snprintf(folder, sizeof folder, "%s/queue", root);
    checkpoint_writer *w = new_writer(folder, 6 << 20);
    for (int64_t step = 1; step <= 3; step++) {
        EXPECT(fixture_begin(w, MPI_COMM_WORLD, step, ROWS, keep, &err) == STATUS_OK, "%s",
               err.text);
        MPI_Barrier(MPI_COMM_WORLD);
        EXPECT(fixture_count(folder, "*.json") == step - 1);
        MPI_Barrier(MPI_COMM_WORLD);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    checkpoint_writer_destroy(w);
    MPI_Barrier(MPI_COMM_WORLD);
    EXPECT(fixture_count(folder, "*") == 4);
    fixture_expect_newest(MPI_COMM_WORLD, folder, 2, ROWS);
}

/* A fault is one of this process, and the threads ask for it too: it stays until the save ends. */
static void test_fault(const char *folder, checkpoint_writer *w, const char *fault, bool poll) {
    error err = {0};
    setenv("SEPIT_FAULT", fault, 1);
    status code = fixture_begin(w, MPI_COMM_WORLD, 2, ROWS, keep, &err);
    if (code == STATUS_OK)
        code = end(w, poll, &err);
    unsetenv("SEPIT_FAULT");
    EXPECT(strstr(err.text, "on purpose") != NULL, "%s: %s", fault, err.text);
    expect_failed(folder, w, code, &err);
}

static void test_faults(const char *folder, checkpoint_writer *w) {
    static const char *const first_only[] = {"create", "reserve", "rename-file", "rename-manifest",
                                             "sync-folder"};
    static const char *const everywhere[] = {"write", "written", "flush"};
    char fault[64];
    for (int i = 0; i < 5; i++)
        test_fault(folder, w, first_only[i], i % 2);
    for (int i = 0; i < 3; i++)
        for (int rank = 0; rank < comm_size(MPI_COMM_WORLD); rank++) {
            snprintf(fault, sizeof fault, "%s:%d", everywhere[i], rank);
            test_fault(folder, w, fault, (i + rank) % 2);
        }
}

/* A save that failed is told by the next one's beginning, which begins nothing. */
static void test_told_late(const char *folder, checkpoint_writer *w) {
    error err = {0};
    setenv("SEPIT_FAULT", "write", 1);
    EXPECT(fixture_begin(w, MPI_COMM_WORLD, 2, ROWS, keep, &err) == STATUS_OK, "%s", err.text);
    const status code = fixture_begin(w, MPI_COMM_WORLD, 3, ROWS, keep, &err);
    unsetenv("SEPIT_FAULT");
    expect_failed(folder, w, code, &err);
}

/* One rank may not write so large a file: the system itself says no, to the thread. */
static void test_file_size_limit(const char *folder, checkpoint_writer *w) {
    for (int refused = 0; refused < comm_size(MPI_COMM_WORLD); refused++) {
        struct rlimit old, low;
        error err = {0};
        status code = fixture_begin(w, MPI_COMM_WORLD, 2, ROWS, keep, &err);
        EXPECT(code == STATUS_OK, "%s", err.text);
        checkpoint_writer_destroy(w); /* the file is there; now again, with the limit */
        w = new_writer(folder, 0);
        getrlimit(RLIMIT_FSIZE, &old);
        low = old;
        low.rlim_cur = refused == comm_rank(MPI_COMM_WORLD) ? 65536 : old.rlim_cur;
        setrlimit(RLIMIT_FSIZE, &low);
        code = fixture_begin(w, MPI_COMM_WORLD, 2, ROWS, keep, &err);
        EXPECT((code == STATUS_OK) == (refused != 0), "%s", err.text);
        if (code == STATUS_OK)
            code = checkpoint_finish(w, &err);
        setrlimit(RLIMIT_FSIZE, &old);
        expect_failed(folder, w, code, &err);
    }
    checkpoint_writer_destroy(w);
}

/* The sanitizer takes so large a wish for a mistake. */
#ifdef __SANITIZE_ADDRESS__
enum { ASKS_TOO_MUCH = 0 };
#else
enum { ASKS_TOO_MUCH = 1 };
#endif

static void test_no_memory(const char *folder) {
    checkpoint_writer *w = NULL;
    error err = {0};
    const int64_t bytes = comm_rank(MPI_COMM_WORLD) == 0 ? INT64_MAX / 2 : 1;
    EXPECT(checkpoint_writer_create(&w, MPI_COMM_WORLD, folder, bytes, &err) == STATUS_FAILED);
    EXPECT(w == NULL && strstr(err.text, "no memory for a copy") != NULL, "%s", err.text);
}

static void test_retention(const char *root) {
    static const char *const kept[] = {"step_00000003.*", "step_00000004.*", "step_00000008.*",
                                       "step_00000010.*", "step_00000011.*"};
    const checkpoint_retention some = {2, 3, 4};
    char folder[128];
    error err = {0};
    snprintf(folder, sizeof folder, "%s/retention", root);
    checkpoint_writer *w = new_writer(folder, 0);
    for (int64_t step = 1; step <= 11; step++)
        EXPECT(fixture_begin(w, MPI_COMM_WORLD, step, 1, some, &err) == STATUS_OK, "%s", err.text);
    EXPECT(checkpoint_finish(w, &err) == STATUS_OK, "%s", err.text);
    MPI_Barrier(MPI_COMM_WORLD);
    for (int i = 0; i < 5; i++)
        EXPECT(fixture_count(folder, kept[i]) == 2, "%s", kept[i]);
    EXPECT(fixture_count(folder, "*") == 10);
    checkpoint_writer_destroy(w);
}

static void test_everything(void) {
    char root[64], folder[128];
    error err = {0};
    fixture_make_folder(root);
    test_same_bytes(root);
    test_one_at_a_time(root);
    test_retention(root);
    snprintf(folder, sizeof folder, "%s/faults", root);
    EXPECT(fixture_save(MPI_COMM_WORLD, folder, 1, ROWS, keep, &err) == STATUS_OK, "%s", err.text);
    if (ASKS_TOO_MUCH)
        test_no_memory(folder);
    checkpoint_writer *w = new_writer(folder, 0);
    test_faults(folder, w);
    test_told_late(folder, w);
    expect_saved(folder, w, 1);
    test_file_size_limit(folder, w);
    w = new_writer(folder, 0);
    expect_saved(folder, w, 2);
    checkpoint_writer_destroy(w);
    fixture_remove_folder(root);
}

static void run_begin(const char *folder, int64_t step) {
    error err = {0};
    checkpoint_writer *w = new_writer(folder, 0);
    EXPECT(fixture_begin(w, MPI_COMM_WORLD, step, ROWS, (checkpoint_retention){2, -1, 0}, &err) ==
               STATUS_OK,
           "%s", err.text);
    EXPECT(checkpoint_finish(w, &err) == STATUS_OK, "%s", err.text);
    checkpoint_writer_destroy(w);
}

/* The disk fills up while step 2 is written; with room again, the next save leaves no rubbish. */
static void run_fill(const char *folder) {
    error err = {0};
    EXPECT(fixture_save(MPI_COMM_WORLD, folder, 1, ROWS, keep, &err) == STATUS_OK, "%s", err.text);
    checkpoint_writer *w = new_writer(folder, 0);
    snprintf(filler, sizeof filler, "%s/filler", folder);
    status code = fixture_begin(w, MPI_COMM_WORLD, 2, ROWS, keep, &err);
    EXPECT(code == STATUS_OK, "%s", err.text);
    code = checkpoint_finish(w, &err);
    EXPECT(strstr(err.text, "No space left") != NULL, "%s", err.text);
    expect_failed(folder, w, code, &err);
    MPI_Barrier(MPI_COMM_WORLD);
    if (comm_rank(MPI_COMM_WORLD) == 0)
        unlink(filler);
    filler[0] = '\0';
    expect_saved(folder, w, 3);
    EXPECT(fixture_count(folder, "*") == 4);
    checkpoint_writer_destroy(w);
}

int main(int argc, char **argv) {
    MPI_Init(&argc, &argv);
    log_set_rank(comm_rank(MPI_COMM_WORLD));
    if (argc == 4 && strcmp(argv[1], "begin") == 0)
        run_begin(argv[2], atoll(argv[3]));
    else if (argc == 4)
        run_fill(argv[2]);
    else
        test_everything();
    MPI_Finalize();
    return test_end();
}
