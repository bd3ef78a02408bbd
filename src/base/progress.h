/* Progress of a long job: one line rewritten in place on a terminal, a plain line now and then in a
 * log. Rank 0 only; the others' calls do nothing.
 */
#ifndef SEPIT_BASE_PROGRESS_H
#define SEPIT_BASE_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct progress {
    const char *what; /* "step"; borrowed */
    int64_t total;
    bool terminal;
    bool line_open; /* a rewritten line is on the screen */
    double started, last_shown;
} progress;

void progress_begin(progress *p, const char *what, int64_t total);
/* done of total; `detail` is shown behind it (loss, rate). At most ten times a second on a
 * terminal; in a log every 10 seconds, and always the first and the last. */
void progress_show(progress *p, int64_t done, const char *detail);
/* Ends an open line. */
void progress_end(progress *p);

#endif
