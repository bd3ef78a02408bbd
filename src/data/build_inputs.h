/* The builder's input files: folders opened up, sorted, dealt over the ranks, hashed. */
#ifndef SEPIT_DATA_BUILD_INPUTS_H
#define SEPIT_DATA_BUILD_INPUTS_H

#include "src/base/error.h"

#include <mpi.h>
#include <stdbool.h>
#include <stdint.h>

typedef enum input_kind { INPUT_ENTRIES, INPUT_STRUCTURE } input_kind;

/* A file. Paths are borrowed from the list. */
typedef struct input_file {
    const char *path;
    const char *label; /* path below the folder that was asked for, or the bare file name: what is
                          written into the dataset, the same wherever the inputs lie */
    int64_t size;      /* bytes on disk */
    input_kind kind;
    bool compressed; /* entries only */
} input_file;

/* Entry files first, then structures, each in the order asked for, folders sorted by name. A file
 * of a folder is in it when its content says what it is (first bytes, compressed or not); one that
 * was named is always in it. */
typedef struct input_list {
    input_file *files;
    int64_t count, entry_files;
    char *text;      /* owns paths */
    int64_t ignored; /* files in folders that are neither */
} input_list;

/* Bytes [begin, end) of an entry file; end = −1: whole, because it is compressed. */
typedef struct input_part {
    int64_t file, begin, end;
} input_part;

/* Lists the paths on rank 0, then all ranks look into the files. STATUS_INPUT when a path is
 * missing, a file is empty or damaged, or there is no entry file at all. Collective on comm. */
status input_list_create(input_list *list, MPI_Comm comm, const char *const *entries,
                         int64_t entry_paths, const char *const *structures,
                         int64_t structure_paths, error *err);
void input_list_destroy(input_list *list);

/* This rank's share of the entry files: equal byte ranges of all plain ones together, and whole
 * compressed ones, the largest first to whoever has least. The caller frees *parts. Local. */
int64_t input_list_parts(const input_list *list, int rank, int size, input_part **parts);

/* This rank's structure files, [*begin, *end), about equal in bytes. Local. */
void input_list_structures(const input_list *list, int rank, int size, int64_t *begin,
                           int64_t *end);

/* XXH3 (64 bits) of every file, the same on all ranks: of the file itself up to 16 MiB (what
 * `xxhsum -H3` prints), of the little-endian hashes of its 16 MiB blocks beyond. The ranks share
 * the reading. The caller frees *hash [count]. Collective on comm. */
status input_list_hash(const input_list *list, MPI_Comm comm, uint64_t **hash, error *err);

#endif
