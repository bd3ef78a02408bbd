/* The sub-commands of the program, and what each is given. main.c parses the words, loads the
 * config and calls one of them on every rank; a command returns the same status on all ranks.
 */
#ifndef SEPIT_CLI_COMMAND_H
#define SEPIT_CLI_COMMAND_H

#include "src/base/config.h"
#include "src/base/error.h"

#include <mpi.h>

enum {
    COMMAND_BUILD = 1 << 0,
    COMMAND_INSPECT = 1 << 1,
    COMMAND_TRAIN = 1 << 2,
    COMMAND_SCORE = 1 << 3,
    COMMAND_GENERATE = 1 << 4,
    COMMAND_BENCH = 1 << 5
};

/* What to show or to ask, given as --flags (keys belong to the experiment). */
typedef struct command_flags {
    bool json;
    bool text;           /* --text: only the questions and answers, a line each */
    const char *protein; /* accession, or a FASTA/PDB/mmCIF file */
    const char *question;
    const char *output; /* --output FILE; NULL: standard output */
    int64_t limit;      /* --limit N; 0: all */
    const char *file; /* the first word that is neither config, key=value nor flag: inspect's file,
                         what to bench */
} command_flags;

typedef struct command_input {
    MPI_Comm comm; /* all ranks; borrowed */
    const config *config;
    command_flags flags;
} command_input;

status command_build(const command_input *in, error *err);
status command_inspect(const command_input *in, error *err);
status command_train(const command_input *in, error *err);
status command_score(const command_input *in, error *err);
status command_generate(const command_input *in, error *err);
status command_bench(const command_input *in, error *err);

#endif
