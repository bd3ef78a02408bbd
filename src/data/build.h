/* The builder: UniProt entries and structures in, one dataset file out, all ranks together.
 *
 * 1 list the inputs and share them out; 2 every rank reads its entries into records keyed by
 * accession, with their captions; 3 a distributed sort brings them into order and duplicates
 * together; 4 every rank reads its structures and sends each chain to the rank that has its entry;
 * 5 there sequence and chain are aligned and the best chain is kept; 6 the file is written. A rank
 * holds its share of the data, never all of it, and the file is the same, byte for byte, for any
 * number of ranks.
 * Read next: src/data/build.c, then build_inputs.h, build_records.h.
 */
#ifndef SEPIT_DATA_BUILD_H
#define SEPIT_DATA_BUILD_H

#include "src/base/error.h"
#include "src/data/ledger.h"

#include <mpi.h>
#include <stdint.h>

typedef struct build_settings {
    const char *const *entries; /* [entry_paths] files and folders */
    int64_t entry_paths;
    const char *const *structures; /* [structure_paths] */
    int64_t structure_paths;
    double min_identity; /* of the aligned part, 0…1 */
    uint64_t seed;       /* of the questions' choice */
    const char *output;
} build_settings;

/* What was done, over all ranks. */
typedef struct build_report {
    ledger ledger;
    int64_t proteins, residues, captions;
    int64_t with_structure, with_coordinate; /* proteins; residues */
    int64_t input_files, input_bytes, ignored_files;
    double seconds, read_seconds, pair_seconds, write_seconds;
} build_report;

/* Collective on comm; fails on all ranks alike, and then nothing stands under the output's name
 * that was not there before. STATUS_INPUT for inputs that cannot be trusted (missing, a bad file
 * header, a gzip file cut short, no entry left); STATUS_FAILED when disk or memory end. */
status build_dataset(MPI_Comm comm, const build_settings *settings, build_report *report,
                     error *err);

#endif
