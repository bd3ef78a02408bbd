/* Protein chains read from a structure file: PDB or mmCIF, experimental or AlphaFold.
 *
 * A file's text is parsed in memory in one pass; what comes out are the protein chains of its first
 * model, each with one letter and one Cα position for every residue. Residues that the experiment
 * did not see are there too, where the file names them (SEQRES, entity_poly_seq): their position is
 * NaN, never (0,0,0). A text that breaks its format's rules is refused as a whole, with the line.
 * Read next: io/pdb.c, io/mmcif.c, io/mmcif_rows.c; io/align.h pairs a chain with a UniProt entry.
 * Formats: wwPDB "Atomic Coordinate Entry Format" 3.3; STAR 1.1 and the PDBx/mmCIF dictionary 5.
 */
#ifndef SEPIT_IO_CHAIN_H
#define SEPIT_IO_CHAIN_H

#include "io/dataset.h"
#include "src/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    CHAIN_NAME = 16,          /* bytes of a chain's name, NUL included */
    CHAIN_ENTRY_NAME = 32,    /* bytes of a file's own name, NUL included */
    CHAIN_PLDDT_UNKNOWN = 255 /* not a computed model */
};

/* "These residues are that UniProt entry's." A chimera has several. */
typedef struct chain_link {
    char accession[ACCESSION_SIZE]; /* "P03023", NUL-padded; an isoform's "-2" is cut off */
    int64_t begin, end;             /* residues of the entry, from 1, both included; 0 unknown */
} chain_link;

typedef struct protein_chain {
    char name[CHAIN_NAME];  /* auth_asym_id: what papers call it; "" where the file has a blank */
    char label[CHAIN_NAME]; /* label_asym_id; the same as name in a PDB file */
    int64_t length;         /* L, residues; > 0 */
    int64_t present;        /* of them, with a Cα */
    uint8_t *letters;       /* [L] capital letters; X = a residue with no one-letter parent */
    float *coord;           /* [L,3] Cα in Å; NaN NaN NaN = missing */
    uint8_t *plddt;         /* [L] 0–100, or CHAIN_PLDDT_UNKNOWN */
    chain_link *links;      /* [link_count], in file order, each accession once */
    int64_t link_count;
    int64_t same_as; /* the first chain of the file with these letters; −1 = this is the first */
    bool only_seen;  /* the sequence is that of the atoms: the file gives no other, or .. */
    bool contradicted; /* .. the one it gives does not fit the atoms (only_seen is true too) */
} protein_chain;

typedef struct chain_file {
    char name[CHAIN_ENTRY_NAME]; /* "1LCD", "AF-P12345-F1"; "" where the file has none */
    protein_source source;       /* never SOURCE_NONE */
    protein_chain *chains;       /* [count], in the order of the file; 0 = no protein in it */
    int64_t count;
    int64_t other_chains; /* left out: polymers that are no protein */
    int64_t contradicted; /* chains with contradicted set */
    void *memory;         /* owner of what chains point to */
} chain_file;

/* Parses text [size]; PDB or mmCIF is decided by the text itself. `path` stands for the file in
 * messages. Chains shorter than a residue do not occur; whether a chain of a few residues is worth
 * keeping is the caller's to decide. plddt is known for AlphaFold and synthetic models only.
 * Local; re-entrant. STATUS_INPUT with "PATH:LINE: …" for a text that is neither, or is damaged;
 * STATUS_FAILED when memory is short. After a failure nothing is owned; otherwise the caller
 * destroys. */
status chain_file_parse(const char *text, size_t size, const char *path, chain_file *file,
                        error *err);
void chain_file_destroy(chain_file *file);

/* The accession in an AlphaFold file name, "…/AF-<ACC>-F<n>-model_v<k>.cif.gz" and its kin; writes
 * it NUL-padded and returns n ≥ 1. Returns 0 and "" for any other name. */
int chain_accession_from_name(const char *path, char accession[ACCESSION_SIZE]);

#endif
