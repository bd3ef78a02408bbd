#include "io/mmcif_rows.h"

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
    CATEGORIES
} category;

_Static_assert((int)CATEGORIES == (int)MMCIF_CATEGORIES, "the header counts them");

static const struct {
    const char *name;
    const char *fields[MMCIF_FIELDS];
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

static bool has_prefix(const cif_token *t, const char *prefix) {
    const size_t length = strlen(prefix);
    return t->length >= length && strncasecmp(t->text, prefix, length) == 0;
}

static inline bool is_same(const cif_token *a, const cif_token *b) {
    return a->length == b->length && memcmp(a->text, b->text, a->length) == 0;
}

/* The first of two fields that says something. */
static inline const cif_token *either(const mmcif_rows *r, int first, int second) {
    return cif_token_is_missing(&r->row[first]) ? &r->row[second] : &r->row[first];
}

static status copy_name(const mmcif_rows *r, const cif_token *t, char to[CHAIN_NAME], error *err) {
    if (collector_copy_name(to, t->text, cif_token_is_missing(t) ? 0 : t->length))
        return STATUS_OK;
    return cif_lexer_refuse(r->lexer, err, "the name '%.*s' is longer than %d bytes.",
                            cif_token_shown(t), t->text, CHAIN_NAME - 1);
}

static status pack_name(const mmcif_rows *r, const cif_token *t, uint64_t *name, error *err) {
    *name = 0;
    if (cif_token_is_missing(t))
        return STATUS_OK;
    if (t->length > RESIDUE_NAME)
        return cif_lexer_refuse(r->lexer, err, "the name '%.*s' is longer than %d bytes.",
                                cif_token_shown(t), t->text, RESIDUE_NAME);
    *name = residue_name_pack(t->text, t->length);
    return STATUS_OK;
}

/* ---- the small categories ------------------------------------------------------------------- */

static void set_name(mmcif_rows *r, const cif_token *t) {
    const size_t length = t->length < CHAIN_ENTRY_NAME ? t->length : CHAIN_ENTRY_NAME - 1;
    memset(r->c->name, 0, CHAIN_ENTRY_NAME);
    memcpy(r->c->name, t->text, length);
    if (has_prefix(t, "AF-") && r->c->source == SOURCE_PDB)
        r->c->source = SOURCE_ALPHAFOLD;
}

static status read_reference(mmcif_rows *r, error *err) {
    collected_reference reference = {0};
    TRY(copy_name(r, &r->row[0], reference.id, err));
    const cif_token *database = &r->row[1], *accession = &r->row[2];
    reference.uniprot = database->length == 3 && has_prefix(database, "UNP");
    if (!cif_token_is_missing(accession) && accession->length < ACCESSION_SIZE)
        memcpy(reference.accession, accession->text, accession->length);
    collector_add_reference(r->c, &reference);
    return STATUS_OK;
}

static status read_reference_use(mmcif_rows *r, error *err) {
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

static status read_entity_type(mmcif_rows *r, error *err) {
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

static status read_sequence_row(mmcif_rows *r, error *err) {
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
        return cif_lexer_refuse(r->lexer, err,
                                "_entity_poly_seq.num is '%.*s' behind number %lld of its entity; "
                                "the numbers must run 1, 2, 3, ...",
                                cif_token_shown(number), number->text, (long long)length);
    collector_add_item(c, r->sequence, name, value);
    return STATUS_OK;
}

/* Names that are too long are lists of several parents: there is no one letter. */
static void read_modified(mmcif_rows *r) {
    const cif_token *name = &r->row[0], *parent = &r->row[1];
    if (name->length <= RESIDUE_NAME && parent->length <= RESIDUE_NAME)
        collector_add_modified(r->c, residue_name_pack(name->text, name->length),
                               residue_name_pack(parent->text, parent->length));
}

/* ---- atoms ---------------------------------------------------------------------------------- */

static status read_number(const mmcif_rows *r, int field, float *value, error *err) {
    const cif_token *t = &r->row[field];
    if (cif_token_is_missing(t) || structure_number_read(t->text, t->length, value))
        return STATUS_OK;
    return cif_lexer_refuse(r->lexer, err, "_atom_site.%s is '%.*s', which is no number.",
                            schema[ATOM_SITE].fields[field], cif_token_shown(t), t->text);
}

static status read_position(const mmcif_rows *r, collected_atom *atom, error *err) {
    int missing = 0;
    for (int axis = 0; axis < 3; axis++) {
        const cif_token *t = &r->row[CARTN_X + axis];
        missing += cif_token_is_missing(t);
        TRY(read_number(r, CARTN_X + axis, &atom->position[axis], err));
        if (t->text + t->length == r->lexer->end)
            return cif_lexer_refuse(r->lexer, err,
                                    "the file ends inside a coordinate. Is it cut short?");
    }
    if (missing != 0 && missing != 3)
        return cif_lexer_refuse(r->lexer, err,
                                "an atom has only some of its three coordinates. Has the row lost "
                                "or gained a value?");
    atom->has_position = missing == 0;
    return STATUS_OK;
}

static bool is_alpha_carbon(const mmcif_rows *r, const cif_token *name) {
    if (name->length != 2 || memcmp(name->text, "CA", 2) != 0)
        return false;
    const cif_token *element = &r->row[ELEMENT];
    if (cif_token_is_missing(element))
        return !is_same(name, either(r, LABEL_COMP, AUTH_COMP));
    return element->length == 1 && (element->text[0] | 0x20) == 'c';
}

static uint8_t backbone_atom(const mmcif_rows *r, const cif_token *name) {
    if (name->length == 1)
        return name->text[0] == 'N' ? BACKBONE_N : name->text[0] == 'C' ? BACKBONE_C : 0;
    return is_alpha_carbon(r, name) ? BACKBONE_CA : 0;
}

/* label_seq_id counts residues of polymers alone; where the file never gives it, the author's
 * numbers must do. */
static status enter_residue(mmcif_rows *r, uint64_t name, error *err) {
    const bool numbered = !cif_token_is_missing(&r->row[LABEL_SEQ]);
    const cif_token *number = either(r, LABEL_SEQ, AUTH_SEQ), *code = &r->row[INSERTION];
    const cif_token *label_token = either(r, LABEL_ASYM, AUTH_ASYM);
    int64_t value = 0;
    if (!structure_integer_read(number->text, number->length, &value) || value > INT32_MAX ||
        value < INT32_MIN || (numbered && value < 1))
        return cif_lexer_refuse(r->lexer, err, "the residue number is '%.*s', which is no %s.",
                                cif_token_shown(number), number->text,
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

static bool is_last_residue(const mmcif_rows *r) {
    return is_same(either(r, LABEL_SEQ, AUTH_SEQ), &r->last_number) &&
           is_same(either(r, LABEL_ASYM, AUTH_ASYM), &r->last_chain) &&
           is_same(either(r, LABEL_COMP, AUTH_COMP), &r->last_name) &&
           is_same(&r->row[INSERTION], &r->last_insertion);
}

static status read_atom(mmcif_rows *r, error *err) {
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
        return cif_lexer_refuse(r->lexer, err, "an atom has no %s.",
                                atom.name == 0 ? "residue name" : "name");
    if (!is_last_residue(r))
        TRY(enter_residue(r, atom.name, err));
    atom.backbone = backbone_atom(r, name);
    collector_add_atom(r->c, &atom);
    return STATUS_OK;
}

/* ---- all of them ---------------------------------------------------------------------------- */

status mmcif_rows_read(mmcif_rows *r, int what, error *err) {
    switch ((category)what) {
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
        read_modified(r);
        return STATUS_OK;
    case ATOM_SITE:
        return read_atom(r, err);
    case CATEGORIES:
        break;
    }
    return STATUS_OK;
}

int mmcif_find_field(const cif_token *tag, int *field) {
    *field = -1;
    const char *name = tag->text + 1, *dot = memchr(name, '.', tag->length - 1);
    if (dot == NULL)
        return MMCIF_IGNORED;
    const size_t length = (size_t)(dot - name), rest = tag->length - length - 2;
    for (int i = 0; i < CATEGORIES; i++) {
        if (strlen(schema[i].name) != length || strncasecmp(schema[i].name, name, length) != 0)
            continue;
        for (int k = 0; k < MMCIF_FIELDS && schema[i].fields[k] != NULL; k++)
            if (strlen(schema[i].fields[k]) == rest &&
                strncasecmp(schema[i].fields[k], dot + 1, rest) == 0)
                *field = k;
        return i;
    }
    return MMCIF_IGNORED;
}

status mmcif_rows_check(const mmcif_rows *r, int what, const bool *has, error *err) {
    if (what != ATOM_SITE)
        return STATUS_OK;
    const bool good = has[CARTN_X] && has[CARTN_Y] && has[CARTN_Z] &&
                      (has[LABEL_ATOM] || has[AUTH_ATOM]) && (has[LABEL_COMP] || has[AUTH_COMP]) &&
                      (has[LABEL_ASYM] || has[AUTH_ASYM]) && (has[LABEL_SEQ] || has[AUTH_SEQ]);
    if (good)
        return STATUS_OK;
    return cif_lexer_refuse(r->lexer, err,
                            "the atom_site table needs the columns Cartn_x, Cartn_y, Cartn_z and "
                            "(label_ or auth_) atom_id, comp_id, asym_id and seq_id.");
}

mmcif_rows mmcif_rows_create(const cif_lexer *lexer, collector *c) {
    return (mmcif_rows){.lexer = lexer,
                        .c = c,
                        .sequence = -1,
                        .last_chain = mmcif_no_token,
                        .last_number = mmcif_no_token,
                        .last_insertion = mmcif_no_token,
                        .last_name = mmcif_no_token};
}

void mmcif_rows_start(mmcif_rows *r, const cif_token *name) {
    collector_destroy(r->c);
    collector_create(r->c);
    r->experimental = r->has_plddt = r->numbered = false;
    r->sequence = -1;
    if (has_prefix(name, "synthetic"))
        r->c->source = SOURCE_SYNTHETIC;
    set_name(r, name);
}

/* Rows without label_seq_id that came before the first row with one are no polymer's either. */
static void leave_out_unnumbered(mmcif_rows *r) {
    for (int64_t i = 0; i < r->c->chain_count && r->numbered; i++)
        r->c->chains[i].left_out = !r->c->chains[i].numbered;
}

void mmcif_rows_finish(mmcif_rows *r) {
    if (r->has_plddt && !r->experimental && r->c->source == SOURCE_PDB)
        r->c->source = SOURCE_ALPHAFOLD;
    leave_out_unnumbered(r);
}
