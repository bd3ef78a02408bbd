/* The run folder: config.json, log.txt, metrics.jsonl, checkpoints/. Rank 0 writes the files. */
#ifndef SEPIT_TRAIN_RUN_FOLDER_H
#define SEPIT_TRAIN_RUN_FOLDER_H

#include "src/base/config.h"

#include <mpi.h>
#include <stdio.h>

typedef struct run_folder {
    const char *path;    /* borrowed from the config */
    char *checkpoints;   /* path of the folder, owned */
    FILE *log, *metrics; /* rank 0; else NULL */
} run_folder;

/* Creates the folder (and those above it), writes config.json and opens log.txt; log lines go there
 * too from now on. Collective; STATUS_FAILED or STATUS_INPUT on all ranks with a sentence that
 * names the path. */
status run_folder_open(run_folder *f, MPI_Comm comm, const config *c, error *err);

/* Opens metrics.jsonl for a run that has done `steps` steps. Collective. */
status run_folder_open_metrics(run_folder *f, MPI_Comm comm, int64_t steps, error *err);

void run_folder_close(run_folder *f);

#endif
