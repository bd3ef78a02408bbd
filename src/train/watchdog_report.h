/* Where the main thread of this process is, written by another thread into a file.
 *
 * The stack is printed by the main thread itself, in a signal handler (SIGURG, which does nothing
 * to a process that does not expect it), from functions that allocate and lock nothing. A main
 * thread that cannot even take a signal leaves a report without a stack. Internal to
 * src/train/watchdog.c.
 */
#ifndef SEPIT_TRAIN_WATCHDOG_REPORT_H
#define SEPIT_TRAIN_WATCHDOG_REPORT_H

#include "src/base/error.h"

#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/types.h>

typedef struct watchdog_report {
    pthread_t thread; /* that is reported on */
    pid_t thread_id;
    int file; /* where its stack goes */
    sem_t printed;
    struct sigaction old_action;
} watchdog_report;

/* Prepares reports on the calling thread. */
void watchdog_report_create(watchdog_report *r);
void watchdog_report_destroy(watchdog_report *r);

/* Writes `head`, what the kernel says of the thread, and its stack. Takes at most two seconds.
 * Called by another thread. */
status watchdog_report_write(watchdog_report *r, const char *path, const char *head, error *err);

#endif
