/* What the parts of the UniProt parser share: the buffers behind an entry, lines, joined text.
 *
 * Text of an entry is written into one block that is larger than the record can ever need, so that
 * pointers into it stay; lists grow. Values are cut out of joined text in place, by writing NULs.
 * Private to io/uniprot*.c.
 */
#ifndef SEPIT_IO_UNIPROT_STORE_H
#define SEPIT_IO_UNIPROT_STORE_H

#include "io/uniprot.h"

/* A list that grows, and keeps its memory from one record to the next. */
typedef struct uniprot_list {
    char *items;
    int64_t count, capacity;
    size_t item_size;
} uniprot_list;

typedef struct uniprot_store {
    char *text; /* [text_capacity] */
    size_t text_used, text_capacity;
    uniprot_list accessions, names, genes, comments, spans, features, xrefs, keywords;
} uniprot_store;

/* A cleared slot at the end of the list; earlier slots may have moved. */
void *uniprot_list_add(uniprot_list *list);

/* The text block is empty afterwards and holds all that a record of `size` bytes can give. */
void uniprot_store_begin(uniprot_store *store, size_t size);
void uniprot_store_destroy(uniprot_store *store);

/* Consecutive lines of one line code, and a walk over them. */
typedef struct uniprot_block {
    const char *at, *end;
} uniprot_block;

/* A piece of text, not ended by NUL. */
typedef struct uniprot_slice {
    const char *text;
    size_t size;
} uniprot_slice;

/* The next line's text from column 6 on, without its end of line and blanks before that; false at
 * the end of the block. Lines of the internal code `**` are passed over. */
bool uniprot_block_next(uniprot_block *block, uniprot_slice *line);

uniprot_slice uniprot_slice_trim(uniprot_slice s);
bool uniprot_slice_starts(uniprot_slice s, const char *prefix);

/* Growing one text at the end of the store: begin, append any number of lines, end. A line is
 * joined to what is there by a space; none after a hyphen, unless that stood alone or the line goes
 * on with "and" or "or". */
char *uniprot_text_begin(uniprot_store *store);
void uniprot_text_append(uniprot_store *store, const char *begin, uniprot_slice line);
/* Appends without any space between. */
void uniprot_text_append_tight(uniprot_store *store, uniprot_slice line);
void uniprot_text_end(uniprot_store *store);

/* All lines of a block, trimmed and joined. */
char *uniprot_text_join(uniprot_store *store, uniprot_block block);

/* Takes {ECO:…} tags and, where `words`, "(By similarity)", "(Potential)" and "(Probable)" out of
 * the text in place, with the space before; returns the strongest. `spans` may be NULL. */
uniprot_evidence uniprot_text_strip(char *text, bool words, uniprot_list *spans);

/* The strongest of the ECO codes in [text, end). */
uniprot_evidence uniprot_evidence_of(const char *text, const char *end);
uniprot_evidence uniprot_evidence_stronger(uniprot_evidence a, uniprot_evidence b);

/* Cuts the next value off a text whose values the separator parts; NULL at the end. Blanks and `;`
 * before the value are passed over. With "; ", a `;` that no space follows belongs to the value. */
char *uniprot_text_next(char **rest, const char *separator);

/* Takes one of the closing characters off the end. */
void uniprot_text_chop(char *text, const char *closing);

void uniprot_parse_names(uniprot_store *store, uniprot_entry *entry, uniprot_block block);
void uniprot_parse_genes(uniprot_store *store, uniprot_block block);
void uniprot_parse_comments(uniprot_store *store, uniprot_block block, uniprot_tally *tally);
void uniprot_parse_features(uniprot_store *store, uniprot_block block, uniprot_tally *tally);

/* The sequence of an SQ block, checked against its first line and the length that ID says (−1: it
 * says none). On failure the sentence has no place and no accession yet, and *at the line. */
status uniprot_parse_sequence(uniprot_store *store, uniprot_entry *entry, uniprot_block block,
                              int64_t id_length, const char **at, uniprot_tally *tally, error *err);

/* Whether `word` is in a list that NULL ends. */
bool uniprot_is_known(const char *word, const char *const *list);

#endif
