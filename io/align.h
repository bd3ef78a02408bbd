/* Pairing the sequence of an entry with that of a chain: which residue is which.
 *
 * Tried in this order: equal; one inside the other; a global alignment (Needleman–Wunsch with
 * Gotoh's affine gaps, gaps at the ends free), so that tags, unseen ends, point mutations and
 * fragments all find their place. Whether the result is good enough is the caller's rule.
 */
#ifndef SEPIT_IO_ALIGN_H
#define SEPIT_IO_ALIGN_H

#include "src/base/error.h"

#include <stdint.h>

typedef enum align_kind {
    ALIGN_EQUAL,
    ALIGN_INSIDE,  /* one is a substring of the other */
    ALIGN_GLOBAL,  /* aligned */
    ALIGN_TOO_LONG /* the table would need more than ALIGN_CELLS cells: nothing is paired */
} align_kind;

#define ALIGN_CELLS (INT64_C(1) << 28) /* one byte each while aligning */

typedef struct align_result {
    align_kind kind;
    int64_t pairs;     /* residues of the entry that have a partner in the chain */
    int64_t unknown;   /* of them, with an X on either side: they say nothing */
    int64_t identical; /* of the others, with the same letter on both sides */
    double identity;   /* identical / (pairs - unknown); 0 when that is nothing */
    double coverage;   /* pairs / the shorter length; 0 without pairs */
} align_result;

/* Pairs entry [entry_length] with letters [chain_length]; both lengths > 0, capital letters.
 * map [entry_length]: index of the partner in the chain, strictly ascending where not −1 (none).
 * Local. Time and memory grow as the product of the lengths, unless one is inside the other.
 * STATUS_FAILED when memory is short. */
status align_entry(const uint8_t *entry, int64_t entry_length, const uint8_t *letters,
                   int64_t chain_length, int64_t *map, align_result *result, error *err);

#endif
