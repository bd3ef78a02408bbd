/* ESM's 33 letters (spec/sepit.md §1): amino acids as the protein encoder knows them.
 */
#ifndef SEPIT_DATA_ESM_ALPHABET_H
#define SEPIT_DATA_ESM_ALPHABET_H

#include <stdint.h>

/* A longer protein is cut to its first 1022 residues (spec/sepit.md §1). */
enum { ESM_MAX_RESIDUES = 1022 };

/* Id of a residue's one-letter code; lower case counts as upper case. A byte that is no letter of
 * the alphabet (J, say) is <unk>. */
int32_t esm_alphabet_id(uint8_t letter);

/* Text of an id 0 … 32: "L", "<cls>". */
const char *esm_alphabet_text(int32_t id);

#endif
