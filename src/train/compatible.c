#include "src/train/compatible.h"

#include "parallel/agree.h"
#include "parallel/guard.h"
#include "src/base/log.h"
#include "src/optim/schedule.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const identity_data_item = "data_hash";
const char *const identity_tokenizer_item = "tokenizer_hash";

/* ---- what a run reads ------------------------------------------------------------------------ */

enum { BLOCK = 1 << 16, LOOKED_AT = 512 /* proteins, and captions */ };

static status hash_file(const char *path, uint64_t *hash, error *err) {
    uint8_t block[BLOCK];
    size_t got = 0;
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return error_set(err, STATUS_INPUT, "cannot open %s: %s", path, strerror(errno));
    while ((got = fread(block, 1, BLOCK, file)) > 0)
        *hash = guard_hash(block, got, *hash);
    const bool failed = ferror(file);
    fclose(file);
    return failed ? error_set(err, STATUS_FAILED, "cannot read %s", path) : STATUS_OK;
}

static uint64_t hash_tables(const dataset *d) {
    const int64_t sizes[] = {d->proteins, d->residues, d->captions};
    const size_t P = (size_t)d->proteins, C = (size_t)d->captions;
    uint64_t h = guard_hash(sizes, sizeof sizes, 0);
    h = guard_hash(d->accession, P * ACCESSION_SIZE, h);
    h = guard_hash(d->offset, (P + 1) * sizeof *d->offset, h);
    h = guard_hash(d->source, P * sizeof *d->source, h);
    h = guard_hash(d->split, P * sizeof *d->split, h);
    h = guard_hash(d->caption_protein, C * sizeof *d->caption_protein, h);
    h = guard_hash(d->caption_question_offset, (C + 1) * sizeof(int64_t), h);
    return guard_hash(d->caption_offset, (C + 1) * sizeof(int64_t), h);
}

static status hash_protein(const dataset *d, int64_t i, uint64_t *hash, error *err) {
    const size_t L = (size_t)(d->offset[i + 1] - d->offset[i]);
    uint8_t *letters = malloc(L + 1);
    float *coord = malloc((3 * L + 1) * sizeof *coord);
    status code = STATUS_OK;
    if (letters == NULL || coord == NULL)
        code = error_set(err, STATUS_FAILED, "no memory for a protein of %zu residues", L);
    if (code == STATUS_OK)
        code = dataset_read_protein(d, i, (int64_t)L, letters, coord, err);
    if (code == STATUS_OK)
        *hash = guard_hash(coord, 3 * L * sizeof *coord, guard_hash(letters, L, *hash));
    free(letters);
    free(coord);
    return code;
}

static status hash_caption(const dataset *d, int64_t i, uint64_t *hash, error *err) {
    const size_t asked =
        (size_t)(d->caption_question_offset[i + 1] - d->caption_question_offset[i]);
    const size_t said = (size_t)(d->caption_offset[i + 1] - d->caption_offset[i]);
    char *text = malloc(asked + said + 1);
    if (text == NULL)
        return error_set(err, STATUS_FAILED, "no memory for a caption of %zu bytes", said);
    const status code = dataset_read_caption(d, i, text, text + asked, err);
    if (code == STATUS_OK)
        *hash = guard_hash(text, asked + said, *hash);
    free(text);
    return code;
}

/* Record number i of LOOKED_AT, or of all if there are fewer. */
static int64_t record_of(int64_t i, int64_t records) {
    return records > LOOKED_AT ? (int64_t)((double)i * (double)(records - 1) / (LOOKED_AT - 1)) : i;
}

static status hash_dataset(const dataset *d, uint64_t *hash, error *err) {
    *hash = hash_tables(d);
    for (int64_t i = 0; i < LOOKED_AT && i < d->proteins; i++)
        TRY(hash_protein(d, record_of(i, d->proteins), hash, err));
    for (int64_t i = 0; i < LOOKED_AT && i < d->captions; i++)
        TRY(hash_caption(d, record_of(i, d->captions), hash, err));
    return STATUS_OK;
}

status inputs_identify(inputs_identity *identity, MPI_Comm comm, const dataset *data,
                       const char *tokenizer, error *err) {
    uint64_t hash[2] = {0, 0}; /* rank 0's: the others add nothing */
    status code = STATUS_OK;
    if (comm_rank(comm) == 0) {
        code = hash_dataset(data, &hash[0], err);
        if (code == STATUS_OK)
            code = hash_file(tokenizer, &hash[1], err);
    }
    TRY(agree(comm, code, err));
    int64_t shared[2] = {(int64_t)hash[0], (int64_t)hash[1]};
    comm_sum(comm, shared, 2);
    *identity = (inputs_identity){shared[0], shared[1]};
    return STATUS_OK;
}

/* ---- then and now ---------------------------------------------------------------------------- */

/* What was found so far. */
typedef struct comparison {
    char broken[3072]; /* a line for each difference that breaks the run */
    size_t used;
    int64_t listed, breaking;                /* differences: in the list, and all of them */
    double then_lr, then_steps, then_warmup; /* the schedule of before */
    bool rescheduled;
} comparison;

/* A line that does not fit any more is only counted. */
static void add_broken(comparison *found, const char *name, const char *then, const char *now) {
    const size_t room = sizeof found->broken - found->used;
    const int length =
        snprintf(found->broken + found->used, room, "\n  %s: %s → %s", name, then, now);
    found->breaking++;
    if (length > 0 && (size_t)length < room) {
        found->used += (size_t)length;
        found->listed++;
    } else {
        found->broken[found->used] = '\0';
    }
}

static void find_broken(void *context, const config_difference *d) {
    if (d->key != NULL && d->key->change == CHANGE_BREAKS)
        add_broken(context, d->name, d->then, d->now);
}

static const char *consequence(const config_key *key) {
    if (key == NULL)
        return "this program has no such key: what it did then, it does not do now";
    switch (key->change) {
    case CHANGE_ALTERS:
        return "accepted; the run goes on, but not as it would have without the change";
    case CHANGE_LATE:
        return "accepted, but without effect: it is read when a run begins, and this one has begun";
    case CHANGE_HARMLESS:
        return "accepted; no result depends on it";
    case CHANGE_BREAKS:
    case CHANGE_UNREAD:
        break;
    }
    CHECK(false, "%s is not accepted.", key->name);
    return "";
}

static void tell_accepted(void *context, const config_difference *d) {
    comparison *found = context;
    log_info("changed since the checkpoint: %s: %s → %s: %s", d->name, d->then, d->now,
             consequence(d->key));
    double *const schedule = strcmp(d->name, "train.lr") == 0       ? &found->then_lr
                             : strcmp(d->name, "train.steps") == 0  ? &found->then_steps
                             : strcmp(d->name, "train.warmup") == 0 ? &found->then_warmup
                                                                    : NULL;
    if (schedule != NULL) {
        *schedule = strtod(d->then, NULL);
        found->rescheduled = true;
    }
}

/* Learning rate, steps and warm-up make one schedule: what their change does to the next step. */
static void tell_schedule(const comparison *found, const config *c, int64_t step) {
    const int64_t steps = config_int(c, "train.steps");
    const double now =
        config_real(c, "train.lr") * schedule_linear(step, steps, config_real(c, "train.warmup"));
    const double then =
        found->then_lr * schedule_linear(step, (int64_t)found->then_steps, found->then_warmup);
    if (found->rescheduled && step < steps)
        log_info("the learning rate of step %lld is now %.4g; it would have been %.4g",
                 (long long)step + 1, now, then);
}

/* *same is false when the checkpoint was made from another content. */
static status compare_hash(const checkpoint *file, const char *item, const char *key, int64_t now,
                           bool *same, error *err) {
    char name[CHECKPOINT_NAME];
    int64_t then = 0;
    *same = true;
    snprintf(name, sizeof name, "/train/%s", item);
    if (checkpoint_find(file, name) == NULL) {
        log_info("the checkpoint does not say what was in %s: it is taken to be the same", key);
        return STATUS_OK;
    }
    TRY(checkpoint_read_item(file, item, &then, err));
    *same = then == now;
    return STATUS_OK;
}

static status find_other_inputs(comparison *found, const checkpoint *file, const config *c,
                                const inputs_identity *now, error *err) {
    const struct {
        const char *item, *key;
        int64_t now;
    } inputs[] = {{identity_data_item, "data.path", now->data},
                  {identity_tokenizer_item, "data.tokenizer", now->tokenizer}};
    for (int i = 0; i < 2; i++) {
        bool same = true;
        TRY(compare_hash(file, inputs[i].item, inputs[i].key, inputs[i].now, &same, err));
        if (!same)
            add_broken(found, inputs[i].key, "a file with other content",
                       config_text(c, inputs[i].key));
    }
    return STATUS_OK;
}

static status refuse(const comparison *found, error *err) {
    error_set(err, STATUS_INPUT,
              "what it holds means nothing with the present settings; set back what is listed here "
              "(then → now), or begin a new run in another run.dir:%s",
              found->broken);
    if (found->listed < found->breaking)
        error_append(err, STATUS_INPUT, "  and %lld more",
                     (long long)(found->breaking - found->listed));
    return STATUS_INPUT;
}

static status compare(const checkpoint *file, const config *c, const char *json,
                      const inputs_identity *now, error *err) {
    comparison found = {.then_lr = config_real(c, "train.lr"),
                        .then_steps = (double)config_int(c, "train.steps"),
                        .then_warmup = config_real(c, "train.warmup")};
    TRY(config_compare(c, json, find_broken, &found, err));
    TRY(find_other_inputs(&found, file, c, now, err));
    if (found.breaking > 0)
        return refuse(&found, err);
    TRY(config_compare(c, json, tell_accepted, &found, err));
    tell_schedule(&found, c, checkpoint_step(file));
    return STATUS_OK;
}

static status read_and_compare(const checkpoint *file, const config *c, const inputs_identity *now,
                               error *err) {
    char *json = NULL;
    TRY(checkpoint_read_config(file, &json, err));
    const status code = compare(file, c, json, now, err);
    free(json);
    return code;
}

status compatible_check(const checkpoint *file, MPI_Comm comm, const config *c,
                        const inputs_identity *now, error *err) {
    return agree(comm, comm_rank(comm) == 0 ? read_and_compare(file, c, now, err) : STATUS_OK, err);
}
