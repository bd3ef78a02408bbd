/* One record into one entry: lines are taken in blocks of one line code, each block by its own
 * reader; afterwards the record is checked as a whole. */
#include "io/uniprot.h"
#include "io/uniprot_store.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { CODE_SIZE = 2, LONGEST_ACCESSION = 15 };

/* A record being parsed. */
typedef struct parse {
    const uniprot_record *record;
    uniprot_store *store;
    uniprot_entry *entry;
    uniprot_tally *tally;
    int64_t id_length; /* residues, as the ID line says; −1 not said */
    int dates;         /* DT lines read */
} parse;

/* Sets an error about the place `at` in the record, with `err`'s sentence at its end. */
static status place_error(const parse *p, const char *at, error *err) {
    const uniprot_record *r = p->record;
    const char *accession = p->store->accessions.count > 0
                                ? *(const char **)(void *)p->store->accessions.items
                                : "without accession";
    if (r->line == 0)
        return error_prefix(err, "%s, byte %lld: entry %.40s", r->file,
                            (long long)(r->offset + (at - r->text)), accession);
    int64_t line = r->line;
    for (const char *c = r->text; c < at; c++)
        line += *c == '\n';
    return error_prefix(err, "%s:%lld: entry %.40s", r->file, (long long)line, accession);
}

/* ---- single line codes ---------------------------------------------------------------------- */

/* "ARBK2_HUMAN  Reviewed;  688 AA.", "…  STANDARD;  PRT;  688 AA." */
static void read_id(parse *p, uniprot_block block) {
    char *text = uniprot_text_join(p->store, block);
    const size_t size = strcspn(text, " ");
    char *rest = text + size + (text[size] == ' ');
    text[size] = '\0';
    p->entry->entry_name = text;
    p->entry->reviewed = strstr(rest, "Reviewed;") || strstr(rest, "STANDARD;");
    char *number = strstr(rest, " AA");
    while (number && number > rest && isdigit((unsigned char)number[-1]))
        number--;
    if (number && isdigit((unsigned char)*number))
        p->id_length = strtoll(number, NULL, 10);
}

static void read_accessions(parse *p, uniprot_block block) {
    char *rest = uniprot_text_join(p->store, block);
    for (char *value; (value = uniprot_text_next(&rest, ";"));)
        *(const char **)uniprot_list_add(&p->store->accessions) = value;
}

static int32_t read_digits(const char *text, int count) {
    int32_t value = 0;
    for (int i = 0; i < count; i++)
        value = 10 * value + (text[i] - '0');
    return value;
}

/* "01-JUN-1994…" as yyyymmdd; 0 when it is no date. */
static int32_t read_date(uniprot_slice line) {
    static const char months[] = "JANFEBMARAPRMAYJUNJULAUGSEPOCTNOVDEC";
    static const char pattern[] = "00-AAA-0000";
    if (line.size < sizeof pattern - 1)
        return 0;
    for (size_t i = 0; i < sizeof pattern - 1; i++) {
        const int c = (unsigned char)line.text[i];
        if ((pattern[i] == '0' && !isdigit(c)) || (pattern[i] == '-' && c != '-'))
            return 0;
    }
    for (int month = 0; month < 12; month++)
        if (memcmp(months + 3 * month, line.text + 3, 3) == 0)
            return 10000 * read_digits(line.text + 7, 4) + 100 * (month + 1) +
                   read_digits(line.text, 2);
    return 0;
}

static void read_dates(parse *p, uniprot_block block) {
    int32_t *const dates[] = {&p->entry->date, &p->entry->sequence_date, &p->entry->entry_date};
    uniprot_slice line;
    while (p->dates < 3 && uniprot_block_next(&block, &line))
        *dates[p->dates++] = read_date(line);
}

static void read_organism(parse *p, uniprot_block block) {
    char *text = uniprot_text_join(p->store, block);
    uniprot_text_strip(text, false, NULL);
    uniprot_text_chop(text, ".");
    p->entry->organism = text;
}

static void read_taxon(parse *p, uniprot_block block) {
    static const char label[] = "NCBI_TaxID=";
    const char *text = uniprot_text_join(p->store, block);
    const char *found = strstr(text, label);
    const long taxon = found ? strtol(found + sizeof label - 1, NULL, 10) : 0;
    p->entry->taxon = taxon > 0 && taxon <= INT32_MAX ? (int32_t)taxon : 0;
}

static void read_existence(parse *p, uniprot_block block) {
    uniprot_slice line;
    if (uniprot_block_next(&block, &line) && line.size > 0 && line.text[0] >= '1' &&
        line.text[0] <= '5')
        p->entry->existence = line.text[0] - '0';
}

static void read_keywords(parse *p, uniprot_block block) {
    char *rest = uniprot_text_join(p->store, block);
    uniprot_text_strip(rest, false, NULL);
    uniprot_text_chop(rest, ".;");
    for (char *value; (value = uniprot_text_next(&rest, "; "));)
        *(const char **)uniprot_list_add(&p->store->keywords) = value;
}

/* "GO; GO:0005829; C:cytosol; TAS:Reactome." Other databases are passed over: there are over a
 * hundred, and most of a record's lines are theirs. */
static void read_xrefs(parse *p, uniprot_block block) {
    static const char *const databases[] = {"GO", "PDB", "AlphaFoldDB"};
    uniprot_slice line;
    while (uniprot_block_next(&block, &line)) {
        for (size_t i = 0; i < sizeof databases / sizeof *databases; i++) {
            const size_t size = strlen(databases[i]);
            if (line.size <= size + 1 || line.text[size] != ';' ||
                memcmp(line.text, databases[i], size) != 0)
                continue;
            char *rest = uniprot_text_begin(p->store);
            uniprot_text_append(
                p->store, rest,
                uniprot_slice_trim((uniprot_slice){line.text + size + 1, line.size - size - 1}));
            uniprot_text_end(p->store);
            uniprot_text_chop(rest, ".");
            const char *id = uniprot_text_next(&rest, "; ");
            if (id)
                *(uniprot_xref *)uniprot_list_add(&p->store->xrefs) =
                    (uniprot_xref){databases[i], id, rest};
        }
    }
}

static void read_names(parse *p, uniprot_block block) {
    uniprot_parse_names(p->store, p->entry, block);
}

static void read_genes(parse *p, uniprot_block block) {
    uniprot_parse_genes(p->store, block);
}

static void read_comments(parse *p, uniprot_block block) {
    uniprot_parse_comments(p->store, block, p->tally);
}

static void read_features(parse *p, uniprot_block block) {
    uniprot_parse_features(p->store, block, p->tally);
}

/* Every line code; no reader: not wanted here. SQ and `//` are looked at by read_record. */
static const struct {
    char code[CODE_SIZE + 1];
    void (*read)(parse *p, uniprot_block block);
} line_codes[] = {
    {"RA", NULL},           {"DR", read_xrefs},    {"FT", read_features}, {"CC", read_comments},
    {"RT", NULL},           {"RP", NULL},          {"RN", NULL},          {"RL", NULL},
    {"RX", NULL},           {"RC", NULL},          {"RG", NULL},          {"DE", read_names},
    {"DT", read_dates},     {"KW", read_keywords}, {"OC", NULL},          {"AC", read_accessions},
    {"OS", read_organism},  {"ID", read_id},       {"OX", read_taxon},    {"GN", read_genes},
    {"PE", read_existence}, {"OG", NULL},          {"OH", NULL},
};

/* ---- the record ----------------------------------------------------------------------------- */

/* The first line after `at` that has another code; `**` lines belong to what stands before. A
 * blank code ("  ") goes on with the sequence. */
static const char *block_end(const char *at, const char *end, bool sequence) {
    const char *code = at;
    for (;;) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        if (!newline)
            return end;
        at = newline + 1;
        if (end - at < CODE_SIZE)
            return end;
        if (memcmp(at, sequence ? "  " : code, CODE_SIZE) != 0 && memcmp(at, "**", 2) != 0)
            return at;
    }
}

static bool has_code(const char *at, const char *end, const char *code) {
    return end - at >= CODE_SIZE && memcmp(at, code, CODE_SIZE) == 0;
}

static void read_block(parse *p, uniprot_block block) {
    for (size_t i = 0; i < sizeof line_codes / sizeof *line_codes; i++)
        if (has_code(block.at, block.end, line_codes[i].code)) {
            if (line_codes[i].read)
                line_codes[i].read(p, block);
            return;
        }
    if (!has_code(block.at, block.end, "**"))
        for (uniprot_slice line; uniprot_block_next(&block, &line);)
            p->tally->unknown_lines++;
}

/* Messages and datasets name entries by it, so it must be printable and fit. */
static status check_accession(const parse *p, error *err) {
    uniprot_list *list = &p->store->accessions;
    if (list->count == 0)
        return error_set(err, STATUS_INPUT, "it has no AC line.");
    const char *accession = *(const char **)(void *)list->items;
    const size_t size = strlen(accession);
    size_t good = 0;
    while (isalnum((unsigned char)accession[good]) ||
           (good < size && strchr("_-.", accession[good])))
        good++;
    if (good == size && size <= LONGEST_ACCESSION)
        return STATUS_OK;
    list->count = 0;
    return error_set(err, STATUS_INPUT,
                     "its first accession is not made of 1 to %d letters and digits.",
                     LONGEST_ACCESSION);
}

/* Bytes of the UTF-8 character at `at`, of `left` bytes; 0 when it is none. */
static size_t character_size(const uint8_t *at, size_t left) {
    const uint8_t first = at[0];
    if (first < 0x80)
        return 1;
    const size_t size = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || left < size)
        return 0;
    for (size_t i = 1; i < size; i++)
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    const bool overlong = (first == 0xe0 && at[1] < 0xa0) || (first == 0xf0 && at[1] < 0x90);
    const bool no_scalar = (first == 0xed && at[1] > 0x9f) || (first == 0xf4 && at[1] > 0x8f);
    return overlong || no_scalar ? 0 : size;
}

/* The first byte that no text may have, NUL or what is no UTF-8, or NULL. Nearly all text is ASCII
 * and is passed over by eights. */
static const char *find_bad_byte(const char *text, size_t size) {
    const char *nul = memchr(text, 0, size);
    size_t left = nul ? (size_t)(nul - text) : size;
    while (left > 0) {
        uint64_t word;
        if (left >= 8 && (memcpy(&word, text, 8), (word & UINT64_C(0x8080808080808080)) == 0)) {
            text += 8;
            left -= 8;
            continue;
        }
        const size_t step = character_size((const uint8_t *)text, left);
        if (step == 0)
            return text;
        text += step;
        left -= step;
    }
    return nul;
}

static status read_record(parse *p, const char **at, error *err) {
    const char *const begin = p->record->text, *const end = begin + p->record->size;
    const char *bad = find_bad_byte(begin, p->record->size);
    *at = bad ? bad : begin;
    if (bad)
        return error_set(err, STATUS_INPUT, "byte 0x%02X is no text (UTF-8).",
                         (unsigned)(uint8_t)*bad);
    if (!has_code(begin, end, "ID"))
        return error_set(err, STATUS_INPUT, "expected a record that begins with an ID line.");
    status code = STATUS_OK;
    bool has_sequence = false, has_end = false;
    const char *sequence_at = begin;
    for (const char *line = begin, *next; line < end && !has_end && code == STATUS_OK;
         line = next) {
        const bool is_sequence = has_code(line, end, "SQ");
        next = block_end(line, end, is_sequence);
        const uniprot_block block = {line, next};
        has_end = has_code(line, end, "//");
        if (is_sequence && !has_sequence) {
            has_sequence = true;
            code = uniprot_parse_sequence(p->store, p->entry, block, p->id_length, &sequence_at,
                                          p->tally, err);
        } else if (!has_end) {
            read_block(p, block);
        }
    }
    TRY(check_accession(p, err));
    *at = sequence_at;
    TRY(code);
    if (!has_sequence)
        return error_set(err, STATUS_INPUT, "it has no SQ line.");
    *at = end;
    return has_end ? STATUS_OK
                   : error_set(err, STATUS_INPUT,
                               "it is cut short: no // line before the next record or the end.");
}

/* Features whose ends are not residues of the sequence would be a trap for every reader. */
static void drop_impossible_features(parse *p) {
    uniprot_feature *features = (uniprot_feature *)(void *)p->store->features.items;
    const int64_t length = p->entry->length;
    int64_t kept = 0;
    for (int64_t i = 0; i < p->store->features.count; i++) {
        const uniprot_feature f = features[i];
        const bool here = f.sequence[0] == '\0';
        const bool reversed = f.begin >= 0 && f.end >= 0 && f.begin > f.end;
        if (here && (f.begin > length || f.end > length || reversed))
            p->tally->bad_features++;
        else
            features[kept++] = f;
    }
    p->store->features.count = kept;
}

static void publish(uniprot_store *s, uniprot_entry *e) {
    e->accessions = (const char *const *)(void *)s->accessions.items;
    e->names = (const uniprot_name *)(void *)s->names.items;
    e->genes = (const char *const *)(void *)s->genes.items;
    e->comments = (const uniprot_comment *)(void *)s->comments.items;
    e->features = (const uniprot_feature *)(void *)s->features.items;
    e->xrefs = (const uniprot_xref *)(void *)s->xrefs.items;
    e->keywords = (const char *const *)(void *)s->keywords.items;
    e->accession_count = s->accessions.count;
    e->name_count = s->names.count;
    e->gene_count = s->genes.count;
    e->comment_count = s->comments.count;
    e->feature_count = s->features.count;
    e->xref_count = s->xrefs.count;
    e->keyword_count = s->keywords.count;
    const uniprot_span *span = (const uniprot_span *)(void *)s->spans.items;
    uniprot_comment *comments = (uniprot_comment *)(void *)s->comments.items;
    for (int64_t i = 0; i < e->comment_count; i++) {
        comments[i].spans = span;
        span += comments[i].span_count;
    }
}

status uniprot_parse(const uniprot_record *record, uniprot_entry *entry, uniprot_tally *tally,
                     error *err) {
    uniprot_store *store = entry->store;
    *entry = (uniprot_entry){.entry_name = "", .organism = "", .name = "", .sequence = ""};
    entry->store = store ? store : calloc(1, sizeof *store);
    if (!entry->store)
        return error_set(err, STATUS_FAILED, "%s: no memory for an entry.", record->file);
    uniprot_store_begin(entry->store, record->size);
    parse p = {record, entry->store, entry, tally, -1, 0};
    const char *at = record->text;
    if (read_record(&p, &at, err) != STATUS_OK)
        return place_error(&p, at, err);
    drop_impossible_features(&p);
    publish(entry->store, entry);
    return STATUS_OK;
}

void uniprot_entry_destroy(uniprot_entry *entry) {
    uniprot_store_destroy(entry->store);
    *entry = (uniprot_entry){0};
}
