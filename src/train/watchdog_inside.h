/* What the main thread's part of the watchdog (watchdog.c) and the watching thread
 * (watchdog_watch.c) share. Internal to these two.
 */
#ifndef SEPIT_TRAIN_WATCHDOG_INSIDE_H
#define SEPIT_TRAIN_WATCHDOG_INSIDE_H

#include "src/train/watchdog.h"
#include "src/train/watchdog_judge.h"
#include "src/train/watchdog_report.h"

#include <limits.h>
#include <stdatomic.h>

enum {
    WATCHDOG_TIMED = 32, /* steps of which the median is taken */
    WATCHDOG_VERBS = 8   /* last collectives that a report tells */
};

/* What the main thread writes; alone on its cache lines. */
typedef struct watchdog_heartbeat {
    _Alignas(64) atomic_uint_fast64_t moves;
    atomic_uint_fast64_t collectives, timed;
    _Atomic int64_t step;
    atomic_int phase;
    double entered; /* main thread only */
    const char *_Atomic verb[WATCHDOG_VERBS];
    _Atomic double took[WATCHDOG_TIMED]; /* seconds of the last steps */
} watchdog_heartbeat;

struct watchdog {
    watchdog_heartbeat main;
    /* Set once. */
    _Alignas(64) int64_t rank;
    int64_t ranks;
    watchdog_budget budget;
    double tick_s, write_s, look_s;                   /* between wake-ups, writings, looks */
    char folder[PATH_MAX - 512], log[PATH_MAX - 512]; /* room for the names of files in it */
    char heartbeat[PATH_MAX];
    char host[WATCHDOG_HOST];
    pthread_t thread;
    bool running, timer_made;
    sem_t stop;
    timer_t timer;
    struct sigaction old_alarm;
    watchdog_report report;
    /* The watching thread's own. */
    uint64_t beat, seen_moves;
    double now, waited, written_at;
    bool overdue, reported, looked, judged, blind;
    double overdue_at, next_look, verdict_at; /* in seconds waited; verdict_at < 0: none */
    watchdog_slot *before, *latest;           /* [ranks] */
    int64_t *order;                           /* [ranks] */
    watchdog_verdict verdict;
    /* The last resort's. */
    atomic_bool ending;
    atomic_uint_fast64_t resort_moves;
    atomic_int resort_rounds;
};

/* Fills in where this rank is now; the beat grows. */
void watchdog_fill_slot(watchdog *w, watchdog_state state, watchdog_slot *slot);
/* Writes it into the host's file, and warns the first time that this fails. */
void watchdog_write_slot(watchdog *w, watchdog_state state);

/* The handler of SIGALRM while the watchdog runs: the last resort where files block. */
void watchdog_last_resort(int number, siginfo_t *info, void *context);

/* The watching thread, until w->stop is posted. */
void *watchdog_watch(void *w);

#endif
