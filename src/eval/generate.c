#include "src/eval/generate.h"

#include <stdlib.h>
#include <string.h>

/* The most likely token that means something: rows that only pad the table do not. */
static int32_t most_likely(const real *logits, int32_t vocabulary) {
    int32_t best = 0;
    for (int32_t v = 1; v < vocabulary; v++)
        if (logits[v] > logits[best])
            best = v;
    return best;
}

/* Rows of the prompt as the model reads them: embedded tokens and protein vectors [T,D]. */
static real *embed_prompt(const inference *f, const text_batch *text, const real *protein,
                          arena *memory) {
    const int64_t D = f->model.config.llm.D, T = text->offset[1];
    real *x = ARENA_ARRAY(memory, real, T * D);
    for (int64_t t = 0; t < T; t++) {
        if (text->source[t] >= 0)
            memcpy(x + t * D, protein + text->source[t] * D, (size_t)D * sizeof *x);
        else
            llama_embed(&f->model.params, &f->model.llm, text->token[t], x + t * D);
    }
    return x;
}

/* Whether the prompt's embedded rows, the cache of prompt and answer, and the answer's ids fit. */
static status check_answer_memory(const inference *f, int64_t T, int64_t max_tokens, error *err) {
    const llama_config *c = &f->model.config.llm;
    const size_t need = arena_bytes(T + 1, (size_t)c->D * sizeof(real)) +
                        llama_cache_bytes(c, T + max_tokens) +
                        arena_bytes(max_tokens, sizeof(int32_t)) + 3 * 64;
    if (need <= f->batch.capacity - f->batch.used)
        return STATUS_OK;
    return error_set(err, STATUS_FAILED,
                     "an answer of up to %lld tokens needs %.1f GiB for its keys and values, but "
                     "the machine has %.1f GiB: lower generate.max_tokens",
                     (long long)max_tokens, (double)need / (1 << 30),
                     (double)f->batch.capacity / (1 << 30));
}

/* Decodes into ids [max_tokens]; returns how many. x [T,D] is the prompt. */
static int64_t decode_tokens(inference *f, const real *x, int64_t T, int64_t max_tokens,
                             int32_t *ids, bool *finished) {
    const params *p = &f->model.params;
    const llama *llm = &f->model.llm;
    llama_cache cache;
    llama_cache_create(&cache, llm, T + max_tokens, &f->batch);
    real *next = ARENA_ARRAY(&f->batch, real, llm->config.D);
    int64_t count = 0;
    *finished = false;
    for (int64_t n = T; count < max_tokens; n = 1) {
        const size_t mark = arena_mark(&f->activations);
        const real *logits = llama_decode(&f->nn, p, llm, &cache, x, n);
        const int32_t id = most_likely(logits, f->tokenizer.vocabulary);
        arena_reset(&f->activations, mark);
        *finished = id == f->tokenizer.eos;
        if (*finished)
            break;
        ids[count++] = id;
        llama_embed(p, llm, id, next);
        x = next;
    }
    return count;
}

static status decode_text(const inference *f, const int32_t *ids, int64_t count, answer *result,
                          error *err) {
    TRY(tokenizer_decode(&f->tokenizer, ids, count, NULL, 0, &result->bytes, err));
    result->text = malloc((size_t)result->bytes + 1);
    if (result->text == NULL)
        return error_set(err, STATUS_FAILED, "no memory for an answer of %lld bytes",
                         (long long)result->bytes);
    result->text[result->bytes] = '\0';
    return tokenizer_decode(&f->tokenizer, ids, count, result->text, result->bytes, &result->bytes,
                            err);
}

status generate_answer(inference *f, const pack_protein *protein, const char *question,
                       int64_t max_tokens, answer *result, error *err) {
    *result = (answer){0};
    const pack_sample asked = {.structure = f->model.config.structure,
                               .question = question,
                               .question_bytes = (int64_t)strlen(question)};
    const pack_input input = {1, 1, protein, &asked};
    packed_chunk packed;
    arena_reset(&f->batch, 0);
    TRY(pack_build(&f->packing, &input, &f->batch, &packed, err));
    if (packed.batch.text.B == 0)
        return error_set(err, STATUS_INPUT,
                         "the question has %lld tokens with the system sentence, but data.max_text "
                         "is %lld",
                         (long long)packed.counts.longest_needed, (long long)f->packing.max_text);
    TRY(inference_check_memory(f, &packed.counts, err));
    TRY(check_answer_memory(f, packed.batch.text.offset[1], max_tokens, err));
    arena_reset(&f->activations, 0);
    const real *vectors = sepit_encode(&f->nn, &f->model, &packed.batch.protein);
    const real *x = embed_prompt(f, &packed.batch.text, vectors, &f->batch);
    arena_reset(&f->activations, 0);
    int32_t *ids = ARENA_ARRAY(&f->batch, int32_t, max_tokens);
    result->tokens =
        decode_tokens(f, x, packed.batch.text.offset[1], max_tokens, ids, &result->finished);
    return decode_text(f, ids, result->tokens, result, err);
}
