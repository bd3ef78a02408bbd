/* Who reads what: entry files by bytes, structures by bytes, hashes by blocks. */
#include "parallel/agree.h"
#include "parallel/exchange_records.h"
#include "src/data/build_inputs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

enum { HASH_BLOCK = 16 << 20 };

/* The beginning of rank's share when `total` is cut evenly. */
static int64_t cut(int64_t total, int rank, int size) {
    return total / size * rank + total % size * rank / size;
}

static int compare_sizes(const void *a, const void *b) {
    const input_file *x = *(const input_file *const *)a, *y = *(const input_file *const *)b;
    if (x->size != y->size)
        return x->size > y->size ? -1 : 1;
    return x < y ? -1 : 1;
}

/* Whole compressed files: the largest first, each to the rank that has least so far. */
static int64_t deal_compressed(const input_list *list, int rank, int size, input_part *parts) {
    const input_file **files = malloc((size_t)list->entry_files * sizeof *files);
    int64_t *load = calloc((size_t)size, sizeof *load);
    CHECK(files != NULL && load != NULL, "out of memory: a list of files.");
    int64_t count = 0, compressed = 0;
    for (int64_t i = 0; i < list->entry_files; i++)
        if (list->files[i].compressed)
            files[compressed++] = &list->files[i];
    qsort(files, (size_t)compressed, sizeof *files, compare_sizes);
    for (int64_t i = 0; i < compressed; i++) {
        int least = 0;
        for (int r = 1; r < size; r++)
            if (load[r] < load[least])
                least = r;
        load[least] += files[i]->size;
        if (least == rank)
            parts[count++] = (input_part){files[i] - list->files, 0, -1};
    }
    free(load);
    free(files);
    return count;
}

int64_t input_list_parts(const input_list *list, int rank, int size, input_part **parts) {
    *parts = malloc((size_t)(list->entry_files * 2 + 1) * sizeof **parts);
    CHECK(*parts != NULL, "out of memory: a list of files.");
    int64_t total = 0, count = 0, before = 0;
    for (int64_t i = 0; i < list->entry_files; i++)
        total += list->files[i].compressed ? 0 : list->files[i].size;
    const int64_t begin = cut(total, rank, size), end = cut(total, rank + 1, size);
    for (int64_t i = 0; i < list->entry_files; i++) {
        const input_file *f = &list->files[i];
        if (f->compressed)
            continue;
        const int64_t from = begin > before ? begin - before : 0;
        const int64_t to = end - before < f->size ? end - before : f->size;
        if (from < to)
            (*parts)[count++] = (input_part){i, from, to};
        else if (f->size == 0 && rank == 0) /* somebody must complain about it */
            (*parts)[count++] = (input_part){i, 0, 0};
        before += f->size;
    }
    return count + deal_compressed(list, rank, size, *parts + count);
}

void input_list_structures(const input_list *list, int rank, int size, int64_t *begin,
                           int64_t *end) {
    int64_t total = 0, before = 0;
    for (int64_t i = list->entry_files; i < list->count; i++)
        total += list->files[i].size;
    const int64_t from = cut(total, rank, size), to = cut(total, rank + 1, size);
    *begin = *end = list->entry_files;
    for (int64_t i = list->entry_files; i < list->count; i++) {
        /* A file belongs to the share that its first byte lies in; a last empty file to the last
         * rank. */
        *begin += before < from;
        *end += before < to || rank == size - 1;
        before += list->files[i].size;
    }
}

static int64_t blocks_of(int64_t size) {
    return size > HASH_BLOCK ? (size + HASH_BLOCK - 1) / HASH_BLOCK : 1;
}

static status hash_block(const input_file *f, int64_t block, uint8_t *buffer, uint64_t *hash,
                         error *err) {
    const int64_t begin = block * HASH_BLOCK;
    const int64_t want = f->size - begin < HASH_BLOCK ? f->size - begin : HASH_BLOCK;
    const int fd = open(f->path, O_RDONLY | O_CLOEXEC);
    int64_t got = 0;
    ssize_t part = fd < 0 ? -1 : 1;
    while (part > 0 && got < want) {
        part = pread(fd, buffer + got, (size_t)(want - got), begin + got);
        got += part > 0 ? part : 0;
    }
    const int reason = errno;
    if (fd >= 0)
        close(fd);
    if (part < 0)
        return error_set(err, STATUS_INPUT, "%s: cannot be read: %s", f->path, strerror(reason));
    if (got < want)
        return error_set(err, STATUS_INPUT, "%s: became shorter while it was read", f->path);
    *hash = XXH3_64bits(buffer, (size_t)want);
    return STATUS_OK;
}

/* This rank's blocks, those whose number modulo the ranks is its own; the others stay 0. */
static status hash_share(const input_list *list, MPI_Comm comm, int64_t *hashes, error *err) {
    const int rank = comm_rank(comm), size = comm_size(comm);
    uint8_t *buffer = malloc(HASH_BLOCK);
    CHECK(buffer != NULL, "out of memory: a block of a file.");
    status code = STATUS_OK;
    int64_t number = 0;
    for (int64_t i = 0; i < list->count; i++)
        for (int64_t b = 0; b < blocks_of(list->files[i].size); b++, number++) {
            uint64_t hash = 0;
            if (code != STATUS_OK || number % size != rank)
                continue;
            code = hash_block(&list->files[i], b, buffer, &hash, err);
            hashes[number] = (int64_t)hash;
        }
    free(buffer);
    return code;
}

status input_list_hash(const input_list *list, MPI_Comm comm, uint64_t **hash, error *err) {
    int64_t blocks = 0, number = 0;
    for (int64_t i = 0; i < list->count; i++)
        blocks += blocks_of(list->files[i].size);
    int64_t *hashes = calloc((size_t)blocks + 1, sizeof *hashes);
    CHECK(hashes != NULL, "out of memory: hashes of %lld blocks.", (long long)blocks);
    *hash = NULL;
    const status code = agree(comm, hash_share(list, comm, hashes, err), err);
    if (code == STATUS_OK) {
        comm_sum(comm, hashes, blocks);
        *hash = malloc((size_t)(list->count + 1) * sizeof **hash);
        CHECK(*hash != NULL, "out of memory: hashes of %lld files.", (long long)list->count);
        for (int64_t i = 0; i < list->count; i++) {
            const int64_t n = blocks_of(list->files[i].size);
            (*hash)[i] = n == 1 ? (uint64_t)hashes[number]
                                : XXH3_64bits(hashes + number, (size_t)n * sizeof *hashes);
            number += n;
        }
    }
    free(hashes);
    return code;
}
