#include "src/nn/setup.h"

#include "parallel/agree.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

sepit_config setup_model_config(const config *c, int64_t vocabulary) {
    return (sepit_config){
        .encoder = {.layers = config_int(c, "model.encoder.layers"),
                    .D = config_int(c, "model.encoder.width"),
                    .H = config_int(c, "model.encoder.heads"),
                    .F = config_int(c, "model.encoder.ffn")},
        .llm = {.layers = config_int(c, "model.llm.layers"),
                .D = config_int(c, "model.llm.width"),
                .H = config_int(c, "model.llm.heads"),
                .K = config_int(c, "model.llm.kv_heads"),
                .F = config_int(c, "model.llm.ffn"),
                .V = vocabulary,
                .norm_eps = config_real(c, "model.llm.norm_eps"),
                .rotary_base = config_real(c, "model.llm.rotary_base"),
                .tied = config_bool(c, "model.llm.tied")},
        .structure = config_bool(c, "model.structure"),
    };
}

compute_dtype setup_compute_dtype(const config *c) {
    return strcmp(config_text(c, "compute.dtype"), "bf16") == 0 ? COMPUTE_BF16 : COMPUTE_F32;
}

char *setup_checkpoint_folder(const config *c) {
    const char *run = config_text(c, "run.dir");
    const size_t size = strlen(run) + sizeof "/checkpoints";
    char *folder = malloc(size);
    CHECK(folder != NULL, "No memory for a path.");
    snprintf(folder, size, "%s/checkpoints", run);
    return folder;
}

checkpoint_type setup_real_type(void) {
    return sizeof(real) == sizeof(double) ? CHECKPOINT_F64 : CHECKPOINT_F32;
}

status setup_check_memory(MPI_Comm comm, const params *p, double bytes, error *err) {
    const double gib = 1 << 30;
    const double machine = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGE_SIZE);
    const double need = (double)p->elements * bytes;
    const int ranks = comm_node_size(comm);
    status code = STATUS_OK;
    if (need * ranks > machine)
        code =
            error_set(err, STATUS_FAILED,
                      "a model of %.4g parameters needs %.1f GiB a rank before the first chunk "
                      "runs, and this node has %.1f GiB for %d rank%s: lower model.*, or use "
                      "more nodes",
                      (double)p->elements, need / gib, machine / gib, ranks, ranks == 1 ? "" : "s");
    return agree(comm, code, err);
}

void setup_tensor_name(char name[CHECKPOINT_NAME], const char *kind, const param *tensor) {
    const int length = snprintf(name, CHECKPOINT_NAME, "/%s/%s", kind, tensor->name);
    CHECK(length > 0 && length < CHECKPOINT_NAME, "The name %s is too long.", tensor->name);
}

status setup_check_shapes(const checkpoint *file, const params *p, error *err) {
    for (int64_t i = 0; i < p->count; i++) {
        const param *want = &p->table[i];
        char name[CHECKPOINT_NAME];
        setup_tensor_name(name, "model", want);
        const checkpoint_tensor *got = checkpoint_find(file, name);
        if (got == NULL)
            return error_set(err, STATUS_INPUT,
                             "the checkpoint has no tensor %s: it holds another model than the "
                             "config's model.* describes",
                             name);
        const int64_t cols = got->rank == 2 ? got->shape[1] : 1;
        if (got->rank != want->rank || got->shape[0] != want->shape[0] || cols != want->shape[1])
            return error_set(err, STATUS_INPUT,
                             "the checkpoint's %s is %lld × %lld, but the config's model.* and "
                             "tokenizer make it %lld × %lld",
                             name, (long long)got->shape[0], (long long)cols,
                             (long long)want->shape[0], (long long)want->shape[1]);
    }
    return STATUS_OK;
}

static status read_weights(const checkpoint *file, params *p, error *err) {
    TRY(setup_check_shapes(file, p, err));
    for (int64_t i = 0; i < p->count; i++) {
        const param *tensor = &p->table[i];
        char name[CHECKPOINT_NAME];
        setup_tensor_name(name, "model", tensor);
        TRY(checkpoint_read(file, name, setup_real_type(), 0, tensor->elements,
                            p->value + tensor->offset, err));
    }
    return STATUS_OK;
}

status setup_load_weights(const checkpoint *file, MPI_Comm comm, params *p, error *err) {
    TRY(agree(comm, read_weights(file, p, err), err));
    params_refresh(p);
    return STATUS_OK;
}
