/* Residue names of the wwPDB's component dictionary → one letter.
 *
 * A modified residue has the letter of the residue it was made from (MSE → M), so that a chain
 * reads like the sequence UniProt gives; selenocysteine (U) and pyrrolysine (O) are genetic letters
 * of their own. D-amino acids have the letter of their mirror image.
 * Source: wwPDB Chemical Component Dictionary, fields type and mon_nstd_parent_comp_id.
 */
#ifndef SEPIT_IO_RESIDUE_NAMES_H
#define SEPIT_IO_RESIDUE_NAMES_H

#include <stdint.h>
#include <string.h>

typedef enum residue_kind {
    RESIDUE_OTHER, /* ligand, water, sugar, or a name that is not in the table */
    RESIDUE_AMINO,
    RESIDUE_NUCLEOTIDE
} residue_kind;

enum { RESIDUE_NAME = 8 }; /* bytes of a name; the dictionary's longest have five */

/* A name of up to 8 bytes as one number, which makes comparing cheap. */
static inline uint64_t residue_name_pack(const char *text, size_t length) {
    uint64_t name = 0;
    memcpy(&name, text, length < RESIDUE_NAME ? length : RESIDUE_NAME);
    return name;
}

residue_kind residue_name_kind(uint64_t name);

/* A capital letter; X where there is none. */
uint8_t residue_name_letter(uint64_t name);

#endif
