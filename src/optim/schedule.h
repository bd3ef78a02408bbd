/* Learning rate over a run: linear warm-up, then linear decay to zero (spec/sepit.md §5). */
#ifndef SEPIT_OPTIM_SCHEDULE_H
#define SEPIT_OPTIM_SCHEDULE_H

#include <stdint.h>

/* The factor in (0, 1] on the peak rate at `step` (from 0) of `steps`, of which the share `warmup`
 * rises: (step+1)/w for step < w = ceil(warmup·steps), then (steps−step)/(steps−w). */
double schedule_linear(int64_t step, int64_t steps, double warmup);

#endif
