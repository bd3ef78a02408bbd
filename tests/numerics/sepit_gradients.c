// TEST timeout=120 mode=double
/* Every gradient of the whole model against central differences: two proteins, one without
 * structure and one with a residue that has no coordinate, and three prompts, two of which share a
 * protein. */
#include "tests/numerics/chunk_bench.h"

static const real SCALE = (real)0.37;

typedef struct problem {
    model_bench bench;
    chunk chunk;
} problem;

static double loss(void *context) {
    problem *at = context;
    return (double)SCALE *
           sepit_run_chunk(&at->bench.m.nn, &at->bench.model, &at->chunk.batch, 0, NULL);
}

static void check_model(bool tied) {
    static problem at;
    sepit_config config = CHUNK_MODEL;
    config.llm.tied = tied;
    chunk_make_usual(&at.chunk);
    const sepit_sizes sizes = chunk_sizes(&at.chunk);
    model_create(&at.bench, &config, false, &sizes);
    const double sum = model_run(&at.bench, &at.chunk, SCALE, NULL);
    EXPECT_CLOSE((double)SCALE * sum, loss(&at), 1e-14);
    gradcheck_params(&at.bench.model.params, loss, &at);
    model_destroy(&at.bench);
}

int main(void) {
    check_model(false);
    check_model(true);
    return test_end();
}
