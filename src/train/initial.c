#include "src/train/initial.h"

#include "io/checkpoint.h"
#include "parallel/agree.h"
#include "src/base/log.h"
#include "src/nn/setup.h"
#include "src/train/upcycle.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* What the steps of one call share; borrowed. */
typedef struct start {
    sepit *model;
    const nn_context *nn;
    const chunk_batch *probe;
    const config *config;
    const grid *grid;
    MPI_Comm world; /* the grid's */
    const checkpoint *file;
} start;

/* ---- finding the checkpoint ------------------------------------------------------------------ */

/* What init.all points to. */
typedef enum source { SOURCE_FILE = 1, SOURCE_RUN, SOURCE_FOLDER } source;

static char *join(const char *folder, const char *name) {
    char *path = NULL;
    CHECK(asprintf(&path, "%s%s", folder, name) >= 0, "No memory for a path.");
    return path;
}

static bool is_folder(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

static status look_at(const char *path, int64_t *kind, error *err) {
    struct stat info;
    if (stat(path, &info) != 0)
        return error_set(err, STATUS_INPUT,
                         "init.all is %s: %s; it must be a checkpoint (….h5) or a run folder", path,
                         strerror(errno));
    const size_t length = strlen(path);
    if (S_ISREG(info.st_mode) && length > 3 && strcmp(path + length - 3, ".h5") == 0) {
        *kind = SOURCE_FILE;
        return STATUS_OK;
    }
    if (!S_ISDIR(info.st_mode))
        return error_set(err, STATUS_INPUT,
                         "init.all is %s, which is neither a checkpoint (….h5) nor a folder", path);
    char *inside = join(path, "/checkpoints");
    *kind = is_folder(inside) ? SOURCE_RUN : SOURCE_FOLDER;
    free(inside);
    return STATUS_OK;
}

/* *path: of the newest good checkpoint in the folder. Collective. */
static status newest_in(const char *folder, MPI_Comm world, char **path, error *err) {
    TRY(checkpoint_look_newest(path, world, folder, err));
    if (*path != NULL)
        return STATUS_OK;
    return error_set(err, STATUS_INPUT,
                     "there is no checkpoint in %s: let the run that init.all names finish first, "
                     "or name another one",
                     folder);
}

/* *verified: the checkpoint's bytes have been read and compared already. The caller frees *path,
 * whatever came back. Collective. */
static status find(const char *given, MPI_Comm world, char **path, bool *verified, error *err) {
    int64_t kind = 0; /* rank 0's: the others add nothing */
    TRY(agree(world, comm_rank(world) == 0 ? look_at(given, &kind, err) : STATUS_OK, err));
    comm_sum(world, &kind, 1);
    *verified = kind != SOURCE_FILE;
    if (kind == SOURCE_FILE) {
        *path = join(given, "");
        return STATUS_OK;
    }
    char *folder = join(given, kind == SOURCE_RUN ? "/checkpoints" : "");
    const status code = newest_in(folder, world, path, err);
    free(folder);
    return code;
}

/* ---- the same model -------------------------------------------------------------------------- */

static bool holds_experts(const checkpoint *file) {
    for (int64_t i = 0; i < checkpoint_tensors(file); i++)
        if (strstr(checkpoint_tensor_at(file, i)->name, ".mlp.experts.") != NULL)
            return true;
    return false;
}

static status load_same(const start *s, error *err) {
    const share_table table[] = {{&s->model->params, s->world, 0},
                                 {&s->model->experts, s->grid->expert_data, s->grid->experts}};
    return setup_load_tables(s->file, table, s->grid->experts > 0 ? 2 : 1, err);
}

/* ---- logits of the probe --------------------------------------------------------------------- */

enum { MOST_PLACES = 64 };

static int64_t places_of(const chunk_batch *probe) {
    return probe->text.supervised < MOST_PLACES ? probe->text.supervised : MOST_PLACES;
}

static void gather_places(const text_batch *text, const real *hidden, int64_t D, int64_t places,
                          real *x) {
    int64_t found = 0;
    for (int64_t t = 0; found < places; t++)
        if (text->target[t] >= 0)
            memcpy(x + D * found++, hidden + D * t, (size_t)D * sizeof *x);
}

/* Logits [places,V] at the first supervised places. Collective over nn->moe->exchange. */
static void run_probe(const nn_context *nn, const sepit *model, const chunk_batch *probe,
                      real *logits) {
    const int64_t places = places_of(probe), D = model->config.llm.D;
    const size_t kept = arena_mark(nn->activations), taken = arena_mark(nn->scratch);
    const real *vectors = NULL;
    if (probe->protein.B > 0)
        vectors = sepit_encode(nn, model, &probe->protein);
    const real *hidden =
        llama_forward(nn, &model->params, &model->llm, &probe->text, vectors, NULL);
    real *rows = ARENA_ARRAY(nn->scratch, real, places * D);
    gather_places(&probe->text, hidden, D, places, rows);
    const operand x = gemm_operand(nn->gemm, nn->scratch, rows, places, D);
    const linear head = {.weight = model->llm.head, .bias = -1};
    linear_forward(nn, &model->params, &head, &x, logits);
    arena_reset(nn->activations, kept);
    arena_reset(nn->scratch, taken);
}

static void run_dense(const start *s, const sepit *dense, real *logits) {
    nn_context nn = *s->nn;
    nn.moe = NULL;
    run_probe(&nn, dense, s->probe, logits);
}

/* As the first step will run it, but nothing is counted. */
static void run_upcycled(const start *s, real *logits) {
    moe_run run = *s->nn->moe;
    run.statistics = (moe_statistics){NULL, NULL};
    run.gradient = NULL;
    nn_context nn = *s->nn;
    nn.moe = &run;
    run_probe(&nn, s->model, s->probe, logits);
    if (run.exchange != NULL)
        exchange_take_times(run.exchange); /* they are not the first step's */
}

/* The largest difference; infinite where one is not a number. */
static double largest_difference(const real *x, const real *y, int64_t n) {
    double largest = 0;
    for (int64_t i = 0; i < n; i++) {
        const double d = fabs((double)x[i] - (double)y[i]);
        if (isnan(d))
            return INFINITY;
        largest = fmax(largest, d);
    }
    return largest;
}

/* ---- upcycling ------------------------------------------------------------------------------- */

static status prepare_dense(const start *s, sepit *dense, error *err) {
    sepit_config sizes = s->model->config;
    sizes.llm.moe = (moe_config){0};
    TRY(sepit_declare(dense, &sizes, err));
    TRY(setup_check_shapes(s->file, &dense->params, err));
    return params_allocate(&dense->params, gemm_is_bf16(s->nn->gemm), err);
}

/* The dense model's weights and logits go into the model and `logits`; returns the experts'
 * distance in *distance. */
static status take_dense(const start *s, const upcycle *how, real *logits, double *distance,
                         error *err) {
    sepit dense = {0};
    status code = agree(s->world, prepare_dense(s, &dense, err), err);
    if (code == STATUS_OK)
        code = setup_load_weights(s->file, s->world, &dense.params, err);
    if (code == STATUS_OK) {
        run_dense(s, &dense, logits);
        upcycle_weights(how, &dense, s->model);
        *distance = upcycle_distance(how, &dense, s->model, s->world);
    }
    sepit_destroy(&dense);
    return code;
}

static char *describe_upcycling(const start *s, const upcycle *how, double difference,
                                double distance) {
    const llama_config *llm = &s->model->config.llm;
    int64_t places = places_of(s->probe);
    comm_sum(s->world, &places, 1);
    char share[40] = "", *text = NULL;
    if (how->mode == UPCYCLE_DROP)
        snprintf(share, sizeof share, " %g", how->drop);
    CHECK(asprintf(&text,
                   ", upcycled (%s%s) to %lld experts in %lld layers: largest logit difference to "
                   "the dense model %.3g at %lld places, mean distance between experts %.3g",
                   config_text(s->config, "moe.upcycle"), share, (long long)llm->moe.E,
                   (long long)moe_layers(&llm->moe, llm->layers), difference, (long long)places,
                   distance) >= 0,
          "No memory for a receipt.");
    return text;
}

/* *text: the receipt's second half. */
static status upcycle_dense(const start *s, char **text, error *err) {
    upcycle how;
    TRY(upcycle_read(s->config, &how, err));
    const int64_t n = places_of(s->probe) * s->model->config.llm.V;
    real *logits = calloc((size_t)(2 * n + 1), sizeof *logits);
    status code = STATUS_OK;
    if (logits == NULL)
        code = error_set(err, STATUS_FAILED, "no memory for %lld logits", (long long)(2 * n));
    code = agree(s->world, code, err);
    double distance = 0;
    if (code == STATUS_OK)
        code = take_dense(s, &how, logits, &distance, err);
    if (code == STATUS_OK) {
        run_upcycled(s, logits + n);
        const double difference = comm_max(s->world, largest_difference(logits, logits + n, n));
        *text = describe_upcycling(s, &how, difference, distance);
    }
    free(logits);
    return code;
}

/* ---- all of it ------------------------------------------------------------------------------- */

static status take_weights(const start *s, char **text, error *err) {
    const bool experts = s->model->config.llm.moe.E > 0, stored = holds_experts(s->file);
    if (experts && !stored)
        return upcycle_dense(s, text, err);
    if (stored && !experts)
        return error_set(err, STATUS_INPUT,
                         "the checkpoint holds experts, but moe.experts is 0: set moe.* as in the "
                         "run that it comes from");
    *text = join("", "");
    return load_same(s, err);
}

static status start_from(start *s, const char *path, bool verified, char **receipt, error *err) {
    checkpoint *file = NULL;
    char *text = NULL;
    status code = checkpoint_open(&file, s->world, path, err);
    if (code == STATUS_OK && !verified)
        code = checkpoint_verify(file, s->world, err);
    s->file = file;
    if (code == STATUS_OK) {
        code = take_weights(s, &text, err);
        if (code != STATUS_OK)
            error_prefix(err, "init.all: %s", path);
    }
    if (code == STATUS_OK) {
        CHECK(asprintf(receipt, "weights of step %lld from %s%s", (long long)checkpoint_step(file),
                       path, text) >= 0,
              "No memory for a receipt.");
        log_info("%s", *receipt);
    }
    checkpoint_close(file);
    free(text);
    return code;
}

status initial_weights(sepit *model, const nn_context *nn, const chunk_batch *probe,
                       const config *c, const grid *g, char **receipt, error *err) {
    *receipt = NULL;
    const char *given = config_text(c, "init.all");
    if (given == NULL)
        return STATUS_OK;
    start s = {.model = model, .nn = nn, .probe = probe, .config = c, .grid = g, .world = g->world};
    char *path = NULL;
    bool verified = false;
    status code = find(given, s.world, &path, &verified, err);
    if (code == STATUS_OK)
        code = start_from(&s, path, verified, receipt, err);
    free(path);
    return code;
}
