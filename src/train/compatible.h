/* May a run continue from this checkpoint with the present config, dataset and tokenizer?
 *
 * The table of keys says of each what a change means (config_change in src/base/config.h): some
 * break the run and are refused, all of them in one list; the others are accepted, a line each in
 * the log. Where dataset and tokenizer lie may change, what is in them may not: a hash of each is
 * saved with the run. Read next: src/train/trainer.c.
 */
#ifndef SEPIT_TRAIN_COMPATIBLE_H
#define SEPIT_TRAIN_COMPATIBLE_H

#include "io/checkpoint.h"
#include "io/dataset.h"
#include "src/base/config.h"

#include <mpi.h>

/* Hashes of what a run reads: /train/data_hash and /train/tokenizer_hash of its checkpoints. */
typedef struct inputs_identity {
    int64_t data, tokenizer;
} inputs_identity;

/* Names of these two items. */
extern const char *const identity_data_item, *const identity_tokenizer_item;

/* Hashes the tokenizer's file, and of the dataset all accessions, lengths, sources, splits and
 * owners of captions, and the content of 512 proteins and captions from one end to the other: a few
 * milliseconds per million proteins. The same files give the same hashes wherever they lie. What
 * differs nowhere but inside records that were not looked at is taken for the same dataset.
 * Collective on comm; fails on all ranks alike. */
status inputs_identify(inputs_identity *identity, MPI_Comm comm, const dataset *data,
                       const char *tokenizer, error *err);

/* STATUS_INPUT with every difference that breaks the run, then → now; else the accepted ones are
 * logged. To be asked before anything is read from the file or written into the run folder.
 * Collective on comm; fails on all ranks alike. */
status compatible_check(const checkpoint *file, MPI_Comm comm, const config *c,
                        const inputs_identity *now, error *err);

#endif
