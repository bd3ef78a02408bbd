// TEST np=1,2,3,4 timeout=120
/* exchange: three lanes at once, of ragged counts, gaps between the parts and many row sizes,
 * against a slow twin that gathers everything everywhere; with all rows for one rank, a rank with
 * none, nothing at all, and a delay. And the sentence for counts that MPI cannot hold. */
#include "parallel/agree.h"
#include "parallel/exchange.h"
#include "src/base/rng.h"
#include "tests/test.h"

#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>

enum { LANES = 3, MOST_RANKS = 8, MOST_ROWS = 40, GAP = 2, FILLER = 0xEE };

typedef enum pattern { RAGGED, ALL_TO_FIRST, LAST_HAS_NONE, NOTHING, OWN_ONLY, PATTERNS } pattern;

/* Rows that rank `from` sends to rank `to`. */
static int64_t rows_between(pattern p, int round, int from, int to, int ranks) {
    const rng_key key = rng_key_make((uint64_t)round, "exchange test");
    const int64_t some = (int64_t)rng_below(key, (uint64_t)from, (uint64_t)to, MOST_ROWS);
    if (p == ALL_TO_FIRST)
        return to == 0 ? MOST_ROWS : 0;
    if (p == LAST_HAS_NONE && (from == ranks - 1 || to == ranks - 1))
        return 0;
    if (p == OWN_ONLY)
        return from == to ? some : 0;
    return p == NOTHING || some % 3 == 0 ? 0 : some;
}

static uint8_t byte_of(int round, int from, int to, int64_t row, int64_t byte) {
    return (uint8_t)(round * 31 + from * 101 + to * 57 + row * 7 + byte * 3 + byte / 251);
}

typedef struct traffic {
    exchange_rows rows;
    uint8_t *send, *receive;
    int64_t send_count[MOST_RANKS], send_first[MOST_RANKS];
    int64_t receive_count[MOST_RANKS], receive_first[MOST_RANKS];
    int64_t send_rows, receive_rows; /* of the buffers */
} traffic;

/* The parts lie in the buffers from the last rank down to the first, with gaps between. */
static void make_traffic(traffic *t, exchange *x, pattern p, int round, size_t row_bytes) {
    const int ranks = exchange_ranks(x), me = exchange_rank(x);
    memset(t, 0, sizeof *t);
    for (int r = ranks - 1; r >= 0; r--) {
        t->send_count[r] = rows_between(p, round, me, r, ranks);
        t->send_first[r] = t->send_rows;
        t->send_rows += t->send_count[r] + GAP;
    }
    exchange_counts(x, t->send_count, 1, t->receive_count);
    for (int r = ranks - 1; r >= 0; r--) {
        t->receive_first[r] = t->receive_rows;
        t->receive_rows += t->receive_count[r] + GAP;
    }
    t->send = malloc((size_t)t->send_rows * row_bytes);
    t->receive = malloc((size_t)t->receive_rows * row_bytes);
    memset(t->send, 1, (size_t)t->send_rows * row_bytes);
    memset(t->receive, FILLER, (size_t)t->receive_rows * row_bytes);
    for (int r = 0; r < ranks; r++)
        for (int64_t i = 0; i < t->send_count[r]; i++)
            for (size_t b = 0; b < row_bytes; b++)
                t->send[(size_t)(t->send_first[r] + i) * row_bytes + b] =
                    byte_of(round, me, r, i, (int64_t)b);
    t->rows = (exchange_rows){t->send,          t->send_first,    t->send_count, t->receive,
                              t->receive_first, t->receive_count, row_bytes};
}

/* The twin: everybody's whole send buffer and tables, gathered by everybody. */
static void check_against_twin(traffic *t, exchange *x, const char *what) {
    const int ranks = exchange_ranks(x), me = exchange_rank(x);
    const size_t row = t->rows.row_bytes;
    int64_t most = t->send_rows;
    MPI_Allreduce(MPI_IN_PLACE, &most, 1, MPI_INT64_T, MPI_MAX, MPI_COMM_WORLD);
    int64_t count[MOST_RANKS][MOST_RANKS], first[MOST_RANKS][MOST_RANKS];
    uint8_t *mine = calloc((size_t)most, row), *all = malloc((size_t)(most * ranks) * row);
    memcpy(mine, t->send, (size_t)t->send_rows * row);
    MPI_Allgather(mine, (int)((size_t)most * row), MPI_BYTE, all, (int)((size_t)most * row),
                  MPI_BYTE, MPI_COMM_WORLD);
    MPI_Allgather(t->send_count, MOST_RANKS, MPI_INT64_T, count, MOST_RANKS, MPI_INT64_T,
                  MPI_COMM_WORLD);
    MPI_Allgather(t->send_first, MOST_RANKS, MPI_INT64_T, first, MOST_RANKS, MPI_INT64_T,
                  MPI_COMM_WORLD);
    uint8_t *want = malloc((size_t)t->receive_rows * row);
    memset(want, FILLER, (size_t)t->receive_rows * row);
    for (int r = 0; r < ranks; r++) {
        EXPECT(t->receive_count[r] == count[r][me], "%s: count from rank %d", what, r);
        memcpy(want + (size_t)t->receive_first[r] * row,
               all + (size_t)(r * most + first[r][me]) * row, (size_t)count[r][me] * row);
    }
    EXPECT(memcmp(want, t->receive, (size_t)t->receive_rows * row) == 0,
           "%s: rows of %zu bytes differ from the twin's", what, row);
    free(want);
    free(all);
    free(mine);
}

static void check_round(exchange *x, pattern p, int round) {
    static const size_t sizes[] = {1, 4, 12, 64, 100, 1000, 2048, 4096, 4100, 8192};
    traffic t[LANES];
    int64_t bytes = 0;
    for (int lane = 0; lane < LANES; lane++) {
        make_traffic(&t[lane], x, p, round * LANES + lane, sizes[(round * LANES + lane) % 10]);
        for (int r = 0; r < exchange_ranks(x); r++)
            bytes +=
                r == exchange_rank(x) ? 0 : t[lane].send_count[r] * (int64_t)t[lane].rows.row_bytes;
    }
    exchange_take_times(x);
    for (int lane = 0; lane < LANES; lane++)
        exchange_begin(x, lane, &t[lane].rows);
    for (int i = 0; i < round % 3; i++)
        exchange_progress(x);
    for (int i = 0; i < LANES; i++) /* any order of ends, another one on each rank */
        exchange_end(x, (i + round + exchange_rank(x)) % LANES);
    const exchange_times times = exchange_take_times(x);
    EXPECT(times.bytes == bytes, "%lld, want %lld", (long long)times.bytes, (long long)bytes);
    for (int lane = 0; lane < LANES; lane++)
        check_against_twin(&t[lane], x, "in lanes");
    memset(t[0].receive, FILLER, (size_t)t[0].receive_rows * t[0].rows.row_bytes);
    exchange_blocking(x, &t[0].rows);
    check_against_twin(&t[0], x, "blocking");
    for (int lane = 0; lane < LANES; lane++) {
        free(t[lane].send);
        free(t[lane].receive);
    }
}

/* No buffers at all where no rows are; several counters per rank. */
static void check_empty(exchange *x) {
    int64_t zero[MOST_RANKS] = {0}, send[MOST_RANKS][3], got[MOST_RANKS][3];
    const exchange_rows none = {NULL, zero, zero, NULL, zero, zero, 16};
    exchange_begin(x, 0, &none);
    exchange_end(x, 0);
    const int ranks = exchange_ranks(x), me = exchange_rank(x);
    for (int r = 0; r < ranks; r++)
        for (int i = 0; i < 3; i++)
            send[r][i] = ((int64_t)me << 40) + r * 10 + i;
    exchange_counts(x, send[0], 3, got[0]);
    for (int r = 0; r < ranks; r++)
        for (int i = 0; i < 3; i++)
            EXPECT(got[r][i] == ((int64_t)r << 40) + me * 10 + i, "counter %d of rank %d", i, r);
}

/* The last rank sends nothing, and its empty buffer has the address of the one it receives into.
 * (Rows too large for MPI to send on its own account: a wrong one would never arrive.) */
static void check_same_address(exchange *x) {
    enum { WIDTH = 65536 };
    static int32_t numbers[MOST_RANKS][WIDTH];
    const int ranks = exchange_ranks(x), me = exchange_rank(x);
    const bool sends = me < ranks - 1;
    int64_t zero[MOST_RANKS] = {0}, counts[MOST_RANKS] = {0};
    int64_t from[MOST_RANKS] = {0}, order[MOST_RANKS] = {0};
    counts[ranks - 1] = sends;
    for (int i = 0; i < WIDTH; i++)
        numbers[0][i] = sends ? 7 + me + i : -1;
    for (int r = 0; r < ranks - 1 && !sends; r++) {
        from[r] = 1;
        order[r] = r;
    }
    const exchange_rows rows = {numbers, zero, counts, numbers, order, from, sizeof numbers[0]};
    exchange_begin(x, 0, &rows);
    exchange_end(x, 0);
    for (int r = 0; r < ranks - 1 && !sends; r++)
        EXPECT(numbers[r][0] == 7 + r && numbers[r][WIDTH - 1] == 6 + r + WIDTH, "from rank %d", r);
}

static sigjmp_buf after_abort;

static void on_abort(int signal_number) {
    (void)signal_number;
    siglongjmp(after_abort, 1);
}

/* More rows than an int holds: the process is ended before anything is sent. */
static void check_too_many(exchange *x, int64_t count, int64_t first) {
    const int other = (exchange_rank(x) + 1) % exchange_ranks(x);
    int64_t counts[MOST_RANKS] = {0}, starts[MOST_RANKS] = {0};
    counts[other] = count;
    starts[other] = first;
    const exchange_rows many = {NULL, starts, counts, NULL, starts, counts, 16};
    volatile int aborted = 0;
    void (*before)(int) = signal(SIGABRT, on_abort);
    if (sigsetjmp(after_abort, 1) == 0)
        exchange_begin(x, 0, &many);
    else
        aborted = 1;
    signal(SIGABRT, before);
    EXPECT(aborted, "%lld rows from %lld on were accepted", (long long)count, (long long)first);
}

/* The hash of the schedule: alike while the ranks do the same, else not. */
static void check_schedule(exchange *x) {
    const int ranks = exchange_ranks(x);
    int64_t zero[MOST_RANKS] = {0};
    uint64_t least = exchange_schedule(x), most = least;
    MPI_Allreduce(MPI_IN_PLACE, &least, 1, MPI_UINT64_T, MPI_MIN, MPI_COMM_WORLD);
    MPI_Allreduce(MPI_IN_PLACE, &most, 1, MPI_UINT64_T, MPI_MAX, MPI_COMM_WORLD);
    EXPECT(least == most);
    const exchange_rows none = {
        NULL, zero, zero, NULL, zero, zero, exchange_rank(x) == 0 ? 16 : 32};
    exchange_begin(x, 0, &none);
    exchange_end(x, 0);
    least = most = exchange_schedule(x);
    MPI_Allreduce(MPI_IN_PLACE, &least, 1, MPI_UINT64_T, MPI_MIN, MPI_COMM_WORLD);
    MPI_Allreduce(MPI_IN_PLACE, &most, 1, MPI_UINT64_T, MPI_MAX, MPI_COMM_WORLD);
    EXPECT((least == most) == (ranks == 1));
}

int main(int argc, char **argv) {
    MPI_Init(&argc, &argv);
    exchange *x = NULL;
    error err = {0};
    EXPECT(exchange_create(&x, MPI_COMM_WORLD, LANES, &err) == STATUS_OK, "%s", err.text);
    EXPECT(exchange_ranks(x) == comm_size(MPI_COMM_WORLD));
    EXPECT(exchange_rank(x) == comm_rank(MPI_COMM_WORLD));
    for (int round = 0; round < 4 * PATTERNS; round++)
        check_round(x, (pattern)(round % PATTERNS), round);
    exchange_set_delay(x, 0.01);
    check_round(x, RAGGED, 100);
    exchange_set_delay(x, 0);
    check_empty(x);
    check_same_address(x);
    check_too_many(x, (int64_t)INT32_MAX + 1, 0);
    check_too_many(x, 1, (int64_t)1 << 32);
    check_schedule(x);
    exchange_destroy(x);
    exchange_destroy(NULL);
    MPI_Finalize();
    return test_end();
}
