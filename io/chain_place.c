#include "io/chain_collect.h"

#include <stdlib.h>

/* A table of this many bytes at most is made; longer pairs of chain and sequence count as not
 * placed. A real chain of 16,000 residues still fits. */
#define PLACE_CELLS (INT64_C(1) << 28)

enum {
    GAP_AT_JUMP = -1,    /* residues left out where the author's numbers jump */
    GAP_ELSEWHERE = -20, /* or where they do not */
    IMPOSSIBLE = -1000000000
};

/* The author's numbers are often positions plus a constant. */
static bool place_by_number(const int32_t *number, int64_t count, int64_t length,
                            chain_place_fits *fits, const void *context, int64_t *place) {
    for (int64_t i = 1; i < count; i++)
        if (number[i] <= number[i - 1])
            return false;
    const int64_t span = (int64_t)number[count - 1] - number[0];
    for (int64_t start = 0; start + span < length; start++) {
        int64_t i = 0;
        while (i < count && fits(context, i, start + number[i] - number[0]))
            i++;
        if (i < count)
            continue;
        for (i = 0; i < count; i++)
            place[i] = start + number[i] - number[0];
        return true;
    }
    return false;
}

/* Cost of leaving sequence items out between residue i − 1 and residue i: free before the first. */
static int32_t gap_cost(const int32_t *number, int64_t i) {
    if (i == 0)
        return 0;
    const int64_t jump = (int64_t)number[i] - number[i - 1]; /* 0: an insertion code */
    return jump == 0 || jump == 1 ? GAP_ELSEWHERE : GAP_AT_JUMP;
}

/* Dynamic program over (residue i, item j). score[j]: best with residues 0..i placed, i at or
 * before j. step [i][j]: bit 0, i stands at j; bit 1, it does so right behind residue i − 1. */
static int32_t fill_table(const int32_t *number, int64_t count, int64_t length,
                          chain_place_fits *fits, const void *context, int32_t *rows,
                          uint8_t *step) {
    int32_t *before = rows, *best = rows + length, *ends = rows + 2 * length;
    /* before[j]: best with 0..i−1 at or before j;  ends[j]: with i − 1 exactly at j. */
    for (int64_t i = 0; i < count; i++) {
        const int32_t gap = gap_cost(number, i);
        int32_t running = IMPOSSIBLE, diagonal = IMPOSSIBLE;
        for (int64_t j = 0; j < length; j++) {
            const int32_t direct = i == 0 ? 0 : diagonal;
            const int32_t skipped = i == 0 ? 0 : (j >= 1 ? before[j - 1] + gap : IMPOSSIBLE);
            const bool adjacent = direct >= skipped;
            diagonal = i == 0 ? IMPOSSIBLE : ends[j];
            int32_t here = adjacent ? direct : skipped;
            if (here <= IMPOSSIBLE / 2 || !fits(context, i, j))
                here = IMPOSSIBLE;
            ends[j] = here;
            const bool stands = here > running;
            running = stands ? here : running;
            best[j] = running;
            step[i * length + j] = (uint8_t)((stands ? 1 : 0) | (adjacent ? 2 : 0));
        }
        int32_t *swap = before;
        before = best;
        best = swap;
    }
    return before[length - 1];
}

static void trace_back(const uint8_t *step, int64_t count, int64_t length, int64_t *place) {
    int64_t j = length - 1;
    bool exactly = false; /* residue i must stand at j */
    for (int64_t i = count - 1; i >= 0; i--) {
        while (!exactly && !(step[i * length + j] & 1))
            j--;
        place[i] = j;
        exactly = (step[i * length + j] & 2) != 0;
        j--;
    }
}

status chain_place(const int32_t *number, int64_t count, int64_t length, chain_place_fits *fits,
                   const void *context, int64_t *place, bool *placed, error *err) {
    *placed = false;
    if (count == 0 || count > length)
        return STATUS_OK;
    if (place_by_number(number, count, length, fits, context, place)) {
        *placed = true;
        return STATUS_OK;
    }
    if (count > PLACE_CELLS / length)
        return STATUS_OK;
    int32_t *rows = malloc((size_t)(3 * length) * sizeof *rows);
    uint8_t *step = malloc((size_t)(count * length));
    status result = STATUS_OK;
    if (rows == NULL || step == NULL)
        result =
            error_set(err, STATUS_FAILED, "no memory to place %lld residues in a sequence of %lld.",
                      (long long)count, (long long)length);
    else if (fill_table(number, count, length, fits, context, rows, step) > IMPOSSIBLE / 2) {
        trace_back(step, count, length, place);
        *placed = true;
    }
    free(rows);
    free(step);
    return result;
}
