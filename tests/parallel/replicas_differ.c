// TEST np=2,4 timeout=60
/* replicas: one flipped bit in one rank's copy of a tensor, frozen or trained, of all ranks or an
 * expert's, ends on all ranks in the same sentence, with the tensor's name and the rank, as the
 * world counts it; so does a rank that made other collective calls. With every layout of experts.
 */
#include "tests/parallel/two_tables.h" /* first: it has variables named as a type of trainer.h */

#include "src/train/replicas.h"

enum { E = 4 };

/* A trainer of which there is only what replicas_compare reads. */
static void make_trainer(trainer *t, two_tables *m, int ep) {
    error err = {0};
    two_create(m, MPI_COMM_WORLD, ep, E, false);
    EXPECT(grid_create(&t->grid, MPI_COMM_WORLD, ep, E, &err) == STATUS_OK, "%s", err.text);
    t->comm = t->grid.world;
    t->model.params = m->dense;
    t->model.experts = m->experts;
    t->optimizer = m->optimizer;
    t->experts.layers = TWO_LAYERS;
    if (ep > 1)
        EXPECT(exchange_create(&t->experts.run.exchange, t->grid.expert_group, 2, &err) ==
                   STATUS_OK,
               "%s", err.text);
}

static void destroy_trainer(trainer *t, two_tables *m) {
    exchange_destroy(t->experts.run.exchange);
    grid_destroy(&t->grid);
    two_destroy(m);
}

/* Compares; where `holders` ranks have what `what` names and `rank` has it otherwise, the sentence
 * says so, the same one on every rank. Of two that differ nobody knows which one is right: then the
 * higher one, `other`, is named. One alone cannot differ. */
static void expect_difference(const trainer *t, const char *what, int rank, int holders,
                              int other) {
    error err = {0};
    char want[PARAM_NAME + 64], first[ERROR_TEXT];
    const status code = replicas_compare(t, &err);
    if (holders == 1) {
        EXPECT(code == STATUS_OK, "%s", err.text);
        return;
    }
    if (holders == 2)
        snprintf(want, sizeof want, "%s differs on rank %d, or on others: at most 1 of 2 ranks",
                 what, other);
    else
        snprintf(want, sizeof want, "%s differs on rank %d: %d of %d ranks hold the same", what,
                 rank, holders - 1, holders);
    EXPECT(code == STATUS_FAILED && strstr(err.text, want) != NULL, "%d, %s; want %s", (int)code,
           err.text, want);
    memcpy(first, err.text, sizeof first);
    MPI_Bcast(first, sizeof first, MPI_CHAR, 0, MPI_COMM_WORLD);
    EXPECT_TEXT(err.text, first);
}

static void flip(const params *p, int64_t i, int64_t element, int bit) {
    unsigned char *byte = (unsigned char *)&p->value[p->table[i].offset + element] + bit / 8;
    *byte ^= (unsigned char)(1 << bit % 8);
}

/* Every tensor in turn, at another place and bit, on another rank. */
static void check_dense(const trainer *t) {
    const params *p = &t->model.params;
    for (int64_t i = 0; i < p->count; i++) {
        const int rank = (int)(i % t->grid.ranks);
        const int64_t element = i * 7919 % p->table[i].elements;
        const int bit = (int)(i * 5 % (8 * (int64_t)sizeof(real)));
        char what[PARAM_NAME + 16];
        snprintf(what, sizeof what, "tensor %s", p->table[i].name);
        if (t->grid.rank == rank)
            flip(p, i, element, bit);
        expect_difference(t, what, rank, t->grid.ranks, 1);
        if (t->grid.rank == rank)
            flip(p, i, element, bit);
    }
}

/* The sentence names the tensor of the rank that flips: its holders have the same names. */
static void check_experts(const trainer *t) {
    const params *p = &t->model.experts;
    const grid *g = &t->grid;
    for (int rank = 0; rank < g->ranks; rank++) {
        const int64_t i = (rank * 3 + 1) % p->count, last = p->table[i].elements - 1;
        char name[PARAM_NAME], what[PARAM_NAME + 16];
        memcpy(name, p->table[i].name, sizeof name);
        MPI_Bcast(name, sizeof name, MPI_CHAR, rank, MPI_COMM_WORLD);
        snprintf(what, sizeof what, "tensor %s", name);
        if (g->rank == rank)
            flip(p, i, last, 0);
        expect_difference(t, what, rank, g->ranks / g->ep, rank % g->ep + g->ep);
        if (g->rank == rank)
            flip(p, i, last, 0);
    }
}

/* The last rank made another call on the shards; then one of its group began another lane. */
static void check_schedules(trainer *t) {
    const grid *g = &t->grid;
    const int last = g->ranks - 1;
    uint64_t *schedule = &t->optimizer.trained[0].share.shard.schedule;
    *schedule ^= g->rank == last;
    expect_difference(t, "the sequence of collective calls", last, g->ranks, 1);
    *schedule ^= g->rank == last;
    if (g->ep == 1)
        return;
    const int64_t none[E] = {0};
    const exchange_rows rows = {.send_first = none,
                                .send_count = none,
                                .receive_first = none,
                                .receive_count = none,
                                .row_bytes = g->rank == last ? 8 : 4};
    exchange_begin(t->experts.run.exchange, 1, &rows);
    exchange_end(t->experts.run.exchange, 1);
    expect_difference(t, "the sequence of exchanges in an expert group", last, g->ep, last);
}

int main(int argc, char **argv) {
    MPI_Init(&argc, &argv);
    const int ranks = comm_size(MPI_COMM_WORLD);
    for (int ep = 1; ep <= ranks; ep++) {
        if (ranks % ep != 0)
            continue;
        trainer t = {0};
        two_tables m;
        error err = {0};
        make_trainer(&t, &m, ep);
        EXPECT(replicas_compare(&t, &err) == STATUS_OK, "ep %d: %s", ep, err.text);
        check_dense(&t);
        check_experts(&t);
        EXPECT(replicas_compare(&t, &err) == STATUS_OK, "ep %d: %s", ep, err.text);
        check_schedules(&t);
        destroy_trainer(&t, &m);
    }
    MPI_Finalize();
    return test_end();
}
