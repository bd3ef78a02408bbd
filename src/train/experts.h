/* What a mixture of experts adds to a training run: the exchange between the ranks of an expert
 * group, gradients by source rank, the router's state from step to step, and what is counted.
 *
 * The experts of a rank get rows from every rank of the expert group, and each of those runs its
 * own chunks. So there is one chunk tree (src/train/gradients.h) per source rank; the sources are
 * the next levels of the same tree, and the sum over the expert-data group continues it.
 * Memory: with exact sums, ranks of the group · (log2(chunks per rank) + 1) gradient arrays of this
 * rank's experts, so as much for all E experts as dense parameters take; else one.
 * Read next: src/nn/moe.h.
 */
#ifndef SEPIT_TRAIN_EXPERTS_H
#define SEPIT_TRAIN_EXPERTS_H

#include "parallel/grid.h"
#include "src/base/config.h"
#include "src/nn/sepit.h"
#include "src/train/gradients.h"

/* How the experts' load is evened out: a loss with the previous step's fractions, or with the
 * step's own (an extra pass that counts first); a bias on the choice (Wang et al. 2024); nothing.
 */
typedef enum balance { BALANCE_PREVIOUS, BALANCE_TWO_PASS, BALANCE_BIAS, BALANCE_OFF } balance;

typedef struct experts {
    moe_config config;
    int64_t layers; /* of the language model that have experts; 0: dense, nothing below is used */
    balance balance;
    double balance_weight, z_weight, bias_rate;
    moe_run run; /* what nn_context.moe points to */

    int sources;            /* ranks of the expert group */
    gradients *gradients;   /* [sources], or [1] when sums are inexact; owned */
    real **gradient;        /* [sources] arrays of the chunks that run now; owned */
    int64_t *source_chunks; /* [sources] chunks of each; owned */
    int64_t most_chunks;    /* of any of them */

    double *fraction; /* [layers,E] share of the tokens in the last step; 1/E before the first */
    double *bias;     /* [layers,E] on the choice; zero unless BALANCE_BIAS */
    int64_t *count;   /* of the step, this rank's; after experts_end_step all ranks' */
    double *sum;      /* [own chunks, items] likewise; row 0 after experts_end_step */
    int64_t items;    /* of a row of sum */
    int64_t tokens;   /* of the global batch of this step */
    double waited_s, hidden_s; /* of the step's exchanges, this rank */
} experts;

/* Before the model's storage is allocated, after sepit_declare. `chunks` are train.chunks of the
 * world. A dense model gives a zeroed struct. Collective on the grid's world; fails on all ranks
 * alike. The caller destroys it, whatever came back. */
status experts_create(experts *x, const grid *g, const config *c, const sepit *model,
                      int64_t chunks, error *err);
/* After the storage of model->experts is known: address space for the gradients. Local. */
status experts_allocate(experts *x, const sepit *model, bool exact, error *err);
void experts_destroy(experts *x);

/* Most that its gradient arrays take on this rank. */
double experts_gradient_bytes(const experts *x);

/* A new step; `tokens` of text and proteins in the language model's global batch. */
void experts_begin_step(experts *x, int64_t step, int64_t tokens);

/* This rank's i-th chunk, number `chunk` of the batch, is about to run (whether it exists or not:
 * the other ranks of the group may have an i-th one); `train` false only counts. */
void experts_open_chunk(experts *x, int64_t i, int64_t chunk, bool train);
void experts_close_chunk(experts *x, int64_t i, bool train);

/* BALANCE_TWO_PASS, after the counting pass over all chunks: the step's fractions are known, and
 * counting starts anew. Collective on world. */
void experts_use_counts(experts *x, MPI_Comm world);

/* Sum of the gradients of all sources' chunks. Borrowed until the next experts_begin_step. */
const real *experts_gradient(experts *x);

/* What the step's losses beside the answer's are worth. */
typedef struct experts_losses {
    double balance, z;
} experts_losses;

/* Sums what was counted over all ranks, and moves fractions and biases on. Collective on world; the
 * same bits on every rank. */
experts_losses experts_end_step(experts *x, MPI_Comm world);

/* Shares and the like of the step that ended. */
double experts_load(const experts *x, int64_t layer, int64_t expert);          /* of all tokens */
double experts_protein_share(const experts *x, int64_t layer, int64_t expert); /* of its tokens */
double experts_entropy(const experts *x, int64_t layer); /* mean over tokens, nats */
double experts_dropped(const experts *x);                /* share of all rows */
int64_t experts_dead(const experts *x);                  /* (layer, expert) pairs without token */
/* Largest share of an expert over all layers, times E: 1 is balanced. */
double experts_largest(const experts *x);

#endif
