// TEST timeout=60
/* Byte ranges that cover a file give every record once, wherever they are cut; damaged files give
 * the same records as whole ones read at once; what is no flat file is refused. */
#include "io/uniprot.h"
#include "tests/test.h"

#include <unistd.h>
#include <zlib.h>

static char folder[] = "/tmp/sepit-uniprot-XXXXXX";
static char path[64];

static void write_file(const char *text, size_t size) {
    FILE *file = fopen(path, "wb");
    EXPECT(file && fwrite(text, 1, size, file) == size);
    if (file)
        fclose(file);
}

/* Appends "offset+size:line text-length;" of each record of a range to `seen`. */
static size_t collect(int64_t begin, int64_t end, bool lines, char *seen, size_t used,
                      size_t capacity) {
    error err = {0};
    uniprot_reader *reader = NULL;
    EXPECT(uniprot_reader_open(&reader, path, begin, end, &err) == STATUS_OK, "%s", err.text);
    uniprot_record record = {0};
    while (reader && uniprot_reader_next(reader, &record, &err) == STATUS_OK && record.size > 0) {
        if (lines)
            EXPECT(uniprot_reader_locate(reader, &record, &err) == STATUS_OK, "%s", err.text);
        used += (size_t)snprintf(seen + used, capacity - used, "%lld+%zu:%lld;",
                                 (long long)record.offset, record.size,
                                 lines ? (long long)record.line : 0LL);
    }
    uniprot_reader_close(reader);
    return used;
}

/* Two records, three blank lines, garbage, one without `//`, one with CRLF, an empty `//`, one cut
 * short at the end: eight starts, told by hand. */
static const char nasty[] = "ID   A\nAC   A1;\n//\n"       /* 0: 19 bytes, line 1 */
                            "ID   B\n// no end\n//\n"      /* 19: 20, line 4 */
                            "\n\n\r\n"                     /* 39 */
                            "garbage\nmore\n//\n"          /* 43: 16, line 10 */
                            "ID   C\nAC   C1;\n"           /* 59: 16, line 13 */
                            "ID   D\r\nAC   D1;\r\n//\r\n" /* 75: 22, line 15 */
                            "//\n"                         /* 97: 3, line 18 */
                            "no id\n\n"                    /* 100: 6, line 19 */
                            "ID   E\nAC   E1;";            /* 107: 15, line 21 */
static const char nasty_records[] = "0+19:1;19+20:4;43+16:10;59+16:13;75+22:15;97+3:18;100+6:19;"
                                    "107+15:21;";

static void test_nasty(void) {
    static char seen[4096];
    const int64_t size = sizeof nasty - 1;
    write_file(nasty, (size_t)size);
    collect(0, -1, true, seen, 0, sizeof seen);
    EXPECT_TEXT(seen, nasty_records);
    for (int64_t cut = 0; cut <= size; cut++) {
        const size_t used = collect(0, cut, true, seen, 0, sizeof seen);
        collect(cut, -1, true, seen, used, sizeof seen);
        EXPECT(strcmp(seen, nasty_records) == 0, "cut at %lld: %s", (long long)cut, seen);
    }
    size_t used = 0;
    for (int64_t at = 0; at < size; at++)
        used = collect(at, at + 1, true, seen, used, sizeof seen);
    EXPECT_TEXT(seen, nasty_records);
}

/* Records of very different sizes, over several refills of the reader's buffer. */
static void test_large(void) {
    enum { RECORDS = 300, CAPACITY = 8 << 20 };
    char *text = malloc(CAPACITY), *whole = malloc(1 << 16), *parts = malloc(1 << 16);
    size_t size = 0;
    for (int i = 0; i < RECORDS; i++) {
        size += (size_t)sprintf(text + size, "ID   R%d\n", i);
        for (int line = 0; line < (i * 7919) % 997 + (i == 150 ? 40000 : 0); line++)
            size += (size_t)sprintf(text + size, "CC       line %d of it\n", line);
        size += (size_t)sprintf(text + size, "//\n");
    }
    write_file(text, size);
    collect(0, -1, false, whole, 0, 1 << 16);
    int64_t records = 0;
    for (const char *c = whole; *c; c++)
        records += *c == ';';
    EXPECT(records == RECORDS, "%lld", (long long)records);
    for (int ranks = 2; ranks <= 64; ranks *= 2) {
        size_t used = 0;
        for (int r = 0; r < ranks; r++)
            used = collect((int64_t)size * r / ranks, (int64_t)size * (r + 1) / ranks, false, parts,
                           used, 1 << 16);
        EXPECT(strcmp(parts, whole) == 0, "%d ranges", ranks);
    }
    gzFile gz = gzopen(path, "wb");
    EXPECT(gzwrite(gz, text, (unsigned)size) == (int)size && gzclose(gz) == Z_OK);
    collect(0, -1, false, parts, 0, 1 << 16);
    EXPECT(strcmp(parts, whole) == 0, "compressed");
    free(text);
    free(whole);
    free(parts);
}

static void expect_refused(const char *text, size_t size, int64_t begin, const char *words) {
    error err = {0};
    uniprot_reader *reader = NULL;
    write_file(text, size);
    EXPECT(uniprot_reader_open(&reader, path, begin, -1, &err) == STATUS_INPUT);
    EXPECT(strstr(err.text, path) && strstr(err.text, words), "%s", err.text);
    EXPECT(reader == NULL);
}

static void test_refusals(void) {
    expect_refused("", 0, 0, "empty");
    expect_refused("", 0, 7, "empty");
    expect_refused("\n\n", 2, 0, "empty");
    expect_refused("\n>sp|P12345|\nMKV\n", 18, 0, ":2: a UniProt flat file begins with");
    expect_refused("\x1f\x8b\x08\0\0\0\0\0", 8, 5, "one rank only");
    error err = {0};
    uniprot_reader *reader = NULL;
    unlink(path);
    EXPECT(uniprot_reader_open(&reader, path, 0, -1, &err) == STATUS_INPUT);
    EXPECT(strstr(err.text, "cannot open"), "%s", err.text);
}

int main(void) {
    EXPECT(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/x.dat", folder);
    test_nasty();
    test_large();
    test_refusals();
    rmdir(folder);
    return test_end();
}
