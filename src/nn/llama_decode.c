/* Generation: new positions run against cached keys and values. */
#include "src/nn/llama.h"

#include "src/nn/llama_block.h"
#include "src/tensor/norm.h"

#include <string.h>

/* Elements of one layer's keys, or values. */
static int64_t layer_elements(const llama *llm, int64_t capacity) {
    return capacity * llm->config.K * (llm->config.D / llm->config.H);
}

void llama_cache_create(llama_cache *cache, const llama *llm, int64_t capacity, arena *memory) {
    const int64_t elements = llm->config.layers * layer_elements(llm, capacity);
    *cache = (llama_cache){.capacity = capacity,
                           .key = ARENA_ARRAY(memory, real, elements),
                           .value = ARENA_ARRAY(memory, real, elements)};
}

/* Runs the n rows of x through all blocks, in place. */
static void run_blocks(const nn_context *nn, const params *p, const llama *llm,
                       const llama_cache *cache, real *x, int64_t n) {
    int32_t *position = ARENA_ARRAY(nn->scratch, int32_t, n);
    for (int64_t i = 0; i < n; i++)
        position[i] = (int32_t)(cache->length + i);
    const llama_pass pass = llama_pass_cache(nn, p, llm, position, n);
    for (int64_t i = 0; i < llm->config.layers; i++) {
        const int64_t start = i * layer_elements(llm, cache->capacity);
        const llama_block_cache cached = {cache->key + start, cache->value + start, cache->length};
        llama_block_decode(&pass, &llm->block[i], cached, x);
    }
}

/* Logits [V] of one row of the last block's output. */
static void run_head(const nn_context *nn, const params *p, const llama *llm, const real *x,
                     real *logits) {
    const linear head = {.weight = llm->head, .bias = -1};
    const llama_pass pass = llama_pass_cache(nn, p, llm, NULL, 1);
    real *rstd;
    const operand hidden = llama_norm_forward(&pass, nn->scratch, x, llm->final_norm, &rstd);
    linear_forward(nn, p, &head, &hidden, logits);
}

real *llama_decode(const nn_context *nn, const params *p, const llama *llm, llama_cache *cache,
                   const real *x, int64_t n) {
    const int64_t D = llm->config.D;
    CHECK(n >= 1 && n <= cache->capacity - cache->length,
          "A cache of %lld positions holds %lld; %lld more do not fit.", (long long)cache->capacity,
          (long long)cache->length, (long long)n);
    real *logits = ARENA_ARRAY(nn->activations, real, llm->config.V);
    const size_t mark = arena_mark(nn->scratch);
    real *y = ARENA_ARRAY(nn->scratch, real, n * D);
    memcpy(y, x, (size_t)(n * D) * sizeof *y);
    run_blocks(nn, p, llm, cache, y, n);
    run_head(nn, p, llm, y + (n - 1) * D, logits);
    arena_reset(nn->scratch, mark);
    cache->length += n;
    return logits;
}

size_t llama_cache_bytes(const llama_config *c, int64_t capacity) {
    const int64_t elements = c->layers * capacity * c->K * (c->D / c->H);
    return 2 * (arena_bytes(elements, sizeof(real)) + 64);
}

size_t llama_decode_bytes(const llama_config *c, int64_t tokens, bool bf16) {
    const size_t x = arena_bytes(tokens, (size_t)c->D * sizeof(real) + sizeof(int32_t)) + 2 * 64;
    const size_t row = arena_bytes(2 * c->D + 1, sizeof(real)) + 3 * 64;
    const size_t head = row + (bf16 ? GEMM_SCRATCH_BYTES : 0);
    const size_t block = llama_block_scratch_bytes(c, tokens, tokens * c->moe.k, bf16, false);
    return x + (head > block ? head : block);
}
