// TEST np=1,3 timeout=60 mode=release,asan
/* Who only reads changes nothing: a command beside a training job may meet the folder at any moment
 * of a save, and must neither finish the save nor rename what it finds damaged. And what one rank
 * alone cannot see whole is no damaged checkpoint. */
#include "src/base/log.h"
#include "tests/checkpoint_fixture.h"

enum { ROWS = 3 };

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

/* After `command` on checkpoints 1 and 2 the reader finds `want` ("": none) and the folder holds
 * the same names as before. */
static void check_reader(const char *folder, const char *command, status want_code,
                         const char *want) {
    char *path = NULL;
    error err = {0};
    shell(folder, "rm -rf step_* && cp good/* .");
    shell(folder, command);
    shell(folder, "ls step_* >before");
    const status code = checkpoint_look_newest(&path, MPI_COMM_WORLD, folder, &err);
    EXPECT(code == want_code, "%s: %d %s", command, code, err.text);
    const char *name = path == NULL ? "" : strrchr(path, '/') + 1;
    EXPECT(strcmp(name, want) == 0, "%s: found \"%s\", want \"%s\"", command, name, want);
    shell(folder, "ls step_* | cmp - before");
    free(path);
}

/* The last rank looks at another folder, where the newest is cut short or missing. */
static void check_other_view(const char *folder, const char *command) {
    const int rank = comm_rank(MPI_COMM_WORLD), size = comm_size(MPI_COMM_WORLD);
    char other[128], *path = NULL;
    error err = {0};
    shell(folder, "rm -rf step_* other && cp good/* . && mkdir other && cp good/* other");
    shell(folder, command);
    snprintf(other, sizeof other, "%s/other", folder);
    const status code =
        checkpoint_find_newest(&path, MPI_COMM_WORLD, rank == size - 1 ? other : folder, &err);
    EXPECT(code == (size > 1 ? STATUS_FAILED : STATUS_OK), "%s: %d %s", command, code, err.text);
    MPI_Barrier(MPI_COMM_WORLD);
    EXPECT(size == 1 || fixture_count(folder, "step_*") == 4, "%s", command);
    free(path);
}

int main(int argc, char **argv) {
    MPI_Init(&argc, &argv);
    log_set_rank(comm_rank(MPI_COMM_WORLD));
    char folder[64];
    error err = {0};
    fixture_make_folder(folder);
    for (int64_t step = 1; step <= 2; step++)
        EXPECT(fixture_save(MPI_COMM_WORLD, folder, step, ROWS, (checkpoint_retention){2, -1, 0},
                            &err) == STATUS_OK,
               "%s", err.text);
    shell(folder, "mkdir good && cp step_* good");
    check_reader(folder, "true", STATUS_OK, "step_00000002.h5");
    check_reader(folder, "mv step_00000002.json step_00000002.json.partial", STATUS_OK,
                 "step_00000001.h5");
    check_reader(folder, "rm step_00000002.json", STATUS_OK, "step_00000001.h5");
    check_reader(folder, "rm step_00000002.h5", STATUS_OK, "step_00000001.h5");
    check_reader(folder, "truncate -s 4000 step_00000002.h5", STATUS_OK, "step_00000001.h5");
    check_reader(folder, "rm *1.* && mv step_00000002.json step_00000002.json.partial", STATUS_OK,
                 "");
    check_reader(folder, "rm *1.* && echo >step_00000002.json", STATUS_INPUT, "");
    check_other_view(folder, "truncate -s 4000 other/step_00000002.h5");
    check_other_view(folder, "rm other/step_00000002.h5");
    fixture_remove_folder(folder);
    MPI_Finalize();
    return test_end();
}
