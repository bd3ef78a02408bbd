#include "src/train/batch.h"

#include "parallel/agree.h"
#include "src/base/clock.h"

static void add_counts(int64_t counts[BATCH_COUNTS], const pack_counts *c) {
    counts[BATCH_SAMPLES] += c->samples;
    counts[BATCH_TOKENS] += c->protein_tokens + c->text_tokens;
    counts[BATCH_TEXT] += c->text_tokens;
    counts[BATCH_SUPERVISED] += c->supervised;
    counts[BATCH_CUT] += c->cut_answers;
    counts[BATCH_WITHOUT_ROOM] += c->without_room;
}

/* Whether the chunk fits the machine; the bounds are those that size the arenas. Experts are taken
 * to get as many rows as this chunk has itself: the others' chunks are as long, and how tokens will
 * be routed is not known yet. */
static status check_memory(const trainer *t, const pack_counts *c, error *err) {
    const sepit_sizes sizes = {.protein_tokens = c->protein_tokens,
                               .text_tokens = c->text_tokens,
                               .supervised = c->supervised,
                               .residues_squared = c->residues_squared,
                               .longest_protein = c->longest_protein,
                               .expert_rows = c->text_tokens * t->experts.config.k};
    const size_t activations = sepit_activation_bytes(&t->model.config, &sizes, t->bf16, true);
    const size_t scratch = sepit_scratch_bytes(&t->model.config, &sizes, t->bf16, true);
    if (activations <= t->activations.capacity && scratch <= t->scratch.capacity &&
        activations + scratch <= t->activations.capacity)
        return STATUS_OK;
    return error_set(err, STATUS_FAILED,
                     "a chunk with %lld tokens needs %.1f GiB of activations, but the machine has "
                     "%.1f GiB: raise train.chunks, or lower train.global_batch or data.max_text",
                     (long long)(c->protein_tokens + c->text_tokens),
                     (double)(activations + scratch) / (1 << 30),
                     (double)t->activations.capacity / (1 << 30));
}

status batch_pack(trainer *t, int64_t step, int64_t counts[BATCH_COUNTS], error *err) {
    sampler_batch batch;
    sampler_draw(&t->sampler, step, &batch);
    arena_reset(&t->batch, 0);
    for (int64_t c = t->first_chunk; c < t->end_chunk; c++) {
        packed_chunk *chunk = &t->chunk[c - t->first_chunk];
        pack_input input;
        TRY(pack_read(t->data, batch.sample + batch.offset[c],
                      batch.offset[c + 1] - batch.offset[c], &t->batch, &input, err));
        TRY(pack_build(&t->packing, &input, &t->batch, chunk, err));
        TRY(check_memory(t, &chunk->counts, err));
        add_counts(counts, &chunk->counts);
    }
    return STATUS_OK;
}

/* Tokens that the longest prompt of this rank's chunks needs, before its answer. */
static int64_t longest_prompt(const trainer *t) {
    int64_t longest = 0;
    for (int64_t i = 0; batch_is_own(t, i); i++)
        if (t->chunk[i].counts.longest_needed > longest)
            longest = t->chunk[i].counts.longest_needed;
    return longest;
}

status batch_prepare(trainer *t, int64_t *counts, double *io_s, error *err) {
    const double start = clock_seconds();
    for (int i = 0; i < BATCH_COUNTS; i++)
        counts[i] = 0;
    TRY(agree(t->comm, batch_pack(t, t->state.step, counts, err), err));
    *io_s = clock_seconds() - start;
    comm_sum(t->comm, counts, BATCH_COUNTS);
    if (counts[BATCH_SAMPLES] > 0)
        return STATUS_OK;
    return error_set(err, STATUS_INPUT,
                     "no sample of step %lld has room for an answer: data.max_text is %lld, but "
                     "questions with the system sentence have up to %.0f tokens",
                     (long long)t->state.step + 1,
                     (long long)config_int(t->config, "data.max_text"),
                     comm_max(t->comm, (double)longest_prompt(t)));
}

int64_t batch_chunks(const trainer *t) {
    const int64_t own = t->end_chunk - t->first_chunk;
    return t->experts.most_chunks > own ? t->experts.most_chunks : own;
}

bool batch_is_own(const trainer *t, int64_t i) {
    return t->first_chunk + i < t->end_chunk;
}

const chunk_batch *batch_chunk(const trainer *t, int64_t i) {
    static const int64_t no_sequence[1] = {0};
    static const chunk_batch empty = {.protein.offset = no_sequence, .text.offset = no_sequence};
    return batch_is_own(t, i) ? &t->chunk[i].batch : &empty;
}
