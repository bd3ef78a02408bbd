// TEST np=1,2,3,4 timeout=60 mode=release,asan
/* Saved by any number of ranks, a checkpoint is the same bytes, and any number reads it. */
#include "io/crc32c.h"
#include "src/base/log.h"
#include "tests/checkpoint_fixture.h"

#include <hdf5.h>

enum { ROWS = 2500 }; /* 10 MB: three slabs, cut inside tensors */

static char *read_all(const char *path, size_t *bytes) {
    FILE *file = fopen(path, "rb");
    struct stat info = {0};
    if (file == NULL || stat(path, &info) != 0)
        return NULL;
    char *data = malloc((size_t)info.st_size + 1);
    *bytes = fread(data, 1, (size_t)info.st_size, file);
    fclose(file);
    return data;
}

static void expect_same_file(const char *a, const char *b) {
    size_t a_bytes = 0, b_bytes = 0;
    char *x = read_all(a, &a_bytes), *y = read_all(b, &b_bytes);
    EXPECT(x != NULL && y != NULL && a_bytes == b_bytes && memcmp(x, y, a_bytes) == 0, "%s, %s", a,
           b);
    free(x);
    free(y);
}

/* HDF5 itself, which our reader does not use, sees the same numbers. */
static void expect_readable_by_hdf5(const char *path, int64_t step) {
    const hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    const hid_t data = H5Dopen2(file, "/optimizer/m/norm.weight", H5P_DEFAULT);
    double got[30] = {0};
    EXPECT(H5Dread(data, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, got) >= 0);
    for (int64_t i = 0; i < 30; i++)
        EXPECT(got[i] == (double)fixture_value(2, i, step) / 3.0);
    H5Dclose(data);
    const hid_t item = H5Dopen2(file, "/train/seed", H5P_DEFAULT);
    int64_t seed = 0;
    EXPECT(H5Dread(item, H5T_NATIVE_INT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, &seed) >= 0);
    EXPECT(seed == INT64_MAX - step);
    H5Dclose(item);
    H5Fclose(file);
}

static void expect_digests(const char *path, int64_t step) {
    checkpoint *c = NULL;
    error err = {0};
    EXPECT(checkpoint_open(&c, MPI_COMM_WORLD, path, &err) == STATUS_OK, "%s", err.text);
    for (int64_t t = 0; t < FIXTURE_TENSORS && c != NULL; t++) {
        const checkpoint_tensor *tensor = checkpoint_tensor_at(c, t);
        const int64_t elements = checkpoint_elements(tensor);
        void *data = fixture_data(tensor, t, 0, elements, step);
        EXPECT(checkpoint_digest(c, tensor->name) ==
                   crc32c(data, (size_t)(elements * fixture_size(tensor->type))),
               "%s", tensor->name);
        free(data);
    }
    checkpoint_close(c);
}

/* The first `writers` ranks save; then all ranks read. */
static void test_writers(const char *root, int writers) {
    const int rank = comm_rank(MPI_COMM_WORLD);
    char folder[256], path[320], first[320];
    MPI_Comm comm;
    snprintf(folder, sizeof folder, "%s/läufe/run of %d/checkpoints", root, writers);
    snprintf(path, sizeof path, "%s/step_00000120.h5", folder);
    snprintf(first, sizeof first, "%s/läufe/run of 1/checkpoints/step_00000120.h5", root);
    MPI_Comm_split(MPI_COMM_WORLD, rank < writers ? 0 : MPI_UNDEFINED, rank, &comm);
    if (comm != MPI_COMM_NULL) {
        error err = {0};
        sleep(writers == 2); /* the time of day must not show in the file */
        const checkpoint_retention keep = {2, -1, 0};
        EXPECT(fixture_save(comm, folder, 120, ROWS, keep, &err) == STATUS_OK, "%s", err.text);
        MPI_Comm_free(&comm);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    fixture_expect_newest(MPI_COMM_WORLD, folder, 120, ROWS);
    EXPECT(fixture_count(folder, "*") == 2);
    if (rank == 0) {
        expect_same_file(path, first);
        strcpy(strrchr(path, '.'), ".json");
        strcpy(strrchr(first, '.'), ".json");
        expect_same_file(path, first);
        strcpy(strrchr(path, '.'), ".h5");
        expect_readable_by_hdf5(path, 120);
    }
    MPI_Bcast(path, sizeof path, MPI_CHAR, 0, MPI_COMM_WORLD);
    expect_digests(path, 120);
}

static void test_retention(const char *root) {
    char folder[256];
    error err = {0};
    snprintf(folder, sizeof folder, "%s/kept", root);
    const checkpoint_retention keep = {1, 2, 0}; /* 1 counts as 2 */
    for (int64_t step = 1; step <= 5; step++)
        EXPECT(fixture_save(MPI_COMM_WORLD, folder, step, 1, keep, &err) == STATUS_OK, "%s",
               err.text);
    MPI_Barrier(MPI_COMM_WORLD);
    EXPECT(fixture_count(folder, "step_0000000[245].h5") == 3);
    EXPECT(fixture_count(folder, "step_0000000[245].json") == 3);
    EXPECT(fixture_count(folder, "*") == 6);
    /* Again the same step: replaced. */
    EXPECT(fixture_save(MPI_COMM_WORLD, folder, 5, 2, keep, &err) == STATUS_OK, "%s", err.text);
    fixture_expect_newest(MPI_COMM_WORLD, folder, 5, 2);
}

static void test_reading_refuses(const char *root) {
    char path[256];
    float value = 0;
    checkpoint *c = NULL;
    error err = {0};
    snprintf(path, sizeof path, "%s/kept/step_00000004.h5", root);
    EXPECT(checkpoint_open(&c, MPI_COMM_WORLD, path, &err) == STATUS_OK, "%s", err.text);
    if (c == NULL)
        return;
    const char *norm = "/model/norm.weight";
    EXPECT(checkpoint_read(c, norm, CHECKPOINT_F32, 6, 1, &value, &err) == STATUS_OK);
    EXPECT(checkpoint_read(c, norm, CHECKPOINT_F32, 7, 1, &value, &err) == STATUS_INPUT);
    EXPECT(checkpoint_read(c, norm, CHECKPOINT_F32, 1, INT64_MAX, &value, &err) == STATUS_INPUT);
    EXPECT(checkpoint_read(c, norm, CHECKPOINT_F32, -1, 1, &value, &err) == STATUS_INPUT);
    EXPECT(checkpoint_read(c, norm, CHECKPOINT_F64, 0, 1, &value, &err) == STATUS_INPUT);
    EXPECT(checkpoint_read(c, "/model/norm", CHECKPOINT_F32, 0, 1, &value, &err) == STATUS_INPUT);
    EXPECT(strstr(err.text, "/model/norm") != NULL && strstr(err.text, path) != NULL, "%s",
           err.text);
    checkpoint_close(c);
    EXPECT(checkpoint_open(&c, MPI_COMM_WORLD, "nowhere.h5", &err) == STATUS_INPUT && c == NULL);
    EXPECT(checkpoint_open(&c, MPI_COMM_WORLD, "nowhere", &err) == STATUS_INPUT && c == NULL);
}

int main(int argc, char **argv) {
    MPI_Init(&argc, &argv);
    log_set_rank(comm_rank(MPI_COMM_WORLD));
    char root[64];
    fixture_make_folder(root);
    for (int writers = 1; writers <= comm_size(MPI_COMM_WORLD); writers++)
        test_writers(root, writers);
    test_retention(root);
    test_reading_refuses(root);
    fixture_remove_folder(root);
    MPI_Finalize();
    return test_end();
}
