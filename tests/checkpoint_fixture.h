/* A checkpoint for tests: tensors of every type whose elements are known from (tensor, index,
 * step), cut into uneven slices, some of them empty, dealt out to the ranks. */
#ifndef SEPIT_TESTS_CHECKPOINT_FIXTURE_H
#define SEPIT_TESTS_CHECKPOINT_FIXTURE_H

#include "io/checkpoint.h"
#include "parallel/agree.h"
#include "src/base/rng.h"
#include "tests/test.h"

#include <ftw.h>
#include <glob.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FIXTURE_TENSORS = 6, FIXTURE_SLICES = 64, FIXTURE_ITEMS = 2 };

static const char *const fixture_config = "{\"train.steps\": 5, \"name\": \"Proteïn\"}";

/* rows sets the size of the largest tensor: rows · 1000 floats. */
static inline void fixture_tensors(checkpoint_tensor *tensor, int64_t rows) {
    const checkpoint_tensor all[FIXTURE_TENSORS] = {
        {"/model/text_model.embed.weight", CHECKPOINT_F32, 2, {rows, 1000}},
        {"/model/norm.weight", CHECKPOINT_F32, 1, {7}},
        {"/optimizer/m/norm.weight", CHECKPOINT_F64, 3, {3, 5, 2}},
        {"/train/counts", CHECKPOINT_I64, 1, {1001}},
        {"/train/bytes", CHECKPOINT_U8, 1, {4999}},
        {"/model/empty", CHECKPOINT_F32, 2, {0, 4}}};
    memcpy(tensor, all, sizeof all);
}

static inline int64_t fixture_value(int64_t tensor, int64_t index, int64_t step) {
    return (index * 7 + tensor * 131 + step * 17) % 251;
}

/* Elements [first, first + count) of a tensor; the caller frees them. */
static inline void *fixture_data(const checkpoint_tensor *t, int64_t tensor, int64_t first,
                                 int64_t count, int64_t step) {
    char *data = malloc((size_t)count * 8 + 1);
    for (int64_t i = 0; i < count; i++) {
        const int64_t value = fixture_value(tensor, first + i, step);
        switch (t->type) {
        case CHECKPOINT_F32:
            ((float *)data)[i] = (float)value / 3.0f;
            break;
        case CHECKPOINT_F64:
            ((double *)data)[i] = (double)value / 3.0;
            break;
        case CHECKPOINT_I64:
            ((int64_t *)data)[i] = value * (1LL << 55);
            break;
        case CHECKPOINT_U8:
            ((uint8_t *)data)[i] = (uint8_t)value;
            break;
        }
    }
    return data;
}

static inline int64_t fixture_size(checkpoint_type type) {
    static const int64_t size[] = {4, 8, 8, 1};
    return size[type];
}

/* This rank's slices: each tensor is cut at random into 3·ranks pieces (some of them empty). */
static inline int64_t fixture_slices(checkpoint_slice *slice, const checkpoint_tensor *tensor,
                                     MPI_Comm comm, int64_t step) {
    const int rank = comm_rank(comm), size = comm_size(comm);
    const rng_key key = rng_key_make(3, "cuts");
    int64_t slices = 0;
    for (int64_t t = 0; t < FIXTURE_TENSORS; t++) {
        const int64_t elements = checkpoint_elements(&tensor[t]);
        int64_t first = 0;
        for (int64_t j = 0; j < 3 * size; j++) {
            const uint64_t at = (uint64_t)(t * 100 + j);
            int64_t count = (int64_t)rng_below(key, at, 0, (uint64_t)(elements - first + 1));
            if (j % 3 == 1)
                count = 0;
            if (j == 3 * size - 1)
                count = elements - first;
            if ((j * 5 + t) % size == rank)
                slice[slices++] = (checkpoint_slice){
                    t, first, count, fixture_data(&tensor[t], t, first, count, step)};
            first += count;
        }
    }
    return slices;
}

/* What this rank saves; its slices' data are owned. */
typedef struct fixture_content {
    checkpoint_tensor tensor[FIXTURE_TENSORS];
    checkpoint_slice slice[FIXTURE_SLICES * 2];
    checkpoint_item item[FIXTURE_ITEMS];
    checkpoint_content content;
} fixture_content;

static inline void fixture_fill(fixture_content *f, MPI_Comm comm, int64_t step, int64_t rows) {
    fixture_tensors(f->tensor, rows);
    f->item[0] = (checkpoint_item){"step", step};
    f->item[1] = (checkpoint_item){"seed", INT64_MAX - step};
    f->content = (checkpoint_content){.step = step,
                                      .tensor = f->tensor,
                                      .tensors = FIXTURE_TENSORS,
                                      .slice = f->slice,
                                      .slices = fixture_slices(f->slice, f->tensor, comm, step),
                                      .item = f->item,
                                      .items = FIXTURE_ITEMS,
                                      .config = fixture_config};
}

static inline void fixture_free(fixture_content *f) {
    for (int64_t i = 0; i < f->content.slices; i++)
        free((void *)f->slice[i].data);
}

static inline status fixture_save(MPI_Comm comm, const char *folder, int64_t step, int64_t rows,
                                  checkpoint_retention retention, error *err) {
    fixture_content f;
    fixture_fill(&f, comm, step, rows);
    const status code = checkpoint_save(comm, folder, &f.content, retention, err);
    fixture_free(&f);
    return code;
}

/* Begins a save beside the caller's work, and spoils what it was given at once. */
static inline status fixture_begin(checkpoint_writer *w, MPI_Comm comm, int64_t step, int64_t rows,
                                   checkpoint_retention retention, error *err) {
    fixture_content f;
    fixture_fill(&f, comm, step, rows);
    const status code = checkpoint_begin(w, &f.content, retention, err);
    for (int64_t i = 0; i < f.content.slices; i++)
        memset((void *)f.slice[i].data, 0x5A,
               (size_t)(f.slice[i].count * fixture_size(f.tensor[f.slice[i].tensor].type)));
    f.item[0].value = f.item[1].value = -1;
    fixture_free(&f);
    return code;
}

/* Every rank reads every tensor, whole and in a piece, and the small things. */
static inline void fixture_check(MPI_Comm comm, const char *path, int64_t step, int64_t rows) {
    checkpoint_tensor tensor[FIXTURE_TENSORS];
    checkpoint *c = NULL;
    error err = {0};
    fixture_tensors(tensor, rows);
    EXPECT(checkpoint_open(&c, comm, path, &err) == STATUS_OK, "%s", err.text);
    if (c == NULL)
        return;
    EXPECT(checkpoint_verify(c, comm, &err) == STATUS_OK, "%s", err.text);
    EXPECT(checkpoint_step(c) == step && checkpoint_tensors(c) == FIXTURE_TENSORS + 3);
    for (int64_t t = 0; t < FIXTURE_TENSORS; t++) {
        const checkpoint_tensor *found = checkpoint_find(c, tensor[t].name);
        EXPECT(found == checkpoint_tensor_at(c, t));
        EXPECT(found->type == tensor[t].type && found->rank == tensor[t].rank);
        EXPECT(memcmp(found->shape, tensor[t].shape, (size_t)found->rank * 8) == 0);
        const int64_t elements = checkpoint_elements(found), size = fixture_size(found->type);
        const int64_t first = elements / 3 + comm_rank(comm) % 2;
        const int64_t part[2][2] = {{0, elements}, {first < elements ? first : 0, elements / 2}};
        for (int k = 0; k < 2; k++) {
            const int64_t from = part[k][0], count = part[k][1];
            void *want = fixture_data(found, t, from, count, step);
            void *got = calloc((size_t)(count * size) + 1, 1);
            EXPECT(checkpoint_read(c, found->name, found->type, from, count, got, &err) ==
                       STATUS_OK,
                   "%s", err.text);
            EXPECT(memcmp(got, want, (size_t)(count * size)) == 0, "%s", found->name);
            free(got);
            free(want);
        }
    }
    int64_t value = 0;
    EXPECT(checkpoint_read_item(c, "step", &value, &err) == STATUS_OK && value == step);
    EXPECT(checkpoint_read_item(c, "seed", &value, &err) == STATUS_OK && value == INT64_MAX - step);
    char *config = NULL;
    EXPECT(checkpoint_read_config(c, &config, &err) == STATUS_OK, "%s", err.text);
    EXPECT_TEXT(config, fixture_config);
    free(config);
    checkpoint_close(c);
}

/* Finds the newest and expects it to be this step, whole. */
static inline void fixture_expect_newest(MPI_Comm comm, const char *folder, int64_t step,
                                         int64_t rows) {
    char want[4096], *path = NULL;
    error err = {0};
    snprintf(want, sizeof want, "%s/step_%08lld.h5", folder, (long long)step);
    EXPECT(checkpoint_find_newest(&path, comm, folder, &err) == STATUS_OK, "%s", err.text);
    EXPECT_TEXT(path ? path : "none", want);
    if (path != NULL)
        fixture_check(comm, path, step, rows);
    free(path);
}

/* Files of the folder that match, or 0. */
static inline int64_t fixture_count(const char *folder, const char *pattern) {
    char path[4096];
    glob_t found = {0};
    snprintf(path, sizeof path, "%s/%s", folder, pattern);
    const int64_t count = glob(path, 0, NULL, &found) == 0 ? (int64_t)found.gl_pathc : 0;
    globfree(&found);
    return count;
}

static inline int fixture_remove_one(const char *path, const struct stat *info, int kind,
                                     struct FTW *level) {
    (void)info, (void)kind, (void)level;
    return remove(path);
}

/* A new folder, known to all ranks; and its end. */
static inline void fixture_make_folder(char folder[64]) {
    strcpy(folder, "/tmp/sepit-checkpoint-XXXXXX");
    if (comm_rank(MPI_COMM_WORLD) == 0 && mkdtemp(folder) == NULL)
        abort();
    MPI_Bcast(folder, 64, MPI_CHAR, 0, MPI_COMM_WORLD);
}

static inline void fixture_remove_folder(const char *folder) {
    MPI_Barrier(MPI_COMM_WORLD);
    if (comm_rank(MPI_COMM_WORLD) == 0)
        nftw(folder, fixture_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

#endif
