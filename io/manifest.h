/* The manifest of a checkpoint: a small JSON text that says what is in the file, where, and how to
 * tell that it is whole.
 *
 *     {"format":"sepit-checkpoint","version":1,
 *     "step":120,"file_bytes":8390656,"slab_bytes":4194304,
 *     "tensors":[
 *     {"name":"/model/a","dtype":"f32","shape":[64,512],"offset":4096,"crc32c":"0a1b2c3d"}
 *     ],
 *     "slabs":[
 *     "0a1b2c3d","4e5f6071"
 *     ],
 *     "crc32c":"8293a4b5"}
 *
 * `slabs` are the checksums of the file's bytes, slab by slab; the last line is the checksum of the
 * text above it. Only this very layout is read: the reader asks for each word in its place, so
 * that nothing can be missing, twice, or left over, and integers are whole 64-bit numbers.
 */
#ifndef SEPIT_IO_MANIFEST_H
#define SEPIT_IO_MANIFEST_H

#include "io/checkpoint.h"

#include <stdbool.h>
#include <stddef.h>

enum { MANIFEST_SLAB = 4 << 20 };

typedef struct manifest {
    int64_t step;
    int64_t bytes; /* of the file */
    int64_t tensors;
    checkpoint_tensor *tensor; /* [tensors]; their names are owned by the manifest */
    int64_t *offset;           /* [tensors] byte in the file */
    uint32_t *digest;          /* [tensors] CRC32C of the tensor's bytes */
    int64_t *by_name; /* [tensors] numbers sorted by name; only in a manifest that was read */
    int64_t slabs;    /* ceil(bytes / MANIFEST_SLAB) */
    uint32_t *slab;   /* [slabs] */
} manifest;

/* The manifest as text; the caller frees it. NULL when memory is short. */
char *manifest_format(const manifest *m, size_t *length);

/* Reads `length` bytes of text. Checks its checksum, every word, the names (valid, no duplicate)
 * and that every tensor lies inside the file. STATUS_INPUT names what is wrong; then nothing is
 * owned. Otherwise manifest_destroy frees. */
status manifest_parse(manifest *m, const char *text, size_t length, error *err);
void manifest_destroy(manifest *m);

/* Number of the tensor of this name, or -1. */
int64_t manifest_find(const manifest *m, const char *name);

/* Bytes of an element; elements of a shape, or -1 when it is negative or too large for int64. */
int64_t manifest_element_bytes(checkpoint_type type);
int64_t manifest_elements(const checkpoint_tensor *tensor);

/* Is this a name that HDF5 and the manifest hold without escapes? */
bool manifest_name_is_valid(const char *name);

/* Bytes of slab i of a file of `bytes` bytes. */
int64_t manifest_slab_bytes(int64_t bytes, int64_t i);

#endif
