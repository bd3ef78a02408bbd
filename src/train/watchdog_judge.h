/* Who is behind, from two looks at what all ranks have written about themselves.
 *
 * Pure: no file, no clock. Internal to src/train/watchdog.c.
 */
#ifndef SEPIT_TRAIN_WATCHDOG_JUDGE_H
#define SEPIT_TRAIN_WATCHDOG_JUDGE_H

#include "src/train/watchdog_slot.h"

#include <stdbool.h>
#include <stdint.h>

enum { WATCHDOG_NAMED = 64, WATCHDOG_SENTENCE = 1536 };

typedef struct watchdog_verdict {
    bool hung; /* false: the rank that keeps the others waiting is inside its own budget */
    int named_count;
    int64_t named[WATCHDOG_NAMED]; /* the first of the ranks that are behind, ascending */
    char sentence[WATCHDOG_SENTENCE];
} watchdog_verdict;

/* In this order:
 * - ranks whose slot did not change between the looks are behind: they cannot even write;
 * - else the ranks with the smallest (step, phase, collectives), when they are at most half: a
 *   collective call waits for them;
 * - else those that are not with the majority: they left a call out, or are in another one;
 * - else nobody: all wait in the same place.
 * Ranks that have ended count as being at the end. `mine` is the rank that looks: when not even
 * its own slot has changed, the files say nothing about anyone, and the run is hung. before, now:
 * [ranks]; order: [ranks], scratch. */
void watchdog_judge(const watchdog_slot *before, const watchdog_slot *now, int64_t ranks,
                    int64_t mine, int64_t *order, watchdog_verdict *verdict);

/* The name of a phase; a text for any number. */
const char *watchdog_phase_name(int32_t phase);

#endif
