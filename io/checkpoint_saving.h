/* A save under way: what the three parts of the protocol hand to each other.
 *
 *     begin  collective: agree on the content, make the empty file       io/checkpoint.c
 *     write  local: this rank's bytes, summed, written and on disk       io/checkpoint_write.c
 *     end    collective: the manifest, the final names, old ones deleted io/checkpoint.c
 *
 * Only `write` takes long, and it calls neither MPI nor HDF5: a thread may do it (io/
 * checkpoint_beside.c). For io/checkpoint*.c alone; the public face is io/checkpoint.h.
 */
#ifndef SEPIT_IO_CHECKPOINT_SAVING_H
#define SEPIT_IO_CHECKPOINT_SAVING_H

#include "io/checkpoint_files.h"

#include <stdbool.h>

typedef struct saving {
    MPI_Comm comm; /* borrowed */
    int rank;
    manifest m;              /* the content's tensors, the items, /config; sums being gathered */
    checkpoint_slice *slice; /* [slices] the content's, on rank 0 also the items and /config */
    int64_t slices;
    char folder[CHECKPOINT_PATH];
    char data[CHECKPOINT_PATH], data_partial[CHECKPOINT_PATH];
    char text[CHECKPOINT_PATH], text_partial[CHECKPOINT_PATH]; /* of the manifest */
    int fd;                                                    /* of data_partial */
    int skeleton;   /* rank 0: HDF5's own bytes, see checkpoint_create_skeleton */
    bool renamed;   /* rank 0: the data have their final name */
    bool replacing; /* rank 0: there was a checkpoint of this step */
} saving;

/* Fills in the table of tensors, the slices and the paths. Local; the slices' data stay borrowed
 * from the content, the items and the configuration on rank 0 too. */
status checkpoint_saving_plan(saving *s, const checkpoint_content *content, error *err);
/* Do all ranks mean the same content, and do their slices tile it? Collective; fails alike. */
status checkpoint_saving_compare(const saving *s, const checkpoint_content *content, error *err);

/* Bytes of a tensor. */
int64_t checkpoint_tensor_bytes(const checkpoint_tensor *t);
/* Bytes of the slices: what a copy of all that this rank writes takes. */
int64_t checkpoint_saving_bytes(const saving *s);

/* Plans, compares and creates the partial file. Collective on comm; fails on all ranks alike, and
 * then nothing of it remains: neither in the folder nor in *s. */
status checkpoint_saving_begin(saving *s, MPI_Comm comm, const char *folder,
                               const checkpoint_content *content, error *err);

/* Writes this rank's part of the data, on disk when it returns. Local; no MPI, no HDF5. */
status checkpoint_saving_write(saving *s, error *err);

/* `written`: what checkpoint_saving_write returned here, with its sentence in *err. When all is
 * well on all ranks, commits and deletes what the retention does not keep; otherwise takes back
 * what was put into the folder. Collective; fails on all ranks alike. Frees *s. */
status checkpoint_saving_end(saving *s, status written, checkpoint_retention retention, error *err);

/* Takes back a save that will not be ended. Local. Frees *s. */
void checkpoint_saving_drop(saving *s);

#endif
