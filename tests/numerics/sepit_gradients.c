// TEST timeout=120 mode=double
/* Every gradient of the whole model against central differences: two proteins, one without
 * structure and one with a residue that has no coordinate, and three prompts, two of which share a
 * protein; dense, and with experts (few enough tokens that no choice is near a tie). */
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

static void check_model(bool tied, int64_t experts, int64_t k) {
    static problem at;
    sepit_config config = experts > 0 ? model_with_experts(experts, k) : CHUNK_MODEL;
    config.llm.tied = tied;
    chunk_make_usual(&at.chunk);
    sepit_sizes sizes = chunk_sizes(&at.chunk);
    sizes.expert_rows = k * sizes.text_tokens;
    model_create(&at.bench, &config, false, &sizes);
    const double sum = model_run(&at.bench, &at.chunk, SCALE, NULL);
    EXPECT_CLOSE((double)SCALE * sum, loss(&at), 1e-14);
    gradcheck_params(&at.bench.model.params, loss, &at);
    gradcheck_params(&at.bench.model.experts, loss, &at);
    model_destroy(&at.bench);
}

int main(void) {
    check_model(false, 0, 0);
    check_model(true, 0, 0);
    check_model(false, 4, 1);
    check_model(false, 4, 2);
    return test_end();
}
