// TEST np=1,2,4 timeout=60 mode=release,double,asan
/* init.all: what it may point to, a checkpoint of the same model, a foreign run that is left as it
 * is, and what is refused, with what sentence. */
#include "tests/parallel/upcycle_bench.h"

static char run_folder_path[96], folder[128];

static void expect_words(const error *err, status code, const char *a, const char *b) {
    EXPECT(code == STATUS_INPUT && strstr(err->text, a) != NULL && strstr(err->text, b) != NULL,
           "Code %d, \"%s\"; \"%s\" and \"%s\" are wanted.", (int)code, err->text, a, b);
}

static void expect_refused(bench *b, const char *path, const char *mode, const char *jitter,
                           const char *first, const char *second) {
    char *receipt = NULL;
    error err = {0};
    const status code = bench_start(b, path, mode, jitter, &receipt, &err);
    expect_words(&err, code, first, second);
    EXPECT(receipt == NULL, "A refusal has a receipt.");
    free(receipt);
}

static void expect_same(const params *got, const params *want) {
    for (int64_t t = 0; t < got->count; t++) {
        const int64_t other = params_find(want, got->table[t].name);
        if (other < 0) /* an expert that this rank does not hold there */
            continue;
        EXPECT(memcmp(param_value(got, t), param_value(want, other),
                      (size_t)got->table[t].elements * sizeof(real)) == 0,
               "%s is not what was saved.", got->table[t].name);
    }
}

/* The three ways to name a checkpoint, of a dense model for a dense one. */
static void name_dense(const bench *dense, const char *path) {
    const char *const ways[] = {run_folder_path, folder, path};
    for (int i = 0; i < 3; i++) {
        bench b;
        char *receipt = NULL;
        error err = {0};
        bench_create(&b, MPI_COMM_WORLD, (bench_sizes){0});
        params_draw(&b.model.params, 99);
        EXPECT(bench_start(&b, ways[i], "copy", "0", &receipt, &err) == STATUS_OK, "%s", err.text);
        EXPECT(receipt != NULL && strstr(receipt, "step 7 from") != NULL, "%s", receipt);
        expect_same(&b.model.params, &dense->model.params);
        free(receipt);
        bench_destroy(&b);
    }
}

/* Two newer ones: one damaged, one not finished. */
static void damage(void) {
    const char *const names[] = {"step_00000008.h5", "step_00000008.json", "step_00000009.h5",
                                 "step_00000009.json.partial"};
    for (int i = 0; comm_rank(MPI_COMM_WORLD) == 0 && i < 4; i++) {
        char path[192];
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        FILE *f = fopen(path, "w");
        EXPECT(f != NULL && fputs("damaged", f) >= 0 && fclose(f) == 0, "%s", path);
    }
    MPI_Barrier(MPI_COMM_WORLD);
}

static void refuse_dense(const char *path) {
    bench b, wide, plain;
    bench_create(&b, MPI_COMM_WORLD, (bench_sizes){.E = 4, .k = 1});
    bench_create(&wide, MPI_COMM_WORLD, (bench_sizes){.E = 4, .k = 1, .more_words = 8});
    bench_create(&plain, MPI_COMM_WORLD, (bench_sizes){.more_words = 8});
    expect_refused(&b, path, "exact", "0", "moe.upcycle is exact", "moe.jitter");
    expect_refused(&wide, path, "copy", "0", "embed_tokens.weight", "48 × 16");
    expect_refused(&plain, path, "copy", "0", "embed_tokens.weight", "56 × 16");
    expect_refused(&b, "/nowhere/at/all", "copy", "0", "init.all is /nowhere/at/all", "No such");
    expect_refused(&b, "/", "copy", "0", "there is no checkpoint in /", "init.all");
    expect_refused(&b, "/etc/passwd", "copy", "0", "/etc/passwd", "neither a checkpoint");
    bench_destroy(&plain);
    bench_destroy(&wide);
    bench_destroy(&b);
}

/* A run on other ranks starts from what `all` has saved. */
static void read_back(const bench *all, const char *path, MPI_Comm comm, int64_t copies) {
    bench b;
    char *receipt = NULL;
    error err = {0};
    bench_create(&b, comm, (bench_sizes){.E = 4, .k = 1, .copies = copies});
    params_draw(&b.model.params, 99);
    params_draw(&b.model.experts, 99);
    EXPECT(bench_start(&b, path, "copy", "0", &receipt, &err) == STATUS_OK, "%s", err.text);
    EXPECT(receipt != NULL && strstr(receipt, "upcycled") == NULL, "%s", receipt);
    expect_same(&b.model.params, &all->model.params);
    expect_same(&b.model.experts, &all->model.experts);
    free(receipt);
    bench_destroy(&b);
}

/* A model with experts, saved by one layout and read by others. */
static void hand_over_experts(const char *dense_path) {
    bench all, other, dense;
    char *from_dense = NULL, path[192];
    error err = {0};
    bench_create(&all, MPI_COMM_WORLD, (bench_sizes){.E = 4, .k = 1});
    EXPECT(bench_start(&all, dense_path, "drop", "0", &from_dense, &err) == STATUS_OK, "%s",
           err.text);
    bench_save(&all, folder, 12);
    snprintf(path, sizeof path, "%s/step_00000012.h5", folder);
    read_back(&all, path, MPI_COMM_SELF, 1);
    read_back(&all, path, MPI_COMM_WORLD, comm_size(MPI_COMM_WORLD) / 2);
    bench_create(&other, MPI_COMM_WORLD, (bench_sizes){.E = 8, .k = 1});
    bench_create(&dense, MPI_COMM_WORLD, (bench_sizes){0});
    expect_refused(&other, path, "copy", "0", "mlp.gate.weight is 4 × 16", "8 × 16");
    expect_refused(&dense, path, "copy", "0", "moe.experts is 0", "init.all");
    bench_destroy(&dense);
    bench_destroy(&other);
    bench_destroy(&all);
    free(from_dense);
}

int main(int argc, char **argv) {
    MPI_Init(&argc, &argv);
    char path[192], base[64];
    fixture_make_folder(base);
    snprintf(run_folder_path, sizeof run_folder_path, "%s/run", base);
    snprintf(folder, sizeof folder, "%s/checkpoints", run_folder_path);
    if (comm_rank(MPI_COMM_WORLD) == 0)
        EXPECT(mkdir(run_folder_path, 0700) == 0, "%s", run_folder_path);
    MPI_Barrier(MPI_COMM_WORLD);
    bench dense;
    bench_create(&dense, MPI_COMM_WORLD, (bench_sizes){0});
    bench_save(&dense, folder, 7);
    snprintf(path, sizeof path, "%s/step_00000007.h5", folder);
    damage();
    name_dense(&dense, path);
    EXPECT(fixture_count(folder, "*") == 6 && fixture_count(folder, "*bad*") == 0,
           "A foreign run was changed.");
    refuse_dense(path);
    MPI_Barrier(MPI_COMM_WORLD); /* before saving clears what was not finished */
    hand_over_experts(path);
    bench_destroy(&dense);
    fixture_remove_folder(base);
    MPI_Finalize();
    return test_end();
}
