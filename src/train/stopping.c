#include "src/train/stopping.h"

#include "src/base/clock.h"
#include "src/base/log.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Within SAME seconds it is the same signal, passed on twice: by Slurm to all processes of a step
 * and by the mpirun among them to its ranks. From there to AGAIN it is a second one. */
static const double SAME = 0.5, AGAIN = 10;

static const int caught_signals[] = {SIGUSR1, SIGTERM, SIGINT};
enum { SIGNALS = sizeof caught_signals / sizeof *caught_signals };

/* A handler can reach nothing but what is static. */
static struct {
    atomic_int number;   /* of the signal that came; 0: none */
    _Atomic double at;   /* clock_seconds() when it came */
    char rank_text[32];  /* "rank 3: ", nothing on rank 0 */
    bool speaks, mpirun; /* on rank 0; started by mpirun */
    struct sigaction before[SIGNALS];
} state;

static const char *name_of(int number) {
    return number == SIGUSR1 ? "SIGUSR1" : number == SIGTERM ? "SIGTERM" : "SIGINT";
}

/* ---- in the handler: async-signal-safe calls only -------------------------------------------- */

/* One write, so that the lines of several ranks do not mix. */
static void say(const char *const part[], int parts) {
    char line[1024];
    size_t used = 0;
    for (int i = 0; i < parts; i++) {
        const size_t left = sizeof line - used, bytes = strlen(part[i]);
        memcpy(line + used, part[i], bytes < left ? bytes : left);
        used += bytes < left ? bytes : left;
    }
    if (write(STDERR_FILENO, line, used) < 0)
        return; /* nobody listens, and there is nobody to tell */
}

static void announce(int number) {
    static const char plain[] = ": the step in progress is finished and a checkpoint written; a "
                                "second signal within 10 s ends the run at once\n";
    static const char mpirun[] =
        ": when mpirun ends a job (Ctrl-C, SIGTERM, a rank that failed) it kills all ranks a "
        "second later, which may be too soon for a checkpoint. To stop with one, send SIGUSR1 to "
        "mpirun or create the file STOP in the run folder. The same command continues from the "
        "newest checkpoint\n";
    const char *const part[] = {name_of(number),
                                state.mpirun && number != SIGUSR1 ? mpirun : plain};
    say(part, 2);
}

static _Noreturn void end_at_once(int number) {
    const char *const part[] = {"error: ", state.rank_text, name_of(number),
                                ": the second signal within 10 s ends the run at once; the newest "
                                "checkpoint is whole, and the same command continues from it\n"};
    say(part, 4);
    /* mpirun and srun end the other ranks when one goes with a failure. */
    _exit(STATUS_FAILED);
}

static void handle(int number) {
    const int kept = errno;
    const double now = clock_seconds();
    const bool first = atomic_load(&state.number) == 0;
    const double passed = now - atomic_load(&state.at);
    if (first || passed > SAME) {
        atomic_store(&state.at, now);
        atomic_store(&state.number, number);
        if (!first && passed <= AGAIN)
            end_at_once(number);
        if (state.speaks)
            announce(number);
    }
    errno = kept;
}

/* ---- outside --------------------------------------------------------------------------------- */

void stopping_begin(stopping *s, const char *folder) {
    *s = (stopping){.looked = -1};
    if (log_rank() == 0) {
        const size_t size = strlen(folder) + sizeof "/STOP";
        s->file = malloc(size);
        CHECK(s->file != NULL, "No memory for a path.");
        snprintf(s->file, size, "%s/STOP", folder);
    }
    atomic_store(&state.number, 0);
    state.speaks = log_rank() == 0;
    state.mpirun = getenv("OMPI_COMM_WORLD_RANK") != NULL;
    snprintf(state.rank_text, sizeof state.rank_text, log_rank() > 0 ? "rank %d: " : "",
             log_rank());
    /* Interrupted calls of libraries go on. */
    struct sigaction action = {.sa_handler = handle, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    for (int i = 0; i < SIGNALS; i++)
        sigaddset(&action.sa_mask, caught_signals[i]);
    for (int i = 0; i < SIGNALS; i++)
        CHECK(sigaction(caught_signals[i], &action, &state.before[i]) == 0);
}

static bool find_file(stopping *s) {
    const double now = clock_seconds();
    if (s->file == NULL || s->found || (s->looked >= 0 && now - s->looked < 1))
        return s->found;
    s->looked = now;
    s->found = access(s->file, F_OK) == 0;
    return s->found;
}

bool stopping_requested(stopping *s, error *err) {
    const int number = atomic_load(&state.number);
    if (number != 0)
        error_set(err, STATUS_STOPPED, "%s asks to stop", name_of(number));
    else if (find_file(s))
        error_set(err, STATUS_STOPPED, "the file %s asks to stop", s->file);
    else
        return false;
    return true;
}

void stopping_honour(const stopping *s) {
    if (s->file == NULL || unlink(s->file) == 0 || errno == ENOENT)
        return;
    log_warn("cannot remove %s: %s; remove it, or the next run will stop after its first step",
             s->file, strerror(errno));
}

void stopping_end(stopping *s) {
    for (int i = 0; i < SIGNALS; i++)
        CHECK(sigaction(caught_signals[i], &state.before[i], NULL) == 0);
    free(s->file);
    *s = (stopping){0};
}
