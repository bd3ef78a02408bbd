// TEST timeout=20
/* Who is named, for places of the ranks set up by hand. */
#include "src/train/watchdog.h"
#include "src/train/watchdog_judge.h"
#include "tests/test.h"

enum { MOST = 1500 };

static watchdog_slot before[MOST], now[MOST];
static int64_t order[MOST];
static watchdog_verdict v;

/* All ranks overdue in the 12th collective of step 5. */
static void all_wait(int64_t ranks) {
    for (int64_t r = 0; r < ranks; r++) {
        before[r] = (watchdog_slot){.beat = 10,
                                    .step = 5,
                                    .collectives = 12,
                                    .phase = WATCHDOG_STEP,
                                    .state = WATCHDOG_OVERDUE,
                                    .verb = "sum"};
        snprintf(before[r].host, sizeof before[r].host, "n%d", (int)(r / 2));
        now[r] = before[r];
        now[r].beat = 11;
    }
}

static void judge(int64_t ranks) {
    watchdog_judge(before, now, ranks, 0, order, &v);
}

static void expect_named(int count, int64_t first) {
    EXPECT(v.named_count == count, "%d: %s", v.named_count, v.sentence);
    EXPECT(count == 0 || v.named[0] == first, "%lld: %s", (long long)v.named[0], v.sentence);
}

static void one_is_silent(void) {
    all_wait(4);
    now[3].beat = 10;
    now[3].step = 4;
    now[3].state = WATCHDOG_MOVES; /* it did not notice */
    judge(4);
    EXPECT(v.hung);
    expect_named(1, 3);
    EXPECT_TEXT(v.sentence,
                "rank 3 on host n1 is behind: no sign of life (stopped, or the node is gone), last "
                "seen in step 4, phase step, collective 12 (sum); ranks 0-2 wait in step 5, phase "
                "step, collective 12 (sum)");
}

static void one_is_behind(void) {
    all_wait(4);
    now[2].collectives = 11;
    judge(4);
    EXPECT(v.hung);
    expect_named(1, 2);
    EXPECT_TEXT(v.sentence, "rank 2 on host n1 is behind: step 5, phase step, collective 11 (sum); "
                            "ranks 0-1, 3 wait in step 5, phase step, collective 12 (sum)");
    /* The same with only one that waits for it. */
    judge(3);
    expect_named(1, 2);
    /* Its step counts before its collectives. */
    now[2].collectives = 99;
    now[2].step = 4;
    judge(4);
    expect_named(1, 2);
    EXPECT(strstr(v.sentence, "is behind") != NULL, "%s", v.sentence);
}

/* Of two, the one with less is behind. */
static void of_two(void) {
    all_wait(2);
    now[1].collectives = 11;
    judge(2);
    expect_named(1, 1);
}

static void inside_its_budget(void) {
    all_wait(4);
    now[1].phase = WATCHDOG_CHECKPOINT;
    now[1].step = 4;
    now[1].state = WATCHDOG_MOVES;
    judge(4);
    EXPECT(!v.hung, "%s", v.sentence);
    now[1].state = WATCHDOG_OVERDUE;
    judge(4);
    EXPECT(v.hung);
    expect_named(1, 1);
    EXPECT(strstr(v.sentence, "phase checkpoint") != NULL, "%s", v.sentence);
}

static void one_ran_ahead(void) {
    all_wait(4);
    now[1].collectives = 13;
    judge(4);
    EXPECT(v.hung);
    expect_named(1, 1);
    EXPECT(strstr(v.sentence, "rank 1 on host n0 is ahead") != NULL, "%s", v.sentence);
    all_wait(4);
    snprintf(now[3].verb, sizeof now[3].verb, "exchange");
    judge(4);
    expect_named(1, 3);
    EXPECT(strstr(v.sentence, "in another place") != NULL, "%s", v.sentence);
}

static void one_has_ended(void) {
    all_wait(3);
    now[1].state = WATCHDOG_ENDED;
    now[1].beat = before[1].beat;
    judge(3);
    EXPECT(v.hung);
    expect_named(1, 1);
    EXPECT(strstr(v.sentence, "ended; ranks 0, 2 wait") != NULL, "%s", v.sentence);
    before[1] = now[1] = (watchdog_slot){0}; /* its file is gone */
    judge(3);
    expect_named(1, 1);
}

static void all_in_one_place(void) {
    all_wait(4);
    judge(4);
    EXPECT(v.hung);
    expect_named(0, 0);
    EXPECT(strstr(v.sentence, "no rank is behind") != NULL, "%s", v.sentence);
    now[2].state = WATCHDOG_MOVES;
    judge(4);
    EXPECT(!v.hung);
}

static void nobody_can_write(void) {
    all_wait(4);
    now[0].beat = 10;
    judge(4);
    EXPECT(v.hung);
    expect_named(0, 0);
}

/* A rank of the same expert group waits at another place: still the last one is named. */
static void behind_a_group(void) {
    all_wait(4);
    now[3].collectives = 8;
    now[2].collectives = 9;
    judge(4);
    expect_named(1, 3);
}

static void many(void) {
    all_wait(MOST);
    for (int r = 0; r < MOST; r += 3)
        now[r].collectives = 11;
    watchdog_judge(before, now, MOST, 0, order, &v);
    expect_named(WATCHDOG_NAMED, 0);
    EXPECT(strstr(v.sentence, "and 488 more on hosts n0, n1, n3, n4 are behind") != NULL, "%s",
           v.sentence);
    EXPECT(strlen(v.sentence) < 1000);
}

int main(void) {
    one_is_silent();
    one_is_behind();
    of_two();
    inside_its_budget();
    one_ran_ahead();
    one_has_ended();
    all_in_one_place();
    nobody_can_write();
    behind_a_group();
    many();
    return test_end();
}
