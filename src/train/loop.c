/* One step, from batch to metrics:
 *
 *     draw the global batch → pack this rank's chunks → count supervised tokens over all ranks
 *     → each chunk forward and backward, its gradient merged into the tree
 *     → sum over ranks, clip, update, give new weights to all → metrics, checkpoint
 */
#include "src/train/loop.h"

#include "parallel/agree.h"
#include "parallel/tree.h"
#include "src/base/clock.h"
#include "src/base/log.h"
#include "src/base/progress.h"
#include "src/optim/schedule.h"
#include "src/train/metrics.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { SKIPPED_IN_A_ROW = 10 };

/* Sums over the global batch; one reduction per step carries them all. */
enum { COUNT_SAMPLES, COUNT_TOKENS, COUNT_SUPERVISED, COUNT_CUT, COUNT_WITHOUT_ROOM, COUNTS };

static void add_counts(int64_t counts[COUNTS], const pack_counts *c) {
    counts[COUNT_SAMPLES] += c->samples;
    counts[COUNT_TOKENS] += c->protein_tokens + c->text_tokens;
    counts[COUNT_SUPERVISED] += c->supervised;
    counts[COUNT_CUT] += c->cut_answers;
    counts[COUNT_WITHOUT_ROOM] += c->without_room;
}

/* Whether the chunk fits the machine; the bounds are those that size the arenas. */
static status check_memory(const trainer *t, const pack_counts *c, error *err) {
    const sepit_sizes sizes = {.protein_tokens = c->protein_tokens,
                               .text_tokens = c->text_tokens,
                               .supervised = c->supervised,
                               .residues_squared = c->residues_squared,
                               .longest_protein = c->longest_protein};
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

/* Reads, tokenizes and packs this rank's chunks of the step. Local. */
static status pack_chunks(trainer *t, int64_t counts[COUNTS], error *err) {
    sampler_batch batch;
    sampler_draw(&t->sampler, t->state.step, &batch);
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
    for (int64_t i = 0; i < t->end_chunk - t->first_chunk; i++)
        if (t->chunk[i].counts.longest_needed > longest)
            longest = t->chunk[i].counts.longest_needed;
    return longest;
}

/* Forward and backward of this rank's chunks; their losses into t->chunk_loss. Local. */
static void run_chunks(trainer *t, int64_t supervised) {
    const real scale = supervised > 0 ? (real)(1.0 / (double)supervised) : 0;
    memset(t->chunk_loss, 0, (size_t)t->sampler.config.chunks * sizeof *t->chunk_loss);
    gradients_begin(&t->gradients);
    for (int64_t c = t->first_chunk; c < t->end_chunk; c++) {
        params_use_gradient(&t->model.params, gradients_open_chunk(&t->gradients));
        t->chunk_loss[c] =
            sepit_run_chunk(&t->nn, &t->model, &t->chunk[c - t->first_chunk].batch, scale, NULL);
        gradients_close_chunk(&t->gradients);
    }
}

static int64_t peak_bytes(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (int64_t)usage.ru_maxrss * 1024;
}

static status run_step(trainer *t, step_metrics *m, error *err) {
    const config *c = t->config;
    const int64_t steps = config_int(c, "train.steps");
    int64_t counts[COUNTS] = {0};
    const double start = clock_seconds();
    TRY(agree(t->comm, pack_chunks(t, counts, err), err));
    const double packed = clock_seconds();
    comm_sum(t->comm, counts, COUNTS);
    if (counts[COUNT_SAMPLES] == 0)
        return error_set(err, STATUS_INPUT,
                         "no sample of step %lld has room for an answer: data.max_text is %lld, "
                         "but questions with the system sentence have up to %.0f tokens",
                         (long long)t->state.step + 1, (long long)config_int(c, "data.max_text"),
                         comm_max(t->comm, (double)longest_prompt(t)));
    const double counted = clock_seconds();
    run_chunks(t, counts[COUNT_SUPERVISED]);
    const double computed = clock_seconds();
    const double lr = config_real(c, "train.lr") *
                      schedule_linear(t->state.step, steps, config_real(c, "train.warmup"));
    const double loss = tree_sum_shared(t->comm, t->chunk_loss, t->sampler.config.chunks);
    const optimizer_report report = optimizer_step(&t->optimizer, gradients_total(&t->gradients),
                                                   lr, config_real(c, "train.clip"));
    const double done = clock_seconds();
    t->state.step++;
    t->state.tokens += counts[COUNT_TOKENS];
    *m = (step_metrics){.step = t->state.step,
                        .epoch = sampler_epoch(&t->sampler, t->state.step),
                        .loss = loss / (double)counts[COUNT_SUPERVISED],
                        .lr = lr,
                        .grad_norm = report.norm,
                        .skipped = report.skipped,
                        .samples = counts[COUNT_SAMPLES],
                        .tokens = counts[COUNT_TOKENS],
                        .supervised_tokens = counts[COUNT_SUPERVISED],
                        .truncated_answers = counts[COUNT_CUT],
                        .step_s = comm_max(t->comm, done - start),
                        .compute_s = computed - counted,
                        .comm_s = counted - packed + done - computed,
                        .io_s = packed - start,
                        .peak_bytes = peak_bytes()};
    return STATUS_OK;
}

static void show_step(progress *line, const trainer *t, const step_metrics *m) {
    char detail[128];
    snprintf(detail, sizeof detail, "loss %.4f  norm %.3g  %.0f tokens/s", m->loss, m->grad_norm,
             m->step_s > 0 ? (double)m->tokens / m->step_s : 0);
    progress_show(line, t->state.step, detail);
}

static status save(trainer *t, error *err) {
    char *json = config_to_json(t->config);
    const status code = save_checkpoint(&t->optimizer, t->folder.checkpoints, &t->state, json, err);
    free(json);
    return code;
}

/* A step whose gradient was not finite changed nothing; several in a row end the run. */
static status check_skips(const step_metrics *m, int *in_a_row, error *err) {
    *in_a_row = m->skipped ? *in_a_row + 1 : 0;
    if (m->skipped)
        log_info("step %lld: loss %g, gradient norm %g: not finite, the update is skipped",
                 (long long)m->step, m->loss, m->grad_norm);
    if (*in_a_row < SKIPPED_IN_A_ROW)
        return STATUS_OK;
    return error_set(err, STATUS_FAILED,
                     "%d steps in a row had a gradient that is not finite; lower train.lr, or use "
                     "compute.dtype=fp32",
                     *in_a_row);
}

status loop_run(trainer *t, error *err) {
    const int64_t steps = config_int(t->config, "train.steps");
    const int64_t every = config_int(t->config, "checkpoint.every");
    if (t->state.step >= steps) {
        log_info("nothing to do: %lld of %lld steps are done", (long long)t->state.step,
                 (long long)steps);
        return STATUS_OK;
    }
    TRY(save_check_room(&t->optimizer, t->folder.checkpoints, err));
    progress line;
    progress_begin(&line, "step", steps);
    int skipped = 0;
    status code = STATUS_OK;
    while (t->state.step < steps && code == STATUS_OK) {
        step_metrics m;
        code = run_step(t, &m, err);
        if (code == STATUS_OK && t->folder.metrics != NULL)
            code = metrics_write(t->folder.metrics, t->folder.path, &m, err);
        code = agree(t->comm, code, err);
        if (code != STATUS_OK)
            break;
        show_step(&line, t, &m);
        code = check_skips(&m, &skipped, err);
        if (code == STATUS_OK &&
            (t->state.step == steps || (every > 0 && t->state.step % every == 0)))
            code = save(t, err);
    }
    progress_end(&line);
    return code;
}
