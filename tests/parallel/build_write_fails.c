// TEST np=1,3 timeout=60
/* Writing that fails on one rank or on all, wherever in the file, fails on every rank within
 * seconds, and leaves neither the file nor its partial. The limit on file sizes stands in for a
 * disk that says no. */
#include "src/data/build.h"
#include "tests/parallel/build_fixture.h"

#include <sys/resource.h>

static void expect_failure(const build_settings *settings, const char *folder, rlim_t bytes,
                           int everywhere) {
    const int rank = comm_rank(MPI_COMM_WORLD), last = comm_size(MPI_COMM_WORLD) - 1;
    struct rlimit before, limit;
    getrlimit(RLIMIT_FSIZE, &before);
    limit = before;
    limit.rlim_cur = bytes;
    if (everywhere || rank == last)
        setrlimit(RLIMIT_FSIZE, &limit);
    build_report report;
    error err = {0};
    const status code = build_dataset(MPI_COMM_WORLD, settings, &report, &err);
    setrlimit(RLIMIT_FSIZE, &before);
    char partial[FIXTURE_PATH + 16];
    snprintf(partial, sizeof partial, "%s.partial", settings->output);
    EXPECT(code == STATUS_FAILED && strstr(err.text, folder) != NULL, "%lld bytes: code %d, %s",
           (long long)bytes, code, err.text);
    MPI_Barrier(MPI_COMM_WORLD);
    EXPECT(access(settings->output, F_OK) != 0 && access(partial, F_OK) != 0, "%lld bytes",
           (long long)bytes);
    MPI_Barrier(MPI_COMM_WORLD);
}

int main(int argc, char **argv) {
    MPI_Init(&argc, &argv);
    char folder[FIXTURE_PATH], input[FIXTURE_PATH], output[FIXTURE_PATH], name[16];
    fixture_folder(folder);
    fixture_join(input, folder, "in.dat");
    fixture_join(output, folder, "out.h5");
    if (comm_rank(MPI_COMM_WORLD) == 0) {
        FILE *f = fopen(input, "w");
        for (int i = 0; i < 200; i++) {
            snprintf(name, sizeof name, "P%05d", i);
            fixture_entry(f, name, "01-JAN-2000", i, 300, "", 0);
        }
        fclose(f);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    const char *const paths[] = {input};
    const build_settings settings = {paths, 1, NULL, 0, 0.95, 1, output};
    /* The file has 200·300·14 bytes and more. In its header; in the skeleton; while reserving. */
    expect_failure(&settings, folder, 0, 1);
    expect_failure(&settings, folder, 1000, 1);
    expect_failure(&settings, folder, 6000, 1);
    expect_failure(&settings, folder, 400000, 1);
    /* The last rank alone, in the middle of its slices. */
    expect_failure(&settings, folder, 100, 0);
    expect_failure(&settings, folder, 500000, 0);
    build_report report;
    error err = {0};
    EXPECT(build_dataset(MPI_COMM_WORLD, &settings, &report, &err) == STATUS_OK, "%s", err.text);
    EXPECT(access(output, F_OK) == 0);
    fixture_remove(folder);
    const int code = test_end();
    MPI_Finalize();
    return code;
}
