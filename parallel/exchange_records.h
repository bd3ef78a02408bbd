/* Records that find their place: byte records with a key, sorted over all ranks.
 *
 * A record is some bytes that begin with a key of RECORD_KEY bytes, compared by memcmp (so numbers
 * in it are big-endian). The first RECORD_GROUP bytes of the key are its group: records of one
 * group always end up on one rank. The picture: every rank sorts its own, a sample of all keys
 * gives the borders between ranks, every record travels once, every rank sorts what it received
 * (sample sort). What a rank holds is its share, never world × data; counts are 64-bit; a message
 * is at most 1 GiB.
 */
#ifndef SEPIT_PARALLEL_EXCHANGE_RECORDS_H
#define SEPIT_PARALLEL_EXCHANGE_RECORDS_H

#include "src/base/error.h"

#include <mpi.h>
#include <stdint.h>

enum { RECORD_KEY = 32, RECORD_GROUP = 16, RECORD_ALIGNMENT = 8 };

/* Records of one rank, back to back. Zeroed: empty. Owns both arrays. */
typedef struct record_set {
    int64_t count, bytes; /* in use */
    int64_t room_count, room_bytes;
    int64_t *offset; /* [count+1] into data, multiples of RECORD_ALIGNMENT */
    uint8_t *data;
} record_set;

void record_set_destroy(record_set *set);

/* Makes a record of `bytes` ≥ RECORD_KEY at the end and returns where to write it (valid until the
 * next call), its last RECORD_ALIGNMENT bytes cleared so that no record carries stray bytes; NULL
 * and STATUS_FAILED in err when memory is short. Amortised constant time. Local. */
uint8_t *record_set_add(record_set *set, int64_t bytes, error *err);

/* Record i, borrowed. */
static inline const uint8_t *record_at(const record_set *set, int64_t i) {
    return set->data + set->offset[i];
}

/* Sorts by key. Local. On failure the set is as it was. */
status record_set_sort(record_set *set, error *err);

/* Borders between the ranks: size−1 groups, ascending; rank r gets groups in [border r−1, border
 * r). The set must be sorted. The caller frees *borders. Collective on comm. */
status record_set_borders(MPI_Comm comm, const record_set *set, uint8_t **borders, error *err);

/* Sends every record to the rank its group belongs to; the set then holds, sorted, what this rank
 * received. Collective on comm; on failure the set is empty. */
status record_set_exchange(MPI_Comm comm, record_set *set, const uint8_t *borders, error *err);

/* Each of `count` values becomes its sum over the ranks below this one: where this rank's part
 * begins. Collective on comm. */
void exchange_sum_before(MPI_Comm comm, int64_t count, int64_t *values);

/* Rank 0's bytes for everyone, any length. Collective on comm. */
void exchange_broadcast(MPI_Comm comm, int64_t bytes, void *data);

/* Rank by rank in order, what each rank has to say: every rank's text (NUL-terminated) arrives on
 * rank 0 as one, which the caller frees; NULL on the others. For reports, not for data.
 * Collective on comm. */
char *exchange_gather_text(MPI_Comm comm, const char *text);

#endif
