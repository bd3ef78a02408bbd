/* What the rows of an mmCIF file say. How they are written, as loops or as pairs, is the business
 * of io/mmcif.c, which fills in a row and hands it over here. Internal to io/. Source: the
 * PDBx/mmCIF dictionary 5.
 */
#ifndef SEPIT_IO_MMCIF_ROWS_H
#define SEPIT_IO_MMCIF_ROWS_H

#include "io/chain_collect.h"
#include "io/cif_lexer.h"

/* Categories are numbers from 0 on; MMCIF_FIELDS of one category are read at most. */
enum { MMCIF_CATEGORIES = 9, MMCIF_IGNORED = MMCIF_CATEGORIES, MMCIF_FIELDS = 20 };

/* A value that is not there. */
static const cif_token mmcif_no_token = {CIF_PLAIN, "", 0};

typedef struct mmcif_rows {
    const cif_lexer *lexer;      /* knows the line, for messages; borrowed */
    collector *c;                /* is filled; borrowed */
    cif_token row[MMCIF_FIELDS]; /* to be read next, filled in by the caller */
    bool experimental, has_plddt;
    int64_t sequence; /* of the last row of entity_poly_seq, −1 none */
    int64_t atoms;    /* rows of atom_site in this block, of all models */
    bool numbered;    /* a label_seq_id was met: rows without are no polymer's */
    cif_token first_model;
    cif_token last_chain, last_number, last_insertion, last_name; /* of the residue at hand */
} mmcif_rows;

mmcif_rows mmcif_rows_create(const cif_lexer *lexer, collector *c);

/* "_atom_site.Cartn_x" → the category, or MMCIF_IGNORED, and the field; field −1 when nobody reads
 * it. */
int mmcif_find_field(const cif_token *tag, int *field);

/* Are the columns there (has [MMCIF_FIELDS]) without which the category says nothing? STATUS_INPUT
 * if not. */
status mmcif_rows_check(const mmcif_rows *r, int category, const bool *has, error *err);

/* A data block of this name begins: what came before is forgotten, for it had no atoms. */
void mmcif_rows_start(mmcif_rows *r, const cif_token *name);

/* Reads r->row. STATUS_INPUT with "PATH:LINE: …" for a value that cannot be. */
status mmcif_rows_read(mmcif_rows *r, int category, error *err);

/* Decides what only the whole block tells. */
void mmcif_rows_finish(mmcif_rows *r);

#endif
