// TEST np=1,2,3,4 timeout=60
/* Whichever rank fails, and however: every rank holds the same code and the same sentence. */
#include "parallel/agree.h"
#include "tests/test.h"

static int rank, size;

/* All ranks must hold what rank 0 holds. */
static void expect_same(status code, const error *err) {
    error first = *err;
    int code_of_first = (int)code;
    MPI_TRY(MPI_Bcast(&code_of_first, 1, MPI_INT, 0, MPI_COMM_WORLD));
    MPI_TRY(MPI_Bcast(&first, sizeof first, MPI_BYTE, 0, MPI_COMM_WORLD));
    EXPECT((int)code == code_of_first && err->code == first.code && code == err->code);
    EXPECT_TEXT(err->text, first.text);
}

static void check_one_rank(int failing, status code) {
    error err = {0};
    status local = STATUS_OK;
    if (rank == failing)
        local = error_set(&err, code, "the disk of %d is full", failing);
    const status all = agree(MPI_COMM_WORLD, local, &err);
    EXPECT(all == code);
    char want[80], speaker[20];
    snprintf(speaker, sizeof speaker, "rank %d: ", failing);
    snprintf(want, sizeof want, "%sthe disk of %d is full", size > 1 ? speaker : "", failing);
    EXPECT_TEXT(err.text, want);
    expect_same(all, &err);
}

/* Two ranks fail differently: the larger code wins; alike but elsewhere: the lower rank speaks. */
static void check_two_ranks(void) {
    error err = {0};
    status local = STATUS_OK;
    if (rank == 0)
        local = error_set(&err, STATUS_FAILED, "disk");
    if (rank == size - 1)
        local = error_set(&err, STATUS_INPUT, "config");
    status all = agree(MPI_COMM_WORLD, local, &err);
    EXPECT(all == STATUS_INPUT && strstr(err.text, "config") != NULL, "%s", err.text);
    expect_same(all, &err);

    err = (error){0};
    local = STATUS_OK;
    if (rank > 0 || size == 1)
        local = error_set(&err, STATUS_FAILED, "disk %d", rank);
    all = agree(MPI_COMM_WORLD, local, &err);
    EXPECT(all == STATUS_FAILED);
    EXPECT_TEXT(err.text, size == 1 ? "disk 0" : "rank 1: disk 1");
    expect_same(all, &err);
}

/* What all found alike is nobody's in particular. */
static void check_all_ranks(void) {
    error err = {0};
    status local = error_set(&err, STATUS_INPUT, "train.lr is no number");
    EXPECT(agree(MPI_COMM_WORLD, local, &err) == STATUS_INPUT);
    EXPECT_TEXT(err.text, "train.lr is no number");
    err = (error){0};
    EXPECT(agree(MPI_COMM_WORLD, STATUS_OK, &err) == STATUS_OK && err.text[0] == '\0');
}

/* A sentence as long as the buffer arrives whole, but for what "rank N: " pushes out. */
static void check_long_text(void) {
    error err = {0};
    static char text[ERROR_TEXT];
    memset(text, 'x', sizeof text - 1);
    status local = STATUS_OK;
    if (rank == size - 1)
        local = error_set(&err, STATUS_FAILED, "%s", text);
    const status all = agree(MPI_COMM_WORLD, local, &err);
    EXPECT(all == STATUS_FAILED && strlen(err.text) == ERROR_TEXT - 1);
    expect_same(all, &err);
}

int main(int argc, char **argv) {
    MPI_Init(&argc, &argv);
    rank = comm_rank(MPI_COMM_WORLD);
    size = comm_size(MPI_COMM_WORLD);
    static const status codes[] = {STATUS_FAILED, STATUS_INPUT, STATUS_STOPPED};
    for (int failing = 0; failing < size; failing++)
        for (int c = 0; c < 3; c++)
            check_one_rank(failing, codes[c]);
    check_two_ranks();
    check_all_ranks();
    check_long_text();
    int failures = test_end(), worst = 0;
    MPI_TRY(MPI_Allreduce(&failures, &worst, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD));
    MPI_Finalize();
    return worst;
}
