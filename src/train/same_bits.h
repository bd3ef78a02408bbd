/* What exact sums take for granted, looked at on the machine at hand.
 *
 * With parallel.exact every product is over the rows of one chunk (and one expert), whatever the
 * layout, so what is left to prove is that the same product gives the same bits everywhere: on
 * every rank, each time, and on any number of threads. Libraries choose their kernels by processor
 * and cut work by threads: oneDNN 2.6 on AVX2 gives other bits on two threads than on one for some
 * shapes, on AVX-512 it was not seen to.
 */
#ifndef SEPIT_TRAIN_SAME_BITS_H
#define SEPIT_TRAIN_SAME_BITS_H

#include "src/train/trainer.h"

/* Says in the log where exact sums do not reach: ranks on other processors or libraries, whose
 * products differ, are named; products that depend on the number of threads make the run
 * repeatable at this number only. Takes nine times the products of a linear layer at 197 tokens,
 * for each of four layers of the language model. Collective on t->comm; STATUS_FAILED on all ranks
 * when products do not repeat their own bits. */
status same_bits_check(trainer *t, error *err);

#endif
