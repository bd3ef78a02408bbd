/* CRC32C (Castagnoli; RFC 3720): the checksum of checkpoints.
 *
 * Before its first and last inversion a CRC is linear: the raw value of a whole is the XOR of the
 * raw values of its parts, each shifted by the bytes that follow it. So ranks that write parts of
 * one slab get its checksum by an XOR reduction, whoever wrote what.
 */
#ifndef SEPIT_IO_CRC32C_H
#define SEPIT_IO_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* The checksum of `bytes` bytes: "123456789" gives e3069283. */
uint32_t crc32c(const void *data, size_t bytes);

/* Raw value of the data behind a prefix whose raw value is `raw` (0: no prefix). */
uint32_t crc32c_raw(uint32_t raw, const void *data, size_t bytes);

/* Raw value of the same data with `bytes` zero bytes behind it. */
uint32_t crc32c_shift(uint32_t raw, int64_t bytes);

/* The checksum of `bytes` bytes whose raw value is `raw`. */
uint32_t crc32c_finish(uint32_t raw, int64_t bytes);

#endif
