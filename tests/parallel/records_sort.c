// TEST np=1,2,3,4 timeout=60
/* Records sorted over all ranks: nothing is lost or changed, keys rise from rank to rank, a group
 * never lies on two; also when most ranks have nothing and when all records are one group. */
#include "parallel/agree.h"
#include "parallel/exchange_records.h"
#include "src/base/rng.h"
#include "tests/test.h"

#include <stdint.h>

typedef enum shape { RANDOM, ONE_GROUP, ONE_RANK, NOTHING } shape;

static int64_t size_of(uint64_t number) {
    return RECORD_KEY + 8 + (int64_t)(number % 301);
}

/* Record `number` of the case: key from random letters, then its number, then bytes made of it. */
static void add(record_set *set, uint64_t number, shape s) {
    error err = {0};
    const rng_key key = rng_key_make(5, "records");
    uint8_t *record = record_set_add(set, size_of(number), &err);
    memset(record, 0, RECORD_KEY);
    for (int i = 0; i < 3; i++)
        record[i] = (uint8_t)('A' + (s == ONE_GROUP ? 0 : rng_below(key, number, (uint64_t)i, 6)));
    for (int i = 0; i < 8; i++)
        record[RECORD_KEY - 8 + i] = (uint8_t)(rng_bits(key, number, 9) >> (8 * i));
    memcpy(record + RECORD_KEY, &number, 8);
    for (int64_t i = RECORD_KEY + 8; i < size_of(number); i++)
        record[i] = (uint8_t)(number * 31 + (uint64_t)i);
}

static uint64_t number_of(const uint8_t *record) {
    uint64_t number;
    memcpy(&number, record + RECORD_KEY, 8);
    return number;
}

static void check_local(const record_set *set) {
    for (int64_t i = 0; i < set->count; i++) {
        const uint8_t *record = record_at(set, i);
        const uint64_t number = number_of(record);
        const int64_t size = size_of(number);
        const int64_t padded = (size + 7) / 8 * 8;
        EXPECT(set->offset[i + 1] - set->offset[i] == padded);
        int same = 1;
        for (int64_t b = RECORD_KEY + 8; b < padded; b++)
            same &= record[b] == (b < size ? (uint8_t)(number * 31 + (uint64_t)b) : 0);
        EXPECT(same, "record %llu arrived changed", (unsigned long long)number);
        EXPECT(i == 0 || memcmp(record_at(set, i - 1), record, RECORD_KEY) <= 0);
    }
}

/* Group borders between this rank and the ranks that hold something below it. */
static void check_borders(const record_set *set, int rank, int size) {
    uint8_t mine[2 * RECORD_GROUP + 1] = {0}, all[8 * sizeof mine];
    if (set->count > 0) {
        memcpy(mine, record_at(set, 0), RECORD_GROUP);
        memcpy(mine + RECORD_GROUP, record_at(set, set->count - 1), RECORD_GROUP);
        mine[2 * RECORD_GROUP] = 1;
    }
    MPI_Allgather(mine, sizeof mine, MPI_BYTE, all, sizeof mine, MPI_BYTE, MPI_COMM_WORLD);
    for (int a = 0; a < size && rank == 0; a++)
        for (int b = a + 1; b < size; b++) {
            const uint8_t *x = all + (size_t)a * sizeof mine, *y = all + (size_t)b * sizeof mine;
            if (x[2 * RECORD_GROUP] && y[2 * RECORD_GROUP])
                EXPECT(memcmp(x + RECORD_GROUP, y, RECORD_GROUP) < 0, "ranks %d and %d", a, b);
        }
}

static void run(shape s, int64_t total) {
    const int rank = comm_rank(MPI_COMM_WORLD), size = comm_size(MPI_COMM_WORLD);
    error err = {0};
    record_set set = {0};
    uint8_t *borders = NULL;
    for (int64_t n = 0; n < total; n++)
        if (s == ONE_RANK ? rank == size - 1 : n % size == rank)
            add(&set, (uint64_t)n, s);
    EXPECT(record_set_sort(&set, &err) == STATUS_OK);
    EXPECT(record_set_borders(MPI_COMM_WORLD, &set, &borders, &err) == STATUS_OK, "%s", err.text);
    EXPECT(record_set_exchange(MPI_COMM_WORLD, &set, borders, &err) == STATUS_OK, "%s", err.text);
    check_local(&set);
    check_borders(&set, rank, size);
    /* Count and sum of the numbers: all there, none twice. */
    int64_t sums[3] = {set.count, 0, 0};
    for (int64_t i = 0; i < set.count; i++) {
        const int64_t number = (int64_t)number_of(record_at(&set, i));
        sums[1] += number;
        sums[2] += number * number;
    }
    comm_sum(MPI_COMM_WORLD, sums, 3);
    EXPECT(sums[0] == total && sums[1] == total * (total - 1) / 2 &&
               sums[2] == (total - 1) * total * (2 * total - 1) / 6,
           "%lld of %lld records", (long long)sums[0], (long long)total);
    /* The sample keeps the shares even: none above three times its part. */
    if (s == RANDOM)
        EXPECT(set.count < 3 * total / size + 3, "%lld of %lld on one rank", (long long)set.count,
               (long long)total);
    free(borders);
    record_set_destroy(&set);
}

int main(int argc, char **argv) {
    MPI_Init(&argc, &argv);
    const int rank = comm_rank(MPI_COMM_WORLD);
    run(RANDOM, 5000);
    run(RANDOM, 3);
    run(ONE_GROUP, 500);
    run(ONE_RANK, 1000);
    run(NOTHING, 0);
    int64_t before = rank + 1;
    exchange_sum_before(MPI_COMM_WORLD, 1, &before);
    EXPECT(before == rank * (rank + 1) / 2);
    char line[32];
    snprintf(line, sizeof line, "rank %d\n", rank);
    char *text = exchange_gather_text(MPI_COMM_WORLD, line);
    if (rank == 0)
        EXPECT(strncmp(text, "rank 0\n", 7) == 0 &&
               strlen(text) == 7 * (size_t)comm_size(MPI_COMM_WORLD));
    free(text);
    const int code = test_end();
    MPI_Finalize();
    return code;
}
