#include "src/train/run_lock.h"

#include "io/durable.h"
#include "parallel/agree.h"
#include "src/base/clock.h"
#include "src/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { NAME = 512 /* bytes of a holder's line, with the NUL */ };

static const double patience_s = 2, patience_of_restart_s = 180, pause_s = 0.1;

/* ---- who holds it ---------------------------------------------------------------------------- */

/* SLURM_JOB_ID and how often the job was started before. */
typedef struct slurm_job {
    long long id, restart; /* id −1: not under Slurm */
} slurm_job;

static slurm_job this_job(void) {
    const char *id = getenv("SLURM_JOB_ID"), *restart = getenv("SLURM_RESTART_COUNT");
    return (slurm_job){id != NULL ? atoll(id) : -1, restart != NULL ? atoll(restart) : 0};
}

/* "host n1, process 77, Slurm job 12 (restart 0), since 2025-03-01 12:00:00 +0100" */
static void describe_self(char line[NAME]) {
    char host[256] = "unknown", since[64] = "", job[80] = "";
    const slurm_job mine = this_job();
    const time_t now = time(NULL);
    struct tm local;
    if (gethostname(host, sizeof host - 1) != 0)
        strcpy(host, "unknown");
    if (localtime_r(&now, &local) != NULL)
        strftime(since, sizeof since, "%Y-%m-%d %H:%M:%S %z", &local);
    if (mine.id >= 0)
        snprintf(job, sizeof job, ", Slurm job %lld (restart %lld)", mine.id, mine.restart);
    snprintf(line, NAME, "host %s, process %lld%s, since %s", host, (long long)getpid(), job,
             since);
}

/* The holder's line as it stands in the file; "" when there is none. Whatever else the file may
 * hold becomes one printable line. */
static void read_holder(int fd, char line[NAME]) {
    const ssize_t got = pread(fd, line, NAME - 1, 0);
    line[got > 0 ? got : 0] = '\0';
    line[strcspn(line, "\r\n")] = '\0';
    for (char *at = line; *at != '\0'; at++)
        if ((unsigned char)*at < ' ')
            *at = '?';
}

/* Whether the line is of an earlier start of the Slurm job that this process belongs to. */
static bool is_earlier_self(const char *line) {
    const slurm_job mine = this_job();
    slurm_job theirs = {-1, 0};
    const char *at = strstr(line, ", Slurm job ");
    return mine.id >= 0 && at != NULL &&
           sscanf(at, ", Slurm job %lld (restart %lld)", &theirs.id, &theirs.restart) == 2 &&
           theirs.id == mine.id && theirs.restart < mine.restart;
}

/* ---- the lock -------------------------------------------------------------------------------- */

/* 0 or errno. A lock of the open file, which nothing else in this process can give up by closing
 * another descriptor of it; one of the process where the system does not know the former. */
static int try_lock(int fd) {
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    error ignored;
    if (durable_fault("no-locks", 0, &ignored) != STATUS_OK)
        return ENOLCK;
    if (fcntl(fd, F_OFD_SETLK, &whole) == 0)
        return 0;
    if (errno == EINVAL && fcntl(fd, F_SETLK, &whole) == 0)
        return 0;
    return errno;
}

static bool is_held_by_another(int code) {
    return code == EAGAIN || code == EACCES;
}

/* Asks again for a while; 0 or errno. `line`: the last holder that was read. */
static int wait_for_lock(int fd, const char *path, char line[NAME]) {
    const double start = clock_seconds();
    bool told = false;
    for (;;) {
        const int code = try_lock(fd);
        if (!is_held_by_another(code))
            return code;
        read_holder(fd, line);
        const bool restarted = is_earlier_self(line);
        if (restarted && !told)
            log_info("%s is still locked by this job's earlier start (%s): waiting", path, line);
        told = told || restarted;
        if (clock_seconds() - start > (restarted ? patience_of_restart_s : patience_s))
            return code;
        nanosleep(&(struct timespec){.tv_nsec = (long)(pause_s * 1e9)}, NULL);
    }
}

static void write_holder(int fd, const char *path) {
    char line[NAME];
    describe_self(line);
    const size_t length = strlen(line);
    line[length] = '\n';
    if (ftruncate(fd, 0) != 0 || pwrite(fd, line, length + 1, 0) != (ssize_t)length + 1)
        log_warn("cannot write into %s who holds it: %s", path, strerror(errno));
}

static status refuse(const char *folder, const char *line, error *err) {
    return error_set(
        err, STATUS_INPUT,
        "another job is writing into the run folder %s: %s; wait for its end, stop it, "
        "or choose another run.dir",
        folder, line[0] != '\0' ? line : "it has not said which one");
}

/* No lock can be had here: whoever may be in the file is named, but does not count. */
static void warn_without_locks(const char *folder, const char *line, int code) {
    log_warn("%s: its file system has no locks (%s), so nothing stops a second job from writing "
             "into it: start only one at a time (Lustre has them when mounted with -o flock)%s%s",
             folder, strerror(code),
             line[0] != '\0' ? "; the last one that did not end by itself, or still runs: " : "",
             line);
}

static status take(run_lock *lock, const char *folder, const char *path, error *err) {
    char line[NAME] = "";
    TRY(durable_make_folder(folder, err));
    const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0)
        return error_set(err, STATUS_FAILED, "cannot write %s: %s; choose another run.dir", path,
                         strerror(errno));
    const int code = wait_for_lock(fd, path, line);
    if (is_held_by_another(code)) {
        close(fd);
        return refuse(folder, line, err);
    }
    if (code != 0) {
        read_holder(fd, line);
        warn_without_locks(folder, line, code);
    }
    write_holder(fd, path);
    *lock = (run_lock){.held = 1, .fd = fd};
    return STATUS_OK;
}

static status take_path(run_lock *lock, const char *folder, error *err) {
    char *path = NULL;
    CHECK(asprintf(&path, "%s/run.lock", folder) >= 0, "No memory for a path.");
    const status code = take(lock, folder, path, err);
    free(path);
    return code;
}

status run_lock_take(run_lock *lock, MPI_Comm comm, const char *folder, error *err) {
    *lock = (run_lock){0};
    return agree(comm, comm_rank(comm) == 0 ? take_path(lock, folder, err) : STATUS_OK, err);
}

void run_lock_release(run_lock *lock) {
    if (!lock->held)
        return;
    /* An empty file: the last holder ended by itself. The file stays, because whoever asks for the
     * lock right now has it open. */
    if (ftruncate(lock->fd, 0) != 0)
        log_warn("cannot empty run.lock: %s", strerror(errno));
    close(lock->fd);
    *lock = (run_lock){0};
}
