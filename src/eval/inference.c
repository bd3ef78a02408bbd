#include "src/eval/inference.h"

#include "parallel/agree.h"
#include "src/base/log.h"
#include "src/nn/setup.h"

#include <stdlib.h>
#include <unistd.h>

/* Every rank holds all experts. */
static status load_weights(inference *f, MPI_Comm comm, const checkpoint *file, error *err) {
    const int64_t experts = f->model.config.llm.moe.E;
    const share_table table[] = {{&f->model.params, comm, 0}, {&f->model.experts, comm, experts}};
    return setup_load_tables(file, table, f->model.experts.count > 0 ? 2 : 1, err);
}

static status load_checkpoint(inference *f, MPI_Comm comm, const config *c, error *err) {
    char *folder = setup_checkpoint_folder(c), *path = NULL;
    checkpoint *file = NULL;
    status code = checkpoint_look_newest(&path, comm, folder, err);
    if (code == STATUS_OK && path == NULL)
        code = error_set(err, STATUS_INPUT,
                         "there is no checkpoint in %s: train first (sepit train), or set run.dir",
                         folder);
    if (code == STATUS_OK)
        code = checkpoint_open(&file, comm, path, err);
    if (code == STATUS_OK)
        code = load_weights(f, comm, file, err);
    if (code == STATUS_OK)
        f->step = checkpoint_step(file);
    else if (path != NULL)
        error_prefix(err, "%s", path);
    if (code == STATUS_OK)
        log_info("model of step %lld from %s", (long long)f->step, path);
    checkpoint_close(file);
    free(path);
    free(folder);
    return code;
}

static status prepare(inference *f, const config *c, error *err) {
    const size_t machine = (size_t)sysconf(_SC_PHYS_PAGES) * (size_t)sysconf(_SC_PAGE_SIZE);
    TRY(config_require(c, "data.tokenizer", err));
    TRY(tokenizer_load(&f->tokenizer, config_text(c, "data.tokenizer"), err));
    f->packing = (pack_settings){&f->tokenizer, config_text(c, "data.system"),
                                 config_int(c, "data.max_text")};
    TRY(arena_create(&f->activations, "activation", machine, err));
    TRY(arena_create(&f->scratch, "scratch", machine, err));
    TRY(arena_create(&f->batch, "batch", machine, err));
    TRY(gemm_create(&f->nn.gemm, setup_compute_dtype(c), &f->scratch, err));
    f->bf16 = gemm_is_bf16(f->nn.gemm);
    f->nn.activations = &f->activations;
    f->nn.scratch = &f->scratch;
    f->moe = (moe_run){.exact = true, .capacity = config_real(c, "moe.capacity_eval")};
    f->nn.moe = &f->moe;
    sepit_config sizes;
    TRY(setup_model_config(c, f->tokenizer.rows, &sizes, err));
    return sepit_declare(&f->model, &sizes, err);
}

status inference_create(inference *f, MPI_Comm comm, const config *c, error *err) {
    *f = (inference){0};
    params_init(&f->model.params);
    params_init(&f->model.experts);
    TRY(agree(comm, prepare(f, c, err), err));
    const double elements = (double)(f->model.params.elements + f->model.experts.elements);
    TRY(setup_check_memory(comm, &f->model, elements * sizeof(real), err));
    TRY(agree(comm, params_allocate(&f->model.params, f->bf16, err), err));
    TRY(agree(comm, params_allocate(&f->model.experts, f->bf16, err), err));
    return load_checkpoint(f, comm, c, err);
}

void inference_destroy(inference *f) {
    sepit_destroy(&f->model);
    gemm_destroy(f->nn.gemm);
    arena_destroy(&f->activations);
    arena_destroy(&f->scratch);
    arena_destroy(&f->batch);
    tokenizer_destroy(&f->tokenizer);
}

status inference_check_memory(const inference *f, const pack_counts *counts, error *err) {
    const sepit_sizes sizes = {.protein_tokens = counts->protein_tokens,
                               .text_tokens = counts->text_tokens,
                               .supervised = counts->supervised,
                               .residues_squared = counts->residues_squared,
                               .longest_protein = counts->longest_protein,
                               .expert_rows = counts->text_tokens * f->model.config.llm.moe.k};
    const size_t need = sepit_activation_bytes(&f->model.config, &sizes, f->bf16, false) +
                        sepit_scratch_bytes(&f->model.config, &sizes, f->bf16, false);
    if (need <= f->activations.capacity)
        return STATUS_OK;
    return error_set(err, STATUS_FAILED,
                     "a protein with %lld tokens of text needs %.1f GiB, but the machine has %.1f "
                     "GiB: lower data.max_text",
                     (long long)counts->text_tokens, (double)need / (1 << 30),
                     (double)f->activations.capacity / (1 << 30));
}
