#include "io/dataset_layout.h"

#include "io/h5.h"

#include <string.h>

void dataset_layout(h5_array *arrays) {
    static const h5_array layout[DATASET_ARRAYS] = {
        [PROTEIN_ACCESSION] = {"/protein/accession", KIND_TEXT16, 0, 1, 0},
        [PROTEIN_OFFSET] = {"/protein/offset", KIND_I64, 0, 1, 0},
        [PROTEIN_RESIDUE] = {"/protein/residue", KIND_U8, 0, 1, 0},
        [PROTEIN_COORD] = {"/protein/coord", KIND_F32, 0, 3, 0},
        [PROTEIN_PLDDT] = {"/protein/plddt", KIND_U8, 0, 1, 0},
        [PROTEIN_SOURCE] = {"/protein/source", KIND_U8, 0, 1, 0},
        [PROTEIN_TAXON] = {"/protein/taxon", KIND_I32, 0, 1, 0},
        [PROTEIN_DATE] = {"/protein/date", KIND_I32, 0, 1, 0},
        [PROTEIN_COMPONENT] = {"/protein/component", KIND_I32, 0, 1, 0},
        [PROTEIN_SPLIT] = {"/protein/split", KIND_U8, 0, 1, 0},
        [PROTEIN_NEAREST] = {"/protein/nearest_train", KIND_F32, 0, 1, 0},
        [CAPTION_PROTEIN] = {"/caption/protein", KIND_I32, 0, 1, 0},
        [CAPTION_QUESTION_OFFSET] = {"/caption/question_offset", KIND_I64, 0, 1, 0},
        [CAPTION_QUESTION] = {"/caption/question", KIND_U8, 0, 1, 0},
        [CAPTION_OFFSET] = {"/caption/offset", KIND_I64, 0, 1, 0},
        [CAPTION_TEXT] = {"/caption/text", KIND_U8, 0, 1, 0},
        [LEDGER_STAGE] = {"/ledger/stage", KIND_TEXT16, 0, 1, 0},
        [LEDGER_REASON] = {"/ledger/reason", KIND_TEXT64, 0, 1, 0},
        [LEDGER_COUNT] = {"/ledger/count", KIND_I64, 0, 1, 0},
        [SOURCE_NAME_OFFSET] = {"/source/name_offset", KIND_I64, 0, 1, 0},
        [SOURCE_NAME] = {"/source/name", KIND_U8, 0, 1, 0},
        [SOURCE_KIND] = {"/source/kind", KIND_U8, 0, 1, 0},
        [SOURCE_SIZE] = {"/source/size", KIND_I64, 0, 1, 0},
        [SOURCE_HASH] = {"/source/hash", KIND_U64, 0, 1, 0}};
    memcpy(arrays, layout, sizeof layout);
}
