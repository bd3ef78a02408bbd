#include "parallel/node_shared.h"

#include "parallel/agree.h"

#include <string.h>

enum { ALIGNMENT = 64 };

status node_shared_create(node_shared *shared, MPI_Comm comm, size_t bytes, error *err) {
    *shared = (node_shared){.node = MPI_COMM_NULL, .window = MPI_WIN_NULL};
    MPI_TRY(MPI_Comm_split_type(comm, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &shared->node));
    shared->filler = comm_rank(shared->node) == 0;
    /* A full /dev/shm is the machine's no, not a bug: it must come back as a code. */
    MPI_TRY(MPI_Comm_set_errhandler(shared->node, MPI_ERRORS_RETURN));
    const MPI_Aint size = shared->filler ? (MPI_Aint)(bytes + ALIGNMENT) : 0;
    void *mine = NULL;
    const int code =
        MPI_Win_allocate_shared(size, 1, MPI_INFO_NULL, shared->node, &mine, &shared->window);
    status local = STATUS_OK;
    if (code != MPI_SUCCESS) {
        shared->window = MPI_WIN_NULL;
        local = error_set(err, STATUS_FAILED,
                          "no %zu bytes of shared memory on this node; free some in /dev/shm "
                          "(or raise its size limit)",
                          bytes);
    }
    if (agree(comm, local, err) != STATUS_OK) {
        if (shared->window != MPI_WIN_NULL)
            MPI_TRY(MPI_Win_free(&shared->window));
        MPI_TRY(MPI_Comm_free(&shared->node));
        return err->code;
    }
    MPI_Aint whole = 0;
    int unit = 0;
    char *base = NULL;
    MPI_TRY(MPI_Win_shared_query(shared->window, 0, &whole, &unit, &base));
    shared->base = base + (ALIGNMENT - (uintptr_t)base % ALIGNMENT) % ALIGNMENT;
    MPI_TRY(MPI_Win_lock_all(MPI_MODE_NOCHECK, shared->window));
    return STATUS_OK;
}

void node_shared_fence(node_shared *shared) {
    MPI_TRY(MPI_Win_sync(shared->window));
    MPI_TRY(MPI_Barrier(shared->node));
    MPI_TRY(MPI_Win_sync(shared->window));
}

void node_shared_destroy(node_shared *shared) {
    if (shared->window == MPI_WIN_NULL)
        return;
    MPI_TRY(MPI_Win_unlock_all(shared->window));
    MPI_TRY(MPI_Win_free(&shared->window));
    MPI_TRY(MPI_Comm_free(&shared->node));
    memset(shared, 0, sizeof *shared);
    shared->window = MPI_WIN_NULL;
}
