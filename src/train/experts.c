#include "src/train/experts.h"

#include "parallel/agree.h"
#include "parallel/tree.h"
#include "src/data/sampler.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- creation -------------------------------------------------------------------------------- */

static balance read_balance(const config *c) {
    const char *text = config_text(c, "moe.balance");
    return strcmp(text, "previous") == 0   ? BALANCE_PREVIOUS
           : strcmp(text, "two_pass") == 0 ? BALANCE_TWO_PASS
           : strcmp(text, "bias") == 0     ? BALANCE_BIAS
                                           : BALANCE_OFF;
}

static moe_force read_force(const config *c) {
    const char *text = config_text(c, "moe.force");
    return strcmp(text, "balanced") == 0 ? MOE_FORCE_BALANCED
           : strcmp(text, "hot") == 0    ? MOE_FORCE_HOT
                                         : MOE_FORCE_NONE;
}

static void read_settings(experts *x, const config *c) {
    x->balance = read_balance(c);
    x->balance_weight = config_real(c, "moe.balance_weight");
    x->z_weight = config_real(c, "moe.z_weight");
    x->bias_rate = config_real(c, "moe.bias_rate");
    x->run = (moe_run){.capacity = config_real(c, "moe.capacity"),
                       .force = read_force(c),
                       .jitter = config_real(c, "moe.jitter"),
                       .seed = (uint64_t)config_int(c, "run.seed")};
}

static status make_tables(experts *x, const grid *g, int64_t chunks, error *err) {
    const size_t pairs = (size_t)(x->layers * x->config.E), sources = (size_t)x->sources;
    x->source_chunks = calloc(sources, sizeof *x->source_chunks);
    x->gradients = calloc(sources, sizeof *x->gradients);
    x->gradient = calloc(sources, sizeof *x->gradient);
    x->fraction = calloc(pairs, sizeof *x->fraction);
    x->bias = calloc(pairs, sizeof *x->bias);
    x->count = calloc((size_t)moe_count_items(&x->config, x->layers), sizeof *x->count);
    x->items = moe_sum_items(&x->config, x->layers);
    if (!x->source_chunks || !x->gradients || !x->gradient || !x->fraction || !x->bias || !x->count)
        return error_set(err, STATUS_FAILED, "no memory for the statistics of %zu experts", pairs);
    for (int j = 0; j < x->sources; j++) {
        int64_t first, end;
        sampler_chunks_of_rank(chunks, g->rank - g->member + j, g->ranks, &first, &end);
        x->source_chunks[j] = end - first;
        if (end - first > x->most_chunks)
            x->most_chunks = end - first;
    }
    x->sum = calloc((size_t)(x->most_chunks * x->items), sizeof *x->sum);
    if (x->sum == NULL)
        return error_set(err, STATUS_FAILED, "no memory for the statistics of %zu experts", pairs);
    for (size_t i = 0; i < pairs; i++)
        x->fraction[i] = 1.0 / (double)x->config.E;
    return STATUS_OK;
}

status experts_create(experts *x, const grid *g, const config *c, const sepit *model,
                      int64_t chunks, error *err) {
    const llama_config *llm = &model->config.llm;
    *x = (experts){.config = llm->moe, .layers = moe_layers(&llm->moe, llm->layers)};
    if (x->layers == 0)
        return STATUS_OK;
    read_settings(x, c);
    x->sources = g->ep;
    TRY(agree(g->world, make_tables(x, g, chunks, err), err));
    if (g->ep > 1)
        TRY(exchange_create(&x->run.exchange, g->expert_group, moe_lanes(&x->config), err));
    x->run.fraction = x->fraction;
    x->run.bias = x->balance == BALANCE_BIAS ? x->bias : NULL;
    x->run.gradient = x->gradient;
    return STATUS_OK;
}

status experts_allocate(experts *x, const sepit *model, bool exact, error *err) {
    if (x->layers == 0)
        return STATUS_OK;
    x->run.exact = exact;
    if (!exact)
        return gradients_create(&x->gradients[0], model->experts.storage, 1, false, err);
    for (int j = 0; j < x->sources; j++)
        TRY(gradients_create(&x->gradients[j], model->experts.storage, x->source_chunks[j], true,
                             err));
    return STATUS_OK;
}

void experts_destroy(experts *x) {
    for (int j = 0; x->gradients != NULL && j < x->sources; j++)
        gradients_destroy(&x->gradients[j]);
    exchange_destroy(x->run.exchange);
    free(x->gradients);
    free(x->gradient);
    free(x->source_chunks);
    free(x->fraction);
    free(x->bias);
    free(x->count);
    free(x->sum);
    *x = (experts){0};
}

double experts_gradient_bytes(const experts *x) {
    double elements = 0;
    for (int j = 0; x->layers > 0 && j < (x->run.exact ? x->sources : 1); j++)
        elements +=
            (double)x->gradients[j].storage * gradients_arrays(x->source_chunks[j], x->run.exact);
    return elements * sizeof(real);
}

/* ---- a step ---------------------------------------------------------------------------------- */

static void clear_statistics(experts *x) {
    memset(x->count, 0, (size_t)moe_count_items(&x->config, x->layers) * sizeof *x->count);
    memset(x->sum, 0, (size_t)(x->most_chunks * x->items) * sizeof *x->sum);
}

void experts_begin_step(experts *x, int64_t step, int64_t tokens) {
    if (x->layers == 0)
        return;
    const bool loss = x->balance == BALANCE_PREVIOUS || x->balance == BALANCE_TWO_PASS;
    x->tokens = tokens;
    x->run.step = step;
    x->run.balance_scale = loss ? x->balance_weight * (double)x->config.E / (double)tokens : 0;
    x->run.z_scale = x->z_weight / (double)tokens;
    for (int j = 0; j < (x->run.exact ? x->sources : 1); j++)
        gradients_begin(&x->gradients[j]);
    clear_statistics(x);
}

void experts_open_chunk(experts *x, int64_t i, int64_t chunk, bool train) {
    if (x->layers == 0)
        return;
    x->run.chunk = chunk;
    x->run.statistics = (moe_statistics){x->count, x->sum + i * x->items};
    for (int j = 0; train && j < x->sources; j++) {
        if (!x->run.exact)
            x->gradient[j] = j == 0 ? gradients_open_chunk(&x->gradients[0]) : x->gradient[0];
        else
            x->gradient[j] =
                i < x->source_chunks[j] ? gradients_open_chunk(&x->gradients[j]) : NULL;
    }
}

void experts_close_chunk(experts *x, int64_t i, bool train) {
    if (x->layers == 0 || !train)
        return;
    if (!x->run.exact)
        gradients_close_chunk(&x->gradients[0]);
    for (int j = 0; x->run.exact && j < x->sources; j++)
        if (i < x->source_chunks[j])
            gradients_close_chunk(&x->gradients[j]);
}

const real *experts_gradient(experts *x) {
    if (!x->run.exact)
        return gradients_total(&x->gradients[0]);
    for (int j = 0; j < x->sources; j++)
        x->gradient[j] = gradients_total(&x->gradients[j]);
    for (int stride = 1; stride < x->sources; stride *= 2)
        for (int j = 0; j + stride < x->sources; j += 2 * stride)
            tree_add(x->gradient[j], x->gradient[j + stride], x->gradients[j].storage,
                     sizeof(real));
    return x->gradient[0];
}

/* ---- what was counted ------------------------------------------------------------------------ */

static int64_t tokens_of(const experts *x, int64_t layer, int64_t expert) {
    return x->count[moe_count_at(&x->config, layer, expert, MOE_TEXT)] +
           x->count[moe_count_at(&x->config, layer, expert, MOE_PROTEIN)];
}

static void set_fractions(experts *x) {
    const int64_t E = x->config.E;
    for (int64_t l = 0; l < x->layers; l++)
        for (int64_t e = 0; e < E; e++)
            x->fraction[l * E + e] = experts_load(x, l, e);
}

void experts_use_counts(experts *x, MPI_Comm world) {
    comm_sum(world, x->count, moe_count_items(&x->config, x->layers));
    set_fractions(x);
    clear_statistics(x);
}

/* Towards the mean load, by a fixed amount a step. */
static void move_biases(experts *x) {
    const int64_t E = x->config.E;
    for (int64_t l = 0; l < x->layers; l++)
        for (int64_t e = 0; e < E; e++) {
            const double missing = 1.0 / (double)E - experts_load(x, l, e);
            x->bias[l * E + e] += x->bias_rate * (double)((missing > 0) - (missing < 0));
        }
}

experts_losses experts_end_step(experts *x, MPI_Comm world) {
    experts_losses losses = {0};
    if (x->layers == 0)
        return losses;
    const int64_t E = x->config.E;
    comm_sum(world, x->count, moe_count_items(&x->config, x->layers));
    tree_sum_rows(x->sum, x->most_chunks, x->items, sizeof *x->sum);
    tree_sum_vector(world, x->sum, x->items);
    for (int64_t l = 0; l < x->layers; l++) {
        const double *sum = x->sum + l * (E + MOE_SUMS);
        for (int64_t e = 0; e < E; e++)
            losses.balance += x->run.balance_scale * x->fraction[l * E + e] * sum[e];
        losses.z += x->run.z_scale * sum[E + MOE_SUM_Z];
    }
    if (x->balance == BALANCE_BIAS)
        move_biases(x);
    set_fractions(x);
    const exchange_times times =
        x->run.exchange != NULL ? exchange_take_times(x->run.exchange) : (exchange_times){0};
    x->waited_s = times.waited_s;
    x->hidden_s = times.hidden_s;
    return losses;
}

double experts_load(const experts *x, int64_t layer, int64_t expert) {
    return (double)tokens_of(x, layer, expert) / (double)(x->tokens * x->config.k);
}

double experts_protein_share(const experts *x, int64_t layer, int64_t expert) {
    const int64_t all = tokens_of(x, layer, expert);
    const int64_t protein = x->count[moe_count_at(&x->config, layer, expert, MOE_PROTEIN)];
    return all > 0 ? (double)protein / (double)all : 0;
}

double experts_entropy(const experts *x, int64_t layer) {
    const int64_t E = x->config.E;
    return x->sum[layer * (E + MOE_SUMS) + E + MOE_SUM_ENTROPY] / (double)x->tokens;
}

double experts_dropped(const experts *x) {
    int64_t dropped = 0;
    for (int64_t l = 0; l < x->layers; l++)
        for (int64_t e = 0; e < x->config.E; e++)
            dropped += x->count[moe_count_at(&x->config, l, e, MOE_DROPPED)];
    return (double)dropped / (double)(x->tokens * x->config.k * x->layers);
}

int64_t experts_dead(const experts *x) {
    int64_t dead = 0;
    for (int64_t l = 0; l < x->layers; l++)
        for (int64_t e = 0; e < x->config.E; e++)
            dead += tokens_of(x, l, e) == 0;
    return dead;
}

double experts_largest(const experts *x) {
    double largest = 0;
    for (int64_t l = 0; l < x->layers; l++)
        for (int64_t e = 0; e < x->config.E; e++)
            largest = fmax(largest, experts_load(x, l, e));
    return largest * (double)x->config.E;
}
