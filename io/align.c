#include "io/align.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Scores: sequences that belong together are nearly equal, so no substitution matrix is needed. A
 * gap must pay for itself by at least three more matches. */
enum { MATCH = 4, MISMATCH = -3, UNKNOWN = 0, OPEN = 9, EXTEND = 1, NEVER = -1000000000 };

/* One byte a cell: where each of the three states of the cell came from. */
enum {
    FROM_PAIR = 0,       /* the pair state came from the pair, .. */
    FROM_ENTRY_GAP = 1,  /* .. the entry gap .. */
    FROM_CHAIN_GAP = 2,  /* .. or the chain gap before it */
    FROM_MASK = 3,       /* (these three share two bits) */
    ENTRY_GAP_STAYS = 4, /* the entry gap was open before */
    CHAIN_GAP_STAYS = 8  /* the chain gap was open before */
};

static void count_pairs(const uint8_t *entry, int64_t entry_length, const uint8_t *letters,
                        int64_t chain_length, const int64_t *map, align_result *result) {
    for (int64_t i = 0; i < entry_length; i++) {
        if (map[i] < 0)
            continue;
        const uint8_t a = entry[i], b = letters[map[i]];
        result->pairs++;
        result->unknown += a == 'X' || b == 'X';
        result->identical += a == b && a != 'X';
    }
    const int64_t known = result->pairs - result->unknown;
    const int64_t shorter = entry_length < chain_length ? entry_length : chain_length;
    result->identity = known > 0 ? (double)result->identical / (double)known : 0;
    result->coverage = (double)result->pairs / (double)shorter;
}

/* map[i] = i + shift where that lies inside the chain. */
static void map_shifted(int64_t entry_length, int64_t chain_length, int64_t shift, int64_t *map) {
    for (int64_t i = 0; i < entry_length; i++) {
        const int64_t j = i + shift;
        map[i] = j >= 0 && j < chain_length ? j : -1;
    }
}

/* Is one a substring of the other? Then *shift = chain index − entry index. */
static bool is_inside(const uint8_t *entry, int64_t entry_length, const uint8_t *letters,
                      int64_t chain_length, int64_t *shift) {
    const bool entry_longer = entry_length >= chain_length;
    const uint8_t *longer = entry_longer ? entry : letters;
    const uint8_t *shorter = entry_longer ? letters : entry;
    const int64_t outer = entry_longer ? entry_length : chain_length;
    const int64_t inner = entry_longer ? chain_length : entry_length;
    const uint8_t *at = memmem(longer, (size_t)outer, shorter, (size_t)inner);
    if (at == NULL)
        return false;
    *shift = entry_longer ? -(at - longer) : at - longer;
    return true;
}

static inline int32_t pair_score(uint8_t a, uint8_t b) {
    if (a == 'X' || b == 'X')
        return UNKNOWN;
    return a == b ? MATCH : MISMATCH;
}

/* The best of three states, the pair winning ties, then the entry gap. */
static inline int32_t best_of(int32_t pair, int32_t entry_gap, int32_t chain_gap, uint8_t *from) {
    int32_t best = pair;
    *from = FROM_PAIR;
    if (entry_gap > best) {
        best = entry_gap;
        *from = FROM_ENTRY_GAP;
    }
    if (chain_gap > best) {
        best = chain_gap;
        *from = FROM_CHAIN_GAP;
    }
    return best;
}

/* Where the alignment ends: its last pair and the score there. Beyond it lies a free gap. */
typedef struct path_end {
    int64_t i, j;
    int32_t score;
} path_end;

/* Gotoh's recurrences over cells (i, j), 0 ≤ i < n of the entry, 0 ≤ j < m of the chain. Three
 * states end at (i, j): `pair` aligns i with j; `entry_gap` leaves i without partner; `chain_gap`
 * leaves j. Row i − 1 stands in `pair`, `entry_gap` and `chain_gap` [m] while row i is computed.
 * Free gaps at the head: a pair in the first row or column starts from 0. Free gaps at the tail:
 * the best pair in the last row or column ends the path. */
static path_end fill_table(const uint8_t *entry, int64_t n, const uint8_t *letters, int64_t m,
                           int32_t *rows, uint8_t *table) {
    int32_t *pair = rows, *entry_gap = rows + m, *chain_gap = rows + 2 * m;
    path_end end = {-1, -1, NEVER};
    for (int64_t j = 0; j < m; j++)
        pair[j] = entry_gap[j] = chain_gap[j] = NEVER;
    for (int64_t i = 0; i < n; i++) {
        int32_t corner_pair = NEVER, corner_entry = NEVER, corner_chain = NEVER; /* (i−1, j−1) */
        int32_t left_pair = NEVER, left_chain = NEVER;                           /* (i, j−1) */
        for (int64_t j = 0; j < m; j++) {
            uint8_t from, cell;
            const int32_t head = i == 0 || j == 0 ? 0 : NEVER;
            const int32_t before = best_of(corner_pair, corner_entry, corner_chain, &from);
            cell = from;
            const int32_t here = pair_score(entry[i], letters[j]) + (before > head ? before : head);
            const int32_t entry_open = pair[j] - OPEN, entry_stay = entry_gap[j] - EXTEND;
            const int32_t chain_open = left_pair - OPEN, chain_stay = left_chain - EXTEND;
            cell |= entry_stay > entry_open ? ENTRY_GAP_STAYS : 0;
            cell |= chain_stay > chain_open ? CHAIN_GAP_STAYS : 0;
            corner_pair = pair[j];
            corner_entry = entry_gap[j];
            corner_chain = chain_gap[j];
            left_pair = pair[j] = here;
            entry_gap[j] = entry_stay > entry_open ? entry_stay : entry_open;
            left_chain = chain_gap[j] = chain_stay > chain_open ? chain_stay : chain_open;
            table[i * m + j] = cell;
            if ((i == n - 1 || j == m - 1) && here > end.score)
                end = (path_end){i, j, here};
        }
    }
    return end;
}

/* Follows the table from the end of the path to the first row or column. */
static void trace_back(const uint8_t *table, int64_t m, path_end at, int64_t *map) {
    uint8_t state = FROM_PAIR;
    int64_t i = at.i, j = at.j;
    while (i >= 0 && j >= 0) {
        const uint8_t cell = table[i * m + j];
        if (state == FROM_PAIR) {
            map[i] = j;
            state = cell & FROM_MASK;
            i--;
            j--;
        } else if (state == FROM_ENTRY_GAP) {
            state = cell & ENTRY_GAP_STAYS ? FROM_ENTRY_GAP : FROM_PAIR;
            i--;
        } else {
            state = cell & CHAIN_GAP_STAYS ? FROM_CHAIN_GAP : FROM_PAIR;
            j--;
        }
    }
}

static status align_globally(const uint8_t *entry, int64_t n, const uint8_t *letters, int64_t m,
                             int64_t *map, error *err) {
    int32_t *rows = malloc((size_t)(3 * m) * sizeof *rows);
    uint8_t *table = malloc((size_t)(n * m));
    status result = STATUS_OK;
    if (rows == NULL || table == NULL)
        result = error_set(err, STATUS_FAILED, "no memory to align %lld with %lld residues.",
                           (long long)n, (long long)m);
    else
        trace_back(table, m, fill_table(entry, n, letters, m, rows, table), map);
    free(rows);
    free(table);
    return result;
}

status align_entry(const uint8_t *entry, int64_t entry_length, const uint8_t *letters,
                   int64_t chain_length, int64_t *map, align_result *result, error *err) {
    int64_t shift;
    *result = (align_result){.kind = ALIGN_GLOBAL};
    if (is_inside(entry, entry_length, letters, chain_length, &shift)) {
        result->kind = entry_length == chain_length ? ALIGN_EQUAL : ALIGN_INSIDE;
        map_shifted(entry_length, chain_length, shift, map);
    } else {
        memset(map, -1, (size_t)entry_length * sizeof *map);
        if (entry_length > ALIGN_CELLS / chain_length)
            result->kind = ALIGN_TOO_LONG;
        else
            TRY(align_globally(entry, entry_length, letters, chain_length, map, err));
    }
    count_pairs(entry, entry_length, letters, chain_length, map, result);
    return STATUS_OK;
}
