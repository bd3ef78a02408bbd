#include "src/nn/setup.h"

#include "parallel/agree.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void set_layer(uint64_t *mask, int64_t layer) {
    mask[layer / 64] |= (uint64_t)1 << layer % 64;
}

/* One "5" or "4-7" of moe.layers, at *text; moves past it. False when it is no such thing. */
static bool read_layer_range(const char **text, int64_t layers, uint64_t *mask) {
    char *end;
    const long long first = strtoll(*text, &end, 10);
    long long last = first;
    if (end == *text)
        return false;
    if (*end == '-') {
        const char *second = end + 1;
        last = strtoll(second, &end, 10);
        if (end == second)
            return false;
    }
    if (first < 0 || last < first || last >= layers)
        return false;
    for (long long i = first; i <= last; i++)
        set_layer(mask, i);
    *text = end;
    return true;
}

/* "all", "odd", "even", or numbers and ranges with commas → one bit per layer. */
static status read_layers(const char *text, int64_t layers, uint64_t *mask, error *err) {
    const bool odd = strcmp(text, "odd") == 0, even = strcmp(text, "even") == 0;
    if (odd || even || strcmp(text, "all") == 0) {
        for (int64_t i = odd; i < layers; i += odd || even ? 2 : 1)
            set_layer(mask, i);
        return STATUS_OK;
    }
    const char *at = text;
    bool good = read_layer_range(&at, layers, mask);
    while (good && *at == ',') {
        at++;
        good = read_layer_range(&at, layers, mask);
    }
    if (good && *at == '\0')
        return STATUS_OK;
    return error_set(
        err, STATUS_INPUT,
        "moe.layers is \"%s\"; it must be all, odd, even, or numbers and ranges from 0 "
        "to %lld with commas, such as 0,2-3",
        text, (long long)layers - 1);
}

static status read_experts(const config *c, int64_t layers, moe_config *moe, error *err) {
    *moe = (moe_config){.E = config_int(c, "moe.experts"),
                        .k = config_int(c, "moe.top_k"),
                        .slices = config_int(c, "moe.slices"),
                        .renormalize = config_bool(c, "moe.renormalize")};
    if (moe->E == 0)
        return STATUS_OK;
    moe->local_experts = moe->E;
    return read_layers(config_text(c, "moe.layers"), layers, moe->layer_mask, err);
}

status setup_model_config(const config *c, int64_t vocabulary, sepit_config *sizes, error *err) {
    *sizes = (sepit_config){
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
    return read_experts(c, sizes->llm.layers, &sizes->llm.moe, err);
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

status setup_check_memory(MPI_Comm comm, const sepit *model, double need, error *err) {
    const double gib = 1 << 30;
    const double machine = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGE_SIZE);
    const double parameters = (double)(model->params.elements + model->experts.elements);
    const int ranks = comm_node_size(comm);
    status code = STATUS_OK;
    if (need * ranks > machine)
        code = error_set(err, STATUS_FAILED,
                         "a model with %.4g parameters on this rank needs %.1f GiB a rank before "
                         "the first chunk "
                         "runs, and this node has %.1f GiB for %d rank%s: lower model.*, or use "
                         "more nodes",
                         parameters, need / gib, machine / gib, ranks, ranks == 1 ? "" : "s");
    return agree(comm, code, err);
}

/* ---- tensors of a checkpoint ----------------------------------------------------------------- */

/* Takes "N." out of ".experts.N.". */
static void drop_expert(char *name, int64_t expert) {
    char number[32], *found = strstr(name, ".experts.");
    const int length = snprintf(number, sizeof number, "%lld.", (long long)expert);
    CHECK(found != NULL && strncmp(found + strlen(".experts."), number, (size_t)length) == 0,
          "The name %s of a tensor of expert %lld does not say so.", name, (long long)expert);
    char *rest = found + strlen(".experts.");
    memmove(rest, rest + length, strlen(rest + length) + 1);
}

void setup_tensor_name(char name[CHECKPOINT_NAME], const char *kind, const param *tensor) {
    const int length = snprintf(name, CHECKPOINT_NAME, "/%s/%s", kind, tensor->name);
    CHECK(length > 0 && length < CHECKPOINT_NAME, "The name %s is too long.", tensor->name);
}

void setup_stored_name(char name[CHECKPOINT_NAME], const char *kind, const param *tensor) {
    setup_tensor_name(name, kind, tensor);
    if (tensor->expert >= 0)
        drop_expert(name, tensor->expert);
}

checkpoint_tensor setup_tensor(char name[CHECKPOINT_NAME], const char *kind, const param *tensor,
                               int64_t experts) {
    CHECK((experts > 0) == (tensor->expert >= 0), "%s is in the wrong table.", tensor->name);
    setup_stored_name(name, kind, tensor);
    checkpoint_tensor t = {.name = name, .type = setup_real_type()};
    if (experts > 0)
        t.shape[t.rank++] = experts;
    for (int k = 0; k < tensor->rank; k++)
        t.shape[t.rank++] = tensor->shape[k];
    return t;
}

int64_t setup_tensor_start(const param *tensor) {
    return tensor->expert < 0 ? 0 : tensor->expert * tensor->elements;
}

static void write_shape(char text[96], const checkpoint_tensor *t) {
    size_t length = 0;
    text[0] = '\0';
    for (int k = 0; k < t->rank; k++)
        length += (size_t)snprintf(text + length, 96 - length, "%s%lld", k > 0 ? " × " : "",
                                   (long long)t->shape[k]);
}

static bool same_shape(const checkpoint_tensor *a, const checkpoint_tensor *b) {
    bool same = a->rank == b->rank;
    for (int k = 0; same && k < a->rank; k++)
        same = a->shape[k] == b->shape[k];
    return same;
}

static status check_tensor(const checkpoint *file, const param *tensor, int64_t experts,
                           error *err) {
    char name[CHECKPOINT_NAME], in_file[96], in_config[96];
    const checkpoint_tensor want = setup_tensor(name, "model", tensor, experts);
    const checkpoint_tensor *got = checkpoint_find(file, name);
    if (got == NULL)
        return error_set(err, STATUS_INPUT,
                         "the checkpoint has no tensor %s: it holds another model than the "
                         "config's model.* and moe.* describe",
                         name);
    if (same_shape(got, &want))
        return STATUS_OK;
    write_shape(in_file, got);
    write_shape(in_config, &want);
    return error_set(
        err, STATUS_INPUT,
        "the checkpoint's %s is %s, but the config's model.*, moe.* and tokenizer make it %s", name,
        in_file, in_config);
}

status setup_check_experts(const checkpoint *file, const params *p, int64_t experts, error *err) {
    for (int64_t i = 0; i < p->count; i++)
        TRY(check_tensor(file, &p->table[i], experts, err));
    return STATUS_OK;
}

status setup_check_shapes(const checkpoint *file, const params *p, error *err) {
    return setup_check_experts(file, p, 0, err);
}

/* ---- reading --------------------------------------------------------------------------------- */

status setup_read(const checkpoint *file, const char *kind, const param *tensor, int64_t first,
                  int64_t count, real *dst, error *err) {
    char name[CHECKPOINT_NAME];
    setup_stored_name(name, kind, tensor);
    return checkpoint_read(file, name, setup_real_type(), setup_tensor_start(tensor) + first, count,
                           dst, err);
}

status setup_read_share(const checkpoint *file, const share_part *s, error *err) {
    for (int64_t i = 0; i < s->segments; i++)
        TRY(setup_read(file, "model", share_param(s, &s->segment[i]), s->segment[i].param_offset,
                       s->segment[i].count, share_value(s, &s->segment[i]), err));
    return STATUS_OK;
}

static status read_table(const checkpoint *file, const share_table *table, const share_part *s,
                         error *err) {
    TRY(setup_check_experts(file, table->params, table->experts, err));
    return setup_read_share(file, s, err);
}

static status load_table(const checkpoint *file, MPI_Comm world, const share_table *table,
                         error *err) {
    share_part s;
    status code = agree(world, share_create(&s, table, 0, table->params->elements, err), err);
    if (code == STATUS_OK)
        code = agree(world, read_table(file, table, &s, err), err);
    if (code == STATUS_OK) {
        share_gather(&s);
        params_refresh(table->params);
    }
    share_destroy(&s);
    return code;
}

status setup_load_tables(const checkpoint *file, const share_table *table, int tables, error *err) {
    for (int t = 0; t < tables; t++)
        TRY(load_table(file, table[0].comm, &table[t], err));
    return STATUS_OK;
}

status setup_load_weights(const checkpoint *file, MPI_Comm comm, params *p, error *err) {
    const share_table table = {p, comm, 0};
    return setup_load_tables(file, &table, 1, err);
}
