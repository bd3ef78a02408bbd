#include "src/train/trainer.h"

#include "parallel/agree.h"
#include "src/base/log.h"
#include "src/nn/setup.h"

#include <stdlib.h>
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
    t->chunk_loss = calloc((size_t)sampling.chunks, sizeof *t->chunk_loss);
    if (t->chunk == NULL || t->chunk_loss == NULL)
        return error_set(err, STATUS_FAILED, "no memory for %lld chunks",
                         (long long)sampling.chunks);
    return STATUS_OK;
}

/* ---- model ----------------------------------------------------------------------------------- */

/* Address space only: pages count when they are touched, and the loop checks each chunk's need. */
static status create_arenas(trainer *t, error *err) {
    const size_t machine = (size_t)sysconf(_SC_PHYS_PAGES) * (size_t)sysconf(_SC_PAGE_SIZE);
    TRY(arena_create(&t->activations, "activation", machine, err));
    TRY(arena_create(&t->scratch, "scratch", machine, err));
    return arena_create(&t->batch, "batch",
                        pack_bytes(t->data, t->sampler.most_samples, &t->packing) *
                            (size_t)(t->end_chunk - t->first_chunk),
                        err);
}

static void set_rates(trainer *t) {
    double *rate = t->optimizer.group_rate;
    rate[GROUP_ENCODER] = config_real(t->config, "train.lr_encoder");
    rate[GROUP_STRUCTURE] = config_real(t->config, "train.lr_encoder");
    rate[GROUP_PROJECTOR] = config_real(t->config, "train.lr_projector");
    rate[GROUP_LLM] = config_real(t->config, "train.lr_llm");
    for (int g = 0; g < GROUP_COUNT; g++)
        t->model.params.frozen[g] = rate[g] == 0;
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
    return gradients_create(&t->gradients, p->storage, t->end_chunk - t->first_chunk,
                            config_bool(t->config, "parallel.exact"), err);
}

/* Bytes that this rank keeps for each parameter: weights, gradients and its share of the
 * optimizer's four arrays. */
static double bytes_per_parameter(const trainer *t) {
    const int arrays =
        gradients_arrays(t->end_chunk - t->first_chunk, config_bool(t->config, "parallel.exact"));
    return (1 + arrays + 4.0 / comm_size(t->comm)) * (double)sizeof(real);
}

static status create_model(trainer *t, error *err) {
    const sepit_config sizes = setup_model_config(t->config, t->tokenizer.rows);
    TRY(agree(t->comm, sepit_declare(&t->model, &sizes, err), err));
    TRY(setup_check_memory(t->comm, &t->model.params, bytes_per_parameter(t), err));
    TRY(optimizer_create(&t->optimizer, t->comm, &t->model.params, err));
    set_rates(t);
    TRY(agree(t->comm, allocate_model(t, err), err));
    return optimizer_start(&t->optimizer, err);
}

/* ---- resuming -------------------------------------------------------------------------------- */

static status resume(trainer *t, error *err) {
    char *path = NULL;
    checkpoint *file = NULL;
    status code = checkpoint_find_newest(&path, t->comm, t->folder.checkpoints, err);
    if (code == STATUS_OK && path != NULL)
        code = checkpoint_open(&file, t->comm, path, err);
    if (code == STATUS_OK && file != NULL)
        code = save_restore(&t->optimizer, file, &t->state, err);
    if (code == STATUS_OK && file != NULL)
        log_info("continuing after step %lld from %s", (long long)t->state.step, path);
    else if (code != STATUS_OK && path != NULL)
        error_prefix(
            err, "%s: cannot continue from it (give the run another run.dir to start anew)", path);
    checkpoint_close(file);
    free(path);
    return code;
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
    log_info("memory per rank: weights %.1f MiB, gradients %.1f MiB (%d arrays, exact sums %s), "
             "optimizer %.1f MiB; activations as the chunks need",
             (double)p->storage * (double)(sizeof(real) + (t->bf16 ? 2 : 0)) * mib,
             (double)p->storage * sizeof(real) * arrays * mib, arrays,
             t->gradients.exact ? "on" : "off",
             4.0 * (double)t->optimizer.shard.local * sizeof(real) * mib);
}

status trainer_create(trainer *t, MPI_Comm comm, const config *c, error *err) {
    *t = (trainer){.comm = comm, .config = c, .state.seed = (uint64_t)config_int(c, "run.seed")};
    params_init(&t->model.params);
    TRY(agree(comm, open_inputs(t, err), err));
    TRY(dataset_open(&t->data, comm, config_text(c, "data.path"), err));
    TRY(agree(comm, start_sampling(t, err), err));
    TRY(create_model(t, err));
    TRY(run_folder_open(&t->folder, comm, c, err));
    TRY(resume(t, err));
    TRY(run_folder_begin(&t->folder, comm, c, t->state.step, err));
    describe(t);
    return STATUS_OK;
}

void trainer_destroy(trainer *t) {
    run_folder_close(&t->folder);
    gradients_destroy(&t->gradients);
    optimizer_destroy(&t->optimizer);
    sepit_destroy(&t->model);
    gemm_destroy(t->nn.gemm);
    arena_destroy(&t->activations);
    arena_destroy(&t->scratch);
    arena_destroy(&t->batch);
    free(t->chunk);
    free(t->chunk_loss);
    sampler_destroy(&t->sampler);
    tokenizer_destroy(&t->tokenizer);
    dataset_close(t->data);
}
