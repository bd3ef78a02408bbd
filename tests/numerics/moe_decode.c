// TEST timeout=30 mode=release,double,asan
/* Generation through experts: decoding with a cache, the prompt at once and the answer token by
 * token, gives the losses of the packed pass over the whole sequence. */
#include "tests/numerics/chunk_bench.h"

enum { D = 16, EXPERTS = 4 };

static double nll_of(const real *logits, int32_t target) {
    double sum = 0;
    for (int v = 0; v < CHUNK_V; v++)
        sum += exp((double)logits[v] - (double)logits[target]);
    return log(sum);
}

/* Prompt number b of the chunk, whose first `prefill` positions are decoded at once. */
static void check_decode(model_bench *bench, const chunk *c, int64_t b, int64_t prefill,
                         const double *nll) {
    const nn_context *nn = &bench->m.nn;
    const sepit *model = &bench->model;
    const text_batch *text = &c->batch.text;
    const int64_t first = text->offset[b], n = text->offset[b + 1] - first;
    static real x[CHUNK_TOKENS * D];
    const real *vectors = sepit_encode(nn, model, &c->batch.protein);
    for (int64_t i = 0; i < n; i++)
        if (text->source[first + i] >= 0)
            memcpy(x + i * D, vectors + text->source[first + i] * D, sizeof(real) * D);
        else
            llama_embed(&model->params, &model->llm, text->token[first + i], x + i * D);
    arena_reset(&bench->m.activations, 0);
    arena memory;
    machine_try(&bench->m, arena_create(&memory, "cache", llama_cache_bytes(&model->config.llm, n),
                                        &bench->m.err));
    llama_cache cache;
    llama_cache_create(&cache, &model->llm, n, &memory);
    for (int64_t at = 0; at < n; at = cache.length) {
        const real *logits = llama_decode(nn, &model->params, &model->llm, &cache, x + at * D,
                                          at == 0 ? prefill : 1);
        const int32_t target = text->target[first + cache.length - 1];
        if (target >= 0)
            EXPECT_CLOSE(nll_of(logits, target), *nll++, 2e4 * (double)REAL_EPSILON);
        arena_reset(&bench->m.activations, 0);
    }
    arena_destroy(&memory);
}

static void check_model(int64_t k) {
    static chunk c;
    static double nll[CHUNK_TOKENS];
    const sepit_config config = model_with_experts(EXPERTS, k);
    chunk_make(&c, 1, (const int[]){0}, 1, PROMPTS);
    sepit_sizes sizes = chunk_sizes(&c);
    sizes.expert_rows = sizes.text_tokens * k;
    model_bench bench;
    model_create(&bench, &config, false, &sizes);
    model_run(&bench, &c, 0, nll);
    check_decode(&bench, &c, 0, 1, nll);
    check_decode(&bench, &c, 0, 14, nll);
    model_destroy(&bench);
}

int main(void) {
    check_model(1);
    check_model(2);
    return test_end();
}
