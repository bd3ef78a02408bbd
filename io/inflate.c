#include "io/inflate.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

enum { INPUT_SIZE = 1 << 18, WINDOW_BITS = 15, GZIP_ONLY = 16 };
static const size_t LARGEST_PIECE = (size_t)1 << 30; /* zlib and read() count in 32 bits */

struct text_reader {
    char *name;                    /* for messages */
    int fd;                        /* −1: not open */
    const uint8_t *input;          /* [input_left] not yet used, inside input_buffer */
    size_t input_left;             /* bytes */
    uint8_t *input_buffer;         /* [INPUT_SIZE] */
    int64_t file_size, input_read; /* bytes on disk, bytes taken from it */
    bool input_ended;
    bool compressed, in_member; /* in_member: a gzip member is begun and not ended */
    z_stream stream;
};

/* Makes sure that input_left > 0, or that input_ended is set. */
static status refill(text_reader *r, error *err) {
    if (r->input_left > 0 || r->input_ended)
        return STATUS_OK;
    ssize_t got;
    do
        got = read(r->fd, r->input_buffer, INPUT_SIZE);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return error_set(err, STATUS_FAILED, "%s: cannot read at byte %lld: %s.", r->name,
                         (long long)r->input_read, strerror(errno));
    r->input = r->input_buffer;
    r->input_left = (size_t)got;
    r->input_read += got;
    r->input_ended = got == 0;
    return STATUS_OK;
}

static bool has_gzip_magic(const uint8_t *bytes, size_t count) {
    return count >= 2 && bytes[0] == 0x1f && bytes[1] == 0x8b;
}

static status start_inflating(text_reader *r, error *err) {
    if (inflateInit2(&r->stream, WINDOW_BITS + GZIP_ONLY) != Z_OK)
        return error_set(err, STATUS_FAILED, "%s: zlib cannot start: %s.", r->name,
                         r->stream.msg ? r->stream.msg : "no memory");
    r->compressed = true;
    r->in_member = true;
    return STATUS_OK;
}

static status open_file(text_reader *r, const char *path, error *err) {
    r->name = strdup(path);
    r->input_buffer = malloc(INPUT_SIZE);
    if (!r->name || !r->input_buffer)
        return error_set(err, STATUS_FAILED, "%s: no memory to read it.", path);
    struct stat info;
    const bool there = stat(path, &info) == 0;
    /* Looked at before opening, which would wait at a pipe until somebody writes to it. */
    if (there && !S_ISREG(info.st_mode))
        return error_set(err, STATUS_INPUT, "%s: expected a file, found %s.", path,
                         S_ISDIR(info.st_mode) ? "a folder" : "something that is no regular file");
    r->fd = there ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (r->fd < 0)
        return error_set(err, STATUS_INPUT, "%s: cannot open: %s.", path, strerror(errno));
    r->file_size = info.st_size;
    posix_fadvise(r->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    TRY(refill(r, err));
    return has_gzip_magic(r->input, r->input_left) ? start_inflating(r, err) : STATUS_OK;
}

status text_reader_open(text_reader **opened, const char *path, error *err) {
    *opened = NULL;
    text_reader *r = calloc(1, sizeof *r);
    if (!r)
        return error_set(err, STATUS_FAILED, "%s: no memory to read it.", path);
    r->fd = -1;
    const status code = open_file(r, path, err);
    if (code != STATUS_OK) {
        text_reader_close(r);
        return code;
    }
    *opened = r;
    return STATUS_OK;
}

void text_reader_close(text_reader *r) {
    if (!r)
        return;
    if (r->compressed)
        inflateEnd(&r->stream);
    if (r->fd >= 0)
        close(r->fd);
    free(r->input_buffer);
    free(r->name);
    free(r);
}

bool text_reader_is_compressed(const text_reader *r) {
    return r->compressed;
}

int64_t text_reader_file_size(const text_reader *r) {
    return r->file_size;
}

status text_reader_seek(text_reader *r, int64_t offset, error *err) {
    CHECK(!r->compressed && offset >= 0, "%s cannot be read from byte %lld", r->name,
          (long long)offset);
    if (lseek(r->fd, offset, SEEK_SET) < 0)
        return error_set(err, STATUS_FAILED, "%s: cannot go to byte %lld: %s.", r->name,
                         (long long)offset, strerror(errno));
    r->input_left = 0;
    r->input_read = offset;
    r->input_ended = false;
    return STATUS_OK;
}

static status report_damage(const text_reader *r, const char *what, error *err) {
    return error_set(err, STATUS_INPUT,
                     "%s: damaged gzip file, near byte %lld of %lld: %s. Fetch or copy it again.",
                     r->name, (long long)(r->input_read - (int64_t)r->input_left),
                     (long long)r->file_size, what);
}

/* After a member: zeros may pad the file (tapes, block devices), and another member may follow. */
static status begin_next_member(text_reader *r, error *err) {
    for (;;) {
        TRY(refill(r, err));
        if (r->input_ended)
            return STATUS_OK;
        if (*r->input != 0)
            break;
        r->input++;
        r->input_left--;
    }
    if (*r->input != 0x1f)
        return report_damage(r, "the compressed data ends here, but other bytes follow", err);
    inflateReset(&r->stream);
    r->in_member = true;
    return STATUS_OK;
}

static status inflate_piece(text_reader *r, char *buffer, size_t capacity, size_t *got,
                            error *err) {
    TRY(refill(r, err));
    if (r->input_ended)
        return report_damage(r, "it ends before its compressed data does", err);
    z_stream *z = &r->stream;
    const size_t offered = r->input_left < LARGEST_PIECE ? r->input_left : LARGEST_PIECE;
    const size_t room = capacity < LARGEST_PIECE ? capacity : LARGEST_PIECE;
    z->next_in = (Bytef *)(uintptr_t)r->input; /* zlib's type lacks the const */
    z->avail_in = (uInt)offered;
    z->next_out = (Bytef *)buffer;
    z->avail_out = (uInt)room;
    const int code = inflate(z, Z_NO_FLUSH);
    r->input += offered - z->avail_in;
    r->input_left -= offered - z->avail_in;
    *got = room - z->avail_out;
    if (code == Z_STREAM_END) {
        r->in_member = false;
        return STATUS_OK;
    }
    if (code == Z_MEM_ERROR)
        return error_set(err, STATUS_FAILED, "%s: no memory to decompress it.", r->name);
    if (code != Z_OK && code != Z_BUF_ERROR)
        return report_damage(r, z->msg ? z->msg : "a preset dictionary is asked for", err);
    return STATUS_OK;
}

static status copy_piece(text_reader *r, char *buffer, size_t capacity, size_t *got, error *err) {
    TRY(refill(r, err));
    *got = r->input_left < capacity ? r->input_left : capacity;
    if (*got > 0)
        memcpy(buffer, r->input, *got);
    r->input += *got;
    r->input_left -= *got;
    return STATUS_OK;
}

status text_reader_read(text_reader *r, char *buffer, size_t capacity, size_t *got, error *err) {
    *got = 0;
    while (*got < capacity) {
        size_t piece = 0;
        if (r->compressed && !r->in_member)
            TRY(begin_next_member(r, err));
        if (r->compressed && r->in_member)
            TRY(inflate_piece(r, buffer + *got, capacity - *got, &piece, err));
        if (!r->compressed)
            TRY(copy_piece(r, buffer + *got, capacity - *got, &piece, err));
        *got += piece;
        if (r->input_ended && !r->in_member)
            break;
    }
    return STATUS_OK;
}

/* Reads all that is left. `expected`: a guess of its size. */
static status read_all(text_reader *r, size_t expected, char **text, size_t *size, error *err) {
    size_t capacity = expected + 1;
    char *buffer = malloc(capacity);
    size_t used = 0;
    while (buffer) {
        size_t got = 0;
        const status code = text_reader_read(r, buffer + used, capacity - used, &got, err);
        if (code != STATUS_OK) {
            free(buffer);
            return code;
        }
        used += got;
        if (used < capacity) {
            buffer[used] = '\0';
            *text = buffer;
            *size = used;
            return STATUS_OK;
        }
        char *larger = realloc(buffer, 2 * capacity);
        if (!larger)
            free(buffer);
        buffer = larger;
        capacity *= 2;
    }
    return error_set(err, STATUS_FAILED, "%s: no memory for a text of more than %zu bytes.",
                     r->name, used);
}

status inflate_file(const char *path, char **text, size_t *size, error *err) {
    *text = NULL;
    *size = 0;
    text_reader *r;
    TRY(text_reader_open(&r, path, err));
    const size_t bytes = (size_t)r->file_size;
    const status code = read_all(r, r->compressed ? 5 * bytes : bytes, text, size, err);
    text_reader_close(r);
    return code;
}
