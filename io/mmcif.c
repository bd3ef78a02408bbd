/* How mmCIF is written: loops, pairs and data blocks. What their rows say is io/mmcif_rows.c. */
#include "io/chain_readers.h"
#include "io/mmcif_rows.h"

#include <string.h>

enum { MAX_COLUMNS = 512 };

typedef struct mmcif_reader {
    cif_lexer lexer;
    cif_token token; /* read, not yet used */
    mmcif_rows rows;
    cif_token pairs[MMCIF_CATEGORIES][MMCIF_FIELDS]; /* rows written as key–value pairs */
    bool has_pairs[MMCIF_CATEGORIES];
} mmcif_reader;

static inline status advance(mmcif_reader *r, error *err) {
    return cif_lexer_next(&r->lexer, &r->token, err);
}

static inline bool at_value(const mmcif_reader *r) {
    return r->token.kind == CIF_PLAIN || r->token.kind == CIF_QUOTED;
}

/* The tags of a loop: its category, and for each column the field it fills or −1. */
static status read_loop_head(mmcif_reader *r, int *what, int *field, int *columns, error *err) {
    bool has[MMCIF_FIELDS] = {false};
    *what = MMCIF_IGNORED;
    *columns = 0;
    for (int i = 0; i < MMCIF_FIELDS; i++)
        r->rows.row[i] = mmcif_no_token;
    TRY(advance(r, err));
    for (; r->token.kind == CIF_TAG; ++*columns) {
        if (*columns == MAX_COLUMNS)
            return cif_lexer_refuse(&r->lexer, err, "a loop of more than %d columns.", MAX_COLUMNS);
        const int found = mmcif_find_field(&r->token, &field[*columns]);
        if (*columns == 0)
            *what = found;
        else if (found != *what)
            return cif_lexer_refuse(&r->lexer, err,
                                    "the loop mixes categories: '%.*s' is of another than the tags "
                                    "before it.",
                                    cif_token_shown(&r->token), r->token.text);
        if (field[*columns] >= 0)
            has[field[*columns]] = true;
        TRY(advance(r, err));
    }
    if (*columns == 0)
        return cif_lexer_refuse(&r->lexer, err, "loop_ is not followed by a tag.");
    return mmcif_rows_check(&r->rows, *what, has, err);
}

static status read_loop(mmcif_reader *r, error *err) {
    int what, field[MAX_COLUMNS], columns, at = 0;
    int64_t line = 0; /* where the row begins */
    TRY(read_loop_head(r, &what, field, &columns, err));
    while (at_value(r)) {
        line = at == 0 ? r->lexer.line : line;
        if (field[at] >= 0)
            r->rows.row[field[at]] = r->token;
        if (++at == columns) {
            at = 0;
            if (what != MMCIF_IGNORED)
                TRY(mmcif_rows_read(&r->rows, what, err));
        }
        TRY(advance(r, err));
    }
    if (at == 0)
        return STATUS_OK;
    r->lexer.line = line;
    return cif_lexer_refuse(&r->lexer, err,
                            "the number of values of a loop is not a multiple of its %d columns: "
                            "the last row, which begins here, has %d. Is the file cut short?",
                            columns, at);
}

static status read_pair(mmcif_reader *r, error *err) {
    int field;
    const cif_token tag = r->token;
    const int what = mmcif_find_field(&tag, &field);
    TRY(advance(r, err));
    if (!at_value(r))
        return cif_lexer_refuse(&r->lexer, err, "the tag '%.*s' has no value.",
                                cif_token_shown(&tag), tag.text);
    if (what != MMCIF_IGNORED && field >= 0) {
        r->pairs[what][field] = r->token;
        r->has_pairs[what] = true;
    }
    return advance(r, err);
}

/* Rows written as pairs are complete only at the end of their block. */
static status finish_pairs(mmcif_reader *r, error *err) {
    for (int i = 0; i < MMCIF_CATEGORIES; i++) {
        if (!r->has_pairs[i])
            continue;
        r->has_pairs[i] = false;
        bool has[MMCIF_FIELDS];
        for (int k = 0; k < MMCIF_FIELDS; k++) {
            has[k] = r->pairs[i][k].length > 0;
            r->rows.row[k] = has[k] ? r->pairs[i][k] : mmcif_no_token;
        }
        TRY(mmcif_rows_check(&r->rows, i, has, err));
        TRY(mmcif_rows_read(&r->rows, i, err));
    }
    memset(r->pairs, 0, sizeof r->pairs);
    return STATUS_OK;
}

status mmcif_read(const char *text, size_t size, const char *path, collector *c, error *err) {
    mmcif_reader r = {.lexer = cif_lexer_start(text, size, path)};
    r.rows = mmcif_rows_create(&r.lexer, c);
    TRY(advance(&r, err));
    while (r.token.kind != CIF_END) {
        if (r.token.kind == CIF_DATA) {
            TRY(finish_pairs(&r, err));
            if (r.rows.atoms > 0)
                break;
            mmcif_rows_start(&r.rows, &r.token);
            TRY(advance(&r, err));
        } else if (r.token.kind == CIF_LOOP)
            TRY(read_loop(&r, err));
        else if (r.token.kind == CIF_TAG)
            TRY(read_pair(&r, err));
        else
            return cif_lexer_refuse(&r.lexer, err,
                                    "'%.*s' stands where a tag, loop_ or data_ was expected.",
                                    cif_token_shown(&r.token), r.token.text);
    }
    TRY(finish_pairs(&r, err));
    if (r.rows.atoms == 0)
        return cif_lexer_refuse(&r.lexer, err,
                                "the file ends without an atom_site table. Is it cut short?");
    mmcif_rows_finish(&r.rows);
    return STATUS_OK;
}
