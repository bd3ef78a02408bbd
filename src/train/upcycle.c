#include "src/train/upcycle.h"

#include "parallel/agree.h"
#include "parallel/tree.h"
#include "src/base/rng.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

status upcycle_read(const config *c, upcycle *how, error *err) {
    const char *mode = config_text(c, "moe.upcycle");
    *how = (upcycle){.mode = strcmp(mode, "exact") == 0  ? UPCYCLE_EXACT
                             : strcmp(mode, "drop") == 0 ? UPCYCLE_DROP
                                                         : UPCYCLE_COPY,
                     .drop = config_real(c, "moe.drop"),
                     .seed = (uint64_t)config_int(c, "run.seed")};
    if (how->mode == UPCYCLE_EXACT && !(config_real(c, "moe.jitter") > 0))
        return error_set(err, STATUS_INPUT,
                         "moe.upcycle is exact, which makes every expert equally probable, and "
                         "moe.jitter is 0: ties go to the lowest expert, so it would get every "
                         "token; set moe.jitter (0.01, say), or moe.upcycle=copy");
    return STATUS_OK;
}

/* ---- one matrix of one expert ---------------------------------------------------------------- */

enum { GATE, UP, DOWN, MATRICES };

/* How a matrix of an expert comes from the dense one. */
typedef struct recipe {
    const real *dense; /* [rows,cols] */
    int64_t rows, cols;
    bool down; /* the intermediate index is the column, else the row */
    real factor;
    const bool *drawn; /* [F] S; NULL: empty */
    double mean, sd;   /* of the dense entries in S */
    rng_key key;
} recipe;

static bool is_drawn(const recipe *r, int64_t row, int64_t col) {
    return r->drawn != NULL && r->drawn[r->down ? col : row];
}

static real element(const recipe *r, int64_t row, int64_t col) {
    const int64_t i = row * r->cols + col;
    if (is_drawn(r, row, col))
        return (real)(r->mean + r->sd * rng_normal(r->key, (uint64_t)i, 0));
    return r->factor * r->dense[i];
}

/* Σ (x − shift)^power over the entries in S, and their number. */
static double sum_drawn(const recipe *r, double shift, int power, int64_t *count) {
    double sum = 0;
    *count = 0;
    for (int64_t row = 0; row < r->rows; row++)
        for (int64_t col = 0; col < r->cols; col++)
            if (is_drawn(r, row, col)) {
                const double x = (double)r->dense[row * r->cols + col] - shift;
                sum += power == 2 ? x * x : x;
                ++*count;
            }
    return sum;
}

static void measure(recipe *r) {
    int64_t count;
    const double sum = sum_drawn(r, 0, 1, &count);
    if (count == 0)
        return;
    r->mean = sum / (double)count;
    r->sd = sqrt(sum_drawn(r, r->mean, 2, &count) / (double)count);
}

/* ---- one expert of one layer ----------------------------------------------------------------- */

static const linear *matrix_of(const ffn *layer, int which) {
    return which == GATE ? &layer->gate : which == UP ? &layer->up : &layer->down;
}

/* What all experts share. */
typedef struct plan {
    const upcycle *how;
    const sepit *dense;
    const moe_config *moe;
    int64_t F;
} plan;

static plan plan_make(const upcycle *how, const sepit *dense, const sepit *model) {
    return (plan){how, dense, &model->config.llm.moe, model->config.llm.F};
}

static void choose_drawn(const plan *p, int64_t layer, int64_t expert, bool *drawn) {
    char purpose[64];
    snprintf(purpose, sizeof purpose, "upcycle layer %lld expert %lld", (long long)layer,
             (long long)expert);
    const rng_key key = rng_key_make(p->how->seed, purpose);
    const uint64_t F = (uint64_t)p->F, count = (uint64_t)llround(p->how->drop * (double)F);
    for (uint64_t i = 0; i < F; i++)
        drawn[i] = rng_permute(key, i, F) < count;
}

static rng_key draw_key(const plan *p, int64_t layer, int64_t expert, int which) {
    static const char *const part[] = {"gate", "up", "down"};
    char purpose[PARAM_NAME + 16];
    snprintf(purpose, sizeof purpose,
             "upcycle text_model.model.layers.%lld.mlp.experts.%lld.%s_proj.weight",
             (long long)layer, (long long)expert, part[which]);
    return rng_key_make(p->how->seed, purpose);
}

/* The three recipes of an expert; drawn [F] is written and borrowed. */
static void write_recipes(const plan *p, int64_t layer, int64_t expert, bool *drawn,
                          recipe recipes[MATRICES]) {
    const params *dense = &p->dense->params;
    const bool draws = p->how->mode == UPCYCLE_DROP;
    if (draws)
        choose_drawn(p, layer, expert, drawn);
    for (int which = 0; which < MATRICES; which++) {
        const int64_t index = matrix_of(&p->dense->llm.block[layer].ffn, which)->weight;
        const int64_t *shape = dense->table[index].shape;
        recipe *r = &recipes[which];
        *r = (recipe){.dense = param_value(dense, index),
                      .rows = shape[0],
                      .cols = shape[1],
                      .down = which == DOWN,
                      .factor = 1,
                      .drawn = draws ? drawn : NULL,
                      .key = draw_key(p, layer, expert, which)};
        if (which == DOWN && p->how->mode == UPCYCLE_EXACT && !p->moe->renormalize)
            r->factor = (real)p->moe->E / (real)p->moe->k;
        if (draws)
            measure(r);
    }
}

static void write_matrix(const recipe *r, real *value) {
#pragma omp parallel for
    for (int64_t row = 0; row < r->rows; row++)
        for (int64_t col = 0; col < r->cols; col++)
            value[row * r->cols + col] = element(r, row, col);
}

/* ---- the model ------------------------------------------------------------------------------- */

static bool *new_drawn(int64_t F) {
    bool *drawn = calloc((size_t)F, sizeof *drawn);
    CHECK(drawn != NULL, "No memory for %lld flags.", (long long)F);
    return drawn;
}

static void write_experts(const plan *p, sepit *model) {
    bool *drawn = new_drawn(p->F);
    for (int64_t l = 0; l < model->config.llm.layers; l++) {
        const llama_block *block = &model->llm.block[l];
        for (int64_t e = 0; block->has_experts && e < p->moe->local_experts; e++) {
            recipe recipes[MATRICES];
            write_recipes(p, l, p->moe->first_expert + e, drawn, recipes);
            for (int which = 0; which < MATRICES; which++) {
                const int64_t index = matrix_of(&block->moe.expert[e], which)->weight;
                write_matrix(&recipes[which],
                             model->experts.value + model->experts.table[index].offset);
            }
        }
    }
    free(drawn);
}

static void copy_others(const upcycle *how, const params *dense, params *p) {
    for (int64_t i = 0; i < p->count; i++) {
        const param *to = &p->table[i];
        real *value = p->value + to->offset;
        const size_t bytes = (size_t)to->elements * sizeof *value;
        if (to->group == GROUP_ROUTER) {
            if (how->mode == UPCYCLE_EXACT)
                memset(value, 0, bytes);
            continue;
        }
        const int64_t from = params_find(dense, to->name);
        CHECK(from >= 0 && dense->table[from].elements == to->elements,
              "The dense model has no %s of this size.", to->name);
        memcpy(value, param_value(dense, from), bytes);
    }
}

void upcycle_weights(const upcycle *how, const sepit *dense, sepit *model) {
    const plan p = plan_make(how, dense, model);
    copy_others(how, &dense->params, &model->params);
    write_experts(&p, model);
    params_refresh(&model->params);
    params_refresh(&model->experts);
}

/* ---- how far the experts are apart ----------------------------------------------------------- */

/* Adds ‖value − W_0‖² and ‖W_0‖² of one matrix. Row by row, so that threads change no bit. */
static void add_squares(const recipe *first, const real *value, double *apart, double *size) {
    double(*sum)[2] = calloc((size_t)first->rows, sizeof *sum);
    CHECK(sum != NULL, "No memory for the sums of %lld rows.", (long long)first->rows);
#pragma omp parallel for
    for (int64_t row = 0; row < first->rows; row++)
        for (int64_t col = 0; col < first->cols; col++) {
            const double x = (double)element(first, row, col);
            const double d = (double)value[row * first->cols + col] - x;
            sum[row][0] += d * d;
            sum[row][1] += x * x;
        }
    for (int64_t row = 0; row < first->rows; row++) {
        *apart += sum[row][0];
        *size += sum[row][1];
    }
    free(sum);
}

/* The distance of a local expert to expert 0, whose recipes are given. */
static double distance_of(const recipe first[MATRICES], const ffn *expert, const params *experts) {
    double apart = 0, size = 0;
    for (int which = 0; which < MATRICES; which++)
        add_squares(&first[which], param_value(experts, matrix_of(expert, which)->weight), &apart,
                    &size);
    return apart > 0 ? sqrt(apart / size) : 0;
}

double upcycle_distance(const upcycle *how, const sepit *dense, const sepit *model,
                        MPI_Comm world) {
    const plan p = plan_make(how, dense, model);
    const int64_t E = p.moe->E, layers = model->config.llm.layers, local = p.moe->local_experts;
    double *distance = calloc((size_t)(layers * E), sizeof *distance);
    CHECK(distance != NULL, "No memory for %lld distances.", (long long)(layers * E));
    bool *drawn = new_drawn(p.F);
    /* The first expert group holds every expert once. */
    const bool counts = comm_rank(world) < E / local;
    int64_t with_experts = 0;
    for (int64_t l = 0; l < layers; l++) {
        const llama_block *block = &model->llm.block[l];
        with_experts += block->has_experts;
        if (!counts || !block->has_experts)
            continue;
        recipe first[MATRICES];
        write_recipes(&p, l, 0, drawn, first);
        for (int64_t e = 0; e < local; e++)
            distance[l * E + p.moe->first_expert + e] =
                distance_of(first, &block->moe.expert[e], &model->experts);
        CHECK(p.moe->first_expert > 0 || distance[l * E] == 0, "Expert 0 is made in two ways.");
    }
    const double sum = tree_sum_shared(world, distance, layers * E);
    free(drawn);
    free(distance);
    return E > 1 ? sum / (double)(with_experts * (E - 1)) : 0;
}
