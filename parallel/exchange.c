#include "parallel/exchange.h"

#include "parallel/agree.h"
#include "parallel/guard.h"
#include "src/base/clock.h"

#include <limits.h>
#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { ROW_TYPES = 8 };

/* What the schedule's hash calls the verbs. */
typedef enum verb { VERB_COUNTS = 1, VERB_BEGIN } verb;

/* A lane's part of the calls, in MPI's ints: [ranks] each, inside exchange.counts. */
typedef struct lane {
    int *send_count, *send_first, *receive_count, *receive_first;
    MPI_Request request;
    double due;   /* clock: not ended before this */
    bool flying;  /* begun and not ended */
    bool arrived; /* nothing to wait for any more */
} lane;

typedef struct row_type {
    size_t bytes; /* 0: unused */
    MPI_Datatype type;
} row_type;

struct exchange {
    MPI_Comm comm; /* owned */
    int ranks, rank;
    int64_t lanes;
    lane *lane;  /* [lanes] */
    int *counts; /* [lanes · 4 · ranks] */
    row_type types[ROW_TYPES];
    int oldest_type;
    double delay;
    double left; /* clock when the caller last left this module */
    exchange_times times;
    uint64_t schedule;
};

/* ---- life ------------------------------------------------------------------------------------ */

status exchange_create(exchange **out, MPI_Comm comm, int64_t lanes, error *err) {
    CHECK(lanes >= 1, "An exchange needs a lane.");
    const int ranks = comm_size(comm);
    exchange *x = calloc(1, sizeof *x);
    lane *lane_of = calloc((size_t)lanes, sizeof *lane_of);
    int *counts = calloc((size_t)lanes * 4 * (size_t)ranks, sizeof *counts);
    status code = STATUS_OK;
    if (x == NULL || lane_of == NULL || counts == NULL)
        code = error_set(err, STATUS_FAILED, "no memory for %lld lanes between %d ranks",
                         (long long)lanes, ranks);
    *out = NULL;
    if (agree(comm, code, err) != STATUS_OK) {
        free(counts);
        free(lane_of);
        free(x);
        return err->code;
    }
    *x = (exchange){
        .ranks = ranks, .rank = comm_rank(comm), .lanes = lanes, .lane = lane_of, .counts = counts};
    for (int64_t i = 0; i < lanes; i++) {
        int *of_lane = counts + i * 4 * ranks;
        lane_of[i] = (lane){of_lane,
                            of_lane + ranks,
                            of_lane + 2 * ranks,
                            of_lane + 3 * ranks,
                            MPI_REQUEST_NULL,
                            0,
                            false,
                            true};
    }
    MPI_TRY(MPI_Comm_dup(comm, &x->comm));
    *out = x;
    return STATUS_OK;
}

void exchange_destroy(exchange *x) {
    if (x == NULL)
        return;
    for (int64_t i = 0; i < x->lanes; i++)
        CHECK(!x->lane[i].flying, "Lane %lld is still in flight.", (long long)i);
    for (int i = 0; i < ROW_TYPES; i++)
        if (x->types[i].bytes > 0)
            MPI_TRY(MPI_Type_free(&x->types[i].type));
    MPI_TRY(MPI_Comm_free(&x->comm));
    free(x->counts);
    free(x->lane);
    free(x);
}

int exchange_ranks(const exchange *x) {
    return x->ranks;
}

int exchange_rank(const exchange *x) {
    return x->rank;
}

void exchange_set_delay(exchange *x, double seconds) {
    x->delay = seconds;
}

uint64_t exchange_schedule(const exchange *x) {
    return x->schedule;
}

static void note_call(exchange *x, verb what, int64_t lane_index, size_t size) {
    const uint64_t words[] = {(uint64_t)what, (uint64_t)lane_index, (uint64_t)size};
    x->schedule = guard_hash(words, sizeof words, x->schedule);
}

/* ---- time ------------------------------------------------------------------------------------ */

static bool has_lane_in_flight(const exchange *x) {
    for (int64_t i = 0; i < x->lanes; i++)
        if (x->lane[i].flying && !x->lane[i].arrived)
            return true;
    return false;
}

/* The caller comes back: what it did since it left was beside the lanes in flight. */
static double enter(exchange *x) {
    const double now = clock_seconds();
    if (has_lane_in_flight(x))
        x->times.hidden_s += now - x->left;
    return now;
}

static void leave(exchange *x, double entered, double *spent) {
    x->left = clock_seconds();
    *spent += x->left - entered;
}

exchange_times exchange_take_times(exchange *x) {
    const exchange_times taken = x->times;
    x->times = (exchange_times){0};
    return taken;
}

/* ---- moving ---------------------------------------------------------------------------------- */

void exchange_counts(exchange *x, const int64_t *send, int64_t n, int64_t *received) {
    const double entered = enter(x);
    note_call(x, VERB_COUNTS, 0, (size_t)n);
    const int count = mpi_count(n);
    MPI_TRY(MPI_Alltoall(send, count, MPI_INT64_T, received, count, MPI_INT64_T, x->comm));
    leave(x, entered, &x->times.counts_s);
}

/* The type of a row: made once per size. The oldest of ROW_TYPES sizes makes room; MPI keeps it
 * for whoever still uses it. */
static MPI_Datatype row_type_of(exchange *x, size_t bytes) {
    for (int i = 0; i < ROW_TYPES; i++)
        if (x->types[i].bytes == bytes)
            return x->types[i].type;
    row_type *made = &x->types[x->oldest_type];
    x->oldest_type = (x->oldest_type + 1) % ROW_TYPES;
    if (made->bytes > 0)
        MPI_TRY(MPI_Type_free(&made->type));
    MPI_TRY(MPI_Type_contiguous(mpi_count((int64_t)bytes), MPI_BYTE, &made->type));
    MPI_TRY(MPI_Type_commit(&made->type));
    made->bytes = bytes;
    return made->type;
}

/* Counts and starts of one direction as MPI's ints. */
static void take_counts(int ranks, const int64_t *count, const int64_t *first, int *mpi_counts,
                        int *mpi_first) {
    for (int r = 0; r < ranks; r++) {
        CHECK(count[r] >= 0 && first[r] >= 0 && count[r] <= INT_MAX && first[r] <= INT_MAX,
              "%lld rows from row %lld on (rank %d of the group), but MPI counts to %d in one "
              "call: take smaller chunks or more slices.",
              (long long)count[r], (long long)first[r], r, INT_MAX);
        mpi_counts[r] = (int)count[r];
        mpi_first[r] = (int)first[r];
    }
}

static lane *prepare_lane(exchange *x, int64_t index, const exchange_rows *rows) {
    CHECK(index >= 0 && index < x->lanes && !x->lane[index].flying,
          "Lane %lld of %lld is in flight, or there is none.", (long long)index,
          (long long)x->lanes);
    CHECK(rows->row_bytes > 0 && rows->send_count[x->rank] == rows->receive_count[x->rank],
          "Rank %d sends itself %lld rows of %zu bytes and expects %lld.", x->rank,
          (long long)rows->send_count[x->rank], rows->row_bytes,
          (long long)rows->receive_count[x->rank]);
    lane *l = &x->lane[index];
    take_counts(x->ranks, rows->send_count, rows->send_first, l->send_count, l->send_first);
    take_counts(x->ranks, rows->receive_count, rows->receive_first, l->receive_count,
                l->receive_first);
    return l;
}

/* How many rows of one direction there are. */
static int64_t count_rows(int ranks, const int *count) {
    int64_t total = 0;
    for (int r = 0; r < ranks; r++)
        total += count[r];
    return total;
}

/* MPI_Ialltoallv costs no more than its blocking sister or than bare MPI_Isend and MPI_Irecv: for
 * 4,096 rows of 4 KiB per rank between two ranks of a node all take 3.0 ms, of 8 KiB 5.9, 5.9 and
 * 6.1 ms (Open MPI 4.1.4, medians of 101 in turn). */
void exchange_begin(exchange *x, int64_t index, const exchange_rows *rows) {
    const double entered = enter(x);
    lane *l = prepare_lane(x, index, rows);
    note_call(x, VERB_BEGIN, index, rows->row_bytes);
    const int64_t sent = count_rows(x->ranks, l->send_count);
    const int64_t received = count_rows(x->ranks, l->receive_count);
    CHECK(sent == 0 || received == 0 || rows->send != rows->receive,
          "Rows would be received over the rows that are sent.");
    /* Open MPI takes equal addresses for MPI_IN_PLACE and then sends what should be received. An
     * empty side may well have the address of the other one: memory that follows it. */
    const void *send = sent == 0 ? NULL : rows->send;
    void *receive = received == 0 ? NULL : rows->receive;
    const MPI_Datatype type = row_type_of(x, rows->row_bytes);
    MPI_TRY(MPI_Ialltoallv(send, l->send_count, l->send_first, type, receive, l->receive_count,
                           l->receive_first, type, x->comm, &l->request));
    x->times.bytes += (sent - l->send_count[x->rank]) * (int64_t)rows->row_bytes;
    l->flying = true;
    l->arrived = false;
    l->due = entered + x->delay;
    leave(x, entered, &x->times.moving_s);
}

static void poll_lanes(exchange *x) {
    for (int64_t i = 0; i < x->lanes; i++) {
        lane *l = &x->lane[i];
        int done = 0;
        if (!l->flying || l->arrived)
            continue;
        MPI_TRY(MPI_Test(&l->request, &done, MPI_STATUS_IGNORE)); /* done, too, once it was */
        l->arrived = done && clock_seconds() >= l->due;
    }
}

void exchange_progress(exchange *x) {
    if (!has_lane_in_flight(x))
        return;
    const double entered = enter(x);
    poll_lanes(x);
    leave(x, entered, &x->times.moving_s);
}

void exchange_end(exchange *x, int64_t index) {
    CHECK(index >= 0 && index < x->lanes && x->lane[index].flying,
          "Lane %lld of %lld is not in flight.", (long long)index, (long long)x->lanes);
    const double entered = enter(x);
    lane *l = &x->lane[index];
    while (clock_seconds() < l->due) {
        poll_lanes(x);
        sched_yield(); /* a slow network would leave the core to others as well */
    }
    MPI_TRY(MPI_Wait(&l->request, MPI_STATUS_IGNORE));
    l->flying = false;
    l->arrived = true;
    leave(x, entered, &x->times.waited_s);
}

void exchange_blocking(exchange *x, const exchange_rows *rows) {
    CHECK(!has_lane_in_flight(x), "A lane is in flight.");
    const lane *l = prepare_lane(x, 0, rows);
    const MPI_Datatype type = row_type_of(x, rows->row_bytes);
    MPI_TRY(MPI_Alltoallv(rows->send, l->send_count, l->send_first, type, rows->receive,
                          l->receive_count, l->receive_first, type, x->comm));
}
