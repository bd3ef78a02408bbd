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
#include "src/train/bad_steps.h"
#include "src/train/batch.h"
#include "src/train/metrics.h"
#include "src/train/replicas.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

/* Counts where the tokens of the step go, before it is trained on. Collective. */
static void count_routes(trainer *t) {
    for (int64_t i = 0; i < batch_chunks(t); i++) {
        experts_open_chunk(&t->experts, i, t->first_chunk + i, false);
        sepit_run_chunk(&t->nn, &t->model, batch_chunk(t, i), 0, NULL);
        experts_close_chunk(&t->experts, i, false);
    }
    experts_use_counts(&t->experts, t->comm);
}

/* nn_context.progress: what is in flight between the ranks moves on. */
static void make_progress(void *context) {
    trainer *t = context;
    if (t->experts.run.exchange != NULL)
        exchange_progress(t->experts.run.exchange);
    optimizer_progress(&t->optimizer);
}

/* nn_context.finished, in the last chunk: the rank's sum is final from `element` on, so its journey
 * to the owners may begin. */
static void start_reducing(void *context, int64_t element) {
    trainer *t = context;
    const int64_t from = t->model.params.gradient_from;
    gradients_finish_from(&t->gradients, element > from ? element - from : 0);
    optimizer_reduce_ready(&t->optimizer, 0, element > from ? element : from);
}

/* Forward and backward of this rank's i-th chunk. */
static void run_chunk(trainer *t, int64_t i, real scale) {
    const bool own = batch_is_own(t, i), last = own && !batch_is_own(t, i + 1);
    params_use_gradient(&t->model.params, own ? gradients_open_chunk(&t->gradients) : NULL);
    experts_open_chunk(&t->experts, i, t->first_chunk + i, true);
    if (last) {
        optimizer_reduce_begin(&t->optimizer, 0, gradients_total_place(&t->gradients));
        t->nn.finished = start_reducing;
    }
    const bool spoilt = own && bad_steps_fault(t->first_chunk + i, t->state.step + 1);
    if (spoilt)
        t->model.params.gradient[0] = NAN;
    const double loss = sepit_run_chunk(&t->nn, &t->model, batch_chunk(t, i), scale, NULL);
    t->nn.finished = NULL;
    experts_close_chunk(&t->experts, i, true);
    if (own)
        t->own_loss[i] = spoilt ? NAN : loss;
    if (own && !last) /* the last one's sum closes with the step's */
        gradients_close_chunk(&t->gradients);
}

/* Forward and backward of this rank's chunks; their losses into t->own_loss. Collective over the
 * expert group. */
static void run_chunks(trainer *t, int64_t supervised) {
    const real scale = (real)(1.0 / (double)supervised);
    gradients_begin(&t->gradients);
    t->nn.progress = make_progress;
    t->nn.context = t;
    for (int64_t i = 0; i < batch_chunks(t); i++)
        run_chunk(t, i, scale);
    t->nn.progress = NULL;
}

static int64_t peak_bytes(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (int64_t)usage.ru_maxrss * 1024;
}

/* Sums the gradients over the ranks and updates the weights. Collective. */
static void update(trainer *t, step_metrics *m) {
    const config *c = t->config;
    m->lr =
        config_real(c, "train.lr") * schedule_linear(t->state.step, config_int(c, "train.steps"),
                                                     config_real(c, "train.warmup"));
    const real *const gradient[] = {gradients_total(&t->gradients),
                                    t->experts.layers > 0 ? experts_gradient(&t->experts) : NULL};
    const optimizer_report report = optimizer_step(
        &t->optimizer, gradient, isfinite(m->loss) ? m->lr : NAN, config_real(c, "train.clip"));
    m->grad_norm = report.norm;
    m->skipped = report.skipped;
}

/* The step's losses and what was counted, over all ranks. Collective. */
static void sum_losses(trainer *t, const int64_t counts[BATCH_COUNTS], step_metrics *m) {
    const int64_t chunks = t->sampler.config.chunks, own = t->end_chunk - t->first_chunk;
    memset(t->chunk_loss, 0, (size_t)chunks * sizeof *t->chunk_loss);
    memcpy(t->chunk_loss + t->first_chunk, t->own_loss, (size_t)own * sizeof *t->own_loss);
    const double sum = tree_sum_shared(t->comm, t->chunk_loss, chunks);
    m->loss_answer = sum / (double)counts[BATCH_SUPERVISED];
    m->loss_experts = experts_end_step(&t->experts, t->comm);
    m->loss = m->loss_answer + m->loss_experts.balance + m->loss_experts.z;
    m->samples = counts[BATCH_SAMPLES];
    m->tokens = counts[BATCH_TOKENS];
    m->supervised_tokens = counts[BATCH_SUPERVISED];
    m->truncated_answers = counts[BATCH_CUT];
    m->experts = &t->experts;
}

static status run_step(trainer *t, step_metrics *m, error *err) {
    int64_t counts[BATCH_COUNTS];
    *m = (step_metrics){0};
    const double start = clock_seconds();
    watchdog_note(t->watchdog, "counting the batch");
    TRY(batch_prepare(t, counts, &m->io_s, err));
    const double counted = clock_seconds();
    experts_begin_step(&t->experts, t->state.step, counts[BATCH_TEXT]);
    if (t->experts.layers > 0 && t->experts.balance == BALANCE_TWO_PASS)
        count_routes(t);
    run_chunks(t, counts[BATCH_SUPERVISED]);
    const double computed = clock_seconds();
    watchdog_note(t->watchdog, "summing losses");
    sum_losses(t, counts, m);
    watchdog_note(t->watchdog, "summing gradients and sharing weights");
    update(t, m);
    const double done = clock_seconds();
    t->state.step++;
    t->state.tokens += counts[BATCH_TOKENS];
    m->step = t->state.step;
    m->epoch = sampler_epoch(&t->sampler, t->state.step);
    m->compute_s = computed - counted;
    m->comm_s = done - start - m->compute_s - m->io_s;
    m->step_s = comm_max(t->comm, done - start);
    m->peak_bytes = peak_bytes();
    return STATUS_OK;
}

static void show_step(progress *line, const trainer *t, const step_metrics *m) {
    char detail[128];
    snprintf(detail, sizeof detail, "loss %.4f  norm %.3g  %.0f tokens/s", m->loss, m->grad_norm,
             m->step_s > 0 ? (double)m->tokens / m->step_s : 0);
    progress_show(line, t->state.step, detail);
}

/* ---- after a step ---------------------------------------------------------------------------- */

/* A step whose numbers are not finite changed nothing; several in a row end the run. Collective. */
static void note_numbers(trainer *t, const step_metrics *m) {
    if (!m->skipped) {
        bad_steps_note_good(&t->bad_steps);
        return;
    }
    const bad_step bad = {.step = m->step,
                          .loss = m->loss,
                          .grad_norm = m->grad_norm,
                          .lr = m->lr,
                          .sampler = &t->sampler,
                          .first_chunk = t->first_chunk,
                          .end_chunk = t->end_chunk,
                          .own_loss = t->own_loss,
                          .gradient = gradients_total(&t->gradients),
                          .gradient_count = t->gradients.storage};
    bad_steps_note_bad(&t->bad_steps, t->comm, &bad);
}

/* Now and then: do all ranks still hold the same? */
static status check_replicas(const trainer *t, error *err) {
    const int64_t every = config_int(t->config, "parallel.guard_every");
    if (every == 0 || t->state.step % every != 0)
        return STATUS_OK;
    return replicas_compare(t, err);
}

static status save(trainer *t, error *err) {
    if (t->saver.saved == t->state.step)
        return STATUS_OK;
    status code = STATUS_OK;
    watchdog_enter(t->watchdog, WATCHDOG_CHECKPOINT, t->state.step);
    if (t->folder.metrics != NULL)
        code = metrics_sync(t->folder.metrics, t->folder.path, err);
    TRY(agree(t->comm, code, err));
    char *json = config_to_json(t->config);
    code = save_begin(&t->saver, &t->state, json, err);
    free(json);
    return code;
}

/* A checkpoint on disk, whatever is under way: before the run ends. */
static status save_now(trainer *t, error *err) {
    TRY(save(t, err));
    watchdog_enter(t->watchdog, WATCHDOG_CHECKPOINT, t->state.step);
    return save_finish(&t->saver, err);
}

/* Somebody asked to stop, and all ranks know: a checkpoint, and STATUS_STOPPED with a sentence. */
static status stop(trainer *t, const error *wish, error *err) {
    *err = (error){0};
    TRY(save_now(t, err));
    stopping_honour(&t->stopping);
    return error_set(err, STATUS_STOPPED,
                     "stopped after step %lld, which is saved: %s; the same command continues",
                     (long long)t->state.step, wish->text);
}

/* ---- the run --------------------------------------------------------------------------------- */

/* One step and its line of metrics. STATUS_STOPPED when the step is done and somebody, on whatever
 * rank, wants the run to end. Fails on all ranks alike. */
static status take_step(trainer *t, progress *line, step_metrics *m, error *err) {
    watchdog_enter(t->watchdog, WATCHDOG_STEP, t->state.step + 1);
    status code = run_step(t, m, err);
    if (code == STATUS_OK && t->folder.metrics != NULL)
        code = metrics_write(t->folder.metrics, t->folder.path, m, err);
    TRY(agree(t->comm, code, err));
    show_step(line, t, m);
    const bool wish = stopping_requested(&t->stopping, err);
    return agree(t->comm, wish ? STATUS_STOPPED : STATUS_OK, err);
}

static status run_steps(trainer *t, progress *line, error *err) {
    const int64_t steps = config_int(t->config, "train.steps");
    const int64_t every = config_int(t->config, "checkpoint.every");
    while (t->state.step < steps) {
        step_metrics m;
        error wish = {0};
        const status code = take_step(t, line, &m, &wish);
        if (code != STATUS_OK && code != STATUS_STOPPED) {
            *err = wish;
            return code;
        }
        TRY(check_replicas(t, err));
        note_numbers(t, &m);
        if (code == STATUS_STOPPED)
            return stop(t, &wish, err);
        if (bad_steps_too_many(&t->bad_steps)) {
            TRY(save_now(t, err));
            return bad_steps_stop(&t->bad_steps, t->comm, t->folder.path, err);
        }
        TRY(save_poll(&t->saver, err));
        if (every > 0 && t->state.step % every == 0)
            TRY(save(t, err));
    }
    return save_now(t, err);
}

status loop_run(trainer *t, error *err) {
    const int64_t steps = config_int(t->config, "train.steps");
    if (t->state.step >= steps) {
        log_info("nothing to do: %lld of %lld steps are done", (long long)t->state.step,
                 (long long)steps);
        return STATUS_OK;
    }
    TRY(save_check_room(&t->optimizer, t->folder.checkpoints, err));
    progress line;
    progress_begin(&line, "step", steps);
    const status code = run_steps(t, &line, err);
    progress_end(&line);
    return code;
}
