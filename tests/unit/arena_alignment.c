// TEST timeout=60 mode=release,double,asan
/* What an arena hands out is aligned, apart, and given back by a mark; asking too much aborts. */
#include "src/base/arena.h"
#include "tests/test.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static void check_blocks(arena *a) {
    static const size_t sizes[] = {1, 63, 64, 65, 0, 4097, 3};
    uint8_t *block[7];
    for (int i = 0; i < 7; i++) {
        block[i] = arena_alloc(a, sizes[i]);
        EXPECT(block[i] != NULL && (uintptr_t)block[i] % 64 == 0, "block %d", i);
        memset(block[i], i + 1, sizes[i]);
    }
    for (int i = 0; i < 7; i++)
        for (size_t k = 0; k < sizes[i]; k++)
            EXPECT(block[i][k] == i + 1, "block %d, byte %zu", i, k);
    EXPECT(a->used == 64 + 64 + 64 + 128 + 0 + 4160 + 64);
}

static void check_marks(arena *a) {
    const size_t mark = arena_mark(a), used = a->used;
    uint8_t *first = arena_alloc(a, 1000);
    memset(first, 0xFF, 1000);
    EXPECT(a->peak == used + 1024);
    arena_reset(a, mark);
    EXPECT(a->used == used && a->peak == used + 1024);
    const int32_t *cleared = arena_calloc(a, 250, sizeof *cleared);
    EXPECT((const void *)cleared == (const void *)first, "the same bytes again");
    for (int i = 0; i < 250; i++)
        EXPECT(cleared[i] == 0);
    const double *numbers = ARENA_ARRAY(a, double, 10);
    EXPECT((const uint8_t *)numbers == first + 1024);
}

/* Runs `bug` in a process of its own, which must abort. */
static void expect_abort(void (*bug)(arena *), arena *a, const char *what) {
    fflush(NULL);
    const pid_t child = fork();
    if (child == 0) {
        fclose(stderr);
        bug(a);
        _exit(0);
    }
    int how = 0;
    EXPECT(waitpid(child, &how, 0) == child);
    EXPECT(WIFSIGNALED(how) && WTERMSIG(how) == SIGABRT, "%s: status %d", what, how);
}

static void ask_too_much(arena *a) {
    arena_alloc(a, a->capacity - a->used + 1);
}

static void ask_nearly_everything(arena *a) {
    arena_alloc(a, SIZE_MAX - 3); /* wraps when rounded up */
}

static void overflow_the_product(arena *a) {
    arena_calloc(a, INT64_MAX, 8);
}

static void count_below_zero(arena *a) {
    arena_calloc(a, -1, 1);
}

static void reset_upwards(arena *a) {
    arena_reset(a, a->used + 64);
}

int main(void) {
    arena a;
    error err = {0};
    EXPECT(arena_create(&a, "test", 1 << 20, &err) == STATUS_OK, "%s", err.text);
    check_blocks(&a);
    check_marks(&a);
    expect_abort(ask_too_much, &a, "too much");
    expect_abort(ask_nearly_everything, &a, "nearly everything");
    expect_abort(overflow_the_product, &a, "overflow");
    expect_abort(count_below_zero, &a, "negative count");
    expect_abort(reset_upwards, &a, "reset upwards");
    arena_reset(&a, 0);
    arena_alloc(&a, a.capacity); /* to the last byte */
    EXPECT(a.used == a.capacity);
    arena_destroy(&a);
    EXPECT(a.base == NULL);
    EXPECT(arena_create(&a, "huge", SIZE_MAX / 2, &err) == STATUS_FAILED);
    EXPECT(strstr(err.text, "huge") != NULL, "%s", err.text);
    return test_end();
}
