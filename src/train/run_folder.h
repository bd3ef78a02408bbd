/* The run folder: config.json, log.txt, metrics.jsonl, tensorboard/, checkpoints/. Rank 0 writes
 * the files. */
#ifndef SEPIT_TRAIN_RUN_FOLDER_H
#define SEPIT_TRAIN_RUN_FOLDER_H

#include "src/base/config.h"
#include "src/train/metrics.h"

#include <mpi.h>
#include <stdio.h>

typedef struct run_folder {
    const char *path;  /* borrowed from the config */
    char *checkpoints; /* path of the folder, owned */
    FILE *log;         /* rank 0; else NULL */
    metrics *metrics;  /* likewise */
} run_folder;

/* Creates the folder, its checkpoints/ and the folders above, and opens log.txt; log lines go there
 * too from now on. Collective; STATUS_FAILED or STATUS_INPUT on all ranks with a sentence that
 * names the path. */
status run_folder_open(run_folder *f, MPI_Comm comm, const config *c, error *err);

/* The run is going to continue after `steps` steps: writes config.json, opens metrics.jsonl and
 * tensorboard/.
 * Until here a run that was in the folder is as it was. Collective. */
status run_folder_begin(run_folder *f, MPI_Comm comm, const config *c, int64_t steps, error *err);

/* Writes the sentence of a failed run into log.txt; nothing to do on other ranks than 0. */
void run_folder_note_failure(run_folder *f, const error *err);

void run_folder_close(run_folder *f);

#endif
