// TEST np=1,3 timeout=60
/* A run of steps, checkpoints and evaluations that does nothing but wait for each other, watched by
 * a watchdog that has little patience; on its own it goes well, and no step may be taken for a
 * hang. watchdog_ends.sh has it hang.
 *
 *     watchdog_job FOLDER KIND RANK     RANK does in step 20, when KIND is
 *     stopped   stop itself             loop      never come back
 *     skip      leave a barrier out     slow      take 1.2 s in every step
 *     late      be in a checkpoint of 4 s while the others wait in the next step
 *     fifo      put a pipe that nobody reads in place of the heartbeat's file, and never come back
 *     setup     never come back from the set-up
 */
#include "parallel/agree.h"
#include "src/base/clock.h"
#include "src/base/log.h"
#include "src/train/watchdog.h"
#include "tests/test.h"

#include <signal.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <unistd.h>

enum { STEPS = 30, SLOW_STEPS = 8, CHECKPOINT_AT = 25, FAULT_AT = 20 };

static void wait_for_all(watchdog *w, const char *what) {
    watchdog_note(w, what);
    MPI_TRY(MPI_Barrier(MPI_COMM_WORLD));
}

__attribute__((noinline)) static void never_come_back(void) {
    for (volatile int i = 0;; i++)
        usleep(100);
}

static void block_files(const char *folder) {
    char host[64], path[512];
    gethostname(host, sizeof host);
    const int length = snprintf(path, sizeof path, "%s/watchdog/heartbeat_%s", folder, host);
    EXPECT(length < (int)sizeof path && unlink(path) == 0 && mkfifo(path, 0600) == 0);
}

static void misbehave(watchdog *w, const char *kind, const char *folder) {
    if (strcmp(kind, "stopped") == 0)
        raise(SIGSTOP);
    if (strcmp(kind, "fifo") == 0)
        block_files(folder);
    if (strcmp(kind, "loop") == 0 || strcmp(kind, "fifo") == 0)
        never_come_back();
    if (strcmp(kind, "late") == 0) {
        watchdog_enter(w, WATCHDOG_CHECKPOINT, FAULT_AT - 1);
        sleep(4);
        watchdog_enter(w, WATCHDOG_STEP, FAULT_AT);
    }
}

static void run_step(watchdog *w, int step, const char *kind, bool mine, const char *folder) {
    watchdog_enter(w, WATCHDOG_STEP, step);
    usleep(mine && strcmp(kind, "slow") == 0 ? 1200000 : 30000);
    wait_for_all(w, "first");
    if (mine && step == FAULT_AT)
        misbehave(w, kind, folder);
    if (!(mine && step == FAULT_AT && strcmp(kind, "skip") == 0))
        wait_for_all(w, "second");
    if (step == CHECKPOINT_AT) {
        watchdog_enter(w, WATCHDOG_CHECKPOINT, step);
        sleep(3);
        wait_for_all(w, "checkpoint");
        watchdog_enter(w, WATCHDOG_EVALUATION, step);
        for (int i = 0; i < 20; i++, watchdog_enter(w, WATCHDOG_EVALUATION, step))
            usleep(200000);
    }
}

/* Nanoseconds that a call costs. */
static void measure(watchdog *w) {
    enum { CALLS = 1000000 };
    const double start = clock_seconds();
    for (int i = 0; i < CALLS; i++)
        watchdog_enter(w, WATCHDOG_SETUP, i);
    const double entered = clock_seconds();
    for (int i = 0; i < CALLS; i++)
        watchdog_note(w, "nothing");
    const double noted = clock_seconds();
    log_info("watchdog_enter %.1f ns, watchdog_note %.1f ns", 1e9 * (entered - start) / CALLS,
             1e9 * (noted - entered) / CALLS);
}

int main(int argc, char **argv) {
    const char *build = getenv("SEPIT_BUILD"), *folder = argv[1], *kind = "";
    char beside[512];
    int provided = 0;
    error err = {0};
    MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &provided);
    const int rank = comm_rank(MPI_COMM_WORLD);
    log_set_rank(rank);
    if (argc == 1) {
        snprintf(beside, sizeof beside, "%s/watchdog_job.run", build != NULL ? build : ".");
        folder = beside;
    } else if (argc > 3) {
        kind = argv[2];
    }
    const bool mine = argc > 3 && atoi(argv[3]) == rank;
    const watchdog_budget budget = {
        .step_factor = 10, .least_s = 1, .setup_s = 5, .checkpoint_s = 8, .evaluation_s = 1.5};
    watchdog *w = NULL;
    EXPECT(watchdog_start(&w, MPI_COMM_WORLD, folder, &budget, &err) == STATUS_OK, "%s", err.text);
    EXPECT(w != NULL);
    if (argc == 1)
        measure(w);
    if (mine && strcmp(kind, "setup") == 0)
        never_come_back();
    const int steps = strcmp(kind, "slow") == 0 ? SLOW_STEPS : STEPS;
    for (int step = 1; step <= steps; step++)
        run_step(w, step, kind, mine, folder);
    watchdog_stop(w);
    EXPECT(watchdog_start(&w, MPI_COMM_WORLD, folder, &(watchdog_budget){0}, &err) == STATUS_OK);
    EXPECT(w == NULL);
    watchdog_enter(w, WATCHDOG_STEP, 1);
    watchdog_note(w, "nothing");
    watchdog_stop(w);
    int failures = test_end(), worst = 0;
    MPI_TRY(MPI_Allreduce(&failures, &worst, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD));
    MPI_Finalize();
    return worst;
}
