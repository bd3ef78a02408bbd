/* FT lines: the qualifier layout since 2019_11 and the fixed columns before. */
#include "io/uniprot_store.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

static const char *const known_keys[] = {
    "ACT_SITE", "BINDING",  "CARBOHYD", "CA_BIND",  "CHAIN",    "COILED",  "COMPBIAS",
    "CONFLICT", "CROSSLNK", "DISULFID", "DNA_BIND", "DOMAIN",   "HELIX",   "INIT_MET",
    "INTRAMEM", "LIPID",    "METAL",    "MOD_RES",  "MOTIF",    "MUTAGEN", "NON_CONS",
    "NON_STD",  "NON_TER",  "NP_BIND",  "PEPTIDE",  "PROPEP",   "REGION",  "REPEAT",
    "SE_CYS",   "SIGNAL",   "SITE",     "STRAND",   "TOPO_DOM", "TRANSIT", "TRANSMEM",
    "TURN",     "UNSURE",   "VARIANT",  "VARSPLIC", "VAR_SEQ",  "ZN_FING", NULL};

enum { MODERN_LOCATION = 16 /* where a location starts, from column 6, since 2019_11 */ };
static const int64_t LARGEST_POSITION = 1000000000;

static uniprot_slice next_word(uniprot_slice *line) {
    *line = uniprot_slice_trim(*line);
    const char *blank = memchr(line->text, ' ', line->size);
    const size_t size = blank ? (size_t)(blank - line->text) : line->size;
    const uniprot_slice word = {line->text, size};
    line->text += size;
    line->size -= size;
    return word;
}

static const char *store_slice(uniprot_store *store, uniprot_slice s) {
    char *text = uniprot_text_begin(store);
    uniprot_text_append_tight(store, s);
    uniprot_text_end(store);
    return text;
}

/* One end of a location: "41", "<1", ">9", "?", "?7". */
static bool read_position(uniprot_slice s, int64_t *position, unsigned *flags, unsigned outside,
                          unsigned unsure) {
    if (s.size > 0 && (s.text[0] == '<' || s.text[0] == '>' || s.text[0] == '?')) {
        *flags |= s.text[0] == '?' ? unsure : outside;
        s.text++;
        s.size--;
        if (s.size == 0 && (*flags & unsure)) {
            *position = -1;
            return true;
        }
    }
    int64_t value = 0;
    for (size_t i = 0; i < s.size; i++) {
        if (!isdigit((unsigned char)s.text[i]) || value > LARGEST_POSITION)
            return false;
        value = 10 * value + (s.text[i] - '0');
    }
    *position = value;
    return s.size > 0;
}

static bool read_range(uniprot_feature *f, uniprot_slice begin, uniprot_slice end) {
    return read_position(begin, &f->begin, &f->flags, FEATURE_BEGIN_BEFORE, FEATURE_BEGIN_UNSURE) &&
           read_position(end, &f->end, &f->flags, FEATURE_END_AFTER, FEATURE_END_UNSURE);
}

/* "1..41", "7", "P12345-2:3..5". */
static bool read_modern_location(uniprot_store *store, uniprot_slice location, uniprot_feature *f) {
    const char *colon = memchr(location.text, ':', location.size);
    if (colon) {
        const size_t size = (size_t)(colon - location.text);
        f->sequence = store_slice(store, (uniprot_slice){location.text, size});
        location.text += size + 1;
        location.size -= size + 1;
    }
    const char *dots = memmem(location.text, location.size, "..", 2);
    if (!dots)
        return read_range(f, location, location);
    const size_t size = (size_t)(dots - location.text);
    return read_range(f, (uniprot_slice){location.text, size},
                      (uniprot_slice){dots + 2, location.size - size - 2});
}

/* Whether the text so far and the line are halves of one run of residues ("… -> MKL" + "VFF (in
 * isoform 2)"): such runs are broken without a blank, before any parenthesis. */
static bool splits_residues(const char *begin, const char *end, uniprot_slice line) {
    const char *last = end;
    while (last > begin && isupper((unsigned char)last[-1]))
        last--;
    size_t next = 0;
    while (next < line.size && isupper((unsigned char)line.text[next]))
        next++;
    return last < end && (last == begin || last[-1] == ' ') && next > 0 &&
           (next == line.size || line.text[next] == ' ') &&
           !memchr(begin, '(', (size_t)(end - begin)) && !uniprot_slice_starts(line, "OR ");
}

static bool holds_residues(const char *key) {
    return strcmp(key, "VAR_SEQ") == 0 || strcmp(key, "CONFLICT") == 0 ||
           strcmp(key, "VARIANT") == 0 || strcmp(key, "MUTAGEN") == 0 ||
           strcmp(key, "VARSPLIC") == 0;
}

static void append_note_line(uniprot_store *store, const uniprot_feature *f, const char *begin,
                             uniprot_slice line) {
    const char *end = store->text + store->text_used;
    if (holds_residues(f->key) && splits_residues(begin, end, line))
        uniprot_text_append_tight(store, line);
    else
        uniprot_text_append(store, begin, line);
}

/* ---- since 2019_11 -------------------------------------------------------------------------- */

static void undouble_quotes(char *text) {
    char *out = strchr(text, '"');
    if (!out)
        return;
    for (const char *in = out; *in; in++) {
        *out++ = *in;
        if (in[0] == '"' && in[1] == '"')
            in++;
    }
    *out = '\0';
}

static void keep_qualifier(uniprot_store *store, uniprot_feature *f, uniprot_slice name,
                           char *value) {
    undouble_quotes(value);
    if (uniprot_slice_starts(name, "note=")) {
        const uniprot_evidence found = uniprot_text_strip(value, true, NULL);
        f->evidence = uniprot_evidence_stronger(f->evidence, found);
        f->note = value;
    } else if (uniprot_slice_starts(name, "ligand=")) {
        f->ligand = value;
    } else if (uniprot_slice_starts(name, "id=")) {
        f->id = value;
    } else {
        if (uniprot_slice_starts(name, "evidence=")) {
            const uniprot_evidence found = uniprot_evidence_of(value, value + strlen(value));
            f->evidence = uniprot_evidence_stronger(f->evidence, found);
        }
        store->text_used = (size_t)(value - store->text);
    }
}

/* An odd number of quotes: the value's closing quote is there, for inner ones are doubled. */
static bool closes_value(uniprot_slice line, bool odd) {
    for (size_t i = 0; i < line.size; i++)
        odd ^= line.text[i] == '"';
    return odd;
}

/* `/name="value"`, where the value may go on over several lines. */
static void read_qualifier(uniprot_store *store, uniprot_block *lines, uniprot_slice line,
                           uniprot_feature *f) {
    const char *equals = memchr(line.text, '=', line.size);
    if (!equals)
        return;
    const size_t size = (size_t)(equals - line.text) + 1;
    const uniprot_slice name = {line.text + 1, size - 1};
    line.text += size;
    line.size -= size;
    char *value = uniprot_text_begin(store);
    if (uniprot_slice_starts(line, "\"")) {
        line.text++;
        line.size--;
        bool closed = closes_value(line, false);
        uniprot_text_append(store, value, line);
        while (!closed && uniprot_block_next(lines, &line)) {
            line = uniprot_slice_trim(line);
            closed = closes_value(line, closed);
            append_note_line(store, f, value, line);
        }
        if (closed && store->text[store->text_used - 1] == '"')
            store->text_used--;
    } else {
        uniprot_text_append(store, value, line);
    }
    uniprot_text_end(store);
    keep_qualifier(store, f, name, value);
}

static bool read_modern(uniprot_store *store, uniprot_block *lines, uniprot_slice rest,
                        uniprot_feature *f) {
    if (!read_modern_location(store, uniprot_slice_trim(rest), f))
        return false;
    uniprot_slice line;
    while (uniprot_block_next(lines, &line)) {
        line = uniprot_slice_trim(line);
        if (uniprot_slice_starts(line, "/"))
            read_qualifier(store, lines, line, f);
    }
    return true;
}

/* ---- until 2019_10 -------------------------------------------------------------------------- */

/* A note that says nothing but its evidence. */
static uniprot_evidence bare_evidence(const char *note) {
    if (strcasecmp(note, "By similarity") == 0)
        return EVIDENCE_SIMILARITY;
    if (strcasecmp(note, "Potential") == 0)
        return EVIDENCE_AUTOMATIC;
    return strcasecmp(note, "Probable") == 0 ? EVIDENCE_CURATOR : EVIDENCE_NONE;
}

static void finish_old_note(uniprot_feature *f, char *note) {
    f->evidence = uniprot_text_strip(note, true, NULL);
    uniprot_text_chop(note, ".");
    const uniprot_evidence bare = bare_evidence(note);
    f->evidence = uniprot_evidence_stronger(f->evidence, bare);
    f->note = bare == EVIDENCE_NONE ? note : "";
}

static bool read_old(uniprot_store *store, uniprot_block *lines, uniprot_slice rest,
                     uniprot_feature *f) {
    const uniprot_slice begin = next_word(&rest), end = next_word(&rest);
    if (!read_range(f, begin, end))
        return false;
    char *note = uniprot_text_begin(store);
    uniprot_slice id = {"", 0}, line = uniprot_slice_trim(rest);
    do {
        line = uniprot_slice_trim(line);
        if (uniprot_slice_starts(line, "/FTId="))
            id = (uniprot_slice){line.text + 6, line.size - 6};
        else
            append_note_line(store, f, note, line);
    } while (uniprot_block_next(lines, &line));
    uniprot_text_end(store);
    finish_old_note(f, note);
    if (id.size > 0 && id.text[id.size - 1] == '.')
        id.size--;
    f->id = id.size > 0 ? store_slice(store, id) : "";
    return true;
}

/* ---- both ----------------------------------------------------------------------------------- */

static void read_feature(uniprot_store *store, uniprot_block lines, uniprot_tally *tally) {
    uniprot_slice line;
    if (!uniprot_block_next(&lines, &line))
        return;
    uniprot_slice rest = line;
    uniprot_feature f = {.sequence = "", .note = "", .ligand = "", .id = ""};
    f.key = store_slice(store, next_word(&rest));
    size_t blanks = 0;
    while (blanks < rest.size && rest.text[blanks] == ' ')
        blanks++;
    const bool modern = (size_t)(rest.text - line.text) + blanks >= MODERN_LOCATION;
    if (!uniprot_is_known(f.key, known_keys))
        tally->unknown_features++;
    if (modern ? read_modern(store, &lines, rest, &f) : read_old(store, &lines, rest, &f))
        *(uniprot_feature *)uniprot_list_add(&store->features) = f;
    else
        tally->bad_features++;
}

/* A feature's lines end where a line has a key again. */
void uniprot_parse_features(uniprot_store *store, uniprot_block block, uniprot_tally *tally) {
    uniprot_block feature = {block.at, block.at};
    uniprot_slice line;
    for (;;) {
        const char *at = block.at;
        const bool more = uniprot_block_next(&block, &line);
        const bool begins = !more || (line.size > 0 && line.text[0] != ' ');
        if (begins && feature.end > feature.at) {
            read_feature(store, feature, tally);
            feature.at = at;
        }
        if (!more)
            break;
        feature.end = block.at;
    }
}
