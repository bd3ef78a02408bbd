/* HDF5, the small part of it that is used here: contiguous arrays with fixed names.
 *
 * HDF5 lays out the file and keeps it readable for everyone; the data themselves are written and
 * read by pwrite and pread at the address HDF5 gives an array. So one rank alone handles the
 * HDF5 file, no call here is collective, and a disk that says no can never leave ranks waiting in
 * one. Reading trusts nothing: only names asked for are opened; class, size, rank, layout and
 * bounds are checked; variable-length, compound, external, virtual and filtered arrays, and links
 * that may lead out of the file, are refused before a byte of them is touched.
 * Read next: io/dataset_write.c.
 */
#ifndef SEPIT_IO_H5_H
#define SEPIT_IO_H5_H

#include "src/base/error.h"

#include <stddef.h>
#include <stdint.h>

#include <hdf5.h>

enum { H5_NAME_SIZE = 64, H5_TEXT_LIMIT = 1 << 24 /* bytes of a text attribute */ };

typedef enum h5_kind {
    KIND_U8,
    KIND_I32,
    KIND_I64,
    KIND_U64,
    KIND_F32,
    KIND_TEXT16, /* NUL-padded bytes */
    KIND_TEXT64
} h5_kind;

/* An array of the file: little-endian, `rows` items of `columns` values (1: a plain list). */
typedef struct h5_array {
    char name[H5_NAME_SIZE]; /* "/protein/offset" */
    h5_kind kind;
    int64_t rows, columns;
    int64_t address; /* byte of the file at which it begins; 0 while it has no bytes */
} h5_array;

size_t h5_kind_size(h5_kind kind);
/* rows · columns · size of a value. */
int64_t h5_array_bytes(const h5_array *array);

/* Opens for reading; creates, replacing, with checksummed metadata (format V110). HDF5's own error
 * printing is off from the first call on. STATUS_INPUT when it is missing or not HDF5. Local. */
status h5_open(hid_t *file, const char *path, error *err);
status h5_create(hid_t *file, const char *path, error *err);
status h5_close(hid_t file, const char *path, error *err);

enum { H5_MEMORY_PATH = 64 };
/* Creates a file in memory, already without a name; *fd reads what HDF5 has written once the file
 * is closed, and is the caller's to close, also after a failure (−1: there is none). So no full
 * disk can fail HDF5, which crashes in MPI_Finalize after a write that failed. `path` names it in
 * messages. Local. */
status h5_create_in_memory(hid_t *file, int *fd, char path[H5_MEMORY_PATH], error *err);

/* Makes the group. / Makes the array described, without writing to it, and fills in its address
 * (valid once the file is closed). Local. */
status h5_make_group(hid_t file, const char *path, const char *name, error *err);
status h5_make_array(hid_t file, const char *path, h5_array *array, error *err);

/* Finds the array by name (in the root or in a group of it), checks that it has the kind and number
 * of columns given, is contiguous and lies inside the file's `size` bytes, and fills in rows and
 * address. Local. */
status h5_find_array(hid_t file, const char *path, int64_t size, h5_array *array, error *err);

/* Text and integer attributes of the file's root. The caller frees *text. Local. */
status h5_write_text(hid_t file, const char *path, const char *name, const char *text, error *err);
status h5_write_integer(hid_t file, const char *path, const char *name, int64_t value, error *err);
status h5_read_text(hid_t file, const char *path, const char *name, char **text, error *err);
status h5_read_integer(hid_t file, const char *path, const char *name, int64_t *value, error *err);

#endif
