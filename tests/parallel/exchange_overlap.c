// TEST np=1,2,4 timeout=60
/* exchange: calls of exchange_progress in between move the rows without exchange_end, and hide the
 * waiting for a slow network; without anything in between all of it is waited for. */
#include "parallel/agree.h"
#include "parallel/exchange.h"
#include "src/base/clock.h"
#include "tests/test.h"

#include <sched.h>
#include <stdbool.h>

enum { ROWS = 512, ROW_BYTES = 4096, MOST_RANKS = 8 };
static const double delay = 0.2;

typedef struct movement {
    exchange_rows rows;
    int64_t first[MOST_RANKS], count[MOST_RANKS];
    uint8_t *send, *receive;
} movement;

/* ROWS rows to every rank, filled with numbers of sender and receiver. */
static void make_movement(movement *m, int rank, int ranks) {
    m->send = malloc((size_t)ranks * ROWS * ROW_BYTES);
    m->receive = calloc((size_t)ranks, (size_t)ROWS * ROW_BYTES);
    for (int r = 0; r < ranks; r++) {
        m->first[r] = r * ROWS;
        m->count[r] = ROWS;
        memset(m->send + (size_t)r * ROWS * ROW_BYTES, 1 + 16 * rank + r, (size_t)ROWS * ROW_BYTES);
    }
    m->rows =
        (exchange_rows){m->send, m->first, m->count, m->receive, m->first, m->count, ROW_BYTES};
}

static bool has_arrived(const movement *m, int rank, int ranks) {
    for (int r = 0; r < ranks; r++)
        for (int64_t i = 0; i < (int64_t)ROWS * ROW_BYTES; i++)
            if (((volatile uint8_t *)m->receive)[(int64_t)r * ROWS * ROW_BYTES + i] !=
                1 + 16 * r + rank)
                return false;
    return true;
}

/* The rows arrive although nobody ends the lane. */
static void check_progress(exchange *x, movement *m) {
    const int rank = exchange_rank(x), ranks = exchange_ranks(x);
    const double start = clock_seconds();
    bool here = false;
    exchange_begin(x, 1, &m->rows);
    while (!here && clock_seconds() < start + 20) {
        exchange_progress(x);
        sched_yield();
        here = has_arrived(m, rank, ranks);
    }
    EXPECT(here, "calls of progress did not move the rows");
    int all_here = here;
    MPI_Request everybody; /* those who are done go on calling, as in a step */
    int done = 0;
    MPI_Iallreduce(MPI_IN_PLACE, &all_here, 1, MPI_INT, MPI_MIN, MPI_COMM_WORLD, &everybody);
    while (!done) {
        exchange_progress(x);
        MPI_Test(&everybody, &done, MPI_STATUS_IGNORE);
    }
    EXPECT(all_here);
    exchange_end(x, 1);
}

/* begin, `compute_s` of calls between, end. */
static exchange_times run(exchange *x, const movement *m, double compute_s, double *wall) {
    MPI_Barrier(MPI_COMM_WORLD);
    exchange_take_times(x);
    const double start = clock_seconds();
    exchange_begin(x, 0, &m->rows);
    while (clock_seconds() < start + compute_s) {
        const double product = clock_seconds() + 0.002;
        while (clock_seconds() < product)
            sched_yield();
        exchange_progress(x);
    }
    exchange_end(x, 0);
    *wall = clock_seconds() - start;
    return exchange_take_times(x);
}

static void check_overlap(exchange *x, const movement *m) {
    double wall = 0;
    exchange_set_delay(x, delay);
    const exchange_times alone = run(x, m, 0, &wall);
    EXPECT(wall >= delay, "ended after %.3f s", wall);
    EXPECT(alone.waited_s + alone.moving_s >= 0.99 * delay, "%.3f s", alone.waited_s);
    EXPECT(alone.hidden_s < 0.1 * delay, "%.3f s hidden beside nothing", alone.hidden_s);
    const exchange_times half = run(x, m, delay / 2, &wall);
    EXPECT(wall >= delay, "ended after %.3f s", wall);
    EXPECT(half.waited_s < 0.7 * delay, "%.3f s", half.waited_s);
    EXPECT(half.hidden_s > 0.3 * delay, "%.3f s", half.hidden_s);
    const exchange_times beside = run(x, m, 1.5 * delay, &wall);
    EXPECT(beside.waited_s < 0.2 * delay, "%.3f s waited beside computation", beside.waited_s);
    EXPECT(beside.hidden_s > 0.8 * delay, "%.3f s hidden", beside.hidden_s);
    EXPECT(beside.hidden_s < 1.4 * delay, "%.3f s: goes on after the arrival", beside.hidden_s);
}

int main(int argc, char **argv) {
    MPI_Init(&argc, &argv);
    exchange *x = NULL;
    error err = {0};
    EXPECT(exchange_create(&x, MPI_COMM_WORLD, 2, &err) == STATUS_OK, "%s", err.text);
    movement m;
    make_movement(&m, exchange_rank(x), exchange_ranks(x));
    check_progress(x, &m);
    check_overlap(x, &m);
    EXPECT(has_arrived(&m, exchange_rank(x), exchange_ranks(x)));
    exchange_destroy(x);
    free(m.send);
    free(m.receive);
    MPI_Finalize();
    return test_end();
}
