/* Captions: what an entry says about its protein, as plain prose, and a question that asks for it.
 *
 * The text follows one order: function, name, reaction, cofactor, pathway, subunits, place in the
 * cell, modifications, domains, tissue, stage, induction, family. Only statements about the
 * canonical protein are used; those about one isoform or one chain are not about the sequence that
 * the model reads. Literature numbers and evidence are left out.
 */
#ifndef SEPIT_DATA_CAPTION_H
#define SEPIT_DATA_CAPTION_H

#include "io/uniprot.h"

#include <stddef.h>
#include <stdint.h>

/* A caption and the room it grows in; zeroed: empty. Owns its buffers. */
typedef struct caption {
    char *text; /* [size] UTF-8, and a NUL */
    size_t size, room;
    char *scratch;
    size_t scratch_room;
} caption;

/* Writes the caption of an entry, replacing what was there. Never empty: an entry without comments
 * gives its name. Local. Memory that is short ends the process. */
void caption_write(caption *c, const uniprot_entry *entry);
void caption_destroy(caption *c);

/* The question of a protein: one of caption_question_count() templates, each with "<protein>" in
 * it, drawn by (seed, accession) and nothing else. Borrowed, static. */
const char *caption_question(uint64_t seed, const char *accession);
int caption_question_count(void);
const char *caption_question_at(int number);

#endif
