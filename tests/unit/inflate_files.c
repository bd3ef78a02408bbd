// TEST timeout=60
/* Plain and gzip files read alike, in pieces of any size; every truncation and every flipped bit
 * that changes the text of a gzip file is an error that names it. The gzip files are made by zlib's
 * own writer. */
#include "io/inflate.h"
#include "tests/test.h"

#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

enum { SIZE = 300000, PART = 3000 };
static char folder[] = "/tmp/sepit-inflate-XXXXXX";
static char path[64], text[SIZE];

static void write_bytes(const void *bytes, size_t size) {
    FILE *file = fopen(path, "wb");
    EXPECT(file && fwrite(bytes, 1, size, file) == size);
    if (file)
        fclose(file);
}

static void write_gzip(const char *mode, const char *bytes, unsigned size) {
    gzFile file = gzopen(path, mode);
    EXPECT(gzwrite(file, bytes, size) == (int)size && gzclose(file) == Z_OK);
}

static void expect_text(const char *what, size_t size) {
    error err = {0};
    char *got = NULL;
    size_t got_size = 0;
    EXPECT(inflate_file(path, &got, &got_size, &err) == STATUS_OK, "%s: %s", what, err.text);
    EXPECT(got && got_size == size && memcmp(got, text, size) == 0 && got[size] == '\0', "%s",
           what);
    free(got);
}

/* Refused with these words; `or_same`: or the change has no effect on the text (a match that is
 * copied from another place where the same letters stand). */
static void expect_damage(const void *bytes, size_t size, const char *words, bool or_same,
                          long long where) {
    error err = {0};
    char *got = NULL;
    size_t got_size = 0;
    write_bytes(bytes, size);
    const status code = inflate_file(path, &got, &got_size, &err);
    const bool same = code == STATUS_OK && got_size == PART && memcmp(got, text, PART) == 0;
    EXPECT(code == STATUS_INPUT || (or_same && same), "damage at byte %lld is not seen", where);
    EXPECT(same || (got == NULL && strstr(err.text, "/x: damaged gzip") && strstr(err.text, words)),
           "%s", err.text);
    free(got);
}

static void test_whole(void) {
    write_bytes(text, SIZE);
    expect_text("plain", SIZE);
    write_bytes(text, 0);
    expect_text("empty", 0);
    write_bytes(text, 1);
    expect_text("one byte", 1);
    write_gzip("wb", text, SIZE);
    expect_text("gzip", SIZE);
    write_gzip("wb", text, 0);
    expect_text("empty gzip", 0);
    write_gzip("wb", text, 1000);
    write_gzip("ab", text + 1000, 0);
    write_gzip("ab", text + 1000, SIZE - 1000);
    expect_text("three members", SIZE);
    FILE *file = fopen(path, "ab");
    for (int i = 0; i < 700; i++)
        fputc(0, file);
    fclose(file);
    expect_text("padded with zeros", SIZE);
}

static void test_pieces(void) {
    static const size_t pieces[] = {1, 7, 4096, SIZE - 1, SIZE, SIZE + 1};
    static char got[SIZE + 1];
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        error err = {0};
        text_reader *r = NULL;
        EXPECT(text_reader_open(&r, path, &err) == STATUS_OK, "%s", err.text);
        EXPECT(text_reader_is_compressed(r));
        size_t used = 0, more = 1;
        while (more > 0 && used < sizeof got) {
            const size_t room = sizeof got - used;
            const size_t want = pieces[i] < room ? pieces[i] : room;
            EXPECT(text_reader_read(r, got + used, want, &more, &err) == STATUS_OK, "%s", err.text);
            used += more;
        }
        EXPECT(used == SIZE && memcmp(got, text, SIZE) == 0, "pieces of %zu", pieces[i]);
        text_reader_close(r);
    }
}

static void test_seek(void) {
    error err = {0};
    text_reader *r = NULL;
    char got[100];
    size_t size = 0;
    write_bytes(text, SIZE);
    EXPECT(text_reader_open(&r, path, &err) == STATUS_OK && text_reader_file_size(r) == SIZE);
    EXPECT(text_reader_seek(r, SIZE - 40, &err) == STATUS_OK);
    EXPECT(text_reader_read(r, got, 100, &size, &err) == STATUS_OK && size == 40);
    EXPECT(memcmp(got, text + SIZE - 40, 40) == 0);
    EXPECT(text_reader_seek(r, 5, &err) == STATUS_OK);
    EXPECT(text_reader_read(r, got, 100, &size, &err) == STATUS_OK && size == 100);
    EXPECT(memcmp(got, text + 5, 100) == 0);
    text_reader_close(r);
}

static void test_damage(void) {
    write_gzip("wb", text, PART);
    FILE *file = fopen(path, "rb");
    static uint8_t bytes[8192];
    const size_t size = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    EXPECT(size > 100 && size < sizeof bytes);
    for (size_t cut = 2; cut < size; cut++)
        expect_damage(bytes, cut, "ends before", false, (long long)cut);
    for (size_t at = 10; at < size; at++) { /* behind the header, whose time and system are free */
        bytes[at] ^= 0x10;
        expect_damage(bytes, size, "", true, (long long)at);
        bytes[at] ^= 0x10;
    }
    bytes[size] = 'x';
    expect_damage(bytes, size + 1, "other bytes follow", false, (long long)size);
    error err = {0};
    char *got = NULL;
    size_t got_size = 0;
    EXPECT(inflate_file("/no/such/file", &got, &got_size, &err) == STATUS_INPUT && !got);
    EXPECT(strstr(err.text, "/no/such/file: cannot open"), "%s", err.text);
    EXPECT(inflate_file(folder, &got, &got_size, &err) == STATUS_INPUT && !got);
    EXPECT(strstr(err.text, "found a folder"), "%s", err.text);
    /* A pipe that nobody writes to: opening it must not wait for a writer. */
    EXPECT(unlink(path) == 0 && mkfifo(path, 0600) == 0);
    EXPECT(inflate_file(path, &got, &got_size, &err) == STATUS_INPUT && !got);
    EXPECT(strstr(err.text, "no regular file"), "%s", err.text);
}

int main(void) {
    EXPECT(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/x", folder);
    for (int i = 0; i < SIZE; i++)
        text[i] = (char)('A' + (i * 7 + i / 11 * 3 + i / 1001) % 26);
    test_whole();
    test_pieces();
    test_seek();
    test_damage();
    unlink(path);
    rmdir(folder);
    return test_end();
}
