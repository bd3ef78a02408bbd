#include "io/chain_readers.h"
#include "io/cif_lexer.h"
#include "io/residue_names.h"
#include "io/structure_number.h"

#include <math.h>
#include <string.h>
#include <strings.h>

/* The categories that are read; everything else is passed over. */
typedef enum category {
    ENTRY,
    EXPTL,
    QA_METRIC,
    STRUCT_REF,
    STRUCT_REF_SEQ,
    ENTITY_POLY,
    ENTITY_POLY_SEQ,
    MOD_RESIDUE,
    ATOM_SITE,
    CATEGORIES,
    IGNORED = CATEGORIES
} category;

enum { MAX_FIELDS = 20, MAX_COLUMNS = 512 };

static const struct {
    const char *name;
    const char *fields[MAX_FIELDS];
} schema[CATEGORIES] = {
    [ENTRY] = {"entry", {"id"}},
    [EXPTL] = {"exptl", {"method"}},
    [QA_METRIC] = {"ma_qa_metric", {"name"}},
    [STRUCT_REF] = {"struct_ref", {"id", "db_name", "pdbx_db_accession"}},
    [STRUCT_REF_SEQ] = {"struct_ref_seq",
                        {"ref_id", "pdbx_strand_id", "pdbx_db_accession", "db_align_beg",
                         "db_align_end"}},
    [ENTITY_POLY] = {"entity_poly", {"entity_id", "type"}},
    [ENTITY_POLY_SEQ] = {"entity_poly_seq", {"entity_id", "num", "mon_id"}},
    [MOD_RESIDUE] = {"pdbx_struct_mod_residue", {"label_comp_id", "parent_comp_id"}},
    [ATOM_SITE] = {"atom_site",
                   {"group_PDB", "type_symbol", "label_atom_id", "label_alt_id", "label_comp_id",
                    "label_asym_id", "label_entity_id", "label_seq_id", "pdbx_PDB_ins_code",
                    "Cartn_x", "Cartn_y", "Cartn_z", "occupancy", "B_iso_or_equiv", "auth_seq_id",
                    "auth_comp_id", "auth_asym_id", "auth_atom_id", "pdbx_PDB_model_num"}},
};

/* Indices into atom_site's fields above. */
enum {
    GROUP,
    ELEMENT,
    LABEL_ATOM,
    LABEL_ALT,
    LABEL_COMP,
    LABEL_ASYM,
    LABEL_ENTITY,
    LABEL_SEQ,
    INSERTION,
    CARTN_X,
    CARTN_Y,
    CARTN_Z,
    OCCUPANCY,
    B_FACTOR,
    AUTH_SEQ,
    AUTH_COMP,
    AUTH_ASYM,
    AUTH_ATOM,
    MODEL
};

typedef struct mmcif_reader {
    cif_lexer lexer;
    cif_token token; /* read, not yet used */
    collector *c;
    cif_token row[MAX_FIELDS];               /* of the category at hand; length 0 = missing */
    cif_token pairs[CATEGORIES][MAX_FIELDS]; /* rows written as key–value pairs */
    bool has_pairs[CATEGORIES];
    bool experimental, has_plddt;
    int64_t sequence; /* of the last row of entity_poly_seq, −1 none */
    int64_t atoms;    /* rows of atom_site in this block, of all models */
    bool numbered;    /* a label_seq_id was met: rows without are no polymer's */
    cif_token first_model;
    cif_token last_chain, last_number, last_insertion, last_name; /* of the residue at hand */
} mmcif_reader;

static bool has_prefix(const cif_token *t, const char *prefix) {
    const size_t length = strlen(prefix);
    return t->length >= length && strncasecmp(t->text, prefix, length) == 0;
}

static inline bool is_same(const cif_token *a, const cif_token *b) {
    return a->length == b->length && memcmp(a->text, b->text, a->length) == 0;
}

/* The first of two fields that says something. */
static inline const cif_token *either(const mmcif_reader *r, int first, int second) {
    return cif_token_is_missing(&r->row[first]) ? &r->row[second] : &r->row[first];
}

static status copy_name(const mmcif_reader *r, const cif_token *t, char to[CHAIN_NAME],
                        error *err) {
    if (collector_copy_name(to, t->text, cif_token_is_missing(t) ? 0 : t->length))
        return STATUS_OK;
    return cif_lexer_refuse(&r->lexer, err, "the name '%.*s' is longer than %d bytes.",
                            (int)t->length, t->text, CHAIN_NAME - 1);
}

static status pack_name(const mmcif_reader *r, const cif_token *t, uint64_t *name, error *err) {
    *name = 0;
    if (cif_token_is_missing(t))
        return STATUS_OK;
    if (t->length > RESIDUE_NAME)
        return cif_lexer_refuse(&r->lexer, err, "the name '%.*s' is longer than %d bytes.",
                                (int)t->length, t->text, RESIDUE_NAME);
    *name = residue_name_pack(t->text, t->length);
    return STATUS_OK;
}

/* ---- the small categories ------------------------------------------------------------------- */

static void set_name(mmcif_reader *r, const cif_token *t) {
    const size_t length = t->length < CHAIN_ENTRY_NAME ? t->length : CHAIN_ENTRY_NAME - 1;
    memset(r->c->name, 0, CHAIN_ENTRY_NAME);
    memcpy(r->c->name, t->text, length);
    if (has_prefix(t, "AF-") && r->c->source == SOURCE_PDB)
        r->c->source = SOURCE_ALPHAFOLD;
}

static status read_reference(mmcif_reader *r, error *err) {
    collected_reference reference = {0};
    TRY(copy_name(r, &r->row[0], reference.id, err));
    const cif_token *database = &r->row[1], *accession = &r->row[2];
    reference.uniprot = database->length == 3 && has_prefix(database, "UNP");
    if (!cif_token_is_missing(accession) && accession->length < ACCESSION_SIZE)
        memcpy(reference.accession, accession->text, accession->length);
    collector_add_reference(r->c, &reference);
    return STATUS_OK;
}

static status read_reference_use(mmcif_reader *r, error *err) {
    collected_link link = {0};
    TRY(copy_name(r, &r->row[0], link.reference, err));
    TRY(copy_name(r, &r->row[1], link.chain, err));
    const cif_token *accession = &r->row[2], *first = &r->row[3], *last = &r->row[4];
    if (!cif_token_is_missing(accession) && accession->length < ACCESSION_SIZE)
        memcpy(link.link.accession, accession->text, accession->length);
    if (!structure_integer_read(first->text, first->length, &link.link.begin) ||
        !structure_integer_read(last->text, last->length, &link.link.end))
        link.link.begin = link.link.end = 0;
    collector_add_link(r->c, &link);
    return STATUS_OK;
}

static status read_entity_type(mmcif_reader *r, error *err) {
    char id[CHAIN_NAME];
    TRY(copy_name(r, &r->row[0], id, err));
    const cif_token *type = &r->row[1];
    const int64_t sequence = collector_sequence(r->c, id);
    if (sequence < 0 || cif_token_is_missing(type))
        return STATUS_OK;
    const bool protein = has_prefix(type, "polypeptide") || has_prefix(type, "cyclic-pseudo");
    r->c->sequences[sequence].type = protein ? SEQUENCE_PROTEIN : SEQUENCE_OTHER;
    return STATUS_OK;
}

static status read_sequence_row(mmcif_reader *r, error *err) {
    const cif_token *entity = &r->row[0], *number = &r->row[1];
    collector *c = r->c;
    if (r->sequence < 0 || strlen(c->sequences[r->sequence].id) != entity->length ||
        memcmp(c->sequences[r->sequence].id, entity->text, entity->length) != 0) {
        char id[CHAIN_NAME];
        TRY(copy_name(r, entity, id, err));
        r->sequence = collector_sequence(c, id);
    }
    uint64_t name;
    TRY(pack_name(r, &r->row[2], &name, err));
    int64_t value = 0;
    const int64_t length = r->sequence < 0 ? 0 : c->sequences[r->sequence].length;
    const bool good = structure_integer_read(number->text, number->length, &value);
    if (!good || value < 1 || (value != length && value != length + 1))
        return cif_lexer_refuse(&r->lexer, err,
                                "_entity_poly_seq.num is '%.*s' behind number %lld of its entity; "
                                "the numbers must run 1, 2, 3, ...",
                                (int)number->length, number->text, (long long)length);
    collector_add_item(c, r->sequence, name, value);
    return STATUS_OK;
}

static status read_modified(mmcif_reader *r, error *err) {
    uint64_t name, parent;
    if (r->row[0].length > RESIDUE_NAME || r->row[1].length > RESIDUE_NAME)
        return STATUS_OK; /* several parents: no one letter */
    TRY(pack_name(r, &r->row[0], &name, err));
    TRY(pack_name(r, &r->row[1], &parent, err));
    collector_add_modified(r->c, name, parent);
    return STATUS_OK;
}

/* ---- atoms ---------------------------------------------------------------------------------- */

static status read_number(const mmcif_reader *r, int field, float *value, error *err) {
    const cif_token *t = &r->row[field];
    if (cif_token_is_missing(t) || structure_number_read(t->text, t->length, value))
        return STATUS_OK;
    return cif_lexer_refuse(&r->lexer, err, "_atom_site.%s is '%.*s', which is no number.",
                            schema[ATOM_SITE].fields[field], (int)(t->length < 40 ? t->length : 40),
                            t->text);
}

static status read_position(const mmcif_reader *r, collected_atom *atom, error *err) {
    int missing = 0;
    for (int axis = 0; axis < 3; axis++) {
        const cif_token *t = &r->row[CARTN_X + axis];
        missing += cif_token_is_missing(t);
        TRY(read_number(r, CARTN_X + axis, &atom->position[axis], err));
        if (t->text + t->length == r->lexer.end)
            return cif_lexer_refuse(&r->lexer, err,
                                    "the file ends inside a coordinate. Is it cut short?");
    }
    if (missing != 0 && missing != 3)
        return cif_lexer_refuse(&r->lexer, err,
                                "an atom has only some of its three coordinates. Has the row lost "
                                "or gained a value?");
    atom->has_position = missing == 0;
    return STATUS_OK;
}

static bool is_alpha_carbon(const mmcif_reader *r, const cif_token *name) {
    if (name->length != 2 || memcmp(name->text, "CA", 2) != 0)
        return false;
    const cif_token *element = &r->row[ELEMENT];
    if (cif_token_is_missing(element))
        return !is_same(name, either(r, LABEL_COMP, AUTH_COMP));
    return element->length == 1 && (element->text[0] | 0x20) == 'c';
}

static uint8_t backbone_atom(const mmcif_reader *r, const cif_token *name) {
    if (name->length == 1)
        return name->text[0] == 'N' ? BACKBONE_N : name->text[0] == 'C' ? BACKBONE_C : 0;
    return is_alpha_carbon(r, name) ? BACKBONE_CA : 0;
}

/* label_seq_id counts residues of polymers alone; where the file never gives it, the author's
 * numbers must do. */
static status enter_residue(mmcif_reader *r, uint64_t name, error *err) {
    const bool numbered = !cif_token_is_missing(&r->row[LABEL_SEQ]);
    const cif_token *number = either(r, LABEL_SEQ, AUTH_SEQ), *code = &r->row[INSERTION];
    const cif_token *label_token = either(r, LABEL_ASYM, AUTH_ASYM);
    int64_t value = 0;
    if (!structure_integer_read(number->text, number->length, &value) || value > INT32_MAX ||
        value < INT32_MIN || (numbered && value < 1))
        return cif_lexer_refuse(&r->lexer, err, "the residue number is '%.*s', which is no %s.",
                                (int)(number->length < 40 ? number->length : 40), number->text,
                                numbered ? "number from 1 on" : "number");
    char label[CHAIN_NAME], author[CHAIN_NAME], entity[CHAIN_NAME];
    TRY(copy_name(r, label_token, label, err));
    TRY(copy_name(r, either(r, AUTH_ASYM, LABEL_ASYM), author, err));
    TRY(copy_name(r, &r->row[LABEL_ENTITY], entity, err));
    const bool has_code = !numbered && !cif_token_is_missing(code);
    const residue_key key = {.chain = collector_chain(r->c, label, author, entity, numbered),
                             .name = name,
                             .number = (int32_t)value,
                             .insertion = has_code ? (uint32_t)(unsigned char)code->text[0] : 0,
                             .hetero = has_prefix(&r->row[GROUP], "HETATM"),
                             .alternate = !cif_token_is_missing(&r->row[LABEL_ALT])};
    collector_enter_residue(r->c, &key);
    r->last_chain = *label_token;
    r->last_number = *number;
    r->last_insertion = *code;
    r->last_name = *either(r, LABEL_COMP, AUTH_COMP);
    return STATUS_OK;
}

static bool is_last_residue(const mmcif_reader *r) {
    return is_same(either(r, LABEL_SEQ, AUTH_SEQ), &r->last_number) &&
           is_same(either(r, LABEL_ASYM, AUTH_ASYM), &r->last_chain) &&
           is_same(either(r, LABEL_COMP, AUTH_COMP), &r->last_name) &&
           is_same(&r->row[INSERTION], &r->last_insertion);
}

static status read_atom(mmcif_reader *r, error *err) {
    r->atoms++;
    if (r->atoms == 1)
        r->first_model = r->row[MODEL];
    if (!is_same(&r->row[MODEL], &r->first_model))
        return STATUS_OK;
    collected_atom atom = {.occupancy = 1.0f, .b = NAN};
    TRY(read_position(r, &atom, err));
    TRY(read_number(r, OCCUPANCY, &atom.occupancy, err));
    TRY(read_number(r, B_FACTOR, &atom.b, err));
    const bool numbered = !cif_token_is_missing(&r->row[LABEL_SEQ]);
    r->numbered |= numbered;
    if (!numbered && r->numbered)
        return STATUS_OK;
    const cif_token *name = either(r, LABEL_ATOM, AUTH_ATOM);
    TRY(pack_name(r, either(r, LABEL_COMP, AUTH_COMP), &atom.name, err));
    TRY(pack_name(r, &r->row[LABEL_ALT], &atom.alternate, err));
    if (name->length == 0 || atom.name == 0)
        return cif_lexer_refuse(&r->lexer, err, "an atom has no %s.",
                                atom.name == 0 ? "residue name" : "name");
    if (!is_last_residue(r))
        TRY(enter_residue(r, atom.name, err));
    atom.backbone = backbone_atom(r, name);
    collector_add_atom(r->c, &atom);
    return STATUS_OK;
}

/* ---- rows ----------------------------------------------------------------------------------- */

static status read_row(mmcif_reader *r, category what, error *err) {
    switch (what) {
    case ENTRY:
        if (!cif_token_is_missing(&r->row[0]))
            set_name(r, &r->row[0]);
        return STATUS_OK;
    case EXPTL:
        r->experimental |= !cif_token_is_missing(&r->row[0]);
        return STATUS_OK;
    case QA_METRIC:
        r->has_plddt |= r->row[0].length == 5 && has_prefix(&r->row[0], "pLDDT");
        return STATUS_OK;
    case STRUCT_REF:
        return read_reference(r, err);
    case STRUCT_REF_SEQ:
        return read_reference_use(r, err);
    case ENTITY_POLY:
        return read_entity_type(r, err);
    case ENTITY_POLY_SEQ:
        return read_sequence_row(r, err);
    case MOD_RESIDUE:
        return read_modified(r, err);
    case ATOM_SITE:
        return read_atom(r, err);
    case IGNORED:
        break;
    }
    return STATUS_OK;
}

/* "_atom_site.Cartn_x" → category and field; field −1 when nobody reads it. */
static category find_field(const cif_token *tag, int *field) {
    *field = -1;
    const char *name = tag->text + 1, *dot = memchr(name, '.', tag->length - 1);
    if (dot == NULL)
        return IGNORED;
    const size_t length = (size_t)(dot - name), rest = tag->length - length - 2;
    for (int i = 0; i < CATEGORIES; i++) {
        if (strlen(schema[i].name) != length || strncasecmp(schema[i].name, name, length) != 0)
            continue;
        for (int k = 0; k < MAX_FIELDS && schema[i].fields[k] != NULL; k++)
            if (strlen(schema[i].fields[k]) == rest &&
                strncasecmp(schema[i].fields[k], dot + 1, rest) == 0)
                *field = k;
        return (category)i;
    }
    return IGNORED;
}

static inline status advance(mmcif_reader *r, error *err) {
    return cif_lexer_next(&r->lexer, &r->token, err);
}

static inline bool at_value(const mmcif_reader *r) {
    return r->token.kind == CIF_PLAIN || r->token.kind == CIF_QUOTED;
}

static status check_atom_columns(const mmcif_reader *r, const bool *has, error *err) {
    const bool good = has[CARTN_X] && has[CARTN_Y] && has[CARTN_Z] &&
                      (has[LABEL_ATOM] || has[AUTH_ATOM]) && (has[LABEL_COMP] || has[AUTH_COMP]) &&
                      (has[LABEL_ASYM] || has[AUTH_ASYM]) && (has[LABEL_SEQ] || has[AUTH_SEQ]);
    if (good)
        return STATUS_OK;
    return cif_lexer_refuse(&r->lexer, err,
                            "the atom_site table needs the columns Cartn_x, Cartn_y, Cartn_z and "
                            "(label_ or auth_) atom_id, comp_id, asym_id and seq_id.");
}

/* The tags of a loop: its category, and for each column the field it fills or −1. */
static status read_loop_head(mmcif_reader *r, category *what, int *field, int *columns,
                             error *err) {
    bool has[MAX_FIELDS] = {false};
    *what = IGNORED;
    *columns = 0;
    memset(r->row, 0, sizeof r->row);
    for (int i = 0; i < MAX_FIELDS; i++)
        r->row[i].text = "";
    TRY(advance(r, err));
    for (; r->token.kind == CIF_TAG; ++*columns) {
        if (*columns == MAX_COLUMNS)
            return cif_lexer_refuse(&r->lexer, err, "a loop of more than %d columns.", MAX_COLUMNS);
        const category found = find_field(&r->token, &field[*columns]);
        if (*columns == 0)
            *what = found;
        else if (found != *what)
            return cif_lexer_refuse(&r->lexer, err,
                                    "the loop mixes categories: '%.*s' is of another than the tags "
                                    "before it.",
                                    (int)r->token.length, r->token.text);
        if (field[*columns] >= 0)
            has[field[*columns]] = true;
        TRY(advance(r, err));
    }
    if (*columns == 0)
        return cif_lexer_refuse(&r->lexer, err, "loop_ is not followed by a tag.");
    return *what == ATOM_SITE ? check_atom_columns(r, has, err) : STATUS_OK;
}

static status read_loop(mmcif_reader *r, error *err) {
    category what;
    int field[MAX_COLUMNS], columns, at = 0;
    int64_t line = 0; /* where the row begins */
    TRY(read_loop_head(r, &what, field, &columns, err));
    while (at_value(r)) {
        line = at == 0 ? r->lexer.line : line;
        if (field[at] >= 0)
            r->row[field[at]] = r->token;
        if (++at == columns) {
            at = 0;
            if (what != IGNORED)
                TRY(read_row(r, what, err));
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
    const category what = find_field(&tag, &field);
    TRY(advance(r, err));
    if (!at_value(r))
        return cif_lexer_refuse(&r->lexer, err, "the tag '%.*s' has no value.",
                                (int)(tag.length < 80 ? tag.length : 80), tag.text);
    if (what != IGNORED && field >= 0) {
        r->pairs[what][field] = r->token;
        r->has_pairs[what] = true;
    }
    return advance(r, err);
}

/* Rows written as pairs are complete only at the end of their block. */
static status finish_pairs(mmcif_reader *r, error *err) {
    for (int i = 0; i < CATEGORIES; i++) {
        if (!r->has_pairs[i])
            continue;
        r->has_pairs[i] = false;
        bool has[MAX_FIELDS];
        for (int k = 0; k < MAX_FIELDS; k++) {
            r->row[k] = r->pairs[i][k];
            has[k] = r->row[k].length > 0;
            if (!has[k])
                r->row[k].text = "";
        }
        if (i == ATOM_SITE)
            TRY(check_atom_columns(r, has, err));
        TRY(read_row(r, (category)i, err));
    }
    memset(r->pairs, 0, sizeof r->pairs);
    return STATUS_OK;
}

/* ---- blocks --------------------------------------------------------------------------------- */

/* What came before belongs to a block without atoms. */
static void start_block(mmcif_reader *r) {
    collector_destroy(r->c);
    collector_create(r->c);
    r->experimental = r->has_plddt = r->numbered = false;
    r->sequence = -1;
    if (has_prefix(&r->token, "synthetic"))
        r->c->source = SOURCE_SYNTHETIC;
    set_name(r, &r->token);
}

/* Rows without label_seq_id that came before the first row with one are no polymer's either. */
static void leave_out_unnumbered(mmcif_reader *r) {
    for (int64_t i = 0; i < r->c->chain_count && r->numbered; i++)
        r->c->chains[i].left_out = !r->c->chains[i].numbered;
}

status mmcif_read(const char *text, size_t size, const char *path, collector *c, error *err) {
    const cif_token none = {CIF_PLAIN, "", 0};
    mmcif_reader r = {.lexer = cif_lexer_start(text, size, path),
                      .c = c,
                      .sequence = -1,
                      .last_chain = none,
                      .last_number = none,
                      .last_insertion = none,
                      .last_name = none};
    TRY(advance(&r, err));
    while (r.token.kind != CIF_END) {
        if (r.token.kind == CIF_DATA) {
            TRY(finish_pairs(&r, err));
            if (r.atoms > 0)
                break;
            start_block(&r);
            TRY(advance(&r, err));
        } else if (r.token.kind == CIF_LOOP)
            TRY(read_loop(&r, err));
        else if (r.token.kind == CIF_TAG)
            TRY(read_pair(&r, err));
        else
            return cif_lexer_refuse(&r.lexer, err,
                                    "'%.*s' stands where a tag, loop_ or data_ was expected.",
                                    (int)(r.token.length < 80 ? r.token.length : 80), r.token.text);
    }
    TRY(finish_pairs(&r, err));
    if (r.atoms == 0)
        return cif_lexer_refuse(&r.lexer, err,
                                "the file ends without an atom_site table. Is it cut short?");
    if (r.has_plddt && !r.experimental && c->source == SOURCE_PDB)
        c->source = SOURCE_ALPHAFOLD;
    leave_out_unnumbered(&r);
    return STATUS_OK;
}
