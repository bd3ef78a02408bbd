/* The main thread's part: moving the heartbeat, starting and stopping. */
#include "src/train/watchdog.h"

#include "io/durable.h"
#include "parallel/agree.h"
#include "src/base/clock.h"
#include "src/base/log.h"
#include "src/train/watchdog_inside.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void watchdog_enter(watchdog *w, watchdog_phase phase, int64_t step) {
    if (w == NULL)
        return;
    watchdog_heartbeat *h = &w->main;
    const double now = clock_seconds();
    if (atomic_load_explicit(&h->phase, memory_order_relaxed) == WATCHDOG_STEP) {
        const uint64_t n = atomic_load_explicit(&h->timed, memory_order_relaxed);
        atomic_store_explicit(&h->took[n % WATCHDOG_TIMED], now - h->entered, memory_order_relaxed);
        atomic_store_explicit(&h->timed, n + 1, memory_order_release);
    }
    h->entered = now;
    atomic_store_explicit(&h->phase, (int)phase, memory_order_relaxed);
    atomic_store_explicit(&h->step, step, memory_order_relaxed);
    const uint64_t moves = atomic_load_explicit(&h->moves, memory_order_relaxed);
    atomic_store_explicit(&h->moves, moves + 1, memory_order_release);
}

void watchdog_note(watchdog *w, const char *verb) {
    if (w == NULL)
        return;
    const uint64_t n = atomic_load_explicit(&w->main.collectives, memory_order_relaxed);
    atomic_store_explicit(&w->main.verb[n % WATCHDOG_VERBS], verb, memory_order_relaxed);
    atomic_store_explicit(&w->main.collectives, n + 1, memory_order_release);
}

static double between(double low, double x, double high) {
    return x < low ? low : x > high ? high : x;
}

/* Keeps an older verdict and its reports under another name, and removes older heartbeats. */
static status clear_folder(const watchdog *w, error *err) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/verdict.txt", w->folder);
    if (access(path, F_OK) == 0) {
        int k = 0;
        do
            snprintf(path, sizeof path, "%s_%d", w->folder, ++k);
        while (access(path, F_OK) == 0);
        TRY(durable_rename(w->folder, path, err));
    }
    TRY(durable_make_folder(w->folder, err));
    DIR *listing = opendir(w->folder);
    if (listing == NULL)
        return error_set(err, STATUS_FAILED, "cannot read %s: %s", w->folder, strerror(errno));
    for (struct dirent *e; (e = readdir(listing)) != NULL;) {
        snprintf(path, sizeof path, "%s/%s", w->folder, e->d_name);
        if (e->d_name[0] != '.' && unlink(path) != 0)
            error_set(err, STATUS_FAILED, "cannot remove %s: %s", path, strerror(errno));
    }
    closedir(listing);
    return err->code;
}

static status name_files(watchdog *w, const char *run_folder, error *err) {
    char name[HOST_NAME_MAX + 1] = "unknown";
    gethostname(name, sizeof name - 1);
    snprintf(w->host, sizeof w->host, "%.*s", WATCHDOG_HOST - 1, name);
    const int length = snprintf(w->folder, sizeof w->folder, "%s/watchdog", run_folder);
    snprintf(w->log, sizeof w->log, "%s/log.txt", run_folder);
    snprintf(w->heartbeat, sizeof w->heartbeat, "%s/heartbeat_%s", w->folder, name);
    if (length < (int)sizeof w->folder)
        return STATUS_OK;
    return error_set(err, STATUS_INPUT, "the path of the run folder %s is too long", run_folder);
}

static status start_thread(watchdog *w, error *err) {
    struct sigaction action = {.sa_sigaction = watchdog_last_resort,
                               .sa_flags = SA_SIGINFO | SA_RESTART};
    sigemptyset(&action.sa_mask);
    CHECK(sigaction(SIGALRM, &action, &w->old_alarm) == 0);
    struct sigevent event = {
        .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM, .sigev_value.sival_ptr = w};
    sigset_t all, old; /* signals that stop the run are for the main thread */
    sigfillset(&all);
    w->timer_made = timer_create(CLOCK_MONOTONIC, &event, &w->timer) == 0;
    pthread_sigmask(SIG_SETMASK, &all, &old);
    w->now = w->written_at = clock_seconds();
    w->running = w->timer_made && pthread_create(&w->thread, NULL, watchdog_watch, w) == 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (w->running)
        return STATUS_OK;
    return error_set(err, STATUS_FAILED, "cannot start the watchdog's %s: %s",
                     w->timer_made ? "thread" : "timer", strerror(errno));
}

static status start(watchdog *w, error *err) {
    watchdog_slot slot;
    watchdog_fill_slot(w, WATCHDOG_MOVES, &slot);
    TRY(watchdog_slot_write(w->heartbeat, w->rank, &slot, 1, err));
    return start_thread(w, err);
}

static status create(watchdog **made, MPI_Comm comm, const watchdog_budget *b, error *err) {
    watchdog *w = aligned_alloc(64, sizeof *w);
    if (w == NULL)
        return error_set(err, STATUS_FAILED, "no memory for the watchdog");
    memset(w, 0, sizeof *w);
    *made = w;
    w->rank = comm_rank(comm);
    w->ranks = comm_size(comm);
    w->budget = *b;
    w->tick_s = between(0.01, b->least_s / 40, 1);
    w->write_s = between(0.1, b->least_s / 8, 10);
    w->look_s = between(2, 2 * w->write_s, 20);
    CHECK(sem_init(&w->stop, 0, 0) == 0);
    watchdog_report_create(&w->report);
    const size_t ranks = (size_t)w->ranks;
    w->before = calloc(ranks, sizeof *w->before);
    w->latest = calloc(ranks, sizeof *w->latest);
    w->order = calloc(ranks, sizeof *w->order);
    if (w->before == NULL || w->latest == NULL || w->order == NULL)
        return error_set(err, STATUS_FAILED, "no memory for the watchdog");
    return STATUS_OK;
}

status watchdog_start(watchdog **started, MPI_Comm comm, const char *run_folder,
                      const watchdog_budget *b, error *err) {
    *started = NULL;
    if (b->least_s <= 0 ||
        (b->step_factor <= 0 && b->setup_s <= 0 && b->checkpoint_s <= 0 && b->evaluation_s <= 0))
        return STATUS_OK;
    watchdog *w = NULL;
    status code = create(&w, comm, b, err);
    if (code == STATUS_OK)
        code = name_files(w, run_folder, err);
    if (code == STATUS_OK && w->rank == 0)
        code = clear_folder(w, err);
    code = agree(comm, code, err);
    if (code == STATUS_OK)
        code = agree(comm, start(w, err), err);
    if (code == STATUS_OK)
        *started = w;
    else
        watchdog_stop(w);
    return code;
}

/* Says that this rank has ended; the last of a host removes its file. */
static void leave(watchdog *w) {
    error err = {0};
    bool last = true;
    watchdog_write_slot(w, WATCHDOG_ENDED);
    if (watchdog_slot_read_all(w->folder, w->ranks, w->latest, &err) != STATUS_OK) {
        log_warn("watchdog: %s", err.text);
        return;
    }
    for (int64_t r = 0; r < w->ranks; r++)
        if (strcmp(w->latest[r].host, w->host) == 0 && w->latest[r].state != WATCHDOG_ENDED)
            last = false;
    if (last)
        unlink(w->heartbeat);
}

void watchdog_stop(watchdog *w) {
    if (w == NULL)
        return;
    if (w->running) {
        sem_post(&w->stop);
        pthread_join(w->thread, NULL);
        leave(w);
    }
    if (w->timer_made) {
        timer_delete(w->timer);
        sigaction(SIGALRM, &w->old_alarm, NULL);
    }
    watchdog_report_destroy(&w->report);
    sem_destroy(&w->stop);
    free(w->before);
    free(w->latest);
    free(w->order);
    free(w);
}
