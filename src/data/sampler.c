#include "src/data/sampler.h"

#include "src/base/rng.h"
#include "src/data/esm_alphabet.h"

#include <math.h>
#include <stdlib.h>

/* Groups are found by counting: every STRIDE captions the number of groups so far is noted, and the
 * rest is a walk of at most STRIDE captions. A table of all groups would cost 8 bytes each on every
 * rank; this costs 1/8 byte a caption. */
enum { STRIDE = 64 };

enum { SPLIT_TRAIN = 0 };

/* A group of the batch being drawn. */
typedef struct drawn_group {
    int64_t first, count; /* captions */
    int64_t protein;
    int64_t epoch;
    int64_t weight; /* 4 × estimated tokens */
    int64_t index;  /* in the batch */
    int64_t chunk;
} drawn_group;

struct sampler_tables {
    int64_t *before;    /* [blocks+1] groups that start before caption STRIDE·b */
    int64_t blocks;     /* of STRIDE captions */
    drawn_group *drawn; /* [groups_per_step] */
    int64_t *load;      /* [2·chunks] the tree of cut_into_chunks */
    int64_t *offset;    /* [chunks+1] */
    sample *sample;     /* [most_samples] */
};

static bool trains(const dataset *d, int64_t caption) {
    return d->split[d->caption_protein[caption]] == SPLIT_TRAIN;
}

static bool begins_protein(const dataset *d, int64_t caption) {
    return caption == 0 || d->caption_protein[caption] != d->caption_protein[caption - 1];
}

/* First caption of the protein that `caption` belongs to. */
static int64_t first_of_protein(const dataset *d, int64_t caption) {
    int64_t low = 0, high = caption;
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        if (d->caption_protein[middle] < d->caption_protein[caption])
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Fills `before` and the sampler's counts. */
static void count_groups(sampler *s) {
    const dataset *d = s->data;
    int64_t start = 0; /* first caption of the present protein */
    for (int64_t c = 0; c < d->captions; c++) {
        if (c % STRIDE == 0)
            s->tables->before[c / STRIDE] = s->groups;
        if (begins_protein(d, c))
            start = c;
        if (!trains(d, c))
            continue;
        s->captions++;
        s->groups += (c - start) % s->config.group == 0;
    }
    s->tables->before[s->tables->blocks] = s->groups;
}

static status allocate_index(sampler *s, error *err) {
    const int64_t blocks = (s->data->captions + STRIDE - 1) / STRIDE;
    s->tables = calloc(1, sizeof *s->tables);
    int64_t *before = calloc((size_t)blocks + 1, sizeof *before);
    if (s->tables == NULL || before == NULL) {
        free(before);
        return error_set(err, STATUS_FAILED, "%s: no memory for an index of its %lld captions",
                         s->data->path, (long long)s->data->captions);
    }
    s->tables->before = before;
    s->tables->blocks = blocks;
    return STATUS_OK;
}

static status allocate_batch(sampler *s, error *err) {
    struct sampler_tables *t = s->tables;
    const size_t chunks = (size_t)s->config.chunks;
    t->drawn = calloc((size_t)s->groups_per_step, sizeof *t->drawn);
    t->sample = calloc((size_t)s->most_samples, sizeof *t->sample);
    t->load = calloc(2 * chunks, sizeof *t->load);
    t->offset = calloc(chunks + 1, sizeof *t->offset);
    if (t->drawn != NULL && t->sample != NULL && t->load != NULL && t->offset != NULL)
        return STATUS_OK;
    return error_set(err, STATUS_FAILED,
                     "train.global_batch: no memory for the list of a batch of %lld samples in "
                     "%lld chunks",
                     (long long)s->most_samples, (long long)s->config.chunks);
}

status sampler_create(sampler *s, const sampler_config *config, const dataset *data, error *err) {
    *s = (sampler){.config = *config, .data = data};
    const int64_t chunks = config->chunks;
    if (chunks < 1 || (chunks & (chunks - 1)) != 0)
        return error_set(err, STATUS_INPUT,
                         "train.chunks must be a power of two (1, 2, 4, 8, …); it is %lld",
                         (long long)chunks);
    TRY(allocate_index(s, err));
    count_groups(s);
    if (s->groups == 0)
        return error_set(err, STATUS_INPUT,
                         "%s has no caption to train on: %lld captions of %lld proteins, none of a "
                         "protein of the training split; build it from entries with comments",
                         data->path, (long long)data->captions, (long long)data->proteins);
    const double mean = (double)s->captions / (double)s->groups;
    s->groups_per_step = (int64_t)fmax(1.0, round((double)config->global_batch / mean));
    s->most_samples = s->groups_per_step * config->group;
    return allocate_batch(s, err);
}

void sampler_destroy(sampler *s) {
    if (s->tables != NULL) {
        free(s->tables->before);
        free(s->tables->drawn);
        free(s->tables->load);
        free(s->tables->offset);
        free(s->tables->sample);
        free(s->tables);
    }
    *s = (sampler){0};
}

/* The last block with before[b] <= index: the group starts inside it. */
static int64_t block_of_group(const struct sampler_tables *t, int64_t index) {
    int64_t low = 0, high = t->blocks;
    while (high - low > 1) {
        const int64_t middle = low + (high - low) / 2;
        if (t->before[middle] <= index)
            low = middle;
        else
            high = middle;
    }
    return low;
}

void sampler_group(const sampler *s, int64_t index, int64_t *first, int64_t *count) {
    const dataset *d = s->data;
    CHECK(index >= 0 && index < s->groups, "Group %lld of %lld.", (long long)index,
          (long long)s->groups);
    const int64_t block = block_of_group(s->tables, index);
    int64_t left = index - s->tables->before[block]; /* groups to pass by */
    int64_t c = block * STRIDE;
    int64_t start = first_of_protein(d, c);
    for (;; c++) {
        if (begins_protein(d, c))
            start = c;
        if (trains(d, c) && (c - start) % s->config.group == 0 && left-- == 0)
            break;
    }
    int64_t end = c + 1;
    while (end < d->captions && end - c < s->config.group && !begins_protein(d, end))
        end++;
    *first = c;
    *count = end - c;
}

/* Residues + bytes/4 of each sample, times 4 to stay with integers. */
static int64_t group_weight(const sampler *s, const drawn_group *g) {
    const dataset *d = s->data;
    const int64_t protein = d->caption_protein[g->first];
    int64_t residues = d->offset[protein + 1] - d->offset[protein];
    if (residues > ESM_MAX_RESIDUES)
        residues = ESM_MAX_RESIDUES;
    int64_t weight = 4 * residues * g->count;
    for (int64_t c = g->first; c < g->first + g->count; c++) {
        const int64_t bytes = d->caption_question_offset[c + 1] - d->caption_question_offset[c] +
                              d->caption_offset[c + 1] - d->caption_offset[c];
        weight += bytes < 4 * s->config.max_text ? bytes : 4 * s->config.max_text;
    }
    return weight;
}

/* The groups of the step, in the batch's order. */
static void draw_groups(const sampler *s, int64_t step) {
    const rng_key order = rng_key_make(s->config.seed, "epoch order");
    for (int64_t i = 0; i < s->groups_per_step; i++) {
        const int64_t position = step * s->groups_per_step + i;
        drawn_group *g = &s->tables->drawn[i];
        g->index = i;
        g->epoch = position / s->groups;
        const rng_key key = rng_key_make(rng_bits(order, (uint64_t)g->epoch, 0), "epoch order");
        const uint64_t chosen =
            rng_permute(key, (uint64_t)(position % s->groups), (uint64_t)s->groups);
        sampler_group(s, (int64_t)chosen, &g->first, &g->count);
        g->protein = s->data->caption_protein[g->first];
        g->weight = group_weight(s, g);
    }
}

static int by_protein(const void *left, const void *right) {
    const drawn_group *a = left, *b = right;
    if (a->protein != b->protein)
        return a->protein < b->protein ? -1 : 1;
    return a->index < b->index ? -1 : 1;
}

/* Groups of one protein beside each other, the heaviest protein first. */
static int heaviest_first(const void *left, const void *right) {
    const drawn_group *a = left, *b = right;
    if (a->weight != b->weight)
        return a->weight > b->weight ? -1 : 1;
    return by_protein(left, right);
}

static int batch_order(const void *left, const void *right) {
    const drawn_group *a = left, *b = right;
    return a->index < b->index ? -1 : 1;
}

/* Each group's weight becomes that of all groups of its protein in the batch. */
static void weigh_proteins(drawn_group *drawn, int64_t groups) {
    qsort(drawn, (size_t)groups, sizeof *drawn, by_protein);
    for (int64_t first = 0, end; first < groups; first = end) {
        int64_t weight = 0;
        for (end = first; end < groups && drawn[end].protein == drawn[first].protein; end++)
            weight += drawn[end].weight;
        for (int64_t i = first; i < end; i++)
            drawn[i].weight = weight;
    }
}

/* Groups of one protein stay together, so that they share its encoder pass. Heaviest first, each
 * protein goes down the binary tree over chunks, at every node to the lighter
 * side (left when equal). Unlike "into the lightest chunk" this balances every level of the tree,
 * hence the ranks of every power of two, also when there are fewer groups than chunks. */
static void cut_into_chunks(const sampler *s) {
    const int64_t chunks = s->config.chunks, groups = s->groups_per_step;
    drawn_group *drawn = s->tables->drawn;
    int64_t *load = s->tables->load; /* node 1 is the root, node chunks + c the chunk c */
    for (int64_t node = 0; node < 2 * chunks; node++)
        load[node] = 0;
    weigh_proteins(drawn, groups);
    qsort(drawn, (size_t)groups, sizeof *drawn, heaviest_first);
    for (int64_t i = 0; i < groups; i++) {
        if (i > 0 && drawn[i].protein == drawn[i - 1].protein) {
            drawn[i].chunk = drawn[i - 1].chunk;
            continue;
        }
        int64_t node = 1;
        while (node < chunks) {
            load[node] += drawn[i].weight;
            node = 2 * node + (load[2 * node + 1] < load[2 * node]);
        }
        load[node] += drawn[i].weight;
        drawn[i].chunk = node - chunks;
    }
    qsort(drawn, (size_t)groups, sizeof *drawn, batch_order);
}

static void list_group(const sampler *s, rng_key drop, const drawn_group *g, sample *listed) {
    const dataset *d = s->data;
    const int64_t protein = d->caption_protein[g->first];
    for (int64_t i = 0; i < g->count; i++) {
        const int64_t caption = g->first + i;
        const double u = rng_uniform(drop, (uint64_t)g->epoch, (uint64_t)caption);
        listed[i] = (sample){.caption = caption,
                             .protein = protein,
                             .epoch = g->epoch,
                             .structure = d->source[protein] != SOURCE_NONE &&
                                          u >= s->config.structure_drop};
    }
}

/* Lists the samples chunk by chunk (a counting sort by chunk). */
static void list_samples(const sampler *s) {
    const int64_t chunks = s->config.chunks, groups = s->groups_per_step;
    const rng_key drop = rng_key_make(s->config.seed, "structure drop");
    const drawn_group *drawn = s->tables->drawn;
    int64_t *offset = s->tables->offset, *next = s->tables->load;
    for (int64_t c = 0; c <= chunks; c++)
        offset[c] = 0;
    for (int64_t i = 0; i < groups; i++)
        offset[drawn[i].chunk + 1] += drawn[i].count;
    for (int64_t c = 0; c < chunks; c++) {
        offset[c + 1] += offset[c];
        next[c] = offset[c];
    }
    for (int64_t i = 0; i < groups; i++) {
        list_group(s, drop, &drawn[i], s->tables->sample + next[drawn[i].chunk]);
        next[drawn[i].chunk] += drawn[i].count;
    }
}

void sampler_draw(sampler *s, int64_t step, sampler_batch *batch) {
    CHECK(step >= 0, "Step %lld.", (long long)step);
    draw_groups(s, step);
    cut_into_chunks(s);
    list_samples(s);
    *batch = (sampler_batch){.count = s->tables->offset[s->config.chunks],
                             .offset = s->tables->offset,
                             .sample = s->tables->sample};
}

double sampler_epoch(const sampler *s, int64_t step) {
    return (double)step * (double)s->groups_per_step / (double)s->groups;
}

void sampler_chunks_of_rank(int64_t chunks, int64_t rank, int64_t ranks, int64_t *first,
                            int64_t *end) {
    *first = rank * chunks / ranks;
    *end = (rank + 1) * chunks / ranks;
}
