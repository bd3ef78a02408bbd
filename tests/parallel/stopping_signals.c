// TEST np=1,3 timeout=60
/* A signal to one rank, or a file STOP, stops all ranks at one step, and they say whose wish it is.
 * With words it is a job for stopping_twice.sh: FOLDER STEP_SECONDS. */
#include "parallel/agree.h"
#include "src/base/clock.h"
#include "src/base/log.h"
#include "src/train/stopping.h"
#include "tests/test.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST_STEPS = 200 };

static void create(const char *path) {
    const int fd = open(path, O_CREAT | O_WRONLY, 0666);
    EXPECT(fd >= 0 && close(fd) == 0, "%s", path);
}

/* Steps until all agree to stop; returns how many. `act` is called in the third by each rank. */
static int run(stopping *s, void (*act)(const char *), const char *word, error *err) {
    for (int step = 1; step <= MOST_STEPS; step++) {
        if (step == 3)
            act(word);
        usleep(10000);
        const status mine = stopping_requested(s, err) ? STATUS_STOPPED : STATUS_OK;
        if (agree(MPI_COMM_WORLD, mine, err) != STATUS_OK)
            return step;
    }
    return MOST_STEPS + 1;
}

static int signal_to_send;

static void signal_last_rank(const char *unused) {
    (void)unused;
    if (log_rank() == comm_size(MPI_COMM_WORLD) - 1)
        raise(signal_to_send);
}

/* As Slurm and mpirun do when both pass on the same signal. */
static void signal_twice_at_once(const char *unused) {
    raise(SIGUSR1);
    signal_last_rank(unused);
}

static void create_on_last_rank(const char *path) {
    if (log_rank() == comm_size(MPI_COMM_WORLD) - 1)
        create(path);
}

static void check_signal(const char *folder, int number, const char *name) {
    stopping s;
    error err = {0};
    char want[128];
    const int last = comm_size(MPI_COMM_WORLD) - 1;
    signal_to_send = number;
    stopping_begin(&s, folder);
    EXPECT(run(&s, signal_last_rank, NULL, &err) == 3, "%s", name);
    EXPECT(err.code == STATUS_STOPPED);
    if (last > 0)
        snprintf(want, sizeof want, "rank %d: %s asks to stop", last, name);
    else
        snprintf(want, sizeof want, "%s asks to stop", name);
    EXPECT_TEXT(err.text, want);
    stopping_honour(&s);
    stopping_end(&s);
    struct sigaction now;
    EXPECT(sigaction(number, NULL, &now) == 0 && now.sa_handler == SIG_DFL);
}

static void check_same_signal(const char *folder) {
    stopping s;
    error err = {0};
    signal_to_send = SIGUSR1;
    stopping_begin(&s, folder);
    EXPECT(run(&s, signal_twice_at_once, NULL, &err) == 3);
    EXPECT_TEXT(err.text, "SIGUSR1 asks to stop");
    stopping_end(&s);
}

static void check_file(const char *folder) {
    stopping s;
    error err = {0};
    char path[512], want[600];
    snprintf(path, sizeof path, "%s/STOP", folder);
    snprintf(want, sizeof want, "%sthe file %s asks to stop",
             comm_size(MPI_COMM_WORLD) > 1 ? "rank 0: " : "", path);
    stopping_begin(&s, folder);
    /* Rank 0 looks at the first step and again a second later: about the hundredth. */
    const int step = run(&s, create_on_last_rank, path, &err);
    EXPECT(step >= 3 && step <= MOST_STEPS, "step %d", step);
    EXPECT_TEXT(err.text, want);
    stopping_honour(&s);
    EXPECT(log_rank() != 0 || access(path, F_OK) != 0, "%s is still there", path);
    stopping_end(&s);
    MPI_Barrier(MPI_COMM_WORLD);
    /* Gone means gone; one that is there before the start counts at the first step. */
    stopping_begin(&s, folder);
    err = (error){0};
    EXPECT(!stopping_requested(&s, &err) && err.code == STATUS_OK);
    stopping_end(&s);
    MPI_Barrier(MPI_COMM_WORLD);
    create_on_last_rank(path);
    MPI_Barrier(MPI_COMM_WORLD);
    stopping_begin(&s, folder);
    EXPECT(stopping_requested(&s, &err) == (log_rank() == 0));
    stopping_honour(&s);
    stopping_end(&s);
}

/* Tells its process in FOLDER/pid.RANK, and makes steps that a signal does not shorten. */
static status job(const char *folder, double step_s) {
    stopping s;
    error err = {0};
    char path[512];
    stopping_begin(&s, folder);
    snprintf(path, sizeof path, "%s/pid.%d.new", folder, log_rank());
    FILE *file = fopen(path, "w");
    EXPECT(file != NULL);
    fprintf(file, "%d\n", (int)getpid());
    fclose(file);
    char name[512];
    snprintf(name, sizeof name, "%s/pid.%d", folder, log_rank());
    rename(path, name);
    status code = STATUS_OK;
    for (int step = 0; step < 100 && code == STATUS_OK; step++) {
        for (const double end = clock_seconds() + step_s; clock_seconds() < end;)
            usleep(10000);
        code =
            agree(MPI_COMM_WORLD, stopping_requested(&s, &err) ? STATUS_STOPPED : STATUS_OK, &err);
    }
    stopping_honour(&s);
    stopping_end(&s);
    if (log_rank() == 0)
        fprintf(stderr, "ended: %s\n", err.text);
    return code;
}

int main(int argc, char **argv) {
    MPI_Init(&argc, &argv);
    log_set_rank(comm_rank(MPI_COMM_WORLD));
    if (argc == 3) {
        const status code = job(argv[1], atof(argv[2]));
        MPI_Finalize();
        return code;
    }
    char folder[64] = "/tmp/stopping.XXXXXX";
    if (log_rank() == 0)
        EXPECT(mkdtemp(folder) != NULL);
    MPI_Bcast(folder, sizeof folder, MPI_CHAR, 0, MPI_COMM_WORLD);
    check_signal(folder, SIGUSR1, "SIGUSR1");
    check_signal(folder, SIGTERM, "SIGTERM");
    check_signal(folder, SIGINT, "SIGINT");
    check_same_signal(folder);
    check_file(folder);
    if (log_rank() == 0)
        EXPECT(rmdir(folder) == 0);
    int failures = test_end(), worst = 0;
    MPI_Allreduce(&failures, &worst, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD);
    MPI_Finalize();
    return worst;
}
