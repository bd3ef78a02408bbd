/* Where a rank is, as its watchdog writes it for the others: one slot per rank.
 *
 * A host's ranks share one file, RUN/watchdog/heartbeat_HOST, so that no two clients of a network
 * file system write into one page; rank r's slot lies at r · sizeof(watchdog_slot). Every access
 * opens and closes the file, because that is what makes NFS look at the server.
 * Internal to src/train/watchdog.c.
 */
#ifndef SEPIT_TRAIN_WATCHDOG_SLOT_H
#define SEPIT_TRAIN_WATCHDOG_SLOT_H

#include "src/base/error.h"

#include <stdint.h>

enum { WATCHDOG_HOST = 40, WATCHDOG_VERB = 32 };

typedef enum watchdog_state {
    WATCHDOG_NONE,
    WATCHDOG_MOVES,
    WATCHDOG_OVERDUE,
    WATCHDOG_ENDED
} watchdog_state;

typedef struct watchdog_slot {
    uint64_t beat; /* grows with every writing; 0: never written */
    int64_t step;
    uint64_t collectives; /* how many watchdog_note there were */
    int32_t phase;        /* watchdog_phase */
    int32_t state;        /* watchdog_state */
    double waited;        /* seconds in this place */
    double budget;        /* seconds it may be there */
    char host[WATCHDOG_HOST];
    char verb[WATCHDOG_VERB]; /* the last watchdog_note */
} watchdog_slot;

/* Writes rank's slot into the file, creating it when `create`. */
status watchdog_slot_write(const char *path, int64_t rank, const watchdog_slot *slot, int create,
                           error *err);

/* slot[ranks] = what the ranks of all hosts have written last into the files of this folder. A
 * rank that has no slot gets a zeroed one. STATUS_FAILED when a file could not be read. */
status watchdog_slot_read_all(const char *folder, int64_t ranks, watchdog_slot *slot, error *err);

#endif
