/* Cutting a flat file into records, whole or by a range of bytes.
 *
 * Where records start is a property of the file alone (see is_start), so ranges agree on it without
 * talking: a range that begins inside the file looks back a few bytes, far enough to see whether a
 * `//` line ends right before it, and then walks to the first start.
 */
#include "io/inflate.h"
#include "io/uniprot.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_CAPACITY = 1 << 20, LOOK_BACK = 6 }; /* LOOK_BACK: "\n//\r\n" and one more */
static const size_t LARGEST_RECORD = (size_t)256 << 20;

struct uniprot_reader {
    text_reader *source;
    char *path;
    char *buffer; /* [capacity]; text from `start` to `fill` is read and not yet handed out */
    size_t capacity, start, fill;
    bool source_ended;
    int64_t offset;       /* of buffer[start] in the text */
    int64_t end;          /* records start before this byte; −1 no limit */
    int64_t first_offset; /* where lines began to be counted */
    int64_t lines_before; /* lines before first_offset; −1 not counted yet */
    int64_t lines;        /* lines between first_offset and `offset` */
};

/* One line in the buffer. */
typedef struct line {
    const char *text;
    size_t size; /* with its end of line */
} line;

static bool is_blank(line l) {
    return l.text[0] == '\n' || (l.size == 2 && l.text[0] == '\r');
}

static bool is_terminator(line l) {
    return l.size >= 2 && memcmp(l.text, "//", 2) == 0 &&
           (l.size == 2 || l.text[2] == '\n' || (l.size <= 4 && l.text[2] == '\r'));
}

static bool is_id(line l) {
    return l.size >= 5 && memcmp(l.text, "ID   ", 5) == 0;
}

/* Reads on behind `fill`, after moving what is left to the front, and growing when that is full. */
static status read_more(uniprot_reader *r, error *err) {
    if (r->start > 0) {
        memmove(r->buffer, r->buffer + r->start, r->fill - r->start);
        r->fill -= r->start;
        r->start = 0;
    }
    if (r->fill == r->capacity) {
        if (r->capacity >= LARGEST_RECORD)
            return error_set(err, STATUS_INPUT,
                             "%s: the record at byte %lld has no // within 256 MiB: this does not "
                             "look like a UniProt flat file.",
                             r->path, (long long)r->offset);
        char *larger = realloc(r->buffer, 2 * r->capacity);
        if (!larger)
            return error_set(err, STATUS_FAILED, "%s: no memory for a record of %zu bytes.",
                             r->path, 2 * r->capacity);
        r->buffer = larger;
        r->capacity *= 2;
    }
    size_t got = 0;
    TRY(text_reader_read(r->source, r->buffer + r->fill, r->capacity - r->fill, &got, err));
    r->source_ended = got < r->capacity - r->fill;
    r->fill += got;
    return STATUS_OK;
}

/* The line `skip` bytes behind `start`; size 0 at the end of the text. */
static status line_at(uniprot_reader *r, size_t skip, line *found, error *err) {
    size_t seen = 0; /* bytes of the line that hold no newline */
    for (;;) {
        const char *text = r->buffer + r->start + skip;
        const size_t left = r->fill - r->start - skip;
        const char *newline = left > seen ? memchr(text + seen, '\n', left - seen) : NULL;
        if (newline || r->source_ended) {
            *found = (line){text, newline ? (size_t)(newline - text) + 1 : left};
            return STATUS_OK;
        }
        seen = left;
        TRY(read_more(r, err));
    }
}

static void consume(uniprot_reader *r, size_t size, int64_t lines) {
    r->start += size;
    r->offset += (int64_t)size;
    r->lines += lines;
}

/* The first line that is not blank becomes the one at `start`; size 0 at the end of the text. */
static status skip_blank_lines(uniprot_reader *r, line *found, error *err) {
    for (;;) {
        TRY(line_at(r, 0, found, err));
        if (found->size == 0 || !is_blank(*found))
            return STATUS_OK;
        consume(r, found->size, 1);
    }
}

/* Goes to the first record that starts at `begin` > 0 or later. */
static status skip_to_first(uniprot_reader *r, int64_t begin, error *err) {
    const int64_t from = begin > LOOK_BACK ? begin - LOOK_BACK : 0;
    TRY(text_reader_seek(r->source, from, err));
    r->offset = from;
    bool at_start = from == 0; /* may a record start at this line, whatever it says? */
    line l;
    if (from > 0) { /* inside a line, which is no `//` if it reaches as far as `begin` */
        TRY(line_at(r, 0, &l, err));
        consume(r, l.size, 1);
    }
    for (;;) {
        TRY(line_at(r, 0, &l, err));
        if (l.size == 0 || (r->offset >= begin && (is_id(l) || (at_start && !is_blank(l)))))
            break;
        at_start = is_terminator(l) || is_blank(l);
        consume(r, l.size, 1);
    }
    r->first_offset = r->offset;
    r->lines = 0;
    r->lines_before = -1;
    return STATUS_OK;
}

/* The file must begin as a flat file does: anything else is the wrong file, not a bad record. */
static status check_head(uniprot_reader *r, error *err) {
    line l;
    TRY(skip_blank_lines(r, &l, err));
    if (l.size == 0)
        return error_set(err, STATUS_INPUT, "%s: the file is empty; expected UniProt records.",
                         r->path);
    if (is_id(l))
        return STATUS_OK;
    char shown[33] = {0};
    for (size_t i = 0; i < l.size && i + 1 < sizeof shown; i++)
        shown[i] = l.text[i] >= ' ' && l.text[i] < 127 ? l.text[i] : '?';
    return error_set(err, STATUS_INPUT,
                     "%s:%lld: a UniProt flat file begins with a line \"ID   …\", this one with "
                     "\"%s\". Is it another format?",
                     r->path, (long long)r->lines + 1, shown);
}

static status begin_reading(uniprot_reader *r, const char *path, int64_t begin, error *err) {
    r->path = strdup(path);
    r->buffer = malloc(FIRST_CAPACITY);
    r->capacity = FIRST_CAPACITY;
    if (!r->path || !r->buffer)
        return error_set(err, STATUS_FAILED, "%s: no memory to read it.", path);
    TRY(text_reader_open(&r->source, path, err));
    if (text_reader_is_compressed(r->source) && (begin != 0 || r->end != -1))
        return error_set(err, STATUS_INPUT,
                         "%s: a compressed file can be read by one rank only, from its beginning.",
                         path);
    if (text_reader_file_size(r->source) == 0 || begin == 0)
        return check_head(r, err);
    return skip_to_first(r, begin, err);
}

status uniprot_reader_open(uniprot_reader **opened, const char *path, int64_t begin, int64_t end,
                           error *err) {
    CHECK(begin >= 0 && end >= -1, "records in bytes [%lld, %lld)", (long long)begin,
          (long long)end);
    *opened = NULL;
    uniprot_reader *r = calloc(1, sizeof *r);
    if (!r)
        return error_set(err, STATUS_FAILED, "%s: no memory to read it.", path);
    r->end = end;
    const status code = begin_reading(r, path, begin, err);
    if (code != STATUS_OK) {
        uniprot_reader_close(r);
        return code;
    }
    *opened = r;
    return STATUS_OK;
}

void uniprot_reader_close(uniprot_reader *r) {
    if (!r)
        return;
    text_reader_close(r->source);
    free(r->buffer);
    free(r->path);
    free(r);
}

static int64_t line_number(const uniprot_reader *r, int64_t lines) {
    return r->lines_before < 0 ? 0 : r->lines_before + lines + 1;
}

/* Size of the record at `start`, and its number of lines. */
static status measure_record(uniprot_reader *r, size_t *size, int64_t *lines, error *err) {
    *size = 0;
    *lines = 0;
    for (;;) {
        line l;
        TRY(line_at(r, *size, &l, err));
        if (l.size == 0 || (*lines > 0 && (is_blank(l) || is_id(l))))
            return STATUS_OK;
        *size += l.size;
        ++*lines;
        if (is_terminator(l))
            return STATUS_OK;
    }
}

status uniprot_reader_next(uniprot_reader *r, uniprot_record *record, error *err) {
    *record = (uniprot_record){.file = r->path};
    line l;
    TRY(skip_blank_lines(r, &l, err));
    if (l.size == 0 || (r->end >= 0 && r->offset >= r->end))
        return STATUS_OK;
    size_t size;
    int64_t lines;
    TRY(measure_record(r, &size, &lines, err));
    *record =
        (uniprot_record){r->buffer + r->start, size, r->path, r->offset, line_number(r, r->lines)};
    consume(r, size, lines);
    return STATUS_OK;
}

/* Newlines in the first `bytes` of the file. */
static status count_lines(const char *path, int64_t bytes, int64_t *lines, error *err) {
    enum { BLOCK = 1 << 16 };
    char *block = malloc(BLOCK);
    text_reader *source = NULL;
    status code = block ? text_reader_open(&source, path, err)
                        : error_set(err, STATUS_FAILED, "%s: no memory to read it.", path);
    *lines = 0;
    while (code == STATUS_OK && bytes > 0) {
        size_t got = 0;
        code = text_reader_read(source, block, bytes < BLOCK ? (size_t)bytes : BLOCK, &got, err);
        if (code != STATUS_OK || got == 0)
            break;
        for (size_t i = 0; i < got; i++)
            *lines += block[i] == '\n';
        bytes -= (int64_t)got;
    }
    text_reader_close(source);
    free(block);
    return code;
}

status uniprot_reader_locate(uniprot_reader *r, uniprot_record *record, error *err) {
    if (record->line > 0 || record->size == 0)
        return STATUS_OK;
    if (r->lines_before < 0)
        TRY(count_lines(r->path, r->first_offset, &r->lines_before, err));
    int64_t after = 0; /* the record's own lines are already counted in r->lines */
    for (size_t i = 0; i < record->size; i++)
        after += record->text[i] == '\n' || i + 1 == record->size;
    record->line = line_number(r, r->lines - after);
    return STATUS_OK;
}
