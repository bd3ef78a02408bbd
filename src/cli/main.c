/* sepit COMMAND [CONFIG.json] [key.path=value …] [--flags]
 *
 * Every rank parses the same words, loads the same config and runs the same command. A mistake
 * is found by all ranks alike, printed once, and becomes the exit code of the job.
 */
#include "io/durable.h"
#include "parallel/agree.h"
#include "src/base/log.h"
#include "src/base/version.h"
#include "src/cli/command.h"
#include "src/cli/keys.h"

#include <ctype.h>
#include <mpi.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct command {
    const char *name, *usage, *does;
    unsigned bit;
    const char *flags; /* that it takes, each between spaces */
    status (*run)(const command_input *in, error *err);
} command;

static const command commands[] = {
    {"build", "CONFIG.json [key=value …]", "UniProt entries and structures → dataset",
     COMMAND_BUILD, "", command_build},
    {"inspect", "FILE [--json] [--text] [--protein ACC]", "what is in a dataset", COMMAND_INSPECT,
     " --json --text --protein ", command_inspect},
    {"train", "CONFIG.json [key=value …]", "trains one stage into its run folder", COMMAND_TRAIN,
     "", command_train},
    {"score", "CONFIG.json [--limit N] [--output FILE]",
     "negative log-likelihood of every answer, JSONL", COMMAND_SCORE, " --limit --output ",
     command_score},
    {"generate", "CONFIG.json --protein ACC|FILE --question TEXT [--json]", "answers a question",
     COMMAND_GENERATE, " --protein --question --json ", command_generate},
    {"bench", "[exchange|moe] [key=value …]",
     "speed of kernels and training step, of the exchange of tokens, or of a layer of experts",
     COMMAND_BENCH, " --json ", command_bench},
};
enum { COMMANDS = sizeof commands / sizeof commands[0] };

/* What the words of the command line said. */
typedef struct words {
    const command *command;
    const char *config_path;
    char *overrides[256];
    int override_count;
    command_flags flags;
} words;

static const command *find_command(const char *name) {
    for (int i = 0; i < COMMANDS; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

static void print_help(const command *about) {
    if (about != NULL) {
        printf("sepit %s %s\n  %s\n", about->name, about->usage, about->does);
        if (about->bit != COMMAND_INSPECT) {
            printf("\nkeys (in the config, or as key=value):\n");
            config_print_keys(sepit_keys, about->bit);
        }
        return;
    }
    printf("sepit trains structure-enhanced protein instruction models under MPI.\n\n"
           "usage: sepit COMMAND [CONFIG.json] [key.path=value …] [--flags]\n"
           "       mpirun -n 4 sepit COMMAND …    srun sepit COMMAND …\n\n");
    for (int i = 0; i < COMMANDS; i++)
        printf("  %-9s %s\n", commands[i].name, commands[i].does);
    printf("  %-9s %s\n", "help", "this, or `sepit help COMMAND`: every key it reads");
    printf("  %-9s %s\n\n", "--version", SEPIT_VERSION);
    printf(
        "exit: 0 done, 1 failed, 2 usage, config or input error, 75 stopped by a signal after a\n"
        "checkpoint, 76 hung and ended by the watchdog (the last two: start it again)\n");
}

static bool takes_flag(const command *c, const char *flag) {
    char word[32];
    const int length = snprintf(word, sizeof word, " %s ", flag);
    return length < (int)sizeof word && strstr(c->flags, word) != NULL;
}

/* Takes one --flag; `value` is the word after it. *used says how many words it took. */
static status take_flag(words *w, const char *flag, const char *value, int *used, error *err) {
    if (!takes_flag(w->command, flag))
        return error_set(err, STATUS_INPUT, "sepit %s has no flag %s; usage: sepit %s %s",
                         w->command->name, flag, w->command->name, w->command->usage);
    *used = 1;
    bool *truth = strcmp(flag, "--json") == 0   ? &w->flags.json
                  : strcmp(flag, "--text") == 0 ? &w->flags.text
                                                : NULL;
    if (truth != NULL) {
        *truth = true;
        return STATUS_OK;
    }
    if (value == NULL)
        return error_set(err, STATUS_INPUT, "%s needs a value after it", flag);
    *used = 2;
    const char **text = strcmp(flag, "--protein") == 0    ? &w->flags.protein
                        : strcmp(flag, "--question") == 0 ? &w->flags.question
                        : strcmp(flag, "--output") == 0   ? &w->flags.output
                                                          : NULL;
    if (text != NULL) {
        *text = value;
        return STATUS_OK;
    }
    char *end = NULL;
    w->flags.limit = strtoll(value, &end, 10);
    if (end == value || *end != '\0' || w->flags.limit < 1)
        return error_set(err, STATUS_INPUT, "--limit is \"%s\", but must be a whole number >= 1",
                         value);
    return STATUS_OK;
}

static bool has_suffix(const char *text, const char *suffix) {
    const size_t n = strlen(text), m = strlen(suffix);
    return n >= m && strcmp(text + n - m, suffix) == 0;
}

/* key=value, and not a path that holds a '=' somewhere. */
static bool is_override(const char *word) {
    const char *equals = strchr(word, '=');
    for (const char *at = word; equals != NULL && at < equals; at++)
        if (!isalnum((unsigned char)*at) && strchr("._-", *at) == NULL)
            return false;
    return equals != NULL;
}

static status parse_words(words *w, int argc, char **argv, error *err) {
    w->command = find_command(argv[1]);
    if (w->command == NULL)
        return error_set(err, STATUS_INPUT, "there is no command %s; `sepit help` lists them",
                         argv[1]);
    for (int i = 2; i < argc;) {
        int used = 1;
        const char *word = argv[i];
        if (strncmp(word, "--", 2) == 0) {
            TRY(take_flag(w, word, i + 1 < argc ? argv[i + 1] : NULL, &used, err));
        } else if (is_override(word)) {
            if (w->override_count == (int)(sizeof w->overrides / sizeof w->overrides[0]))
                return error_set(err, STATUS_INPUT,
                                 "more than %d key=value words; put them into the config",
                                 w->override_count);
            w->overrides[w->override_count++] = argv[i];
        } else if (w->command->bit != COMMAND_INSPECT && w->config_path == NULL &&
                   has_suffix(word, ".json")) {
            w->config_path = word;
        } else if ((w->command->bit & (COMMAND_INSPECT | COMMAND_BENCH)) != 0 &&
                   w->flags.file == NULL) {
            w->flags.file = word;
        } else {
            return error_set(err, STATUS_INPUT,
                             "the word \"%s\" is neither a config (*.json), nor key=value, nor a "
                             "flag; usage: sepit %s %s",
                             word, w->command->name, w->command->usage);
        }
        i += used;
    }
    return STATUS_OK;
}

/* libgomp would start a thread per core of the machine on every rank. */
static void choose_threads(void) {
    if (getenv("OMP_NUM_THREADS") == NULL)
        omp_set_num_threads(1);
}

/* What was printed must have arrived: a full disk shows here at the latest. */
static status flush_output(status code, error *err) {
    if ((fflush(stdout) == 0 && !ferror(stdout)) || code != STATUS_OK)
        return code;
    return error_set(err, STATUS_FAILED,
                     "cannot write all of the standard output; is the disk full?");
}

static status run_command(int argc, char **argv, error *err) {
    words w = {0};
    config *loaded = NULL;
    status code = parse_words(&w, argc, argv, err);
    if (code == STATUS_OK)
        code = config_load(&loaded, sepit_keys, w.config_path, w.override_count, w.overrides, err);
    code = agree(MPI_COMM_WORLD, code, err);
    if (code == STATUS_OK) {
        const command_input in = {MPI_COMM_WORLD, loaded, w.flags};
        code = w.command->run(&in, err);
        code = agree(MPI_COMM_WORLD, flush_output(code, err), err);
    }
    config_destroy(loaded);
    return code;
}

static bool is_help(const char *word) {
    return strcmp(word, "help") == 0 || strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

/* Whether help is asked for, in whatever place a hand puts it; *about is the word that names the
 * command, or NULL. */
static bool wants_help(int argc, char **argv, const char **about) {
    *about = NULL;
    if (argc < 2)
        return true;
    if (is_help(argv[1])) {
        *about = argc > 2 ? argv[2] : NULL;
        return true;
    }
    *about = argv[1];
    for (int i = 2; i < argc; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return true;
    return false;
}

/* Help must work where MPI does not (a login node), so MPI cannot say who is first of many. */
static bool is_first_process(void) {
    static const char *const ranks[] = {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "SLURM_PROCID"};
    for (size_t i = 0; i < sizeof ranks / sizeof *ranks; i++) {
        const char *rank = getenv(ranks[i]);
        if (rank != NULL && strcmp(rank, "0") != 0)
            return false;
    }
    return true;
}

static status help(bool asked, const char *about) {
    const command *known = about == NULL ? NULL : find_command(about);
    error err = {0};
    status code = asked ? STATUS_OK : STATUS_INPUT;
    if (is_first_process())
        print_help(known);
    if (about != NULL && known == NULL)
        code =
            error_set(&err, STATUS_INPUT, "there is no command %s; the list above is all", about);
    else
        code = flush_output(code, &err);
    if (err.text[0] != '\0' && is_first_process())
        log_error("%s", err.text);
    return code;
}

/* What must stand in the environment before MPI starts; a value the user set wins. */
static void prepare_environment(void) {
    /* Open MPI 4.1.0–4.1.6: data sieving reads and writes wrong bytes (open-mpi/ompi #10546,
     * #12718). */
    setenv("OMPI_MCA_fbtl_posix_read_datasieving", "0", 0);
    setenv("OMPI_MCA_fbtl_posix_write_datasieving", "0", 0);
}

static status print_version(void) {
    error err = {0};
    if (is_first_process())
        puts(SEPIT_VERSION);
    const status code = flush_output(STATUS_OK, &err);
    if (code != STATUS_OK)
        log_error("%s", err.text);
    return code;
}

int main(int argc, char **argv) {
    const char *about = NULL;
    if (argc == 2 && strcmp(argv[1], "--version") == 0)
        return print_version();
    if (wants_help(argc, argv, &about))
        return help(argc >= 2, about);
    prepare_environment();
    durable_prepare();
    choose_threads();
    int provided = 0;
    MPI_TRY(MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &provided));
    MPI_TRY(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN));
    log_set_rank(comm_rank(MPI_COMM_WORLD));
    error err = {0};
    const status code = run_command(argc, argv, &err);
    if (code == STATUS_STOPPED)
        log_info("%s", err.text);
    else if (code != STATUS_OK && log_rank() == 0)
        log_error("%s", err.text);
    MPI_TRY(MPI_Finalize());
    return code;
}
