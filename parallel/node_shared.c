#include "parallel/node_shared.h"

#include "parallel/agree.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static status fail(error *err, const char *verb, size_t bytes, int code) {
    return error_set(err, STATUS_FAILED,
                     "cannot %s %zu bytes of shared memory on this node: %s; free some in /dev/shm "
                     "(or raise its size limit)",
                     verb, bytes, strerror(code));
}

/* The filler: a file with all of its pages, so that no access can find /dev/shm full later. */
static status create_block(char *path, size_t bytes, int *fd, error *err) {
    *fd = mkostemp(path, O_CLOEXEC);
    if (*fd < 0)
        return fail(err, "create", bytes, errno);
    int code = 0;
    do
        code = posix_fallocate(*fd, 0, (off_t)bytes);
    while (code == EINTR);
    return code == 0 ? STATUS_OK : fail(err, "reserve", bytes, code);
}

static status map_block(node_shared *shared, const char *path, int *fd, error *err) {
    if (*fd < 0)
        *fd = open(path, O_RDWR | O_CLOEXEC);
    if (*fd < 0)
        return fail(err, "open", shared->bytes, errno);
    void *base = mmap(NULL, shared->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
    if (base == MAP_FAILED)
        return fail(err, "map", shared->bytes, errno);
    shared->base = base;
    return STATUS_OK;
}

status node_shared_create(node_shared *shared, MPI_Comm comm, size_t bytes, error *err) {
    char path[] = "/dev/shm/sepit-table-XXXXXX";
    int fd = -1;
    *shared = (node_shared){.bytes = bytes > 0 ? bytes : 1};
    MPI_TRY(MPI_Comm_split_type(comm, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &shared->node));
    shared->filler = comm_rank(shared->node) == 0;
    status code = STATUS_OK;
    if (shared->filler)
        code = create_block(path, shared->bytes, &fd, err);
    code = agree(comm, code, err);
    if (code == STATUS_OK) {
        MPI_TRY(MPI_Bcast(path, sizeof path, MPI_CHAR, 0, shared->node));
        code = agree(comm, map_block(shared, path, &fd, err), err);
    }
    if (shared->filler && fd >= 0)
        unlink(path);
    if (fd >= 0)
        close(fd);
    if (code != STATUS_OK)
        node_shared_destroy(shared);
    return code;
}

void node_shared_fence(node_shared *shared) {
    atomic_thread_fence(memory_order_seq_cst);
    MPI_TRY(MPI_Barrier(shared->node));
    atomic_thread_fence(memory_order_seq_cst);
}

void node_shared_destroy(node_shared *shared) {
    if (shared->bytes == 0)
        return;
    if (shared->base != NULL)
        munmap(shared->base, shared->bytes);
    MPI_TRY(MPI_Comm_free(&shared->node));
    *shared = (node_shared){0};
}
