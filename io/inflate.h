/* Reading text files, plain or gzip alike: whole, or block by block in bounded memory.
 *
 * Whether a file is compressed is decided by its first two bytes, never by its name. A gzip file
 * may have several members. One that ends early, or whose checksum or length is wrong, is an error
 * that names it: what was read before that point must not be trusted to be whole.
 * Read next: io/uniprot.h.
 */
#ifndef SEPIT_IO_INFLATE_H
#define SEPIT_IO_INFLATE_H

#include "src/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct text_reader text_reader;

/* Local. STATUS_INPUT when the file cannot be opened or is no regular file. `path` is copied. */
status text_reader_open(text_reader **opened, const char *path, error *err);
void text_reader_close(text_reader *r);

bool text_reader_is_compressed(const text_reader *r);
/* Bytes on disk. */
int64_t text_reader_file_size(const text_reader *r);

/* The next read starts at byte `offset` ≥ 0 of the file. Not for a compressed file (a bug). */
status text_reader_seek(text_reader *r, int64_t offset, error *err);

/* Fills buffer [capacity] as far as the text goes; *got < capacity only at the end of the text,
 * where later calls give 0. Local. STATUS_INPUT for a damaged gzip file, STATUS_FAILED when the
 * system cannot read. */
status text_reader_read(text_reader *r, char *buffer, size_t capacity, size_t *got, error *err);

/* The whole text; one NUL stands behind it, not counted in *size. The caller frees *text, which is
 * NULL after a failure. Local. */
status inflate_file(const char *path, char **text, size_t *size, error *err);

#endif
