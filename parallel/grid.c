#include "parallel/grid.h"

#include "parallel/agree.h"

#include <stdio.h>

/* The numbers of ranks per expert group that are possible, "1, 2, 4": what divides both. */
static void list_possible(int64_t ranks, int64_t experts, size_t size, char *text) {
    size_t used = 0;
    text[0] = '\0';
    for (int64_t ep = 1; ep <= ranks && ep <= experts && used < size; ep++)
        if (ranks % ep == 0 && experts % ep == 0)
            used += (size_t)snprintf(text + used, size - used, "%s%lld", used == 0 ? "" : ", ",
                                     (long long)ep);
}

status grid_check(int64_t ranks, int64_t ep, int64_t experts, error *err) {
    if (ep < 1)
        return error_set(err, STATUS_INPUT, "parallel.ep is %lld, but must be at least 1",
                         (long long)ep);
    if (experts < 0)
        return error_set(err, STATUS_INPUT,
                         "the number of experts is %lld, but must be at least 0 (0: none)",
                         (long long)experts);
    if (experts == 0 && ep > 1)
        return error_set(err, STATUS_INPUT,
                         "parallel.ep is %lld, but this model has no experts to spread over ranks; "
                         "set parallel.ep=1, or give the model experts",
                         (long long)ep);
    if (ranks % ep == 0 && experts % ep == 0)
        return STATUS_OK;
    char possible[1024];
    list_possible(ranks, experts, sizeof possible, possible);
    if (ranks % ep != 0)
        return error_set(err, STATUS_INPUT,
                         "parallel.ep is %lld, but %lld ranks cannot form expert groups of %lld; "
                         "with %lld experts parallel.ep may be %s here",
                         (long long)ep, (long long)ranks, (long long)ep, (long long)experts,
                         possible);
    return error_set(err, STATUS_INPUT,
                     "parallel.ep is %lld, but the %lld experts of a layer cannot be shared evenly "
                     "by %lld ranks; on %lld ranks parallel.ep may be %s here",
                     (long long)ep, (long long)experts, (long long)ep, (long long)ranks, possible);
}

status grid_create(grid *g, MPI_Comm comm, int64_t ep, int64_t experts, error *err) {
    *g = (grid){0};
    const int ranks = comm_size(comm), rank = comm_rank(comm);
    TRY(agree(comm, grid_check(ranks, ep, experts, err), err));
    g->ranks = ranks;
    g->rank = rank;
    g->ep = (int)ep; /* divides the number of ranks */
    g->member = rank % g->ep;
    g->experts = experts;
    g->local_experts = experts / ep;
    g->first_expert = g->member * g->local_experts;
    MPI_TRY(MPI_Comm_dup(comm, &g->world));
    MPI_TRY(MPI_Comm_split(g->world, rank / g->ep, rank, &g->expert_group));
    MPI_TRY(MPI_Comm_split(g->world, g->member, rank, &g->expert_data));
    return STATUS_OK;
}

void grid_destroy(grid *g) {
    if (g->ranks == 0)
        return;
    MPI_TRY(MPI_Comm_free(&g->expert_data));
    MPI_TRY(MPI_Comm_free(&g->expert_group));
    MPI_TRY(MPI_Comm_free(&g->world));
    *g = (grid){0};
}
