/* What `sepit bench moe` measures: a block of the language model with one feed-forward network, and
 * beside it one with LAYER_EXPERTS of the same size, of which a token uses one: equal active work.
 * All ranks are one expert group. Weights are drawn; tokens are drawn too, and share a component,
 * as hidden states do: without it any drawn router would balance itself.
 */
#ifndef SEPIT_CLI_BENCH_LAYER_H
#define SEPIT_CLI_BENCH_LAYER_H

#include "parallel/grid.h"
#include "src/nn/llama_block.h"

enum { LAYER_EXPERTS = 4, LAYER_MOST_SLICES = 4 };

typedef struct layer_sizes {
    int64_t tokens;  /* of each rank */
    int64_t D, F;    /* D: a multiple of 64, the width of a head */
    int64_t variety; /* how many different drawings of tokens there are */
    compute_dtype dtype;
} layer_sizes;

/* One way to run the layer, forward and backward. */
typedef struct layer_way {
    const char *name;
    bool block; /* attention too; else the feed-forward part alone */
    bool dense; /* one network; the rest does not matter */
    bool exact; /* products per source rank */
    moe_force force;
    int64_t slices; /* 1 … LAYER_MOST_SLICES */
} layer_way;

typedef struct bench_layer {
    MPI_Comm comm; /* borrowed */
    layer_sizes sizes;
    grid grid;
    moe_run run; /* its exchange is NULL on one rank */
    params p, experts;
    llama llm;
    arena data, kept, scratch;
    gemm *engine;
    nn_context nn;
    text_batch text;
    real *input;   /* [tokens + what `variety` adds, D] */
    real *y, *d_x; /* [tokens,D] */
} bench_layer;

/* Collective; fails on all ranks alike. Pairs with layer_destroy, after a failure too. */
status layer_create(bench_layer *l, MPI_Comm comm, const layer_sizes *sizes, error *err);
void layer_destroy(bench_layer *l);

/* The feed-forward part's input in drawing number `which`, from l->data. */
operand layer_input(bench_layer *l, int64_t which);

/* What one run cost this rank. */
typedef struct layer_cost {
    double seconds;
    exchange_times exchange;
    size_t bytes;        /* of activations and scratch, each at its peak */
    int64_t expert_rows; /* of the fullest expert, over all ranks; 0 when dense */
} layer_cost;

/* Runs it once, on the tokens of drawing number `which`. Collective. */
layer_cost layer_run(bench_layer *l, const layer_way *way, int64_t which);

#endif
