/* The arrays of a dataset file, in one table for the writer and the reader (format "sepit-dataset"
 * 1; what each holds: io/README.md).
 */
#ifndef SEPIT_IO_DATASET_LAYOUT_H
#define SEPIT_IO_DATASET_LAYOUT_H

#define DATASET_FORMAT "sepit-dataset"
enum { DATASET_VERSION = 1 };

typedef enum dataset_array {
    PROTEIN_ACCESSION,
    PROTEIN_OFFSET,
    PROTEIN_RESIDUE,
    PROTEIN_COORD,
    PROTEIN_PLDDT,
    PROTEIN_SOURCE,
    PROTEIN_TAXON,
    PROTEIN_DATE,
    PROTEIN_COMPONENT,
    PROTEIN_SPLIT,
    PROTEIN_NEAREST,
    CAPTION_PROTEIN,
    CAPTION_QUESTION_OFFSET,
    CAPTION_QUESTION,
    CAPTION_OFFSET,
    CAPTION_TEXT,
    LEDGER_STAGE,
    LEDGER_REASON,
    LEDGER_COUNT,
    SOURCE_NAME_OFFSET,
    SOURCE_NAME,
    SOURCE_KIND,
    SOURCE_SIZE,
    SOURCE_HASH,
    DATASET_ARRAYS
} dataset_array;

struct h5_array; /* io/h5.h */

/* Name, kind and columns of every array, [DATASET_ARRAYS]; rows and addresses are 0. */
void dataset_layout(struct h5_array *arrays);

#endif
