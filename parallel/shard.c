#include "parallel/shard.h"

#include "parallel/agree.h"
#include "parallel/tree.h"

#include <stdlib.h>
#include <string.h>

enum {
    LARGEST_BLOCK = 262144, /* 1 MiB of floats: enough to be bound by bandwidth */
    RECEIVE_BYTES = 64 * 1024 * 1024,
    LANES = 8 /* running sums of a block's squares */
};

typedef enum verb { VERB_REDUCE = 1, VERB_GATHER } verb;

static int64_t ceil_div(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

/* Large enough for bandwidth, small enough for the receive buffers and for an even deal. */
static int64_t choose_block(int64_t elements, int ranks, size_t width) {
    int64_t units = LARGEST_BLOCK / SHARD_SUM_BLOCK;
    const int64_t fair = ceil_div(ceil_div(elements, SHARD_SUM_BLOCK), ranks);
    const int64_t fits = (int64_t)(RECEIVE_BYTES / width) / SHARD_FLIGHTS / ranks / SHARD_SUM_BLOCK;
    if (units > fits)
        units = fits;
    if (units > fair)
        units = fair;
    return (units < 1 ? 1 : units) * SHARD_SUM_BLOCK;
}

static int64_t choose_flights(int64_t rounds, int64_t round_bytes) {
    int64_t flights = RECEIVE_BYTES / round_bytes;
    if (flights > SHARD_FLIGHTS)
        flights = SHARD_FLIGHTS;
    if (flights > rounds)
        flights = rounds;
    return flights < 1 ? 1 : flights;
}

static void note(shard *s, uint64_t what, int64_t count) {
    s->schedule = (s->schedule ^ (what << 56 ^ (uint64_t)count)) * 0x9E3779B97F4A7C15u;
    s->schedule ^= s->schedule >> 29;
}

status shard_create(shard *s, MPI_Comm comm, int64_t elements, size_t width, error *err) {
    CHECK(width == sizeof(float) || width == sizeof(double), "An element has 4 or 8 bytes.");
    *s = (shard){.elements = elements, .width = width};
    MPI_TRY(MPI_Comm_dup(comm, &s->comm));
    s->ranks = comm_size(comm);
    s->rank = comm_rank(comm);
    s->block = choose_block(elements, s->ranks, width);
    s->rounds = ceil_div(elements, s->block * s->ranks);
    s->storage = s->rounds * s->ranks * s->block;
    s->local = s->rounds * s->block;
    const int64_t round_bytes = s->ranks * s->block * (int64_t)width;
    s->flights = choose_flights(s->rounds, round_bytes);
    s->received = malloc((size_t)(s->flights * round_bytes));
    note(s, 0, elements);
    status code = STATUS_OK;
    if (s->received == NULL)
        code =
            error_set(err, STATUS_FAILED, "no memory to exchange gradients: %lld bytes asked for",
                      (long long)(s->flights * round_bytes));
    code = agree(comm, code, err);
    if (code != STATUS_OK)
        shard_destroy(s);
    return code;
}

void shard_destroy(shard *s) {
    if (s->ranks == 0)
        return;
    CHECK(!s->reduction.running, "A reduction is still under way.");
    free(s->received);
    MPI_TRY(MPI_Comm_free(&s->comm));
    *s = (shard){0};
}

int64_t shard_global_index(const shard *s, int64_t i) {
    const int64_t round = i / s->block;
    return (round * s->ranks + s->rank) * s->block + i % s->block;
}

static size_t block_bytes(const shard *s) {
    return (size_t)s->block * s->width;
}

static size_t round_bytes(const shard *s) {
    return (size_t)s->ranks * block_bytes(s);
}

/* ---- reducing -------------------------------------------------------------------------------- */

/* Rounds oldest … next+1 are in flight, each in the buffer of its number modulo the ring. */
static char *round_buffer(const shard *s, int64_t round) {
    return s->received + (size_t)(round % s->flights) * round_bytes(s);
}

static void begin_rounds(shard *s) {
    shard_reduction *r = &s->reduction;
    const int count = mpi_count((int64_t)block_bytes(s));
    for (; r->next >= r->ready && r->oldest - r->next < s->flights; r->next--) {
        note(s, VERB_REDUCE, r->next);
        MPI_TRY(MPI_Ialltoall(r->whole + (size_t)r->next * round_bytes(s), count, MPI_BYTE,
                              round_buffer(s, r->next), count, MPI_BYTE, s->comm,
                              &r->request[r->next % s->flights]));
    }
}

/* The oldest round has arrived. */
static void sum_round(shard *s) {
    shard_reduction *r = &s->reduction;
    char *slices = round_buffer(s, r->oldest);
    tree_sum_rows(slices, s->ranks, s->block, s->width);
    memcpy(r->part + (size_t)r->oldest * block_bytes(s), slices, block_bytes(s));
    r->oldest--;
}

void shard_reduce_begin(shard *s, const void *whole, void *part) {
    CHECK(!s->reduction.running, "A reduction is begun before the one before it has ended.");
    s->reduction = (shard_reduction){.running = true,
                                     .whole = whole,
                                     .part = part,
                                     .oldest = s->rounds - 1,
                                     .next = s->rounds - 1,
                                     .ready = s->rounds};
}

void shard_reduce_ready(shard *s, int64_t element) {
    CHECK(s->reduction.running, "No reduction is under way.");
    const int64_t round = ceil_div(element, s->ranks * s->block);
    if (round < s->reduction.ready)
        s->reduction.ready = round;
    shard_progress(s);
}

void shard_progress(shard *s) {
    shard_reduction *r = &s->reduction;
    if (!r->running)
        return;
    begin_rounds(s);
    while (r->oldest > r->next) {
        int arrived = 0;
        MPI_TRY(MPI_Test(&r->request[r->oldest % s->flights], &arrived, MPI_STATUS_IGNORE));
        if (!arrived)
            return;
        sum_round(s);
        begin_rounds(s);
    }
}

void shard_reduce_end(shard *s) {
    shard_reduction *r = &s->reduction;
    CHECK(r->running, "No reduction is under way.");
    r->ready = 0;
    begin_rounds(s);
    while (r->oldest >= 0) {
        MPI_TRY(MPI_Wait(&r->request[r->oldest % s->flights], MPI_STATUS_IGNORE));
        sum_round(s);
        begin_rounds(s);
    }
    *r = (shard_reduction){0};
}

void shard_reduce(shard *s, const void *whole, void *part) {
    shard_reduce_begin(s, whole, part);
    shard_reduce_end(s);
}

/* ---- giving back ----------------------------------------------------------------------------- */

static void gather_round(shard *s, int64_t round, char *blocks) {
    const int count = mpi_count((int64_t)block_bytes(s));
    note(s, VERB_GATHER, round);
    MPI_TRY(MPI_Allgather(MPI_IN_PLACE, count, MPI_BYTE, blocks, count, MPI_BYTE, s->comm));
}

/* The last round by way of a buffer when it reaches beyond the array's end. */
static void gather_partial(shard *s, int64_t round, char *blocks) {
    const size_t rest = (size_t)(s->elements - round * s->ranks * s->block) * s->width;
    const size_t first = (size_t)s->rank * block_bytes(s);
    if (first < rest)
        memcpy(s->received + first, blocks + first,
               rest - first < block_bytes(s) ? rest - first : block_bytes(s));
    gather_round(s, round, s->received);
    memcpy(blocks, s->received, rest);
}

void shard_gather(shard *s, void *whole) {
    CHECK(!s->reduction.running, "A reduction is still under way.");
    for (int64_t k = 0; k < s->rounds; k++) {
        char *blocks = (char *)whole + (size_t)k * round_bytes(s);
        if ((k + 1) * s->ranks * s->block <= s->elements)
            gather_round(s, k, blocks);
        else
            gather_partial(s, k, blocks);
    }
}

/* ---- sums of squares ------------------------------------------------------------------------- */

int64_t shard_sum_blocks(const shard *s) {
    return ceil_div(s->elements, SHARD_SUM_BLOCK);
}

/* A few running sums instead of one: an addition need not wait for the one before it. */
static double sum_lanes(const double lane[LANES]) {
    double sum = 0;
    for (int j = 0; j < LANES; j++)
        sum += lane[j];
    return sum;
}

static double squares_of_floats(const float *x) {
    double lane[LANES] = {0};
    for (int64_t i = 0; i < SHARD_SUM_BLOCK; i += LANES)
        for (int j = 0; j < LANES; j++)
            lane[j] += (double)x[i + j] * (double)x[i + j];
    return sum_lanes(lane);
}

static double squares_of_doubles(const double *x) {
    double lane[LANES] = {0};
    for (int64_t i = 0; i < SHARD_SUM_BLOCK; i += LANES)
        for (int j = 0; j < LANES; j++)
            lane[j] += x[i + j] * x[i + j];
    return sum_lanes(lane);
}

void shard_block_squares(const shard *s, const void *part, double *sums) {
    const int64_t blocks = shard_sum_blocks(s);
#pragma omp parallel for
    for (int64_t i = 0; i < s->local; i += SHARD_SUM_BLOCK) {
        const int64_t b = shard_global_index(s, i) / SHARD_SUM_BLOCK;
        if (b < blocks)
            sums[b] = s->width == sizeof(float) ? squares_of_floats((const float *)part + i)
                                                : squares_of_doubles((const double *)part + i);
    }
}

uint64_t shard_schedule(const shard *s) {
    return s->schedule;
}
