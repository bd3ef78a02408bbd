// TEST timeout=120
/* Real records with bytes changed, cut short or with pieces taken out never crash the parser, and
 * what it then accepts still holds its promises (most telling under MODE=asan). */
#include "io/inflate.h"
#include "io/uniprot.h"
#include "src/base/rng.h"
#include "tests/test.h"

#include <unistd.h>

enum { MUTANTS = 2000, RECORDS = 64 };
static const char *const sources[] = {
    "/usr/share/EMBOSS/test/swiss/seq.dat", "../shared/data/uniprot/P0DTC1.dat",
    "../shared/data/uniprot/Q96SD1.dat", "../shared/data/uniprot/P87498.dat",
    "/usr/share/doc/python-biopython-doc/Tests/SwissProt/sp016.gz"};

static char *records[RECORDS];
static size_t sizes[RECORDS];
static int record_count;

static void load(const char *path) {
    error err = {0};
    uniprot_reader *reader = NULL;
    uniprot_record r = {0};
    if (access(path, R_OK) != 0)
        return;
    EXPECT(uniprot_reader_open(&reader, path, 0, -1, &err) == STATUS_OK, "%s", err.text);
    for (int i = 0; i < 40 && record_count < RECORDS; i++) {
        if (uniprot_reader_next(reader, &r, &err) != STATUS_OK || r.size == 0)
            break;
        records[record_count] = malloc(r.size);
        memcpy(records[record_count], r.text, r.size);
        sizes[record_count++] = r.size;
    }
    uniprot_reader_close(reader);
}

/* Every text is there and every position inside the sequence. */
static void expect_promises(const uniprot_entry *e) {
    EXPECT(e->accession_count > 0 && e->length == (int64_t)strlen(e->sequence));
    size_t bytes = strlen(e->name) + strlen(e->organism) + strlen(e->entry_name);
    for (int64_t i = 0; i < e->comment_count; i++) {
        const uniprot_comment *c = e->comments + i;
        char *prose = malloc(strlen(c->text) + 2);
        const char *note = uniprot_comment_prose(c, prose);
        bytes += strlen(prose) + strlen(note) + strlen(c->topic) + strlen(c->molecule);
        free(prose);
        for (int64_t k = 0; k < c->span_count; k++)
            EXPECT(c->spans[k].end >= 0 && c->spans[k].end <= (int64_t)strlen(c->text));
    }
    for (int64_t i = 0; i < e->feature_count; i++) {
        const uniprot_feature *f = e->features + i;
        bytes += strlen(f->note) + strlen(f->id) + strlen(f->ligand) + strlen(f->key);
        EXPECT(f->sequence[0] ||
               (f->begin >= -1 && f->begin <= e->length && f->end >= -1 && f->end <= e->length));
    }
    for (int64_t i = 0; i < e->name_count; i++)
        bytes += strlen(e->names[i].text);
    for (int64_t i = 0; i < e->xref_count; i++)
        bytes += strlen(e->xrefs[i].id) + strlen(e->xrefs[i].fields);
    for (int64_t i = 0; i < e->keyword_count; i++)
        bytes += strlen(e->keywords[i]);
    for (int64_t i = 0; i < e->gene_count; i++)
        bytes += strlen(e->genes[i]);
    EXPECT(bytes > 0);
}

/* Copies record `which` into `out` and damages it; returns the size. */
static size_t mutate(rng_key key, uint64_t i, char *out) {
    static const char likely[] = "\n{}()[]\":;=-/.<>?* \r\0AZ09";
    const uint64_t which = rng_below(key, i, 0, (uint64_t)record_count);
    size_t size = sizes[which];
    memcpy(out, records[which], size);
    const uint64_t changes = 1 + rng_below(key, i, 1, 12);
    for (uint64_t c = 0; c < changes; c++) {
        const size_t at = rng_below(key, i, 8 * c + 2, size);
        switch (rng_below(key, i, 8 * c + 3, 4)) {
        case 0:
            out[at] = (char)rng_below(key, i, 8 * c + 4, 128);
            break;
        case 1: { /* a piece is lost */
            const size_t lost = rng_below(key, i, 8 * c + 4, 200);
            if (at + lost < size) {
                memmove(out + at, out + at + lost, size - at - lost);
                size -= lost;
            }
            break;
        }
        default:
            out[at] = likely[rng_below(key, i, 8 * c + 4, sizeof likely - 1)];
        }
    }
    if (rng_below(key, i, 1000, 8) == 0)
        size = rng_below(key, i, 1001, size);
    return size;
}

int main(void) {
    for (size_t i = 0; i < sizeof sources / sizeof *sources; i++)
        load(sources[i]);
    if (record_count == 0)
        TEST_SKIP("none of the files with real UniProt records is installed");
    const rng_key key = rng_key_make(1, "uniprot mutations");
    uniprot_entry entry = {0};
    uniprot_tally tally = {0};
    int64_t accepted = 0;
    for (uint64_t i = 0; i < MUTANTS; i++) {
        char *all = malloc(1 << 17);
        const size_t size = mutate(key, i, all);
        char *exact = malloc(size + (size == 0)); /* so that one byte too far is seen */
        memcpy(exact, all, size);
        free(all);
        const uniprot_record record = {exact, size, "mutant.dat", 0, 1};
        error err = {0};
        if (uniprot_parse(&record, &entry, &tally, &err) == STATUS_OK) {
            accepted++;
            expect_promises(&entry);
        } else {
            EXPECT(err.code == STATUS_INPUT && strstr(err.text, "mutant.dat:"), "%s", err.text);
        }
        free(exact);
    }
    EXPECT(accepted > MUTANTS / 20 && accepted < MUTANTS, "%lld", (long long)accepted);
    uniprot_entry_destroy(&entry);
    for (int i = 0; i < record_count; i++)
        free(records[i]);
    return test_end();
}
