/* Reading a dataset file (format "sepit-dataset" 1; layout: io/README.md).
 *
 * Opening checks fixed names, classes, sizes and bounds, and loads the small tables (accessions,
 * offsets); they live once per node in shared memory: 8 bytes a record for every offset array.
 * Records are then read by pread at the dataset's offset in the file, about a microsecond each and
 * without any collective call, so each rank reads what it needs when it needs it.
 * Read next: io/dataset_write.h.
 */
#ifndef SEPIT_IO_DATASET_H
#define SEPIT_IO_DATASET_H

#include "io/dataset_layout.h"
#include "src/base/error.h"

#include <mpi.h>
#include <stdint.h>

enum { ACCESSION_SIZE = 16 }; /* bytes, NUL-padded */

typedef enum protein_source {
    SOURCE_NONE,
    SOURCE_PDB,
    SOURCE_ALPHAFOLD,
    SOURCE_SYNTHETIC
} protein_source;

/* Tables borrowed from the node's shared memory; read-only. */
typedef struct dataset {
    char *path; /* owned */
    int64_t proteins, residues, captions;
    const char *accession;          /* [proteins][ACCESSION_SIZE], sorted */
    const int64_t *offset;          /* [proteins+1] into residues */
    const uint8_t *source;          /* [proteins] protein_source */
    const uint8_t *split;           /* [proteins] 0 train, 1 valid, 2 test */
    const int32_t *caption_protein; /* [captions], ascending */
    const int64_t *caption_question_offset, *caption_offset; /* [captions+1] */
    const char *tool, *config, *split_method;                /* attributes of the file */
    struct dataset_file *file; /* owned: descriptor, addresses, shared block */
} dataset;

/* Opens for reading on all ranks of comm. STATUS_INPUT with file, array, expected and found when it
 * is missing, not HDF5, not this format, cut short or inconsistent.
 * Collective on comm; fails on all ranks alike. The caller closes it (collective). */
status dataset_open(dataset **opened, MPI_Comm comm, const char *path, error *err);
void dataset_close(dataset *d);

/* Index of a protein by accession, or −1. */
int64_t dataset_find(const dataset *d, const char *accession);

/* Reads residues of protein i: letters [L], and, where not NULL, coord [L,3] in Å (NaN = missing).
 * L = offset[i+1] − offset[i]; only the first `count` ≤ L residues are read. Local. */
status dataset_read_protein(const dataset *d, int64_t i, int64_t count, uint8_t *letters,
                            float *coord, error *err);

/* Reads question and text of caption i into buffers of the sizes given by the offset arrays; no
 * NUL is added. Local. */
status dataset_read_caption(const dataset *d, int64_t i, char *question, char *text, error *err);

/* Any array of the file: its number of rows, and rows [first, first+count) of it in the kind of its
 * layout. Local. */
int64_t dataset_rows(const dataset *d, dataset_array array);
status dataset_read_rows(const dataset *d, dataset_array array, int64_t first, int64_t count,
                         void *rows, error *err);

#endif
