/* sepit bench checkpoint: how fast a checkpoint is written and read, beside plain writes and reads
 * of the same bytes in the same run, and what an asynchronous one costs a training that goes on.
 * Every figure is a median of rounds in which all ways take turns, each taken by the slowest rank;
 * ratios are medians of each round's own ratio, since a disk's speed drifts. Reads find nothing in
 * the page cache.
 */
#include "io/checkpoint.h"
#include "io/durable.h"
#include "parallel/agree.h"
#include "src/base/arena.h"
#include "src/base/clock.h"
#include "src/base/log.h"
#include "src/cli/bench.h"
#include "src/tensor/gemm.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MIB = 1 << 20, TENSORS = 48, PATH_BYTES = 2048, MOST_ROUNDS = 99, STEP_PRODUCTS = 8 };

typedef struct bench {
    MPI_Comm comm;
    int rank, ranks;
    int64_t share; /* elements of this rank in each tensor */
    float *value;  /* [TENSORS, share] */
    float *read;   /* [share] */
    char folder[PATH_BYTES], plain[PATH_BYTES + 32], saved[PATH_BYTES + 32];
    checkpoint_tensor tensor[TENSORS];
    char name[TENSORS][32];
    checkpoint_slice slice[TENSORS];
    checkpoint_content content;
    checkpoint_writer *writer;
    arena memory;
    gemm *engine;
    operand x, w;
    real *product;
    int64_t steps; /* of training beside a save */
} bench;

static double start_together(const bench *b) {
    comm_max(b->comm, 0);
    return clock_seconds();
}

static double slowest(const bench *b, double start) {
    return comm_max(b->comm, clock_seconds() - start);
}

static int64_t bytes_of_rank(const bench *b) {
    return TENSORS * b->share * (int64_t)sizeof(float);
}

/* ---- setting up ------------------------------------------------------------------------------ */

static void describe_content(bench *b) {
    for (int i = 0; i < TENSORS; i++) {
        snprintf(b->name[i], sizeof b->name[i], "/model/layers.%d.weight", i);
        b->tensor[i] = (checkpoint_tensor){b->name[i], CHECKPOINT_F32, 2, {b->ranks, b->share}};
        b->slice[i] = (checkpoint_slice){i, b->rank * b->share, b->share, b->value + i * b->share};
    }
    b->content = (checkpoint_content){.step = 1,
                                      .tensor = b->tensor,
                                      .tensors = TENSORS,
                                      .slice = b->slice,
                                      .slices = TENSORS,
                                      .config = "{}"};
}

static void fill_values(bench *b) {
    for (int64_t i = 0; i < TENSORS * b->share; i++)
        b->value[i] = (float)((i * 2654435761 + b->rank) % 16777213) * 1e-6F;
}

static status allocate(bench *b, int64_t mib, error *err) {
    enum { ROWS = 512, WIDTH = 1024 };
    b->share = mib * MIB / (TENSORS * (int64_t)sizeof(float));
    TRY(arena_create(&b->memory, "benchmark", (size_t)(mib + 256) * MIB, err));
    b->value = ARENA_ARRAY(&b->memory, float, TENSORS * b->share);
    b->read = ARENA_ARRAY(&b->memory, float, b->share);
    fill_values(b);
    TRY(gemm_create(&b->engine, COMPUTE_F32, NULL, err));
    real *x = arena_calloc(&b->memory, ROWS * WIDTH, sizeof *x);
    real *w = arena_calloc(&b->memory, WIDTH * WIDTH, sizeof *w);
    b->product = ARENA_ARRAY(&b->memory, real, ROWS * WIDTH);
    b->x = gemm_operand(b->engine, &b->memory, x, ROWS, WIDTH);
    b->w = gemm_operand(b->engine, &b->memory, w, WIDTH, WIDTH);
    return STATUS_OK;
}

/* A folder of the job's own, so that nothing of the user's is touched. */
static status make_folder(bench *b, const char *parent, error *err) {
    const int job = (int)comm_max(b->comm, b->rank == 0 ? getpid() : 0);
    snprintf(b->folder, sizeof b->folder, "%s/sepit-bench-%d", parent, job);
    snprintf(b->plain, sizeof b->plain, "%s/plain", b->folder);
    snprintf(b->saved, sizeof b->saved, "%s/step_00000001.h5", b->folder);
    return agree(b->comm, b->rank == 0 ? durable_make_folder(b->folder, err) : STATUS_OK, err);
}

static void remove_files(const bench *b) {
    char manifest[PATH_BYTES + 32];
    snprintf(manifest, sizeof manifest, "%s/step_00000001.json", b->folder);
    if (b->rank == 0) {
        unlink(b->plain);
        unlink(manifest);
        unlink(b->saved);
    }
    comm_max(b->comm, 0);
}

/* ---- writing and reading --------------------------------------------------------------------- */

/* Each rank's values, one after the other, in calls of 4 MiB, and on disk. */
static status write_plain(const bench *b, error *err) {
    int fd = -1;
    const int64_t bytes = bytes_of_rank(b), first = b->rank * bytes;
    TRY(durable_open(b->plain, 0, &fd, err));
    status code = STATUS_OK;
    for (int64_t at = 0; at < bytes && code == STATUS_OK; at += 4 * MIB) {
        const int64_t part = bytes - at < 4 * MIB ? bytes - at : 4 * MIB;
        code = durable_write_at(b->plain, fd, first + at, (const char *)b->value + at, part, err);
    }
    if (code == STATUS_OK)
        code = durable_sync(b->plain, fd, err);
    close(fd);
    return code;
}

static status read_plain(const bench *b, error *err) {
    int fd = -1;
    const int64_t bytes = b->share * (int64_t)sizeof(float);
    TRY(durable_open(b->plain, 0, &fd, err));
    status code = STATUS_OK;
    for (int i = 0; i < TENSORS && code == STATUS_OK; i++)
        code = durable_read_at(b->plain, fd, (b->rank * TENSORS + i) * bytes, b->read, bytes, err);
    close(fd);
    return code;
}

/* Into the page cache no more; the file must be on disk. */
static void forget(const bench *b, const char *path) {
    const int fd = b->rank == 0 ? open(path, O_RDONLY) : -1;
    if (fd >= 0) {
        posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        close(fd);
    }
    comm_max(b->comm, 0);
}

static status read_values(const bench *b, const checkpoint *c, error *err) {
    for (int i = 0; i < TENSORS; i++) {
        TRY(checkpoint_read(c, b->name[i], CHECKPOINT_F32, b->slice[i].first, b->share, b->read,
                            err));
        if (memcmp(b->read, b->slice[i].data, (size_t)b->share * sizeof(float)) != 0)
            return error_set(err, STATUS_FAILED, "%s: %s is not what was written", b->saved,
                             b->name[i]);
    }
    return STATUS_OK;
}

typedef enum way { PLAIN_WRITE, SAVE, PLAIN_READ, VERIFY, RESTORE, WAYS } way;

static status time_writes(bench *b, double seconds[WAYS], error *err) {
    status code = STATUS_OK;
    int fd = -1;
    remove_files(b);
    if (b->rank == 0 && (code = durable_open(b->plain, 1, &fd, err)) == STATUS_OK)
        code = durable_close(b->plain, &fd, err);
    TRY(agree(b->comm, code, err));
    double start = start_together(b);
    code = write_plain(b, err);
    seconds[PLAIN_WRITE] = slowest(b, start);
    TRY(agree(b->comm, code, err));
    start = start_together(b);
    TRY(checkpoint_save(b->comm, b->folder, &b->content, (checkpoint_retention){2, -1, 0}, err));
    seconds[SAVE] = slowest(b, start);
    return STATUS_OK;
}

static status time_reads(const bench *b, double seconds[WAYS], error *err) {
    forget(b, b->plain);
    double start = start_together(b);
    const status code = read_plain(b, err);
    seconds[PLAIN_READ] = slowest(b, start);
    TRY(agree(b->comm, code, err));
    forget(b, b->saved);
    checkpoint *c = NULL;
    start = start_together(b);
    TRY(checkpoint_open(&c, b->comm, b->saved, err));
    status verified = checkpoint_verify(c, b->comm, err);
    seconds[VERIFY] = slowest(b, start);
    forget(b, b->saved);
    start = start_together(b);
    if (verified == STATUS_OK)
        verified = read_values(b, c, err);
    seconds[RESTORE] = slowest(b, start);
    checkpoint_close(c);
    return agree(b->comm, verified, err);
}

static void print_way(const bench *b, const char *what, double seconds[WAYS][MOST_ROUNDS],
                      way plain, way ours, int rounds) {
    const double gb = 1e-9 * (double)bytes_of_rank(b) * b->ranks;
    double ratio[MOST_ROUNDS], plain_s[MOST_ROUNDS], ours_s[MOST_ROUNDS];
    for (int r = 0; r < rounds; r++) {
        plain_s[r] = seconds[plain][r];
        ours_s[r] = seconds[ours][r];
        ratio[r] = 100 * plain_s[r] / ours_s[r];
    }
    log_info("  %-34s %6.2f GB/s   plain %6.2f GB/s   %4.0f %%", what,
             gb / bench_median(ours_s, rounds), gb / bench_median(plain_s, rounds),
             bench_median(ratio, rounds));
}

static status bench_files(bench *b, int rounds, double *save_s, error *err) {
    double seconds[WAYS][MOST_ROUNDS];
    for (int r = -1; r < rounds; r++) { /* one to warm up */
        double once[WAYS];
        TRY(time_writes(b, once, err));
        TRY(time_reads(b, once, err));
        for (int i = 0; i < WAYS && r >= 0; i++)
            seconds[i][r] = once[i];
    }
    print_way(b, "write, and on disk", seconds, PLAIN_WRITE, SAVE, rounds);
    print_way(b, "read and compare with checksums", seconds, PLAIN_READ, VERIFY, rounds);
    print_way(b, "read the tensors", seconds, PLAIN_READ, RESTORE, rounds);
    *save_s = bench_median(seconds[SAVE], rounds);
    return STATUS_OK;
}

/* ---- beside a training ----------------------------------------------------------------------- */

/* Products that stand for a step, and what ranks agree on after it. */
static void run_step(const bench *b) {
    for (int i = 0; i < STEP_PRODUCTS; i++)
        gemm_forward(b->engine, &b->x, &b->w, 0, b->product);
    comm_max(b->comm, 0);
}

/* Seconds of the steps; with a save, of them those of its beginning and of its end. */
typedef struct beside {
    double whole, begin, end;
} beside;

static status run_steps(bench *b, bool saves, beside *took, error *err) {
    *took = (beside){0};
    const double start = start_together(b);
    if (saves) {
        const checkpoint_retention keep = {2, -1, 0};
        TRY(checkpoint_begin(b->writer, &b->content, keep, err));
        took->begin = slowest(b, start);
    }
    for (int64_t s = 0; s < b->steps; s++) {
        run_step(b);
        const double polled = clock_seconds();
        const bool last = s + 1 == b->steps;
        if (saves && checkpoint_under_way(b->writer) >= 0) {
            TRY(last ? checkpoint_finish(b->writer, err) : checkpoint_poll(b->writer, err));
            took->end += checkpoint_under_way(b->writer) < 0 ? clock_seconds() - polled : 0;
        }
    }
    took->whole = slowest(b, start);
    return STATUS_OK;
}

/* As many steps as take three times what a save does. */
static int64_t count_steps(const bench *b, double save_s) {
    enum { TRIES = 5 };
    run_step(b);
    const double start = start_together(b);
    for (int i = 0; i < TRIES; i++)
        run_step(b);
    return 2 + (int64_t)(3 * save_s / (slowest(b, start) / TRIES));
}

static status bench_beside(bench *b, int rounds, double save_s, error *err) {
    double alone[MOST_ROUNDS], lost[MOST_ROUNDS], begin[MOST_ROUNDS], end[MOST_ROUNDS];
    TRY(checkpoint_writer_create(&b->writer, b->comm, b->folder,
                                 checkpoint_copy_bytes(b->comm, &b->content), err));
    b->steps = count_steps(b, save_s);
    for (int r = 0; r < rounds; r++) {
        beside without, with;
        remove_files(b);
        TRY(run_steps(b, false, &without, err));
        TRY(run_steps(b, true, &with, err));
        alone[r] = without.whole;
        lost[r] = with.whole - without.whole;
        begin[r] = with.begin;
        end[r] = comm_max(b->comm, with.end);
    }
    const double median = bench_median(lost, rounds);
    const double begins = bench_median(begin, rounds), ends = bench_median(end, rounds);
    log_info("  beside %.1f s of products: %.0f ms lost (to begin %.0f, to end %.0f, the rest to "
             "the thread) where a save at once takes %.0f: %.0f %%",
             bench_median(alone, rounds), 1e3 * median, 1e3 * begins, 1e3 * ends, 1e3 * save_s,
             100 * median / save_s);
    return STATUS_OK;
}

/* ---- both ------------------------------------------------------------------------------------ */

static status bench_all(bench *b, int rounds, error *err) {
    double save_s = 0;
    log_info("checkpoint of %.0f MiB by %d rank%s in %s; %d rounds",
             (double)(bytes_of_rank(b) * b->ranks) / MIB, b->ranks, b->ranks == 1 ? "" : "s",
             b->folder, rounds);
    describe_content(b);
    TRY(bench_files(b, rounds, &save_s, err));
    return bench_beside(b, rounds, save_s, err);
}

status bench_checkpoint(MPI_Comm comm, const config *c, error *err) {
    bench b = {.comm = comm, .rank = comm_rank(comm), .ranks = comm_size(comm)};
    status code = agree(comm, allocate(&b, config_int(c, "bench.mib"), err), err);
    if (code == STATUS_OK)
        code = make_folder(&b, config_text(c, "bench.folder"), err);
    const bool made = code == STATUS_OK;
    if (made)
        code = bench_all(&b, (int)config_int(c, "bench.rounds"), err);
    checkpoint_writer_destroy(b.writer);
    if (made)
        remove_files(&b);
    if (made && b.rank == 0)
        rmdir(b.folder);
    gemm_destroy(b.engine);
    arena_destroy(&b.memory);
    return code;
}
