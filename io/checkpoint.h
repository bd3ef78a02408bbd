/* Checkpoints: one HDF5 file of logical tensors plus a manifest beside it (format
 * "sepit-checkpoint" 1).
 *
 * `step_00000120.h5` holds named tensors, contiguous, and knows nothing of the ranks that wrote it;
 * `step_00000120.json` holds where each tensor lies in the file and a CRC32C of every 4 MiB of the
 * file, so that a checkpoint is verified, and read, without opening HDF5. Both are the same bytes
 * for any number of ranks. Saving follows a commit protocol: at every moment the folder holds the
 * previous checkpoints whole, and the new one under its final name only when it is complete and on
 * disk. This module moves named slabs and knows no model.
 * Read next: io/durable.h, io/manifest.h.
 */
#ifndef SEPIT_IO_CHECKPOINT_H
#define SEPIT_IO_CHECKPOINT_H

#include "src/base/error.h"

#include <mpi.h>
#include <stdint.h>

enum { CHECKPOINT_RANK = 3, CHECKPOINT_NAME = 256 /* bytes, with the NUL */ };

typedef enum checkpoint_type {
    CHECKPOINT_F32,
    CHECKPOINT_F64,
    CHECKPOINT_I64,
    CHECKPOINT_U8
} checkpoint_type;

/* A tensor of the file. Elements count in C order; a rank of 0 is a scalar. */
typedef struct checkpoint_tensor {
    const char *name; /* "/model/model.norm.weight": absolute, printable ASCII without " and \ */
    checkpoint_type type;
    int rank;
    int64_t shape[CHECKPOINT_RANK]; /* from `rank` on: unused */
} checkpoint_tensor;

/* `count` elements of tensor number `tensor`, from element `first` on. */
typedef struct checkpoint_slice {
    int64_t tensor, first, count;
    const void *data; /* borrowed; not read when count is 0 */
} checkpoint_slice;

/* A small number of the training state: becomes the scalar /train/NAME. */
typedef struct checkpoint_item {
    const char *name; /* "epoch" */
    int64_t value;
} checkpoint_item;

/* What is saved. Everything but the slices is the same on every rank; the slices of all ranks
 * together cover every tensor exactly once. Borrowed during the call. */
typedef struct checkpoint_content {
    int64_t step;
    const checkpoint_tensor *tensor;
    int64_t tensors;
    const checkpoint_slice *slice; /* this rank's; may be none */
    int64_t slices;
    const checkpoint_item *item;
    int64_t items;
    const char *config; /* resolved configuration, JSON text: becomes /config (u8) */
} checkpoint_content;

/* Which checkpoints stay after a save. */
typedef struct checkpoint_retention {
    int64_t newest; /* this many of the newest; below 2 counts as 2 */
    int64_t step;   /* and this one (the best so far); -1: none */
    int64_t every;  /* and those whose step this divides; 0: none */
} checkpoint_retention;

/* Saves into `folder` (created when missing) under the names of content->step, then deletes what
 * the retention does not keep. Replaces a checkpoint of the same step: until the new one is whole
 * and on disk under its name, the old one can be found.
 * Collective on comm; fails on all ranks alike, with one sentence; then nothing of the new
 * checkpoint remains and those of other steps are untouched. Memory: 4 bytes per 4 MiB of the file
 * and the table of tensors, on every rank. STATUS_FAILED when the disk is full or says no;
 * STATUS_INPUT when ranks disagree about the content or the slices do not tile a tensor. */
status checkpoint_save(MPI_Comm comm, const char *folder, const checkpoint_content *content,
                       checkpoint_retention retention, error *err);

/* ---- beside the caller's work ---- */

/* Saves while the caller goes on: a copy of what is saved is taken, a thread of each rank writes
 * it, and the caller's own thread, which alone talks to MPI and HDF5, gives the file its name
 * later. One save at a time. The files are the same as those of checkpoint_save. */
typedef struct checkpoint_writer checkpoint_writer;

/* Bytes of this rank's copy: those of its slices and, on rank 0, of the items and the
 * configuration. Local. */
int64_t checkpoint_copy_bytes(MPI_Comm comm, const checkpoint_content *content);

/* Reserves, and touches, room for a copy of `bytes` bytes; a save that needs more gets more. comm
 * is borrowed, the folder's name copied. Collective; STATUS_FAILED on all ranks when memory is
 * short on one. */
status checkpoint_writer_create(checkpoint_writer **w, MPI_Comm comm, const char *folder,
                                int64_t bytes, error *err);

/* Local. Waits for this rank's thread; a save that was not finished is thrown away. */
void checkpoint_writer_destroy(checkpoint_writer *w);

/* Copies the content and begins to write it. While another save is under way, that one is finished
 * first: waited for, not skipped, because a step asked for is a step promised. When the one before
 * fails, that is what comes back, and nothing is begun.
 * Collective; fails on all ranks alike, and then as checkpoint_save does. */
status checkpoint_begin(checkpoint_writer *w, const checkpoint_content *content,
                        checkpoint_retention retention, error *err);

/* Step of the save under way, or -1. The same on all ranks. Local. */
int64_t checkpoint_under_way(const checkpoint_writer *w);

/* When all ranks have written their part, commits as checkpoint_save does, or fails as it does; the
 * save is then no longer under way. Otherwise returns STATUS_OK at once. Collective: one reduction
 * of four bytes while a save is under way, nothing at all while none is. */
status checkpoint_poll(checkpoint_writer *w, error *err);

/* Waits for the save under way, if any, and ends it likewise. Collective. */
status checkpoint_finish(checkpoint_writer *w, error *err);

/* ---- finding and reading ---- */

/* Path of the newest checkpoint in `folder` whose every byte is as it was written; NULL when the
 * folder is missing or has none. For the one job that saves into the folder: newer ones that are
 * damaged are named in a warning and renamed NAME.bad-REASON, and one that was complete when its
 * job ended between the last two renames gets its name. The caller frees the path.
 * Collective on comm: each rank reads a share of the file. STATUS_INPUT when there are checkpoints
 * but none is good; STATUS_FAILED when a rank cannot see what rank 0 sees. */
status checkpoint_find_newest(char **path, MPI_Comm comm, const char *folder, error *err);

/* The same for everyone else: changes nothing in the folder, so that it may run beside a job that
 * is saving there. A damaged one is only skipped, with a warning; one without its final names is
 * not looked at. Collective on comm. */
status checkpoint_look_newest(char **path, MPI_Comm comm, const char *folder, error *err);

/* An open checkpoint, for reading. */
typedef struct checkpoint checkpoint;

/* Opens PATH (….h5) by its manifest; checks the manifest and the file's size, not its content.
 * Collective on comm; fails on all ranks alike. The caller closes it. */
status checkpoint_open(checkpoint **opened, MPI_Comm comm, const char *path, error *err);
void checkpoint_close(checkpoint *c);

/* Reads the whole file, a share per rank, and compares it with the manifest's checksums.
 * Collective on comm. STATUS_INPUT with the byte range and the tensor that is damaged. */
status checkpoint_verify(const checkpoint *c, MPI_Comm comm, error *err);

int64_t checkpoint_step(const checkpoint *c);

/* The tensors, in the order they were given to checkpoint_save, /train/… and /config last.
 * Borrowed. checkpoint_find gives NULL when there is none of that name. */
int64_t checkpoint_tensors(const checkpoint *c);
const checkpoint_tensor *checkpoint_tensor_at(const checkpoint *c, int64_t index);
const checkpoint_tensor *checkpoint_find(const checkpoint *c, const char *name);
int64_t checkpoint_elements(const checkpoint_tensor *tensor);

/* CRC32C of the tensor's bytes, from the manifest: equal tensors have equal digests. */
uint32_t checkpoint_digest(const checkpoint *c, const char *name);

/* Reads `count` elements from `first` on into dst. Local: any rank, any range, any order.
 * STATUS_INPUT when the tensor is missing, is of another type or is shorter. */
status checkpoint_read(const checkpoint *c, const char *name, checkpoint_type type, int64_t first,
                       int64_t count, void *dst, error *err);

/* The item /train/NAME. Local. */
status checkpoint_read_item(const checkpoint *c, const char *name, int64_t *value, error *err);

/* The configuration's text, NUL-terminated. Local. The caller frees it. */
status checkpoint_read_config(const checkpoint *c, char **text, error *err);

#endif
