/* Words of a STAR 1.1 text, the grammar under CIF and mmCIF.
 *
 * The text is cut into tags (_category.item), values and the few reserved words, without copying:
 * a token points into the text. Loops, pairs and blocks are put together in io/mmcif.c.
 * Source: S. R. Hall, J. Chem. Inf. Comput. Sci. 31 (1991) 326; IUCr, "CIF 1.1 syntax".
 */
#ifndef SEPIT_IO_CIF_LEXER_H
#define SEPIT_IO_CIF_LEXER_H

#include "src/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum cif_kind {
    CIF_END,    /* of the text */
    CIF_DATA,   /* data_NAME; the token's text is NAME */
    CIF_LOOP,   /* loop_ */
    CIF_OTHER,  /* save_…, stop_, global_: reserved, not for data files */
    CIF_TAG,    /* _category.item */
    CIF_PLAIN,  /* a value without quotes; may be ? or . */
    CIF_QUOTED, /* a value in quotes or a text block, without its marks: never means missing */
} cif_kind;

typedef struct cif_token {
    cif_kind kind;
    const char *text; /* [length], borrowed from the lexer's text; no NUL behind it */
    size_t length;
} cif_token;

typedef struct cif_lexer {
    const char *begin, *end; /* the text, borrowed */
    const char *at;          /* next byte */
    const char *path;        /* for messages, borrowed */
    int64_t line;            /* of `at`, from 1 */
} cif_lexer;

/* Starts at the head of text [size]. */
cif_lexer cif_lexer_start(const char *text, size_t size, const char *path);

/* The next token; CIF_END again and again at the end. A quote ends only before white space; a text
 * block begins and ends with `;` as the first byte of a line. STATUS_INPUT with "PATH:LINE: …" for
 * a quote or block without end, and for a control byte. */
status cif_lexer_next(cif_lexer *lexer, cif_token *token, error *err);

/* Is this the value ? (unknown) or . (does not apply)? */
static inline bool cif_token_is_missing(const cif_token *t) {
    return t->length == 0 ||
           (t->kind == CIF_PLAIN && t->length == 1 && (t->text[0] == '?' || t->text[0] == '.'));
}

/* How many bytes of a token a message shows, for "%.*s": it must come to its end. */
static inline int cif_token_shown(const cif_token *t) {
    return t->length < 80 ? (int)t->length : 80;
}

/* STATUS_INPUT with the path and the lexer's line in front of the sentence. */
status cif_lexer_refuse(const cif_lexer *lexer, error *err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
