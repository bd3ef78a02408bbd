#include "src/train/save.h"

#include "io/durable.h"
#include "parallel/agree.h"
#include "src/nn/setup.h"

#include <stdlib.h>
#include <string.h>

/* The three arrays kept for every parameter. */
enum { KINDS = 3 };

/* More than alignment and HDF5's own bytes take, of a tensor and of a file. */
enum { TENSOR_OVERHEAD = 8192, FILE_OVERHEAD = 1 << 20 };

static const char *const kinds[KINDS] = {"model", "optimizer/m", "optimizer/v"};

static real *kind_array(const optimizer *o, int kind) {
    real *const arrays[KINDS] = {o->value, o->m, o->v};
    return arrays[kind];
}

/* Tables of all tensors and of this rank's slices; the caller frees the three arrays. */
typedef struct tables {
    checkpoint_tensor *tensor;
    char (*name)[CHECKPOINT_NAME];
    checkpoint_slice *slice;
} tables;

static void free_tables(tables *t) {
    free(t->tensor);
    free(t->name);
    free(t->slice);
}

static tables make_tables(const optimizer *o) {
    const params *p = o->params;
    const size_t tensors = (size_t)(KINDS * p->count), slices = (size_t)(KINDS * o->segments);
    tables t = {.tensor = calloc(tensors + 1, sizeof *t.tensor),
                .name = calloc(tensors + 1, sizeof *t.name),
                .slice = calloc(slices + 1, sizeof *t.slice)};
    CHECK(t.tensor != NULL && t.name != NULL && t.slice != NULL,
          "No memory for the table of %zu tensors.", tensors);
    for (int64_t i = 0; i < KINDS * p->count; i++) {
        const param *tensor = &p->table[i % p->count];
        setup_tensor_name(t.name[i], kinds[i / p->count], tensor);
        t.tensor[i] = (checkpoint_tensor){.name = t.name[i],
                                          .type = setup_real_type(),
                                          .rank = tensor->rank,
                                          .shape = {tensor->shape[0], tensor->shape[1]}};
    }
    for (int64_t i = 0; i < KINDS * o->segments; i++) {
        const int kind = (int)(i / o->segments);
        const optimizer_segment *s = &o->segment[i % o->segments];
        t.slice[i] = (checkpoint_slice){kind * p->count + s->param, s->param_offset, s->count,
                                        kind_array(o, kind) + s->local};
    }
    return t;
}

status save_checkpoint(const optimizer *o, const char *folder, const save_state *state,
                       const char *config_json, error *err) {
    tables t = make_tables(o);
    const checkpoint_item items[] = {{"step", state->step},
                                     {"updates", o->steps},
                                     {"tokens", state->tokens},
                                     {"seed", (int64_t)state->seed}};
    const checkpoint_content content = {.step = state->step,
                                        .tensor = t.tensor,
                                        .tensors = KINDS * o->params->count,
                                        .slice = t.slice,
                                        .slices = KINDS * o->segments,
                                        .item = items,
                                        .items = sizeof items / sizeof items[0],
                                        .config = config_json};
    const status code = checkpoint_save(o->shard.comm, folder, &content,
                                        (checkpoint_retention){.newest = 2, .step = -1}, err);
    free_tables(&t);
    return code;
}

status save_check_room(const optimizer *o, const char *folder, error *err) {
    const params *p = o->params;
    const int64_t bytes =
        KINDS * (p->elements * (int64_t)sizeof(real) + p->count * TENSOR_OVERHEAD);
    const bool first = comm_rank(o->shard.comm) == 0;
    const status code = first ? durable_check_space(folder, bytes + FILE_OVERHEAD, err) : STATUS_OK;
    if (code != STATUS_OK)
        error_prefix(err, "no room for a checkpoint");
    return agree(o->shard.comm, code, err);
}

static status read_part(optimizer *o, const checkpoint *file, save_state *state, error *err) {
    TRY(setup_check_shapes(file, o->params, err));
    for (int64_t i = 0; i < KINDS * o->segments; i++) {
        const int kind = (int)(i / o->segments);
        const optimizer_segment *s = &o->segment[i % o->segments];
        char name[CHECKPOINT_NAME];
        setup_tensor_name(name, kinds[kind], &o->params->table[s->param]);
        TRY(checkpoint_read(file, name, setup_real_type(), s->param_offset, s->count,
                            kind_array(o, kind) + s->local, err));
    }
    int64_t seed = 0;
    TRY(checkpoint_read_item(file, "step", &state->step, err));
    TRY(checkpoint_read_item(file, "updates", &o->steps, err));
    TRY(checkpoint_read_item(file, "tokens", &state->tokens, err));
    TRY(checkpoint_read_item(file, "seed", &seed, err));
    state->seed = (uint64_t)seed;
    return STATUS_OK;
}

status save_restore(optimizer *o, const checkpoint *file, save_state *state, error *err) {
    TRY(agree(o->shard.comm, read_part(o, file, state, err), err));
    shard_gather(&o->shard, o->value, o->params->value);
    params_refresh(o->params);
    return STATUS_OK;
}
