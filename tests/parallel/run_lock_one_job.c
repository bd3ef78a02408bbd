// TEST np=3 timeout=60 mode=release,asan
/* run_lock: one job at a time in a run folder, whatever its name, and whatever is in the file. Each
 * rank is a job of its own here (MPI_COMM_SELF), ranks 0 and 1 together also one. */
#include "parallel/agree.h"
#include "src/base/log.h"
#include "src/train/run_lock.h"
#include "tests/test.h"

#include <mpi.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[] = "/tmp/sepit lock ünf-XXXXXX"; /* the same on all ranks */
static char folder[128], file[160];
static int rank;

static void barrier(void) {
    MPI_Barrier(MPI_COMM_WORLD);
}

static status take(run_lock *lock, error *err) {
    *err = (error){0};
    return run_lock_take(lock, MPI_COMM_SELF, folder, err);
}

/* Rank 0 has it, rank 1 is told so; released, rank 1 gets it at once. */
static void check_two_jobs(void) {
    run_lock lock = {0};
    error err;
    char who[64] = "";
    snprintf(who, sizeof who, "process %lld, Slurm job 41 (restart 0), since 2",
             (long long)getpid());
    MPI_Bcast(who, sizeof who, MPI_CHAR, 0, MPI_COMM_WORLD);
    setenv("SLURM_JOB_ID", rank == 0 ? "41" : "42", 1);
    if (rank == 0)
        EXPECT(take(&lock, &err) == STATUS_OK, "%s", err.text);
    barrier();
    if (rank == 1) {
        EXPECT(take(&lock, &err) == STATUS_INPUT);
        EXPECT(strstr(err.text, who) != NULL, "not %s: %s", who, err.text);
        EXPECT(strstr(err.text, folder) != NULL && strstr(err.text, "host ") != NULL, "%s",
               err.text);
    }
    barrier();
    if (rank == 0)
        run_lock_release(&lock);
    barrier();
    if (rank == 1) {
        EXPECT(take(&lock, &err) == STATUS_OK, "%s", err.text);
        run_lock second;
        EXPECT(take(&second, &err) == STATUS_INPUT, "the same process again");
        run_lock_release(&second);
        run_lock_release(&lock);
    }
    unsetenv("SLURM_JOB_ID");
    barrier();
}

/* A job of ranks 0 and 1, whose rank 0 alone asks: both get the refusal. */
static void check_both_ranks_told(void) {
    MPI_Comm job;
    run_lock lock = {0};
    error err = {0};
    MPI_Comm_split(MPI_COMM_WORLD, rank == 2, rank, &job);
    if (rank == 2)
        EXPECT(take(&lock, &err) == STATUS_OK, "%s", err.text);
    barrier();
    if (rank < 2) {
        EXPECT(run_lock_take(&lock, job, folder, &err) == STATUS_INPUT);
        EXPECT(strstr(err.text, "another job is writing into the run folder") != NULL, "%s",
               err.text);
    }
    barrier();
    run_lock_release(&lock);
    barrier();
    if (rank < 2) {
        EXPECT(run_lock_take(&lock, job, folder, &err) == STATUS_OK, "%s", err.text);
        run_lock_release(&lock);
    }
    MPI_Comm_free(&job);
    barrier();
}

/* The next start of a Slurm job waits for the one before to be gone, longer than another job. */
static void check_requeued(void) {
    run_lock lock = {0};
    error err;
    setenv("SLURM_JOB_ID", "7", 1);
    setenv("SLURM_RESTART_COUNT", rank == 0 ? "1" : "2", 1);
    if (rank == 0)
        EXPECT(take(&lock, &err) == STATUS_OK, "%s", err.text);
    barrier();
    if (rank == 0) {
        usleep(3000000);
        run_lock_release(&lock);
    }
    if (rank == 1) {
        const double start = MPI_Wtime();
        EXPECT(take(&lock, &err) == STATUS_OK, "%s", err.text);
        EXPECT(MPI_Wtime() - start > 2.5);
        run_lock_release(&lock);
    }
    unsetenv("SLURM_JOB_ID");
    unsetenv("SLURM_RESTART_COUNT");
    barrier();
}

static void write_file(const char *text, size_t bytes) {
    FILE *out = fopen(file, "wb");
    fwrite(text, 1, bytes, out);
    fclose(out);
}

/* What a job that died, or anything else, left in the file never counts. */
static void check_stale_files(void) {
    static const char *const left[] = {"host n1, process 1, Slurm job 7 (restart 0), since 2020\n",
                                       "\x01\xff{}", ""};
    for (size_t i = 0; rank == 0 && i < sizeof left / sizeof *left; i++) {
        run_lock lock;
        error err;
        write_file(left[i], strlen(left[i]));
        EXPECT(take(&lock, &err) == STATUS_OK, "%s", err.text);
        run_lock_release(&lock);
        struct stat info;
        EXPECT(stat(file, &info) == 0 && info.st_size == 0, "released, the file names nobody");
    }
    barrier();
}

/* Without locks: a warning that names who may be there, and the run goes on. */
static void check_no_locks(void) {
    if (rank == 0) {
        char text[4096] = "";
        FILE *log = fmemopen(text, sizeof text, "w");
        run_lock lock;
        error err;
        write_file("host far away\n", 14);
        log_set_file(log);
        setenv("SEPIT_FAULT", "no-locks", 1);
        EXPECT(take(&lock, &err) == STATUS_OK, "%s", err.text);
        unsetenv("SEPIT_FAULT");
        log_set_file(NULL);
        fclose(log);
        EXPECT(strstr(text, "has no locks") != NULL && strstr(text, "host far away") != NULL &&
                   strstr(text, folder) != NULL,
               "%s", text);
        run_lock_release(&lock);
    }
    barrier();
}

/* A folder that may not be written, as someone who is not root. */
static void check_read_only(void) {
    if (rank == 0) {
        char shut[160];
        run_lock lock;
        error err = {0};
        snprintf(shut, sizeof shut, "%s/read only", root);
        EXPECT(mkdir(shut, 0555) == 0 && chmod(root, 0755) == 0);
        const int was_root = geteuid() == 0;
        EXPECT(!was_root || seteuid(65534) == 0);
        EXPECT(run_lock_take(&lock, MPI_COMM_SELF, shut, &err) == STATUS_FAILED);
        EXPECT(!was_root || seteuid(0) == 0);
        EXPECT(strstr(err.text, shut) != NULL && strstr(err.text, "choose another run.dir") != NULL,
               "%s", err.text);
        rmdir(shut);
    }
    barrier();
}

int main(int argc, char **argv) {
    MPI_Init(&argc, &argv);
    rank = comm_rank(MPI_COMM_WORLD);
    log_set_rank(rank);
    if (rank == 0)
        EXPECT(mkdtemp(root) != NULL);
    MPI_Bcast(root, sizeof root, MPI_CHAR, 0, MPI_COMM_WORLD);
    snprintf(folder, sizeof folder, "%s/läufe/run one", root); /* made by the lock */
    snprintf(file, sizeof file, "%s/run.lock", folder);
    check_two_jobs();
    check_both_ranks_told();
    check_requeued();
    check_stale_files();
    check_no_locks();
    check_read_only();
    if (rank == 0) {
        char above[160];
        snprintf(above, sizeof above, "%s/läufe", root);
        EXPECT(unlink(file) == 0 && rmdir(folder) == 0 && rmdir(above) == 0 && rmdir(root) == 0);
    }
    test_checks++; /* rank 2 may have nothing to check */
    MPI_Finalize();
    return test_end();
}
