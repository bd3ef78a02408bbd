#include "src/train/save.h"

#include "io/durable.h"
#include "parallel/agree.h"
#include "src/base/clock.h"
#include "src/base/log.h"
#include "src/nn/setup.h"

#include <stdlib.h>
#include <string.h>

/* The three numbers kept for a parameter; the last two for trained ones only. */
enum { KIND_MODEL, KIND_M, KIND_V, KINDS, EXTRAS = 3 };

/* More than alignment and HDF5's own bytes take, of a tensor and of a file. */
enum { TENSOR_OVERHEAD = 8192, FILE_OVERHEAD = 1 << 20 };

/* More than the text of a configuration takes. */
enum { CONFIG_ROOM = 64 << 10 };

static const char *const kinds[KINDS] = {"model", "optimizer/m", "optimizer/v"};
static const char fraction_name[] = "/train/router_fraction", bias_name[] = "/train/router_bias",
                  upcycle_name[] = "/train/upcycle";

/* How many tensors a table has in a checkpoint: those of its first expert stand for all. */
static int64_t tensors_of(const share_table *table) {
    const int64_t local = share_local_experts(table);
    return local > 0 ? table->params->count / local : table->params->count;
}

static bool is_trained(const params *p, const param *tensor) {
    return !p->frozen[tensor->group];
}

/* ---- what is saved --------------------------------------------------------------------------- */

/* All tensors and this rank's slices of them. */
typedef struct tables {
    checkpoint_tensor *tensor;
    char (*name)[CHECKPOINT_NAME];
    int64_t tensors;
    int64_t *number; /* [KINDS, model tensors] of the tensor in the list; −1: there is none */
    int64_t model;   /* tensors of the model */
    checkpoint_slice *slice;
    int64_t slices;
} tables;

static void free_tables(tables *t) {
    free(t->tensor);
    free(t->name);
    free(t->number);
    free(t->slice);
}

static tables allocate_tables(const optimizer *o) {
    int64_t model = 0, segments = 0;
    for (int i = 0; i < o->tables; i++) {
        model += tensors_of(&o->table[i]);
        segments += o->frozen[i].segments + KINDS * o->trained[i].share.segments;
    }
    const size_t most = (size_t)(KINDS * model + EXTRAS);
    tables t = {.tensor = calloc(most, sizeof *t.tensor),
                .name = calloc(most, sizeof *t.name),
                .number = calloc(most, sizeof *t.number),
                .model = model,
                .slice = calloc((size_t)(segments + EXTRAS), sizeof *t.slice)};
    CHECK(t.tensor != NULL && t.name != NULL && t.number != NULL && t.slice != NULL,
          "No memory for the table of %zu tensors.", most);
    return t;
}

static void list_kind(tables *t, const optimizer *o, int kind) {
    int64_t *number = t->number + kind * t->model;
    for (int i = 0; i < o->tables; i++) {
        const params *p = o->table[i].params;
        for (int64_t k = 0; k < tensors_of(&o->table[i]); k++, number++) {
            const bool kept = kind == KIND_MODEL || is_trained(p, &p->table[k]);
            *number = kept ? t->tensors : -1;
            if (!kept)
                continue;
            t->tensor[t->tensors] =
                setup_tensor(t->name[t->tensors], kinds[kind], &p->table[k], o->table[i].experts);
            t->tensors++;
        }
    }
}

/* This rank's segments of a range, whose tensors are numbered from `first` on. */
static void slice_range(tables *t, const share_table *table, int64_t first, const share_part *range,
                        int kind, const real *moment) {
    for (int64_t i = 0; i < range->segments; i++) {
        const share_segment *s = &range->segment[i];
        const param *tensor = share_param(range, s);
        const int64_t at = first + s->param % tensors_of(table);
        const int64_t number = t->number[kind * t->model + at];
        if (number < 0)
            continue;
        t->slice[t->slices++] =
            (checkpoint_slice){number, setup_tensor_start(tensor) + s->param_offset, s->count,
                               kind == KIND_MODEL ? share_value(range, s) : moment + s->local};
    }
}

static void slice_tables(tables *t, const optimizer *o) {
    int64_t first = 0;
    for (int i = 0; i < o->tables; i++) {
        const share_table *table = &o->table[i];
        const optimizer_part *part = &o->trained[i];
        slice_range(t, table, first, &o->frozen[i], KIND_MODEL, NULL);
        slice_range(t, table, first, &part->share, KIND_MODEL, NULL);
        slice_range(t, table, first, &part->share, KIND_M, part->m);
        slice_range(t, table, first, &part->share, KIND_V, part->v);
        first += tensors_of(table);
    }
}

/* A tensor that the first rank has whole; none when data is NULL. */
static void add_extra(tables *t, const optimizer *o, checkpoint_tensor tensor, const void *data) {
    if (data == NULL)
        return;
    if (comm_rank(o->table[0].comm) == 0)
        t->slice[t->slices++] =
            (checkpoint_slice){t->tensors, 0, checkpoint_elements(&tensor), data};
    t->tensor[t->tensors++] = tensor;
}

static tables make_tables(const optimizer *o, const save_state *state) {
    tables t = allocate_tables(o);
    for (int kind = 0; kind < KINDS; kind++)
        list_kind(&t, o, kind);
    slice_tables(&t, o);
    checkpoint_tensor router = {
        fraction_name, CHECKPOINT_F64, 2, {state->router_layers, state->experts}};
    add_extra(&t, o, router, state->router_fraction);
    router.name = bias_name;
    add_extra(&t, o, router, state->router_bias);
    const size_t text = state->upcycle == NULL ? 0 : strlen(state->upcycle);
    add_extra(&t, o, (checkpoint_tensor){upcycle_name, CHECKPOINT_U8, 1, {(int64_t)text}},
              state->upcycle);
    return t;
}

enum { ITEMS = 6 };

/* Looks at the tables and the items, which the caller keeps. */
static checkpoint_content content_of(const optimizer *o, const tables *t, const save_state *state,
                                     const char *config_json, checkpoint_item item[ITEMS]) {
    item[0] = (checkpoint_item){"step", state->step};
    item[1] = (checkpoint_item){"updates", o->steps};
    item[2] = (checkpoint_item){"tokens", state->tokens};
    item[3] = (checkpoint_item){"seed", (int64_t)state->seed};
    item[4] = (checkpoint_item){"data_hash", state->data_hash};
    item[5] = (checkpoint_item){"tokenizer_hash", state->tokenizer_hash};
    return (checkpoint_content){.step = state->step,
                                .tensor = t->tensor,
                                .tensors = t->tensors,
                                .slice = t->slice,
                                .slices = t->slices,
                                .item = item,
                                .items = ITEMS,
                                .config = config_json};
}

/* Now, or with a writer in its thread. */
static status save_with(checkpoint_writer *writer, const optimizer *o, const char *folder,
                        const save_state *state, const char *config_json, checkpoint_retention keep,
                        error *err) {
    checkpoint_item item[ITEMS];
    tables t = make_tables(o, state);
    const checkpoint_content content = content_of(o, &t, state, config_json, item);
    const status code = writer != NULL
                            ? checkpoint_begin(writer, &content, keep, err)
                            : checkpoint_save(o->table[0].comm, folder, &content, keep, err);
    free_tables(&t);
    return code;
}

status save_checkpoint(const optimizer *o, const char *folder, const save_state *state,
                       const char *config_json, error *err) {
    const checkpoint_retention keep = {.newest = 2, .step = -1};
    return save_with(NULL, o, folder, state, config_json, keep, err);
}

status save_check_room(const optimizer *o, const char *folder, error *err) {
    const bool first = comm_rank(o->table[0].comm) == 0;
    tables t = make_tables(o, &(save_state){0});
    int64_t bytes = FILE_OVERHEAD;
    for (int64_t i = 0; i < t.tensors; i++)
        bytes += checkpoint_elements(&t.tensor[i]) * (int64_t)sizeof(real) + TENSOR_OVERHEAD;
    free_tables(&t);
    const status code = first ? durable_check_space(folder, bytes, err) : STATUS_OK;
    if (code != STATUS_OK)
        error_prefix(err, "no room for a checkpoint");
    return agree(o->table[0].comm, code, err);
}

/* ---- the checkpoints of a run ---------------------------------------------------------------- */

static status create_writer(saver *s, const save_state *state, error *err) {
    const double mib = 1024.0 * 1024.0;
    const MPI_Comm comm = s->optimizer->table[0].comm;
    checkpoint_item item[ITEMS];
    tables t = make_tables(s->optimizer, state);
    const checkpoint_content content = content_of(s->optimizer, &t, state, "", item);
    const int64_t bytes = checkpoint_copy_bytes(comm, &content) + CONFIG_ROOM;
    free_tables(&t);
    TRY(checkpoint_writer_create(&s->writer, comm, s->folder, bytes, err));
    log_info("checkpoints are written beside the training, from a copy of up to %.1f MiB on a rank",
             comm_max(comm, (double)bytes) / mib);
    return STATUS_OK;
}

status save_open(saver *s, const optimizer *o, const char *folder, const save_state *state,
                 const save_policy *policy, error *err) {
    *s = (saver){.optimizer = o, .folder = folder, .policy = *policy, .saved = -1};
    return policy->beside ? create_writer(s, state, err) : STATUS_OK;
}

void save_close(saver *s) {
    checkpoint_writer_destroy(s->writer);
    s->writer = NULL;
}

/* What became of the save of this step. */
static status settle(saver *s, int64_t step, status code, error *err) {
    s->failure = (error){0};
    if (code == STATUS_OK)
        s->saved = step;
    if (code == STATUS_OK || !s->policy.goes_on_unsaved)
        return code;
    s->failure = *err;
    *err = (error){0};
    if (comm_rank(s->optimizer->table[0].comm) == 0)
        log_warn("%s; the run goes on without it (checkpoint.on_failure=continue)",
                 s->failure.text);
    return STATUS_OK;
}

static status wait_for_writer(saver *s, error *err) {
    const int64_t step = checkpoint_under_way(s->writer);
    return step < 0 ? STATUS_OK : settle(s, step, checkpoint_finish(s->writer, err), err);
}

status save_begin(saver *s, const save_state *state, const char *config_json, error *err) {
    const double start = clock_seconds();
    const int64_t before = s->writer == NULL ? -1 : checkpoint_under_way(s->writer);
    if (before >= 0) {
        TRY(wait_for_writer(s, err));
        log_info("the checkpoint of step %lld waited %.1f s for that of step %lld to be written; a "
                 "larger checkpoint.every would not",
                 (long long)state->step, clock_seconds() - start, (long long)before);
    }
    const status code =
        save_with(s->writer, s->optimizer, s->folder, state, config_json, s->policy.keep, err);
    if (code == STATUS_OK && s->writer != NULL)
        return STATUS_OK;
    return settle(s, state->step, code, err);
}

status save_poll(saver *s, error *err) {
    if (s->writer == NULL || checkpoint_under_way(s->writer) < 0)
        return STATUS_OK;
    const int64_t step = checkpoint_under_way(s->writer);
    const status code = checkpoint_poll(s->writer, err);
    return checkpoint_under_way(s->writer) < 0 ? settle(s, step, code, err) : STATUS_OK;
}

status save_finish(saver *s, error *err) {
    if (s->writer != NULL)
        TRY(wait_for_writer(s, err));
    if (s->failure.code != STATUS_OK)
        *err = s->failure;
    return s->failure.code;
}

/* ---- what is read ---------------------------------------------------------------------------- */

/* Whether the file knows nothing of this tensor's moments: it was frozen when the file was saved.
 */
static bool lacks_moments(const checkpoint *file, const param *tensor) {
    char m[CHECKPOINT_NAME], v[CHECKPOINT_NAME];
    setup_stored_name(m, kinds[KIND_M], tensor);
    setup_stored_name(v, kinds[KIND_V], tensor);
    return checkpoint_find(file, m) == NULL && checkpoint_find(file, v) == NULL;
}

static status read_moments(const checkpoint *file, optimizer_part *part, error *err) {
    for (int64_t i = 0; i < part->share.segments; i++) {
        const share_segment *s = &part->share.segment[i];
        const param *tensor = share_param(&part->share, s);
        real *m = part->m + s->local, *v = part->v + s->local;
        if (!is_trained(part->share.params, tensor) || lacks_moments(file, tensor)) {
            memset(m, 0, (size_t)s->count * sizeof *m);
            memset(v, 0, (size_t)s->count * sizeof *v);
            continue;
        }
        TRY(setup_read(file, kinds[KIND_M], tensor, s->param_offset, s->count, m, err));
        TRY(setup_read(file, kinds[KIND_V], tensor, s->param_offset, s->count, v, err));
    }
    return STATUS_OK;
}

static status read_router(const checkpoint *file, const char *name, const save_state *state,
                          double *dst, error *err) {
    const checkpoint_tensor *t = checkpoint_find(file, name);
    if (dst == NULL || t == NULL)
        return STATUS_OK;
    if (t->rank != 2 || t->shape[0] != state->router_layers || t->shape[1] != state->experts)
        return error_set(err, STATUS_INPUT,
                         "the checkpoint's %s is not of %lld layers with %lld experts: it holds "
                         "another model than the config describes",
                         name, (long long)state->router_layers, (long long)state->experts);
    return checkpoint_read(file, name, CHECKPOINT_F64, 0, checkpoint_elements(t), dst, err);
}

static status read_upcycle(const checkpoint *file, save_state *state, error *err) {
    const checkpoint_tensor *t = checkpoint_find(file, upcycle_name);
    if (t == NULL)
        return STATUS_OK;
    const int64_t bytes = checkpoint_elements(t);
    char *text = calloc((size_t)bytes + 1, 1);
    if (text == NULL)
        return error_set(err, STATUS_FAILED, "no memory for %s", upcycle_name);
    free(state->upcycle);
    state->upcycle = text;
    return checkpoint_read(file, upcycle_name, CHECKPOINT_U8, 0, bytes, text, err);
}

static status read_state(const checkpoint *file, optimizer *o, save_state *state, error *err) {
    int64_t seed = 0;
    TRY(checkpoint_read_item(file, "step", &state->step, err));
    TRY(checkpoint_read_item(file, "updates", &o->steps, err));
    TRY(checkpoint_read_item(file, "tokens", &state->tokens, err));
    TRY(checkpoint_read_item(file, "seed", &seed, err));
    state->seed = (uint64_t)seed;
    TRY(read_router(file, fraction_name, state, state->router_fraction, err));
    TRY(read_router(file, bias_name, state, state->router_bias, err));
    return read_upcycle(file, state, err);
}

static status read_all(optimizer *o, const checkpoint *file, save_state *state, error *err) {
    for (int i = 0; i < o->tables; i++)
        TRY(setup_check_experts(file, o->table[i].params, o->table[i].experts, err));
    for (int i = 0; i < o->tables; i++) {
        TRY(setup_read_share(file, &o->frozen[i], err));
        TRY(setup_read_share(file, &o->trained[i].share, err));
        TRY(read_moments(file, &o->trained[i], err));
    }
    return read_state(file, o, state, err);
}

static void tell_fresh_moments(const optimizer *o, const checkpoint *file) {
    int64_t fresh = 0;
    char first[CHECKPOINT_NAME] = "";
    for (int i = 0; i < o->tables; i++) {
        const params *p = o->table[i].params;
        for (int64_t k = 0; k < tensors_of(&o->table[i]); k++) {
            if (!is_trained(p, &p->table[k]) || !lacks_moments(file, &p->table[k]))
                continue;
            if (fresh++ == 0)
                setup_stored_name(first, kinds[KIND_MODEL], &p->table[k]);
        }
    }
    if (fresh > 0)
        log_info("the checkpoint has no AdamW moments of %lld tensors that are trained now (%s%s): "
                 "they start at zero",
                 (long long)fresh, first, fresh > 1 ? ", …" : "");
}

status save_restore(optimizer *o, const checkpoint *file, save_state *state, error *err) {
    TRY(agree(o->table[0].comm, read_all(o, file, state, err), err));
    for (int i = 0; i < o->tables; i++) {
        share_gather(&o->frozen[i]);
        share_gather(&o->trained[i].share);
        params_refresh(o->table[i].params);
    }
    tell_fresh_moments(o, file);
    return STATUS_OK;
}
