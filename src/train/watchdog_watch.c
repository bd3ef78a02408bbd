/* The main thread writes atomics; the watching thread wakes up a few times a second at most, counts
 * for how long nothing has changed, and does everything else. Its life:
 *
 *     moving ──budget spent──▶ overdue: report, look, look again ──▶ verdict, end of the job
 *        ◀──the main thread moves──┘ ▲──────the late one may──────┘
 *
 * Rank 0 judges first; rank r only after it had the time to, and the floor(log2(r + 1)) groups of
 * ranks before its own: so somebody judges even if the first ones are stopped, and a thousand ranks
 * do not all read at once.
 */
#include "parallel/agree.h"
#include "src/base/clock.h"
#include "src/base/log.h"
#include "src/train/watchdog_inside.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    TIMED_LEAST = 3, /* steps before which the set-up's budget holds */
    REPORTS = 64,    /* ranks below report at once, others when they are named */
    REPORT_S = 3     /* seconds from a verdict to the end */
};

/* ---- budgets ---- */

static int compare_seconds(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The median of the last steps; < 0 while there are too few. */
static double median_step(const watchdog_heartbeat *h) {
    double took[WATCHDOG_TIMED];
    const uint64_t timed = atomic_load_explicit(&h->timed, memory_order_acquire);
    const size_t n = timed < WATCHDOG_TIMED ? (size_t)timed : WATCHDOG_TIMED;
    if (n < TIMED_LEAST)
        return -1;
    for (size_t i = 0; i < n; i++)
        took[i] = atomic_load_explicit(&h->took[i], memory_order_relaxed);
    qsort(took, n, sizeof *took, compare_seconds);
    return took[n / 2];
}

/* Seconds that the main thread may stay where it is; 0: for ever. */
static double budget_now(const watchdog *w) {
    const watchdog_budget *b = &w->budget;
    switch (atomic_load_explicit(&w->main.phase, memory_order_relaxed)) {
    case WATCHDOG_SETUP:
        return b->setup_s;
    case WATCHDOG_CHECKPOINT:
        return b->checkpoint_s;
    case WATCHDOG_EVALUATION:
        return b->evaluation_s;
    }
    const double median = median_step(&w->main);
    if (b->step_factor <= 0)
        return 0;
    if (median < 0)
        return b->setup_s > 0 && b->setup_s < b->least_s ? b->least_s : b->setup_s;
    return b->step_factor * median > b->least_s ? b->step_factor * median : b->least_s;
}

/* ---- files ---- */

void watchdog_fill_slot(watchdog *w, watchdog_state state, watchdog_slot *slot) {
    const watchdog_heartbeat *h = &w->main;
    const uint64_t collectives = atomic_load_explicit(&h->collectives, memory_order_acquire);
    *slot = (watchdog_slot){.beat = ++w->beat,
                            .step = atomic_load_explicit(&h->step, memory_order_relaxed),
                            .collectives = collectives,
                            .phase = atomic_load_explicit(&h->phase, memory_order_relaxed),
                            .state = state,
                            .waited = w->waited,
                            .budget = budget_now(w)};
    snprintf(slot->host, sizeof slot->host, "%s", w->host);
    if (collectives > 0)
        snprintf(slot->verb, sizeof slot->verb, "%s",
                 atomic_load_explicit(&h->verb[(collectives - 1) % WATCHDOG_VERBS],
                                      memory_order_relaxed));
}

/* What goes wrong with a file is said once; the watching goes on. */
static void complain(watchdog *w, status code, const error *err) {
    if (code != STATUS_OK && !w->blind) {
        w->blind = true;
        log_warn("watchdog: %s", err->text);
    }
}

void watchdog_write_slot(watchdog *w, watchdog_state state) {
    watchdog_slot slot;
    error err = {0};
    watchdog_fill_slot(w, state, &slot);
    complain(w, watchdog_slot_write(w->heartbeat, w->rank, &slot, 0, &err), &err);
    w->written_at = w->now;
}

static void report_path(const watchdog *w, char path[PATH_MAX]) {
    snprintf(path, PATH_MAX, "%s/rank_%lld.txt", w->folder, (long long)w->rank);
}

static void write_report(watchdog *w) {
    char path[PATH_MAX], head[2048];
    watchdog_slot slot;
    error err = {0};
    w->reported = true;
    watchdog_fill_slot(w, WATCHDOG_OVERDUE, &slot);
    int used = snprintf(head, sizeof head,
                        "rank %lld of %lld on host %s, process %d\nstep %lld, phase %s, for %.1f s "
                        "(%.1f s are allowed)\ncollectives: %llu, the last ones:",
                        (long long)w->rank, (long long)w->ranks, w->host, (int)getpid(),
                        (long long)slot.step, watchdog_phase_name(slot.phase), slot.waited,
                        slot.budget, (unsigned long long)slot.collectives);
    for (uint64_t i = slot.collectives < WATCHDOG_VERBS ? 0 : slot.collectives - WATCHDOG_VERBS;
         i < slot.collectives; i++)
        used += snprintf(head + used, sizeof head - (size_t)used, " %.*s", WATCHDOG_VERB,
                         atomic_load(&w->main.verb[i % WATCHDOG_VERBS]));
    snprintf(head + used, sizeof head - (size_t)used, "\n");
    report_path(w, path);
    complain(w, watchdog_report_write(&w->report, path, head, &err), &err);
}

static void take_report_back(watchdog *w) {
    char path[PATH_MAX];
    report_path(w, path);
    unlink(path);
    w->reported = false;
}

/* Whether this rank is among those that a verdict names, in its second line. */
static bool is_named(const watchdog *w, FILE *verdict) {
    char line[WATCHDOG_SENTENCE];
    bool named = false;
    if (fgets(line, sizeof line, verdict) == NULL || fscanf(verdict, " behind:") != 0)
        return false;
    for (long long rank; !named && fscanf(verdict, "%lld", &rank) == 1;)
        named = rank == w->rank;
    return named;
}

/* Whether somebody has judged; a rank that is named reports. */
static bool find_verdict(watchdog *w) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/verdict.txt", w->folder);
    FILE *verdict = fopen(path, "re");
    if (verdict == NULL)
        return false;
    if (!w->reported && is_named(w, verdict))
        write_report(w);
    fclose(verdict);
    return true;
}

/* The sentence to the terminal and into the run's log, past the locks of stdio, which a main thread
 * that hangs may hold. */
static void announce(const watchdog *w) {
    dprintf(STDERR_FILENO, "error: watchdog: %s\n", w->verdict.sentence);
    const int log = open(w->log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
    if (log >= 0) {
        dprintf(log, "error: watchdog: %s\n", w->verdict.sentence);
        close(log);
    }
}

/* Writes the verdict, unless another rank was first. */
static void publish(watchdog *w) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/verdict.txt", w->folder);
    const int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (file < 0 && errno == EEXIST)
        return;
    w->judged = true;
    announce(w);
    if (file < 0)
        return;
    dprintf(file, "%s\nbehind:", w->verdict.sentence);
    for (int i = 0; i < w->verdict.named_count; i++)
        dprintf(file, " %lld", (long long)w->verdict.named[i]);
    dprintf(file, "\n");
    close(file);
}

static void take_verdict_back(const watchdog *w) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/verdict.txt", w->folder);
    unlink(path);
}

/* ---- the last resort ---- */

/* A file system that hangs may be why the run does, and then the watching thread hangs in it too.
 * So a timer runs while it touches files; when it rings for the second time or later, and the main
 * thread has not moved for longer than its budget, the rank leaves without a word. */
static void arm(const watchdog *w, double seconds) {
    const struct timespec value = {(time_t)seconds,
                                   (long)(1e9 * (seconds - (double)(time_t)seconds))};
    timer_settime(w->timer, 0, &(struct itimerspec){value, value}, NULL);
}

void watchdog_last_resort(int number, siginfo_t *info, void *context) {
    (void)number, (void)context;
    if (info->si_code != SI_TIMER)
        return;
    watchdog *w = info->si_value.sival_ptr;
    const uint64_t moves = atomic_load(&w->main.moves);
    if (atomic_exchange(&w->resort_moves, moves) != moves)
        atomic_store(&w->resort_rounds, 0);
    const double rounds_s = 5 * w->budget.least_s * atomic_fetch_add(&w->resort_rounds, 1);
    const double budget = budget_now(w);
    if (atomic_load(&w->ending) || (budget > 0 && rounds_s > budget))
        _exit(STATUS_HUNG);
}

static void guard_files(watchdog *w) {
    atomic_store(&w->resort_rounds, 0);
    arm(w, 5 * w->budget.least_s);
}

static void release_files(const watchdog *w) {
    arm(w, 0);
}

_Noreturn static void end_job(watchdog *w) {
    atomic_store(&w->ending, true);
    arm(w, 10);
    comm_end_job(STATUS_HUNG);
}

/* ---- the watching thread ---- */

/* How many ranks' turns come before this rank's. */
static int turns_before(int64_t rank) {
    return 63 - __builtin_clzll((uint64_t)rank + 1);
}

static void become_overdue(watchdog *w) {
    w->overdue = true;
    w->looked = w->judged = false;
    w->overdue_at = w->waited;
    w->verdict_at = -1;
    w->next_look = w->waited + w->look_s * turns_before(w->rank);
    watchdog_write_slot(w, WATCHDOG_OVERDUE);
    if (w->rank < REPORTS)
        write_report(w);
}

/* The main thread moved after all. */
static void come_back(watchdog *w) {
    w->overdue = false;
    if (w->reported)
        take_report_back(w);
    if (w->judged)
        take_verdict_back(w);
    if (w->rank == 0)
        log_warn("watchdog: after more than the %.0f s that it had, the run goes on",
                 w->overdue_at);
}

static void look(watchdog *w) {
    error err = {0};
    watchdog_slot *swap = w->before;
    w->before = w->latest;
    w->latest = swap;
    complain(w, watchdog_slot_read_all(w->folder, w->ranks, w->latest, &err), &err);
    w->next_look = w->waited + w->look_s * (w->looked ? 1 + turns_before(w->rank) : 1);
    if (w->looked) {
        watchdog_judge(w->before, w->latest, w->ranks, w->rank, w->order, &w->verdict);
        if (w->verdict.hung)
            publish(w);
    }
    w->looked = !w->looked; /* the two looks of a judgement are look_s apart, and no more */
}

/* This rank's budget is spent, and nobody knows yet why. */
static void investigate(watchdog *w) {
    const bool found = find_verdict(w);
    if (w->verdict_at < 0 && (found || w->judged))
        w->verdict_at = w->waited;
    if (w->verdict_at < 0 && w->waited >= w->next_look)
        look(w);
    /* Who is named must have the time to report; then the judge ends the job, or else the others.
     */
    const double patience_s = REPORT_S + (w->judged ? 0 : w->look_s);
    if (w->verdict_at >= 0 && w->waited > w->verdict_at + patience_s)
        end_job(w);
}

static void wake(watchdog *w) {
    const double now = clock_seconds(), slept = now - w->now;
    const uint64_t moves = atomic_load_explicit(&w->main.moves, memory_order_acquire);
    w->now = now;
    /* A sleep much longer than asked for: the whole process was stopped, or got no core. */
    w->waited += slept < 2 * w->tick_s ? slept : 2 * w->tick_s;
    const bool moved = moves != w->seen_moves;
    if (moved) {
        w->seen_moves = moves;
        w->waited = 0;
    }
    const double budget = budget_now(w);
    const bool spent = !w->overdue && budget > 0 && w->waited > budget;
    const bool write = now - w->written_at >= w->write_s;
    if (!w->overdue && !spent && !write)
        return;
    guard_files(w);
    if (w->overdue && moved)
        come_back(w);
    if (spent)
        become_overdue(w);
    if (w->overdue)
        investigate(w);
    if (write)
        watchdog_write_slot(w, w->overdue ? WATCHDOG_OVERDUE : WATCHDOG_MOVES);
    release_files(w);
}

void *watchdog_watch(void *context) {
    watchdog *w = context;
    for (;;) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        const int64_t ns = until.tv_nsec + (int64_t)(1e9 * w->tick_s);
        until.tv_sec += ns / 1000000000;
        until.tv_nsec = ns % 1000000000;
        if (sem_clockwait(&w->stop, CLOCK_MONOTONIC, &until) == 0)
            break;
        wake(w);
    }
    if (w->overdue) /* it comes to stop the watching, so it moves */
        come_back(w);
    return NULL;
}
