// TEST np=1,2,4 timeout=60
/* A node's table: what the filler writes, every rank reads. With an argument it is the program of
 * shm_full.sh: where /dev/shm has no room, every rank gets the same sentence. */
#include "parallel/agree.h"
#include "parallel/node_shared.h"
#include "tests/test.h"

#include <stdint.h>

static void check_table(size_t bytes) {
    node_shared shared;
    error err = {0};
    EXPECT(node_shared_create(&shared, MPI_COMM_WORLD, bytes, &err) == STATUS_OK, "%s", err.text);
    if (shared.base == NULL)
        return;
    EXPECT((uintptr_t)shared.base % 64 == 0);
    EXPECT(shared.filler == (comm_rank(MPI_COMM_WORLD) == 0));
    uint8_t *table = shared.base;
    for (size_t i = 0; i < bytes && shared.filler; i++)
        table[i] = (uint8_t)(i * 7 + 3);
    node_shared_fence(&shared);
    size_t wrong = 0;
    for (size_t i = 0; i < bytes; i++)
        wrong += table[i] != (uint8_t)(i * 7 + 3);
    EXPECT(wrong == 0, "%zu of %zu bytes", wrong, bytes);
    node_shared_destroy(&shared);
    node_shared_destroy(&shared); /* zeroed now: nothing to do */
}

static void check_no_room(size_t bytes) {
    node_shared shared;
    error err = {0};
    EXPECT(node_shared_create(&shared, MPI_COMM_WORLD, bytes, &err) == STATUS_FAILED);
    EXPECT(strstr(err.text, "/dev/shm") != NULL, "%s", err.text);
    node_shared_destroy(&shared);
}

int main(int argc, char **argv) {
    MPI_Init(&argc, &argv);
    if (argc == 1) {
        check_table(0);
        check_table(1);
        check_table(1000003);
    } else {
        check_no_room((size_t)100 << 20);
    }
    check_table(4096);
    MPI_Finalize();
    return test_end();
}
