/* What travels between ranks while a dataset is built, and the steps that make it. Internal to the
 * builder (src/data/build.c).
 *
 * An entry's record is its head, then sequence, question and caption. A chain's record is its head,
 * then coordinates, letters and pLDDT. Both begin with a key whose first 16 bytes are the
 * accession, so an entry and the chains that claim to be it meet on one rank.
 */
#ifndef SEPIT_DATA_BUILD_RECORDS_H
#define SEPIT_DATA_BUILD_RECORDS_H

#include "io/dataset.h"
#include "parallel/exchange_records.h"
#include "src/data/build.h"
#include "src/data/build_inputs.h"

/* Sorts by accession; among entries of one accession the newest first, then the order of the
 * inputs. Big-endian bytes, compared as a whole. */
typedef struct record_key {
    char accession[ACCESSION_SIZE];
    uint8_t age[4];  /* ~entry date; 0 for chains */
    uint8_t file[4]; /* number in the input list */
    uint8_t place[8];
} record_key;

_Static_assert(sizeof(record_key) == RECORD_KEY, "a record begins with its key");
_Static_assert((int)ACCESSION_SIZE == (int)RECORD_GROUP, "a key begins with its group");

typedef struct entry_head {
    record_key key;
    int64_t length, question, text; /* bytes of each, in this order behind the head */
    int32_t taxon, date;
} entry_head;

typedef struct chain_head {
    record_key key;
    int64_t length; /* L; behind the head: coord f32 [L,3], letters u8 [L], plddt u8 [L] */
    int64_t source; /* protein_source */
} chain_head;

record_key record_key_make(const char *accession, uint32_t age, int64_t file, int64_t place);

/* Parts of a record, borrowed. */
static inline const char *entry_sequence(const entry_head *e) {
    return (const char *)(e + 1);
}
static inline const char *entry_question(const entry_head *e) {
    return entry_sequence(e) + e->length;
}
static inline const char *entry_text(const entry_head *e) {
    return entry_question(e) + e->question;
}
static inline const float *chain_coord(const chain_head *c) {
    return (const float *)(c + 1);
}
static inline const uint8_t *chain_letters(const chain_head *c) {
    return (const uint8_t *)(chain_coord(c) + 3 * c->length);
}
static inline const uint8_t *chain_plddt(const chain_head *c) {
    return chain_letters(c) + c->length;
}
static inline const entry_head *entry_at(const record_set *set, int64_t i) {
    return (const entry_head *)record_at(set, i);
}
static inline const chain_head *chain_at(const record_set *set, int64_t i) {
    return (const chain_head *)record_at(set, i);
}

/* Reads this rank's share of the entries into `set`. Local. */
status build_read_entries(const input_list *inputs, int rank, int size, uint64_t seed,
                          record_set *set, ledger *counts, error *err);

/* Reads this rank's share of the structures into `set`: one record for each chain and accession
 * it is linked to. Local. */
status build_read_structures(const input_list *inputs, int rank, int size, record_set *set,
                             ledger *counts, error *err);

/* What this rank writes: its proteins in order. Owns everything. */
typedef struct build_share {
    int64_t proteins, residues, question_bytes, text_bytes;
    int64_t *entry;  /* [proteins] record of the entry */
    uint8_t *source; /* [proteins] protein_source */
    float *coord;    /* [residues, 3] Å, NaN = missing */
    uint8_t *plddt;  /* [residues] */
} build_share;

/* Drops entries whose accession came before, and gives each of the others the best of its chains.
 * Both sets are sorted and hold all records of their accessions. Local. */
status build_pair(const record_set *entries, const record_set *chains, double min_identity,
                  build_share *share, ledger *counts, error *err);
void build_share_destroy(build_share *share);

/* Writes everything and commits. hash [inputs->count]. `counts` hold the totals of all ranks.
 * Collective on comm; fails on all ranks alike. */
status build_write(MPI_Comm comm, const build_settings *settings, const input_list *inputs,
                   const uint64_t *hash, const record_set *entries, const build_share *share,
                   const ledger *counts, error *err);

#endif
