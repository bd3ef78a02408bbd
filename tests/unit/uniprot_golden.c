// TEST timeout=60
/* Every real record reads as an independent parser reads it (uniprot_golden.py beside this).
 * With the argument --print, the canonical lines are shown, to be compared with that script's. */
#include "io/uniprot.h"
#include "tests/test.h"

#include <unistd.h>
#include <zlib.h>

enum { GROUPS = 6 };
static const char group_letters[] = "RNCPFX";

static const struct {
    const char *name, *folder;
} folders[] = {{"emboss", "/usr/share/EMBOSS/test/swiss"},
               {"biopython", "/usr/share/doc/python-biopython-doc/Tests/SwissProt"},
               {"recent", "../shared/data/uniprot"}};

/* One canonical text for each group of lines. */
typedef struct canon {
    FILE *stream[GROUPS];
    char *text[GROUPS];
    size_t size[GROUPS];
} canon;

static void write_head(FILE *out, const uniprot_entry *e) {
    fprintf(out, "R|%s|%d|%lld|%d|%d|%d|%d|%d|%d|%d|%s|%s|%s\n", e->entry_name, e->reviewed,
            (long long)e->length, e->taxon, e->date, e->sequence_date, e->entry_date, e->existence,
            e->fragment, e->precursor, e->organism, e->name, e->sequence);
}

static void write_names(FILE *out, const uniprot_entry *e) {
    for (int64_t i = 0; i < e->accession_count; i++)
        fprintf(out, "N|%s\n", e->accessions[i]);
    for (int64_t i = 0; i < e->name_count; i++)
        fprintf(out, "N|%d|%d|%d|%s\n", e->names[i].kind, e->names[i].field, e->names[i].part,
                e->names[i].text);
    for (int64_t i = 0; i < e->gene_count; i++)
        fprintf(out, "N|%s\n", e->genes[i]);
}

static void write_comments(FILE *out, FILE *prose_out, const uniprot_entry *e) {
    for (int64_t i = 0; i < e->comment_count; i++) {
        const uniprot_comment *c = e->comments + i;
        fprintf(out, "C|%s|%s|%d|%s\n", c->topic, c->molecule, c->evidence, c->text);
        char *prose = malloc(strlen(c->text) + 2);
        const char *note = uniprot_comment_prose(c, prose);
        fprintf(prose_out, "P|%s|%s\n", prose, note);
        free(prose);
    }
}

static void write_features(FILE *out, const uniprot_entry *e) {
    for (int64_t i = 0; i < e->feature_count; i++) {
        const uniprot_feature *f = e->features + i;
        fprintf(out, "F|%s|%lld|%lld|%u|%s|%d|%s|%s|%s\n", f->key, (long long)f->begin,
                (long long)f->end, f->flags, f->sequence, f->evidence, f->note, f->ligand, f->id);
    }
}

static void write_xrefs(FILE *out, const uniprot_entry *e) {
    for (int64_t i = 0; i < e->xref_count; i++)
        fprintf(out, "X|%s|%s|%s\n", e->xrefs[i].database, e->xrefs[i].id, e->xrefs[i].fields);
    for (int64_t i = 0; i < e->keyword_count; i++)
        fprintf(out, "X|%s\n", e->keywords[i]);
}

static void canon_write(canon *c, const uniprot_entry *e) {
    for (int g = 0; g < GROUPS; g++)
        c->stream[g] = open_memstream(&c->text[g], &c->size[g]);
    write_head(c->stream[0], e);
    write_names(c->stream[1], e);
    write_comments(c->stream[2], c->stream[3], e);
    write_features(c->stream[4], e);
    write_xrefs(c->stream[5], e);
    for (int g = 0; g < GROUPS; g++)
        fclose(c->stream[g]);
}

static void canon_free(canon *c) {
    for (int g = 0; g < GROUPS; g++)
        free(c->text[g]);
}

/* "TOPIC=n;…" of a golden row, compared with how often `value` gives each word. */
static void expect_counts(const char *accession, const char *wanted, int64_t count,
                          const char *(*value)(const uniprot_entry *, int64_t),
                          const uniprot_entry *e) {
    char copy[2048];
    snprintf(copy, sizeof copy, "%s", wanted);
    int64_t all = 0;
    char *save = NULL;
    for (char *item = strtok_r(copy, ";", &save); item; item = strtok_r(NULL, ";", &save)) {
        char *equals = strchr(item, '=');
        if (!equals)
            continue;
        *equals = '\0';
        int64_t found = 0;
        for (int64_t i = 0; i < count; i++)
            found += strcmp(value(e, i), item) == 0;
        EXPECT(found == atoll(equals + 1), "%s has %lld %s, want %s", accession, (long long)found,
               item, equals + 1);
        all += found;
    }
    EXPECT(all == count, "%s: %lld of %lld are expected ones", accession, (long long)all,
           (long long)count);
}

static const char *topic_of(const uniprot_entry *e, int64_t i) {
    return e->comments[i].topic;
}

static const char *key_of(const uniprot_entry *e, int64_t i) {
    return e->features[i].key;
}

/* One row of the golden file against one entry. */
static void expect_row(char **column, const uniprot_entry *e) {
    EXPECT_TEXT(e->accessions[0], column[2]);
    EXPECT(e->length == atoll(column[3]), "%s", column[2]);
    EXPECT(e->taxon == atoi(column[4]), "%s", column[2]);
    EXPECT(e->date == atoi(column[5]), "%s", column[2]);
    expect_counts(column[2], column[6], e->comment_count, topic_of, e);
    expect_counts(column[2], column[7], e->feature_count, key_of, e);
    int64_t terms = 0;
    for (int64_t i = 0; i < e->xref_count; i++)
        terms += strcmp(e->xrefs[i].database, "GO") == 0;
    EXPECT(terms == atoll(column[8]), "%s", column[2]);
    canon c;
    canon_write(&c, e);
    for (int g = 0; g < GROUPS; g++) {
        const unsigned long sum = crc32(0, (const Bytef *)c.text[g], (uInt)c.size[g]);
        EXPECT(sum == strtoul(column[9 + g], NULL, 16), "%s: the %c lines differ:\n%s", column[2],
               group_letters[g], c.text[g]);
    }
    canon_free(&c);
}

/* The entries of a file, one a call; the file changes when the path does. */
typedef struct walk {
    char path[512];
    uniprot_reader *reader;
    uniprot_entry entry;
    uniprot_tally tally;
} walk;

static bool next_entry(walk *w, const char *path) {
    error err = {0};
    uniprot_record record = {0};
    if (strcmp(path, w->path) != 0) {
        if (w->reader) {
            EXPECT(uniprot_reader_next(w->reader, &record, &err) == STATUS_OK, "%s", err.text);
            EXPECT(record.size == 0, "%s has more records", w->path);
        }
        uniprot_reader_close(w->reader);
        snprintf(w->path, sizeof w->path, "%s", path);
        EXPECT(uniprot_reader_open(&w->reader, path, 0, -1, &err) == STATUS_OK, "%s", err.text);
    }
    const bool good = w->reader && uniprot_reader_next(w->reader, &record, &err) == STATUS_OK &&
                      record.size > 0 &&
                      uniprot_parse(&record, &w->entry, &w->tally, &err) == STATUS_OK;
    EXPECT(good, "%s: %s", path, err.text);
    return good;
}

static const char *folder_of(const char *group) {
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        if (strcmp(folders[i].name, group) == 0)
            return folders[i].folder;
    return "";
}

int main(int count, char **arguments) {
    const bool print = count > 1 && strcmp(arguments[1], "--print") == 0;
    FILE *golden = fopen("tests/unit/uniprot_golden.tsv", "r");
    EXPECT(golden != NULL, "uniprot_golden.tsv is missing");
    walk w = {0};
    int rows = 0;
    char *line = NULL, *column[9 + GROUPS];
    size_t size = 0;
    while (golden && getline(&line, &size, golden) > 0) {
        line[strcspn(line, "\n")] = '\0';
        int columns = 0;
        char *save = NULL;
        for (char *c = strtok_r(line, "\t", &save); c && columns < 9 + GROUPS;
             c = strtok_r(NULL, "\t", &save))
            column[columns++] = c;
        if (line[0] == '#' || columns != 9 + GROUPS || access(folder_of(column[0]), R_OK) != 0)
            continue;
        char path[512];
        snprintf(path, sizeof path, "%s/%s", folder_of(column[0]), column[1]);
        if (!next_entry(&w, path))
            continue;
        rows++;
        expect_row(column, &w.entry);
        canon c;
        canon_write(&c, &w.entry);
        for (int g = 0; g < GROUPS && print; g++)
            fputs(c.text[g], stdout);
        canon_free(&c);
    }
    free(line);
    if (golden)
        fclose(golden);
    EXPECT(w.tally.unknown_lines + w.tally.bad_features + w.tally.unchecked_crc +
                   w.tally.unknown_features ==
               0,
           "real records have lines or features that were not understood");
    uniprot_reader_close(w.reader);
    uniprot_entry_destroy(&w.entry);
    if (rows == 0 && test_failures == 0)
        TEST_SKIP("none of the folders with real UniProt records is installed");
    return test_end();
}
