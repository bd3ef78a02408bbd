#include "io/chain_readers.h"
#include "io/residue_names.h"
#include "io/structure_number.h"

#include <ctype.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* One line without its end. Columns are numbered from 1, as the format's description does. */
typedef struct pdb_line {
    const char *text;
    int64_t length;
    int64_t number;
} pdb_line;

typedef struct pdb_reader {
    const char *path;
    pdb_line line;
    collector *c;
    bool model_done;
    int64_t models, atoms; /* MODEL records so far; atoms of the first model */
    int64_t chain;         /* of the last atom, −1 none */
    char chain_id;         /* its letter */
    char last_key[10];     /* columns 18–27 of the last atom: name, chain, number, insertion */
    bool last_hetero;      /* was it a HETATM */
    char pending_chain;    /* DBREF1 read, DBREF2 to come */
    bool pending_uniprot;  /* and it is a link to UniProt */
} pdb_reader;

typedef struct field {
    const char *text;
    size_t length; /* 0: blank or beyond the line's end */
} field;

/* Columns first … last without the blanks around. */
static field columns(const pdb_line *line, int64_t first, int64_t last) {
    if (first > line->length)
        return (field){"", 0};
    const char *begin = line->text + first - 1;
    const char *end = line->text + (last < line->length ? last : line->length);
    while (begin < end && *begin == ' ')
        begin++;
    while (end > begin && end[-1] == ' ')
        end--;
    return (field){begin, (size_t)(end - begin)};
}

static char column(const pdb_line *line, int64_t at) {
    return at <= line->length ? line->text[at - 1] : ' ';
}

static bool is_record(const pdb_line *line, const char *name) {
    const int64_t length = (int64_t)strlen(name);
    return line->length >= length && memcmp(line->text, name, (size_t)length) == 0;
}

static bool equals(field f, const char *text) {
    return f.length == strlen(text) && memcmp(f.text, text, f.length) == 0;
}

static uint64_t packed(field f) {
    return residue_name_pack(f.text, f.length);
}

static status refuse(const pdb_reader *r, error *err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static status refuse(const pdb_reader *r, error *err, const char *format, ...) {
    char sentence[512];
    va_list args;
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    return error_set(err, STATUS_INPUT, "%s:%lld: %s", r->path, (long long)r->line.number,
                     sentence);
}

/* The name of a chain is one letter; blank is "". */
static void chain_name(char letter, char name[CHAIN_NAME]) {
    memset(name, 0, CHAIN_NAME);
    name[0] = letter == ' ' ? '\0' : letter;
}

/* ---- records before the atoms --------------------------------------------------------------- */

static void read_header(pdb_reader *r) {
    const field id = columns(&r->line, 63, 66), class = columns(&r->line, 11, 50);
    if (id.length > 0)
        memcpy(r->c->name, id.text, id.length);
    /* The word alone: "SYNTHETIC PROTEIN MODEL" is a class of real entries. */
    if (equals(class, "SYNTHETIC"))
        r->c->source = SOURCE_SYNTHETIC;
}

/* "TITLE     ALPHAFOLD MONOMER V2.0 PREDICTION FOR …" */
static void read_title(pdb_reader *r) {
    const field title = columns(&r->line, 11, 80);
    if (title.length > 10 && memcmp(title.text, "ALPHAFOLD ", 10) == 0 &&
        memmem(title.text, title.length, " PREDICTION", 11) != NULL)
        r->c->source = SOURCE_ALPHAFOLD;
}

static void read_seqres(pdb_reader *r) {
    char name[CHAIN_NAME];
    chain_name(column(&r->line, 12), name);
    const int64_t sequence = collector_sequence(r->c, name);
    for (int64_t at = 20; at <= 68; at += 4) {
        const field residue = columns(&r->line, at, at + 2);
        if (residue.length > 0 && sequence >= 0)
            collector_add_item(r->c, sequence, packed(residue),
                               r->c->sequences[sequence].length + 1);
    }
}

/* Swiss-Prot was called SWS in old entries. */
static bool is_uniprot(field database) {
    return equals(database, "UNP") || equals(database, "SWS");
}

static void add_link(pdb_reader *r, char letter, field accession, field first, field last) {
    int64_t begin = 0, end = 0;
    if (!structure_integer_read(first.text, first.length, &begin) ||
        !structure_integer_read(last.text, last.length, &end) || begin < 1 || end < begin)
        begin = end = 0;
    collected_link link = {.link = {.begin = begin, .end = end}};
    chain_name(letter, link.chain);
    if (accession.length == 0 || accession.length >= ACCESSION_SIZE)
        return;
    memcpy(link.link.accession, accession.text, accession.length);
    collector_add_link(r->c, &link);
}

/* DBREF, or the pair DBREF1 (database) and DBREF2 (accession) where a field would not fit. */
static void read_dbref(pdb_reader *r) {
    const pdb_line *l = &r->line;
    const char kind = column(l, 6), letter = column(l, 13);
    if (kind == '1') {
        r->pending_chain = letter;
        r->pending_uniprot = is_uniprot(columns(l, 27, 32));
    } else if (kind == '2') {
        if (r->pending_uniprot && r->pending_chain == letter)
            add_link(r, letter, columns(l, 19, 40), columns(l, 46, 55), columns(l, 58, 67));
        r->pending_uniprot = false;
    } else if (is_uniprot(columns(l, 27, 32)))
        add_link(r, letter, columns(l, 34, 41), columns(l, 56, 60), columns(l, 63, 67));
}

static void read_modres(pdb_reader *r) {
    const field name = columns(&r->line, 13, 15), parent = columns(&r->line, 25, 27);
    if (name.length > 0 && parent.length > 0)
        collector_add_modified(r->c, packed(name), packed(parent));
}

/* ---- atoms ---------------------------------------------------------------------------------- */

/* A number in its columns; a blank gives `missing` where there is one to give. */
static status read_number(const pdb_reader *r, int64_t first, const char *what,
                          const float *missing, float *value, error *err) {
    const int64_t last = first + (missing != NULL ? 5 : 7);
    const field f = columns(&r->line, first, last);
    if (f.length == 0 && missing != NULL) {
        *value = *missing;
        return STATUS_OK;
    }
    if (r->line.length < last && missing == NULL)
        return refuse(r, err, "the line ends before column %lld, inside %s. Is it cut short?",
                      (long long)last, what);
    if (!structure_number_read(f.text, f.length, value))
        return refuse(r, err, "%s in columns %lld-%lld is '%.*s', which is no number.", what,
                      (long long)first, (long long)last, (int)f.length, f.text);
    return STATUS_OK;
}

/* Columns 23–26: decimal, or base 36 from A000 = 10000 on, as programs write it that run out of
 * columns ("hybrid-36"). */
static status read_residue_number(const pdb_reader *r, int32_t *number, error *err) {
    const field f = columns(&r->line, 23, 26);
    int64_t value = 0;
    if (structure_integer_read(f.text, f.length, &value)) {
        *number = (int32_t)value;
        return STATUS_OK;
    }
    const bool upper = f.length == 4 && f.text[0] >= 'A' && f.text[0] <= 'Z';
    const bool lower = f.length == 4 && f.text[0] >= 'a' && f.text[0] <= 'z';
    for (size_t i = 0; (upper || lower) && i < 4; i++) {
        const char c = f.text[i];
        const char first = upper ? 'A' : 'a';
        const bool digit = c >= '0' && c <= '9', letter = c >= first && c <= first + 25;
        if (!digit && !letter)
            break;
        value = 36 * value + (digit ? c - '0' : c - first + 10);
        if (i == 3) {
            *number =
                (int32_t)(value - 10 * 36 * 36 * 36 + 10000 + (lower ? 26 * 36 * 36 * 36 : 0));
            return STATUS_OK;
        }
    }
    return refuse(r, err, "the residue number in columns 23-26 is '%.*s', which is no number.",
                  (int)f.length, f.text);
}

/* " CA " is a carbon; "CA  " is calcium unless the element's own columns say carbon. Before 1996
 * columns 73-80 were free for marks such as "0297BC48": letters are an element only where a charge
 * ("2+") or nothing follows. */
static bool is_alpha_carbon(const pdb_line *line) {
    const char left = column(line, 77), right = column(line, 78), sign = column(line, 80);
    const bool element = isalpha((unsigned char)right) &&
                         (left == ' ' || isalpha((unsigned char)left)) &&
                         (sign == ' ' || sign == '+' || sign == '-');
    return element ? left == ' ' && (right | 0x20) == 'c' : column(line, 13) == ' ';
}

static uint8_t backbone_atom(const pdb_line *line) {
    const field name = columns(line, 13, 16);
    if (equals(name, "CA"))
        return is_alpha_carbon(line) ? BACKBONE_CA : 0;
    return equals(name, "N") ? BACKBONE_N : equals(name, "C") ? BACKBONE_C : 0;
}

/* Atoms of one residue stand together: compare before looking anything up. */
static status enter_residue(pdb_reader *r, bool hetero, error *err) {
    const pdb_line *l = &r->line;
    if (memcmp(r->last_key, l->text + 17, sizeof r->last_key) == 0 && r->last_hetero == hetero)
        return STATUS_OK;
    const char letter = column(l, 22), code = column(l, 27);
    char name[CHAIN_NAME];
    chain_name(letter, name);
    if (r->chain < 0 || r->chain_id != letter || r->c->chains[r->chain].closed) {
        /* Behind TER, HETATM are ligands and water of the chain that ended. */
        const int64_t known = collector_find_chain(r->c, name);
        const bool beside = hetero && known >= 0 && r->c->chains[known].closed;
        r->chain = beside ? -1 : collector_chain(r->c, name, name, "", false);
        r->chain_id = letter;
    }
    int32_t number = 0;
    TRY(read_residue_number(r, &number, err));
    const residue_key key = {.chain = r->chain,
                             .name = packed(columns(l, 18, 20)),
                             .number = number,
                             .insertion = code == ' ' ? 0 : (uint32_t)(unsigned char)code,
                             .hetero = hetero,
                             .alternate = column(l, 17) != ' '};
    collector_enter_residue(r->c, &key);
    memcpy(r->last_key, l->text + 17, sizeof r->last_key);
    r->last_hetero = hetero;
    return STATUS_OK;
}

static status read_atom(pdb_reader *r, bool hetero, error *err) {
    const pdb_line *l = &r->line;
    static const float full = 1.0f, unknown = NAN;
    collected_atom atom = {.has_position = true};
    TRY(read_number(r, 31, "x", NULL, &atom.position[0], err));
    TRY(read_number(r, 39, "y", NULL, &atom.position[1], err));
    TRY(read_number(r, 47, "z", NULL, &atom.position[2], err));
    TRY(read_number(r, 55, "the occupancy", &full, &atom.occupancy, err));
    TRY(read_number(r, 61, "the temperature factor", &unknown, &atom.b, err));
    const field name = columns(l, 18, 20);
    if (name.length == 0)
        return refuse(r, err, "the atom has no residue name in columns 18-20.");
    TRY(enter_residue(r, hetero, err));
    r->atoms++;
    if (r->chain < 0)
        return STATUS_OK;
    const char alternate = column(l, 17);
    atom.alternate = alternate == ' ' ? 0 : (uint64_t)(unsigned char)alternate;
    atom.name = packed(name);
    atom.backbone = backbone_atom(l);
    collector_add_atom(r->c, &atom);
    return STATUS_OK;
}

/* TER closes the chain of the atom before it. */
static void read_ter(pdb_reader *r) {
    if (r->chain >= 0)
        r->c->chains[r->chain].closed = true;
    memset(r->last_key, 0, sizeof r->last_key);
}

static status read_line(pdb_reader *r, error *err) {
    const pdb_line *l = &r->line;
    const bool hetero = is_record(l, "HETATM");
    if (hetero || is_record(l, "ATOM  "))
        return r->model_done ? STATUS_OK : read_atom(r, hetero, err);
    if (is_record(l, "TER") && !r->model_done)
        read_ter(r);
    else if (is_record(l, "MODEL "))
        r->model_done = r->models++ > 0 || r->model_done;
    else if (is_record(l, "ENDMDL"))
        r->model_done = true;
    else if (is_record(l, "SEQRES"))
        read_seqres(r);
    else if (is_record(l, "DBREF"))
        read_dbref(r);
    else if (is_record(l, "MODRES"))
        read_modres(r);
    else if (is_record(l, "HEADER"))
        read_header(r);
    else if (is_record(l, "TITLE"))
        read_title(r);
    return STATUS_OK;
}

status pdb_read(const char *text, size_t size, const char *path, collector *c, error *err) {
    pdb_reader r = {.path = path, .c = c, .chain = -1};
    const char *p = text, *const end = text + size, *const nul = memchr(text, '\0', size);
    while (p < end) {
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        stop = stop != NULL ? stop : end;
        const bool carriage = stop > p && stop[-1] == '\r';
        r.line = (pdb_line){p, stop - p - carriage, r.line.number + 1};
        if (nul != NULL && nul < stop)
            return refuse(&r, err, "a byte 0 is in this line. Is the file damaged?");
        TRY(read_line(&r, err));
        p = stop + (stop < end);
    }
    if (r.atoms == 0)
        return refuse(&r, err, "the file ends without an ATOM or HETATM record. Is it cut short?");
    return STATUS_OK;
}
