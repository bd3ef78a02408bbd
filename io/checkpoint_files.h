/* The files of a checkpoint folder: their names, what is there, which to delete.
 *
 * step_00000120.h5 + .json is a checkpoint. While it is being saved both carry ".partial"; the
 * data are renamed first. So a .h5 with a .json.partial and no .h5.partial was complete when the
 * job ended, and belongs to that manifest, whether or not an older .json of the step is there too.
 * For io/checkpoint*.c alone; the public face is io/checkpoint.h.
 */
#ifndef SEPIT_IO_CHECKPOINT_FILES_H
#define SEPIT_IO_CHECKPOINT_FILES_H

#include "io/checkpoint.h"
#include "io/manifest.h"

#include <stdbool.h>

enum { CHECKPOINT_PATH = 4096 };

/* What a step has in the folder. */
typedef enum checkpoint_part {
    PART_DATA = 1,             /* .h5 */
    PART_MANIFEST = 2,         /* .json */
    PART_PARTIAL_DATA = 4,     /* .h5.partial */
    PART_PARTIAL_MANIFEST = 8, /* .json.partial */
    PART_BAD = 16              /* .h5.bad-… or .json.bad-… */
} checkpoint_part;

typedef struct checkpoint_entry {
    int64_t step;
    unsigned parts;
} checkpoint_entry;

/* Writes FOLDER/step_….SUFFIX of the part into path[CHECKPOINT_PATH]. */
status checkpoint_path(char *path, const char *folder, int64_t step, checkpoint_part part,
                       error *err);

/* The steps of the folder, newest first; none when it is missing. The caller frees *entry. */
status checkpoint_list(const char *folder, checkpoint_entry **entry, int64_t *entries, error *err);

/* Did a save end between its two renames? */
bool checkpoint_is_unfinished(const checkpoint_entry *entry);

/* Deletes what an interrupted save left, but for the manifest of one that is only unfinished. */
status checkpoint_remove_partial(const char *folder, error *err);

/* Deletes the checkpoints that the retention does not keep, and broken ones older than them. */
status checkpoint_retain(const char *folder, checkpoint_retention retention, error *err);

/* checkpoint_open with the manifest at a path of its own. On STATUS_INPUT *reason is a word for a
 * file name: "manifest", "size", … Collective on comm. */
status checkpoint_open_with(checkpoint **opened, MPI_Comm comm, const char *path,
                            const char *manifest_path, const char **reason, error *err);

/* The HDF5 file with every tensor of m, contiguous, without their data; fills in the tensors'
 * offsets and the file's size. It is made in memory, where it takes only the pages of HDF5's own
 * bytes: when a disk says no in the middle of HDF5's work, the library cannot be left cleanly any
 * more. The caller closes *fd, on failure too (-1: nothing to close). Local. */
status checkpoint_create_skeleton(int *fd, manifest *m, error *err);

#endif
