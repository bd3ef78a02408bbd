// TEST np=1,2,4 timeout=60
/* grid: who belongs to which group, against tables written by hand, for every layout of 1, 2 and 4
 * ranks; and the sentence for every layout that cannot be. */
#include "parallel/agree.h"
#include "parallel/grid.h"
#include "tests/test.h"

/* What rank r has: its groups' members in order, ended by -1, and its experts out of four. */
typedef struct place {
    int group[5], data[5];
    int member, first_expert, local_experts;
} place;

typedef struct layout {
    int ranks, ep;
    place rank[4];
} layout;

static const layout layouts[] = {
    {1, 1, {{{0, -1}, {0, -1}, 0, 0, 4}}},
    {2, 1, {{{0, -1}, {0, 1, -1}, 0, 0, 4}, {{1, -1}, {0, 1, -1}, 0, 0, 4}}},
    {2, 2, {{{0, 1, -1}, {0, -1}, 0, 0, 2}, {{0, 1, -1}, {1, -1}, 1, 2, 2}}},
    {4,
     1,
     {{{0, -1}, {0, 1, 2, 3, -1}, 0, 0, 4},
      {{1, -1}, {0, 1, 2, 3, -1}, 0, 0, 4},
      {{2, -1}, {0, 1, 2, 3, -1}, 0, 0, 4},
      {{3, -1}, {0, 1, 2, 3, -1}, 0, 0, 4}}},
    {4,
     2,
     {{{0, 1, -1}, {0, 2, -1}, 0, 0, 2},
      {{0, 1, -1}, {1, 3, -1}, 1, 2, 2},
      {{2, 3, -1}, {0, 2, -1}, 0, 0, 2},
      {{2, 3, -1}, {1, 3, -1}, 1, 2, 2}}},
    {4,
     4,
     {{{0, 1, 2, 3, -1}, {0, -1}, 0, 0, 1},
      {{0, 1, 2, 3, -1}, {1, -1}, 1, 1, 1},
      {{0, 1, 2, 3, -1}, {2, -1}, 2, 2, 1},
      {{0, 1, 2, 3, -1}, {3, -1}, 3, 3, 1}}},
};

/* The world ranks of the members of comm are those of the list, in order. */
static void check_members(MPI_Comm comm, const int *want, const char *what, const layout *l) {
    const int rank = comm_rank(MPI_COMM_WORLD);
    int got[8] = {0}, n = 0;
    while (want[n] >= 0)
        n++;
    EXPECT(comm_size(comm) == n, "ep %d of %d: %d ranks in %s", l->ep, l->ranks, comm_size(comm),
           what);
    MPI_Allgather(&rank, 1, MPI_INT, got, 1, MPI_INT, comm);
    EXPECT(memcmp(got, want, (size_t)n * sizeof *got) == 0, "ep %d of %d: members of %s", l->ep,
           l->ranks, what);
}

static void check_layout(const layout *l) {
    static const int world[] = {0, 1, 2, 3};
    const int rank = comm_rank(MPI_COMM_WORLD);
    const place *want = &l->rank[rank];
    int all[5] = {-1, -1, -1, -1, -1};
    memcpy(all, world, (size_t)l->ranks * sizeof *all);
    grid g;
    error err = {0};
    EXPECT(grid_create(&g, MPI_COMM_WORLD, l->ep, 4, &err) == STATUS_OK, "%s", err.text);
    EXPECT(g.ranks == l->ranks && g.rank == rank && g.ep == l->ep && g.experts == 4);
    EXPECT(g.member == want->member, "got %d", g.member);
    EXPECT(g.first_expert == want->first_expert && g.local_experts == want->local_experts,
           "ep %d of %d: %lld from %lld on", l->ep, l->ranks, (long long)g.local_experts,
           (long long)g.first_expert);
    check_members(g.world, all, "world", l);
    check_members(g.expert_group, want->group, "expert_group", l);
    check_members(g.expert_data, want->data, "expert_data", l);
    grid_destroy(&g);
    grid_destroy(&g); /* of a zeroed struct: nothing */
}

static void check_refusal(int64_t ranks, int64_t ep, int64_t experts, const char *part) {
    error err = {0};
    EXPECT(grid_check(ranks, ep, experts, &err) == STATUS_INPUT, "%lld ranks, ep %lld, %lld",
           (long long)ranks, (long long)ep, (long long)experts);
    EXPECT(strstr(err.text, part) != NULL, "\"%s\" does not say \"%s\"", err.text, part);
}

static void check_refusals(void) {
    error err = {0};
    check_refusal(4, 0, 4, "parallel.ep is 0, but must be at least 1");
    check_refusal(4, -2, 4, "parallel.ep is -2");
    check_refusal(4, 2, 0, "no experts");
    check_refusal(4, 1, -1, "the number of experts is -1");
    check_refusal(6, 4, 4, "6 ranks cannot form expert groups of 4");
    check_refusal(6, 4, 4, "may be 1, 2 here");
    check_refusal(2, 4, 4, "may be 1, 2 here");
    check_refusal(8, 8, 4, "4 experts of a layer cannot be shared evenly by 8 ranks");
    check_refusal(8, 8, 12, "may be 1, 2, 4 here");
    check_refusal(8, (int64_t)1 << 40, 4, "cannot form");
    EXPECT(grid_check(1000000, 8, 1024, &err) == STATUS_OK, "%s", err.text);
    EXPECT(grid_check(7, 1, 0, &err) == STATUS_OK, "%s", err.text);
    EXPECT(err.text[0] == '\0');
}

/* One rank with another wish: all fail alike, with a sentence. */
static void check_disagreement(void) {
    const int rank = comm_rank(MPI_COMM_WORLD), ranks = comm_size(MPI_COMM_WORLD);
    grid g;
    error err = {0};
    EXPECT(grid_create(&g, MPI_COMM_WORLD, rank == ranks - 1 ? 3 : 1, 4, &err) == STATUS_INPUT);
    EXPECT(strstr(err.text, "parallel.ep is 3") != NULL, "%s", err.text);
    grid_destroy(&g);
}

int main(int argc, char **argv) {
    MPI_Init(&argc, &argv);
    for (size_t i = 0; i < sizeof layouts / sizeof layouts[0]; i++)
        if (layouts[i].ranks == comm_size(MPI_COMM_WORLD))
            check_layout(&layouts[i]);
    check_refusals();
    check_disagreement();
    MPI_Finalize();
    return test_end();
}
