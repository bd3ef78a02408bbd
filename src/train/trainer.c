#include "src/train/trainer.h"

#include "parallel/agree.h"
#include "src/base/log.h"
#include "src/nn/setup.h"
#include "src/train/batch.h"
#include "src/train/initial.h"
#include "src/train/same_bits.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- data ------------------------------------------------------------------------------------ */

static sampler_config read_sampling(const config *c) {
    const bool shaped = config_bool(c, "model.structure");
    return (sampler_config){
        .seed = (uint64_t)config_int(c, "run.seed"),
        .group = config_int(c, "data.group"),
        .global_batch = config_int(c, "train.global_batch"),
        .chunks = config_int(c, "train.chunks"),
        .max_text = config_int(c, "data.max_text"),
        .structure_drop = shaped ? config_real(c, "train.structure_drop") : 1,
    };
}

static status check_layout(const trainer *t, error *err) {
    const int64_t chunks = config_int(t->config, "train.chunks");
    if (chunks < comm_size(t->comm))
        return error_set(err, STATUS_INPUT,
                         "train.chunks is %lld, but there are %d ranks and each needs a chunk: set "
                         "train.chunks=%d or more (a power of two), or use fewer ranks",
                         (long long)chunks, comm_size(t->comm), comm_size(t->comm));
    return STATUS_OK;
}

/* What each rank does alone; the caller agrees. */
static status open_inputs(trainer *t, error *err) {
    const config *c = t->config;
    TRY(check_layout(t, err));
    TRY(config_require(c, "data.tokenizer", err));
    TRY(tokenizer_load(&t->tokenizer, config_text(c, "data.tokenizer"), err));
    t->packing = (pack_settings){&t->tokenizer, config_text(c, "data.system"),
                                 config_int(c, "data.max_text")};
    return STATUS_OK;
}

static status start_sampling(trainer *t, error *err) {
    const sampler_config sampling = read_sampling(t->config);
    TRY(sampler_create(&t->sampler, &sampling, t->data, err));
    sampler_chunks_of_rank(sampling.chunks, comm_rank(t->comm), comm_size(t->comm), &t->first_chunk,
                           &t->end_chunk);
    const size_t mine = (size_t)(t->end_chunk - t->first_chunk);
    t->chunk = calloc(mine, sizeof *t->chunk);
    t->own_loss = calloc(mine, sizeof *t->own_loss);
    t->chunk_loss = calloc((size_t)sampling.chunks, sizeof *t->chunk_loss);
    if (t->chunk == NULL || t->own_loss == NULL || t->chunk_loss == NULL)
        return error_set(err, STATUS_FAILED, "no memory for %lld chunks",
                         (long long)sampling.chunks);
    return STATUS_OK;
}

/* ---- model ----------------------------------------------------------------------------------- */

/* Address space only: pages count when they are touched, and the loop checks each chunk's need. */
static status create_arenas(trainer *t, error *err) {
    /* A rank that asks for more than its share of the node shall hear it from us. */
    const size_t machine =
        (size_t)sysconf(_SC_PHYS_PAGES) * (size_t)sysconf(_SC_PAGE_SIZE) / (size_t)t->node_ranks;
    TRY(arena_create(&t->activations, "activation", machine, err));
    TRY(arena_create(&t->scratch, "scratch", machine, err));
    return arena_create(&t->batch, "batch",
                        pack_bytes(t->data, t->sampler.most_samples, &t->packing) *
                            (size_t)(t->end_chunk - t->first_chunk),
                        err);
}

static void read_rates(const trainer *t, double rate[GROUP_COUNT]) {
    rate[GROUP_ENCODER] = config_real(t->config, "train.lr_encoder");
    rate[GROUP_STRUCTURE] = config_real(t->config, "train.lr_encoder");
    rate[GROUP_PROJECTOR] = config_real(t->config, "train.lr_projector");
    rate[GROUP_LLM] = config_real(t->config, "train.lr_llm");
    rate[GROUP_ROUTER] = config_real(t->config, "train.lr_router");
}

/* Bytes that this rank will keep for the model: weights, and of what is trained gradients and its
 * share of the optimizer's arrays. */
static double bytes_to_keep(const trainer *t) {
    const params *p = &t->model.params;
    const bool exact = config_bool(t->config, "parallel.exact");
    const int arrays = gradients_arrays(t->end_chunk - t->first_chunk, exact);
    const double trained = (double)(p->elements - params_first_trained(p));
    const double elements = (double)t->model.experts.elements;
    const double dense = (double)p->elements + trained * (arrays + optimizer_arrays(t->grid.ranks));
    const double mixed = elements * (1 + arrays * (exact ? t->grid.ep : 1) +
                                     optimizer_arrays(t->grid.ranks / t->grid.ep));
    return (dense + mixed) * sizeof(real);
}

/* A group with rate 0 is frozen, which decides what the optimizer keeps. */
static status create_optimizer(trainer *t, error *err) {
    const share_table table[] = {
        {&t->model.params, t->grid.world, 0},
        {&t->model.experts, t->grid.expert_data, t->grid.experts},
    };
    double rate[GROUP_COUNT];
    read_rates(t, rate);
    for (int g = 0; g < GROUP_COUNT; g++)
        t->model.params.frozen[g] = t->model.experts.frozen[g] = rate[g] == 0;
    TRY(setup_check_memory(t->comm, &t->model, bytes_to_keep(t), err));
    TRY(optimizer_create(&t->optimizer, table, t->experts.layers > 0 ? 2 : 1, err));
    memcpy(t->optimizer.group_rate, rate, sizeof rate);
    return STATUS_OK;
}

static status allocate_model(trainer *t, error *err) {
    params *p = &t->model.params;
    TRY(create_arenas(t, err));
    TRY(gemm_create(&t->nn.gemm, setup_compute_dtype(t->config), &t->scratch, err));
    t->bf16 = gemm_is_bf16(t->nn.gemm);
    t->nn.activations = &t->activations;
    t->nn.scratch = &t->scratch;
    TRY(params_allocate(p, t->bf16, err));
    params_draw(p, t->state.seed);
    TRY(params_allocate(&t->model.experts, t->bf16, err));
    params_draw(&t->model.experts, t->state.seed);
    t->nn.moe = &t->experts.run;
    const bool exact = config_bool(t->config, "parallel.exact");
    TRY(experts_allocate(&t->experts, &t->model, exact, err));
    return gradients_create(&t->gradients, p->storage - p->gradient_from,
                            t->end_chunk - t->first_chunk, exact, err);
}

static status declare_model(trainer *t, error *err) {
    sepit_config sizes;
    TRY(setup_model_config(t->config, t->tokenizer.rows, &sizes, err));
    sizes.llm.moe.first_expert = t->grid.first_expert;
    sizes.llm.moe.local_experts = t->grid.local_experts;
    return sepit_declare(&t->model, &sizes, err);
}

static status create_model(trainer *t, error *err) {
    TRY(agree(t->comm, declare_model(t, err), err));
    TRY(experts_create(&t->experts, &t->grid, t->config, &t->model, t->sampler.config.chunks, err));
    t->state.router_layers = t->experts.layers;
    t->state.experts = t->experts.config.E;
    t->state.router_fraction = t->experts.fraction;
    t->state.router_bias = t->experts.bias;
    t->node_ranks = comm_node_size(t->comm);
    TRY(create_optimizer(t, err));
    return agree(t->comm, allocate_model(t, err), err);
}

/* ---- resuming -------------------------------------------------------------------------------- */

/* *found: there was a checkpoint to continue from. */
static status resume(trainer *t, bool *found, error *err) {
    char *path = NULL;
    checkpoint *file = NULL;
    status code = checkpoint_find_newest(&path, t->comm, t->folder.checkpoints, err);
    if (code == STATUS_OK && path != NULL)
        code = checkpoint_open(&file, t->comm, path, err);
    if (code == STATUS_OK && file != NULL)
        code = compatible_check(file, t->comm, t->config, &t->inputs, err);
    if (code == STATUS_OK && file != NULL)
        code = save_restore(&t->optimizer, file, &t->state, err);
    if (code == STATUS_OK && file != NULL)
        log_info("continuing after step %lld from %s", (long long)t->state.step, path);
    else if (code != STATUS_OK && path != NULL)
        error_prefix(
            err, "%s: cannot continue from it (give the run another run.dir to start anew)", path);
    *found = file != NULL;
    checkpoint_close(file);
    free(path);
    return code;
}

/* Weights from init.all, if it is given. The first chunk of the first batch, the same on any
 * layout, is the probe of its receipt. */
static status begin_anew(trainer *t, error *err) {
    int64_t counts[BATCH_COUNTS] = {0};
    if (config_text(t->config, "init.all") == NULL)
        return STATUS_OK;
    TRY(agree(t->comm, batch_pack(t, 0, counts, err), err));
    const chunk_batch *probe = batch_chunk(t, t->grid.rank == 0 ? 0 : batch_chunks(t));
    return initial_weights(&t->model, &t->nn, probe, t->config, &t->grid, &t->state.upcycle, err);
}

/* ---- what is printed once -------------------------------------------------------------------- */

static void describe(const trainer *t) {
    const params *p = &t->model.params;
    const double mib = 1.0 / (1 << 20);
    const int arrays = gradients_arrays(t->end_chunk - t->first_chunk, t->gradients.exact);
    log_info("data: %s, %lld captions of %lld proteins, %lld groups, %lld groups a step",
             t->data->path, (long long)t->data->captions, (long long)t->data->proteins,
             (long long)t->sampler.groups, (long long)t->sampler.groups_per_step);
    log_info("model: %.2f M parameters; %d rank%s, %lld chunks a step; products: %s",
             (double)p->elements * 1e-6, comm_size(t->comm), comm_size(t->comm) == 1 ? "" : "s",
             (long long)config_int(t->config, "train.chunks"), gemm_describe(t->nn.gemm));
    if (t->experts.layers > 0)
        log_info("experts: %lld in each of %lld layers, %lld of them on this rank (ep %d), %.2f M "
                 "parameters each; a token goes to %lld",
                 (long long)t->grid.experts, (long long)t->experts.layers,
                 (long long)t->grid.local_experts, t->grid.ep,
                 (double)t->model.experts.elements / (double)t->grid.local_experts * 1e-6,
                 (long long)t->experts.config.k);
    log_info("memory per rank: weights %.1f MiB, gradients %.1f MiB (exact sums %s, %d chunk%s a "
             "step), optimizer %.1f MiB; activations as the chunks need",
             (double)(p->storage + t->model.experts.storage) *
                 (double)(sizeof(real) + (t->bf16 ? 2 : 0)) * mib,
             ((double)t->gradients.storage * arrays * sizeof(real) +
              experts_gradient_bytes(&t->experts)) *
                 mib,
             t->gradients.exact ? "on" : "off", (int)(t->end_chunk - t->first_chunk),
             t->end_chunk - t->first_chunk == 1 ? "" : "s", optimizer_bytes(&t->optimizer) * mib);
}

/* ---- the run folder ---------------------------------------------------------------------------
 */

static save_policy read_policy(const config *c) {
    return (save_policy){.keep = {.newest = config_int(c, "checkpoint.keep"),
                                  .step = -1,
                                  .every = config_int(c, "checkpoint.keep_every")},
                         .beside = strcmp(config_text(c, "checkpoint.mode"), "beside") == 0,
                         .goes_on_unsaved =
                             strcmp(config_text(c, "checkpoint.on_failure"), "continue") == 0};
}

static status start_watchdog(trainer *t, error *err) {
    const config *c = t->config;
    const watchdog_budget budget = {.step_factor = config_real(c, "watchdog.step_factor"),
                                    .least_s = config_real(c, "watchdog.least_s"),
                                    .setup_s = config_real(c, "watchdog.setup_s"),
                                    .checkpoint_s = config_real(c, "watchdog.checkpoint_s")};
    return watchdog_start(&t->watchdog, t->comm, t->folder.path, &budget, err);
}

/* Takes the run folder and continues from what is in it, or begins anew. From here on a signal asks
 * for a checkpoint, and a hang is noticed. */
static status open_run(trainer *t, error *err) {
    const config *c = t->config;
    TRY(run_lock_take(&t->lock, t->comm, config_text(c, "run.dir"), err));
    stopping_begin(&t->stopping, config_text(c, "run.dir"));
    TRY(run_folder_open(&t->folder, t->comm, c, err));
    TRY(start_watchdog(t, err));
    bool found = false;
    TRY(resume(t, &found, err));
    if (!found)
        TRY(begin_anew(t, err));
    TRY(run_folder_begin(&t->folder, t->comm, c, t->state.step, err));
    describe(t);
    bad_steps_begin(&t->bad_steps, config_int(c, "train.bad_steps"));
    const save_policy policy = read_policy(c);
    TRY(save_open(&t->saver, &t->optimizer, t->folder.checkpoints, &t->state, &policy, err));
    if (found)
        t->saver.saved = t->state.step;
    return t->gradients.exact ? same_bits_check(t, err) : STATUS_OK;
}

status trainer_create(trainer *t, MPI_Comm comm, const config *c, error *err) {
    *t = (trainer){.comm = comm, .config = c, .state.seed = (uint64_t)config_int(c, "run.seed")};
    params_init(&t->model.params);
    params_init(&t->model.experts);
    TRY(grid_create(&t->grid, comm, config_int(c, "parallel.ep"), config_int(c, "moe.experts"),
                    err));
    t->comm = t->grid.world;
    TRY(agree(comm, open_inputs(t, err), err));
    TRY(dataset_open(&t->data, comm, config_text(c, "data.path"), err));
    TRY(agree(comm, start_sampling(t, err), err));
    TRY(create_model(t, err));
    TRY(inputs_identify(&t->inputs, comm, t->data, config_text(c, "data.tokenizer"), err));
    t->state.data_hash = t->inputs.data;
    t->state.tokenizer_hash = t->inputs.tokenizer;
    return open_run(t, err);
}

void trainer_destroy(trainer *t) {
    watchdog_stop(t->watchdog);
    save_close(&t->saver);
    bad_steps_end(&t->bad_steps);
    if (t->folder.path != NULL)
        stopping_end(&t->stopping);
    run_folder_close(&t->folder);
    run_lock_release(&t->lock);
    gradients_destroy(&t->gradients);
    experts_destroy(&t->experts);
    optimizer_destroy(&t->optimizer);
    sepit_destroy(&t->model);
    gemm_destroy(t->nn.gemm);
    arena_destroy(&t->activations);
    arena_destroy(&t->scratch);
    arena_destroy(&t->batch);
    free(t->chunk);
    free(t->own_loss);
    free(t->chunk_loss);
    free(t->state.upcycle);
    sampler_destroy(&t->sampler);
    tokenizer_destroy(&t->tokenizer);
    dataset_close(t->data);
    grid_destroy(&t->grid);
}
