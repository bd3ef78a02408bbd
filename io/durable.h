/* Writing that lasts: what every file that must not be lost or half-written goes through.
 *
 * The order that keeps a folder consistent: check the space, create NAME.partial, reserve its
 * blocks, write, sync, rename to NAME, sync the folder. Each function here is one of these steps,
 * local to the calling rank, with a sentence that names the path; the caller agrees across ranks.
 */
#ifndef SEPIT_IO_DURABLE_H
#define SEPIT_IO_DURABLE_H

#include "src/base/error.h"

#include <stdint.h>

/* From here on, writing beyond the process's file-size limit is a failed write, not a signal that
 * ends the job. Call it before the first write; calling it again is harmless. */
void durable_prepare(void);

/* Makes the folder and its missing parents; fine when it is there. */
status durable_make_folder(const char *folder, error *err);

/* STATUS_FAILED when fewer than `bytes` are free in the folder's file system, or the process may
 * not write a file of that size. */
status durable_check_space(const char *folder, int64_t bytes, error *err);

/* Opens for writing what exists (create == 0) or a new file, emptying an old one. *fd is -1 on
 * failure. Close it with durable_close. */
status durable_open(const char *path, int create, int *fd, error *err);
status durable_close(const char *path, int *fd, error *err);

/* Gives the file its blocks on disk from byte 0 to `bytes`, keeping what is in it: a full disk
 * shows here and not in the middle of the data. On a file system that cannot do that, the file
 * only gets its length. */
status durable_reserve(const char *path, int fd, int64_t bytes, error *err);

/* Writes or reads all of `bytes` at `offset`, in calls of at most 1 GiB. A file that ends too
 * early is STATUS_INPUT on reading. */
status durable_write_at(const char *path, int fd, int64_t offset, const void *data, int64_t bytes,
                        error *err);
status durable_read_at(const char *path, int fd, int64_t offset, void *data, int64_t bytes,
                       error *err);

/* Copies into the open file `to` what was ever written into the file `from`, to the same places;
 * the holes between are passed over. */
status durable_copy_written(int from, const char *path, int to, error *err);

/* Returns when what was written is on disk. */
status durable_sync(const char *path, int fd, error *err);

/* Renames, replacing; syncing the folder afterwards makes the new name last. */
status durable_rename(const char *from, const char *to, error *err);
status durable_sync_folder(const char *folder, error *err);

/* A whole small file: created, written, synced, closed. */
status durable_write_file(const char *path, const void *data, int64_t bytes, error *err);

/* For tests only: fails, or kills the process, at a named point of a protocol. The environment
 * variable SEPIT_FAULT holds "POINT", "POINT:RANK" or "kill-POINT:RANK"; without RANK, rank 0.
 * STATUS_OK when the variable is not set or names another place. */
status durable_fault(const char *point, int rank, error *err);

#endif
