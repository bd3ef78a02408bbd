// TEST timeout=60 mode=double
/* Every gradient of the language model, and that of the protein vectors, against central
 * differences; head tied and untied. */
#include "tests/numerics/chunk_bench.h"

enum { ROWS = (7 + 2) + (5 + 2) };
static const real SCALE = (real)0.21;

typedef struct problem {
    machine m;
    params p, experts;
    llama llm;
    chunk chunk;
    real protein[ROWS * 16], d_protein[ROWS * 16];
} problem;

static double run(problem *at, bool backward) {
    const nn_context *nn = &at->m.nn;
    const text_batch *text = &at->chunk.batch.text;
    llama_saved *saved = NULL;
    const real *hidden =
        llama_forward(nn, &at->p, &at->llm, text, at->protein, backward ? &saved : NULL);
    real d_hidden[64 * 16];
    const real scale = backward ? SCALE : 0;
    const double sum = llama_loss(nn, &at->p, &at->llm, text, hidden, scale, NULL, d_hidden);
    if (backward)
        llama_backward(nn, &at->p, &at->llm, text, saved, d_hidden, at->d_protein);
    arena_reset(&at->m.activations, 0);
    EXPECT(arena_mark(&at->m.scratch) == 0, "Scratch was not given back.");
    return (double)SCALE * sum;
}

static double loss(void *context) {
    return run(context, false);
}

static void check_model(bool tied) {
    static problem at;
    memset(&at, 0, sizeof at);
    llama_config config = CHUNK_MODEL.llm;
    config.tied = tied;
    chunk_make_usual(&at.chunk);
    const sepit_sizes s = chunk_sizes(&at.chunk);
    EXPECT(s.protein_tokens == ROWS && s.text_tokens <= 64);
    const size_t block = llama_scratch_bytes(&config, s.text_tokens, 0, false, true);
    const size_t head = llama_loss_bytes(&config, s.supervised, false, true);
    machine_create(&at.m, false, llama_activation_bytes(&config, s.text_tokens, 0, false, true),
                   block > head ? block : head);
    params_init(&at.p);
    machine_try(&at.m, llama_declare(&at.llm, &config, &at.p, &at.experts, &at.m.err));
    real *gradient = model_ready(&at.p, false);
    gradcheck_fill(at.protein, ROWS * config.D, "protein", 0, 1);
    run(&at, true);
    gradcheck_params(&at.p, loss, &at);
    gradcheck_array("protein vectors", loss, &at, at.protein, at.d_protein, ROWS * config.D);
    free(gradient);
    llama_destroy(&at.llm);
    params_destroy(&at.p);
    machine_destroy(&at.m);
}

int main(void) {
    check_model(false);
    check_model(true);
    return test_end();
}
