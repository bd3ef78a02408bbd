// TEST timeout=20
/* schedule: values worked out by hand. */
#include "src/optim/schedule.h"
#include "tests/test.h"

int main(void) {
    /* 100 steps, 3 % warm-up: 3 steps rise, the other 97 fall to 1/97. */
    EXPECT_CLOSE(schedule_linear(0, 100, 0.03), 1.0 / 3, 1e-15);
    EXPECT_CLOSE(schedule_linear(2, 100, 0.03), 1.0, 1e-15);
    EXPECT_CLOSE(schedule_linear(3, 100, 0.03), 1.0, 1e-15);
    EXPECT_CLOSE(schedule_linear(99, 100, 0.03), 1.0 / 97, 1e-15);
    EXPECT_CLOSE(schedule_linear(100, 100, 0.03), 0.0, 0);
    EXPECT_CLOSE(schedule_linear(0, 4, 0), 1.0, 1e-15);
    EXPECT_CLOSE(schedule_linear(0, 1, 0.03), 1.0, 1e-15);
    return test_end();
}
