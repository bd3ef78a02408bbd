/* Writing a dataset file, all ranks together (layout: io/README.md).
 *
 * All sizes are known before the first byte: rank 0 lays out NAME.partial with HDF5, closes it and
 * reserves its blocks on disk; then every rank writes its slices at the arrays' addresses; at the
 * end everything is synced and the file takes its final name. Until then nothing stands under that
 * name, and after a failure on any rank nothing is left at all.
 * Read next: io/durable.h.
 */
#ifndef SEPIT_IO_DATASET_WRITE_H
#define SEPIT_IO_DATASET_WRITE_H

#include "io/dataset_layout.h"
#include "src/base/error.h"

#include <mpi.h>
#include <stdint.h>

/* How much there is of everything, over all ranks. */
typedef struct dataset_sizes {
    int64_t proteins, residues;
    int64_t captions, question_bytes, caption_bytes;
    int64_t ledger_rows;
    int64_t sources, source_name_bytes;
} dataset_sizes;

/* The file's attributes, beside format and version. */
typedef struct dataset_about {
    const char *tool;         /* "sepit 0.1" */
    const char *config;       /* JSON: the settings that shape the data */
    const char *split_method; /* "none" */
} dataset_about;

typedef struct dataset_writer dataset_writer;

/* Lays out PATH.partial. The arguments are the same on all ranks. STATUS_FAILED when the folder
 * cannot be written or has no room. Collective on comm; fails on all ranks alike, leaving nothing
 * behind. Ends with dataset_writer_finish. */
status dataset_writer_create(dataset_writer **created, MPI_Comm comm, const char *path,
                             const dataset_sizes *sizes, const dataset_about *about, error *err);

/* Writes rows [first, first + count) of an array, in the kind of its layout. Local. */
status dataset_writer_put(dataset_writer *w, dataset_array array, int64_t first, int64_t count,
                          const void *rows, error *err);

/* Ends the writing: with STATUS_OK on all ranks the file is synced and takes its name, else it is
 * removed and everyone returns the failure. Frees the writer either way. Collective. */
status dataset_writer_finish(dataset_writer *w, status local, error *err);

#endif
