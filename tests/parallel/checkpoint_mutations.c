// TEST np=1 timeout=60 mode=release,asan
/* Ten thousand random changes of a checkpoint's file or manifest: every one is noticed, by a
 * sentence that names the file; undone, the checkpoint is whole again. And manifests that were
 * changed by someone who made their checksum right again crash nothing, whatever they say. */
#include "io/crc32c.h"
#include "src/base/log.h"
#include "tests/checkpoint_fixture.h"

#include <fcntl.h>
#include <stdbool.h>

enum { ROWS = 3, TRIALS = 10000, FORGED = 3000, WAYS = 10, PAGE = 4096, CHECKSUM_LINE = 22 };

typedef struct file_copy {
    char path[256];
    char *data; /* [2 * bytes], the second half spare */
    size_t bytes;
} file_copy;

static file_copy load(const char *folder, const char *name) {
    file_copy f = {0};
    struct stat info = {0};
    snprintf(f.path, sizeof f.path, "%s/%s", folder, name);
    const int fd = open(f.path, O_RDONLY);
    if (fd < 0 || fstat(fd, &info) != 0)
        abort();
    f.bytes = (size_t)info.st_size;
    f.data = calloc(f.bytes, 2);
    if (read(fd, f.data, f.bytes) != info.st_size)
        abort();
    close(fd);
    return f;
}

/* The file's content becomes this; its inode stays. */
static void store(const char *path, const char *data, size_t bytes) {
    const int fd = open(path, O_WRONLY);
    if (fd < 0 || write(fd, data, bytes) != (ssize_t)bytes || ftruncate(fd, (off_t)bytes) != 0)
        abort();
    close(fd);
}

/* What one trial may use: the file to spoil, and the same file of another checkpoint. */
typedef struct victim {
    const file_copy *file, *other;
    rng_key key;
    uint64_t trial;
} victim;

static size_t draw(const victim *v, uint64_t what, size_t bound) {
    return (size_t)rng_below(v->key, v->trial, what, bound);
}

/* Spoils a copy of the file in one of ten ways; returns its new length. It may come out unchanged
 * (a page that was zero already). */
static size_t spoil(const victim *v, char *data) {
    const size_t bytes = v->file->bytes, at = draw(v, 1, bytes);
    const size_t size = 1 + draw(v, 2, bytes - at);
    switch (v->trial / 2 % WAYS) {
    case 0: /* one bit */
        data[at] = (char)(data[at] ^ 1 << draw(v, 3, 8));
        return bytes;
    case 1: /* a page of zeros, as a hole reads */
        memset(data + at / PAGE * PAGE, 0, bytes - at / PAGE * PAGE < PAGE ? bytes % PAGE : PAGE);
        return bytes;
    case 2: /* cut short */
        return at;
    case 3: /* nothing left */
        return 0;
    case 4: /* random bytes */
        for (size_t i = 0; i < size && i < 64; i++)
            data[at + i] = (char)rng_bits(v->key, v->trial, 10 + i);
        return bytes;
    case 5: /* longer */
        memcpy(data + bytes, v->file->data, size);
        return bytes + size;
    case 6: /* a foreign file */
        for (size_t i = 0; i < bytes; i++)
            data[i] = (char)rng_bits(v->key, v->trial, 100 + i / 64);
        return bytes;
    case 7: /* that of another checkpoint, whole */
        memcpy(data, v->other->data, v->other->bytes);
        return v->other->bytes;
    case 8: /* two bytes swapped */
        data[at] = v->file->data[draw(v, 4, bytes)];
        data[draw(v, 4, bytes)] = v->file->data[at];
        return bytes;
    default: /* some of it a few bytes further on */
        memmove(data + at + 1, data + at, bytes - at - 1);
        return bytes;
    }
}

/* Opens, verifies and, if it opens, reads all of it, good or bad. */
static status try_checkpoint(const char *path, error *err) {
    checkpoint *c = NULL;
    TRY(checkpoint_open(&c, MPI_COMM_SELF, path, err));
    const status code = checkpoint_verify(c, MPI_COMM_SELF, err);
    for (int64_t i = 0; i < checkpoint_tensors(c); i++) {
        const checkpoint_tensor *t = checkpoint_tensor_at(c, i);
        const int64_t elements = checkpoint_elements(t);
        const int64_t some = elements < 100 ? elements : 100;
        double values[100];
        error reading = {0};
        checkpoint_read(c, t->name, t->type, elements - some, some, values, &reading);
    }
    checkpoint_close(c);
    return code;
}

static void test_mutations(const char *folder, const file_copy file[2], const file_copy other[2]) {
    int64_t noticed = 0, unchanged = 0;
    for (uint64_t trial = 0; noticed < TRIALS; trial++) {
        const int which = (int)(trial % 2);
        const victim v = {&file[which], &other[which], rng_key_make(5, "mutations"), trial};
        char *data = calloc(v.file->bytes + v.other->bytes, 2);
        memcpy(data, v.file->data, v.file->bytes);
        const size_t bytes = spoil(&v, data);
        const bool same = bytes == v.file->bytes && memcmp(data, v.file->data, v.file->bytes) == 0;
        error err = {0};
        store(v.file->path, data, bytes);
        free(data);
        const status code = try_checkpoint(file[0].path, &err);
        EXPECT(code == (same ? STATUS_OK : STATUS_INPUT), "trial %llu: %d %s",
               (unsigned long long)trial, code, err.text);
        EXPECT(same || strstr(err.text, "step_00000002.") != NULL, "%s", err.text);
        noticed += !same && code == STATUS_INPUT;
        unchanged += same;
        if (trial % 500 < 2) { /* and the one before is found */
            char *path = NULL;
            EXPECT(checkpoint_look_newest(&path, MPI_COMM_SELF, folder, &err) == STATUS_OK);
            EXPECT(path != NULL && (strstr(path, same ? "00000002.h5" : "00000001.h5") != NULL));
            free(path);
        }
        store(v.file->path, v.file->data, v.file->bytes);
        if (test_failures > 20 || trial > 2 * TRIALS)
            break;
    }
    EXPECT(noticed == TRIALS && unchanged < TRIALS / 10, "%lld noticed, %lld without effect",
           (long long)noticed, (long long)unchanged);
    error err = {0};
    EXPECT(try_checkpoint(file[0].path, &err) == STATUS_OK, "%s", err.text);
}

/* One character or one number of the manifest is another, and its last line right again. */
static void test_forged(const file_copy *data, const file_copy *text) {
    const rng_key key = rng_key_make(6, "forged");
    const size_t body = text->bytes - CHECKSUM_LINE;
    char *forged = malloc(text->bytes + 1);
    int64_t refused = 0;
    for (uint64_t trial = 0; trial < FORGED; trial++) {
        memcpy(forged, text->data, text->bytes);
        size_t at = (size_t)rng_below(key, trial, 0, body);
        if (trial % 2) { /* somewhere in a number */
            while (at < body && (forged[at] < '0' || forged[at] > '9'))
                at++;
            for (; at < body && forged[at] >= '0' && forged[at] <= '9'; at++)
                forged[at] = (char)('0' + rng_below(key, trial, at, 10));
        } else {
            forged[at] = (char)rng_below(key, trial, 1, 256);
        }
        snprintf(forged + body, CHECKSUM_LINE + 1, "\"crc32c\":\"%08x\"}\n", crc32c(forged, body));
        store(text->path, forged, text->bytes);
        error err = {0};
        const status code = try_checkpoint(data->path, &err);
        EXPECT(code == STATUS_OK || err.text[0] != '\0');
        refused += code != STATUS_OK;
    }
    /* What says nothing about the bytes, such as a letter of a name, goes unnoticed. */
    EXPECT(refused > FORGED / 4, "%lld of %d refused", (long long)refused, FORGED);
    store(text->path, text->data, text->bytes);
    free(forged);
}

int main(int argc, char **argv) {
    MPI_Init(&argc, &argv);
    log_set_level(LOG_ERROR);
    char folder[64];
    error err = {0};
    fixture_make_folder(folder);
    for (int64_t step = 1; step <= 2; step++)
        EXPECT(fixture_save(MPI_COMM_SELF, folder, step, ROWS, (checkpoint_retention){2, -1, 0},
                            &err) == STATUS_OK,
               "%s", err.text);
    file_copy newest[2] = {load(folder, "step_00000002.h5"), load(folder, "step_00000002.json")};
    file_copy before[2] = {load(folder, "step_00000001.h5"), load(folder, "step_00000001.json")};
    test_mutations(folder, newest, before);
    test_forged(&newest[0], &newest[1]);
    for (int i = 0; i < 2; i++) {
        free(newest[i].data);
        free(before[i].data);
    }
    fixture_remove_folder(folder);
    MPI_Finalize();
    return test_end();
}
