#include "src/optim/schedule.h"

#include <math.h>

double schedule_linear(int64_t step, int64_t steps, double warmup) {
    const int64_t rising = (int64_t)ceil(warmup * (double)steps);
    if (step < rising)
        return (double)(step + 1) / (double)rising;
    if (step >= steps)
        return 0;
    return (double)(steps - step) / (double)(steps - rising);
}
