/* What a structure file says, gathered line by line, before chains are made of it.
 *
 * The PDB and the mmCIF reader both fill a `collector`: declared sequences, links to UniProt, and
 * the atoms of the first model, residue by residue. chain_collect_finish then decides which chains
 * are proteins, where each observed residue stands in its sequence, and which alternate location
 * counts. Internal to io/; users see io/chain.h.
 * Read next: io/chain_collect.c, io/chain_finish.c, io/chain_place.c.
 */
#ifndef SEPIT_IO_CHAIN_COLLECT_H
#define SEPIT_IO_CHAIN_COLLECT_H

#include "io/chain.h"
#include "io/residue_names.h"

/* One alternate location of one residue; label 0 = atoms that have only one. */
typedef struct conformer {
    uint64_t label, name; /* packed */
    double occupancy;     /* sum over atoms */
    int64_t atoms;
    int64_t next; /* of the same residue; −1 = last */
    float ca[3], b;
    bool has_ca;
} conformer;

/* Which backbone atoms were met. */
enum { BACKBONE_N = 1, BACKBONE_CA = 2, BACKBONE_C = 4 };

typedef struct collected_residue {
    uint64_t name;      /* packed; of the first atom */
    int64_t chain;      /* index */
    int64_t conformers; /* index of the first */
    int64_t next_same;  /* in the hash table's bucket; −1 = last */
    int32_t number;     /* label_seq_id, else the author's */
    uint32_t insertion; /* code; 0 none */
    uint8_t backbone;
    bool hetero; /* HETATM */
} collected_residue;

typedef struct sequence_item {
    int64_t sequence; /* index */
    uint64_t name;    /* packed */
    int64_t number;   /* from 1; the same twice = microheterogeneity */
} sequence_item;

typedef enum sequence_type { SEQUENCE_UNKNOWN, SEQUENCE_PROTEIN, SEQUENCE_OTHER } sequence_type;

typedef struct declared_sequence {
    char id[CHAIN_NAME]; /* entity, or chain of a SEQRES record */
    sequence_type type;
    int64_t length; /* largest number */
} declared_sequence;

typedef struct collected_chain {
    char name[CHAIN_NAME], label[CHAIN_NAME], entity[CHAIN_NAME];
    bool numbered; /* residue numbers are positions in the declared sequence */
    bool closed;   /* TER */
    bool left_out; /* no polymer after all */
} collected_chain;

typedef struct collected_link {
    char chain[CHAIN_NAME];     /* the author's name */
    char reference[CHAIN_NAME]; /* whose database and accession; "" = UniProt, accession in link */
    chain_link link;
} collected_link;

typedef struct collected_reference {
    char id[CHAIN_NAME], accession[ACCESSION_SIZE];
    bool uniprot;
} collected_reference;

/* "The residue called name was made from parent." */
typedef struct modified_name {
    uint64_t name, parent; /* packed */
} modified_name;

typedef struct collector {
    char name[CHAIN_ENTRY_NAME];
    protein_source source;
    collected_chain *chains;
    collected_residue *residues;
    conformer *conformers;
    declared_sequence *sequences;
    sequence_item *items;
    collected_link *links;
    collected_reference *references;
    modified_name *modifieds;
    int64_t chain_count, residue_count, conformer_count, sequence_count, item_count, link_count,
        reference_count, modified_count;
    int64_t chain_room, residue_room, conformer_room, sequence_room, item_room, link_room,
        reference_room, modified_room;
    int64_t *bucket; /* [buckets] last residue of a hash value, −1 none */
    int64_t buckets;
    int64_t residue; /* where atoms go; −1 = nowhere yet */
    int64_t place;   /* conformer where the last atom went */
    bool out_of_memory;
} collector;

void collector_create(collector *c);
void collector_destroy(collector *c);

/* The functions below never fail visibly: memory that is short is noted in out_of_memory and
 * answered by chain_collect_finish. Indices are −1 then. */

/* Copies a name of any length into `to`; false when it does not fit. */
bool collector_copy_name(char to[CHAIN_NAME], const char *text, size_t length);

/* The sequence of this id, new if need be. */
int64_t collector_sequence(collector *c, const char *id);
void collector_add_item(collector *c, int64_t sequence, uint64_t name, int64_t number);
void collector_add_link(collector *c, const collected_link *link);
void collector_add_reference(collector *c, const collected_reference *reference);
void collector_add_modified(collector *c, uint64_t name, uint64_t parent);

/* A chain with this label that is not closed, new if need be. */
int64_t collector_chain(collector *c, const char *label, const char *name, const char *entity,
                        bool numbered);

/* The last chain of this label, or −1. */
int64_t collector_find_chain(const collector *c, const char *label);

typedef struct residue_key {
    int64_t chain;
    uint64_t name;
    int32_t number;
    uint32_t insertion;
    bool hetero;
    bool alternate; /* the atom at hand has an alternate location: its name may differ */
} residue_key;

/* Makes the residue of this key the one that atoms go to. */
void collector_enter_residue(collector *c, const residue_key *key);

typedef struct collected_atom {
    uint64_t alternate; /* packed label; 0 none */
    uint64_t name;      /* packed, of the residue */
    float position[3], occupancy, b;
    uint8_t backbone;  /* one of BACKBONE_…, or 0 */
    bool has_position; /* false: the file says "unknown" */
} collected_atom;

void collector_add_atom(collector *c, const collected_atom *atom);

/* What a packed residue name means here: the table of names, then what the file says it was made
 * from. X: no letter. */
uint8_t collector_letter(const collector *c, uint64_t name);
residue_kind collector_kind(const collector *c, uint64_t name);

/* The alternate location that counts: the one of highest mean occupancy, the first of equals. One
 * without a Cα is second choice. Atoms without label belong to every location. */
const conformer *collector_best_conformer(const collector *c, const collected_residue *r);

/* Turns all that was gathered into chains. STATUS_FAILED when memory was or is short. */
status chain_collect_finish(const collector *c, const char *path, chain_file *file, error *err);

/* Where each of `count` observed residues stands in a declared sequence of `length` names:
 * place [count], strictly ascending. `fits(context, i, j)` says whether observed residue i may be
 * sequence item j; number [count] are the author's numbers, whose jumps show where residues are
 * missing. *placed is false when no place agrees with all names. STATUS_FAILED: memory. */
typedef bool chain_place_fits(const void *context, int64_t i, int64_t j);
status chain_place(const int32_t *number, int64_t count, int64_t length, chain_place_fits *fits,
                   const void *context, int64_t *place, bool *placed, error *err);

#endif
