// TEST timeout=60
/* The global batch of a step: every group once an epoch, cut into balanced chunks. */
#include "src/data/sampler.h"
#include "tests/test.h"

enum { MOST = 200000 };

/* A dataset of arrays alone: `proteins` proteins with pseudo-random captions, splits and sizes. */
typedef struct tables {
    int64_t offset[MOST + 1], question[MOST + 1], text[MOST + 1];
    uint8_t source[MOST], split[MOST];
    int32_t protein[MOST];
    int64_t first[MOST]; /* caption of each protein */
} tables;

static tables t;

static uint32_t noise(uint32_t *state) {
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

/* Protein 5 has 2000 captions; proteins 300 … 699 are not in the training split, nor is each 7th.
 */
static dataset make_dataset(int64_t proteins) {
    uint32_t state = 1;
    int64_t c = 0;
    for (int64_t i = 0; i < proteins; i++) {
        t.offset[i + 1] = t.offset[i] + noise(&state) % 1500;
        t.source[i] = (uint8_t)(i % 3);
        t.split[i] = (uint8_t)((i >= 300 && i < 700) || i % 7 == 3 ? 1 + i % 2 : 0);
        const int64_t captions = i == 5 ? 2000 : noise(&state) % 12;
        t.first[i] = c;
        for (int64_t k = 0; k < captions; k++, c++) {
            t.protein[c] = (int32_t)i;
            t.question[c + 1] = t.question[c] + noise(&state) % 60;
            t.text[c + 1] = t.text[c] + noise(&state) % 3000;
        }
    }
    static char name[] = "made-up.h5";
    return (dataset){.path = name,
                     .proteins = proteins,
                     .captions = c,
                     .offset = t.offset,
                     .source = t.source,
                     .split = t.split,
                     .caption_protein = t.protein,
                     .caption_question_offset = t.question,
                     .caption_offset = t.text};
}

static const sampler_config SETTINGS = {.seed = 7,
                                        .group = 4,
                                        .global_batch = 64,
                                        .chunks = 16,
                                        .max_text = 512,
                                        .structure_drop = 0.15};

static sampler create(const sampler_config *config, const dataset *d) {
    sampler s;
    error err = {0};
    EXPECT(sampler_create(&s, config, d, &err) == STATUS_OK, "%s", err.text);
    return s;
}

/* The groups by the definition, one after the other. */
static void check_groups(const dataset *d) {
    sampler s = create(&SETTINGS, d);
    int64_t group = 0, captions = 0;
    for (int64_t c = 0; c < d->captions;) {
        int64_t end = c + 1;
        while (end < d->captions && end < c + 4 && t.protein[end] == t.protein[c])
            end++;
        if (t.split[t.protein[c]] == 0) {
            int64_t first = -1, count = -1;
            sampler_group(&s, group, &first, &count);
            EXPECT(first == c && count == end - c, "group %lld", (long long)group);
            group++;
            captions += end - c;
        }
        c = end;
    }
    EXPECT(s.groups == group && s.captions == captions);
    const double mean = (double)captions / (double)group;
    EXPECT(s.groups_per_step == (int64_t)(64 / mean + 0.5));
    sampler_destroy(&s);
}

/* Over exactly three epochs each caption that trains comes once an epoch, others never; the order
 * of the epochs differs. */
static void check_epochs(const dataset *d, int64_t global_batch) {
    static uint8_t seen[3][MOST];
    memset(seen, 0, sizeof seen);
    sampler_config config = SETTINGS;
    config.global_batch = global_batch;
    sampler s = create(&config, d);
    sampler_batch batch;
    const int64_t steps = 3 * s.groups / s.groups_per_step + 1; /* reaches into the fourth */
    int64_t other_place = 0;
    for (int64_t step = 0; step < steps; step++) {
        sampler_draw(&s, step, &batch);
        EXPECT(batch.count > 0 && batch.count <= s.most_samples);
        for (int64_t i = 0; i < batch.count; i++) {
            const sample *x = &batch.sample[i];
            EXPECT(x->protein == t.protein[x->caption]);
            if (x->epoch < 3)
                seen[x->epoch][x->caption]++;
            other_place += x->epoch == 0 && x->caption != i;
        }
    }
    EXPECT(other_place > 0);
    int64_t wrong = 0;
    for (int64_t epoch = 0; epoch < 3; epoch++)
        for (int64_t c = 0; c < d->captions; c++)
            wrong += seen[epoch][c] != (t.split[t.protein[c]] == 0);
    EXPECT(wrong == 0, "%lld captions seen a wrong number of times", (long long)wrong);
    EXPECT_CLOSE(sampler_epoch(&s, s.groups), (double)s.groups_per_step, 1e-12);
    sampler_destroy(&s);
}

static bool same_sample(const sample *a, const sample *b) {
    return a->caption == b->caption && a->protein == b->protein && a->epoch == b->epoch &&
           a->structure == b->structure;
}

/* A step drawn alone is the step drawn in a row; the epochs shuffle differently; so do seeds. */
static void check_pure(const dataset *d) {
    sampler s = create(&SETTINGS, d), fresh = create(&SETTINGS, d);
    sampler_config other_config = SETTINGS;
    other_config.seed = 8;
    sampler other = create(&other_config, d);
    sampler_batch a, b, c;
    for (int64_t step = 0; step <= 40; step++)
        sampler_draw(&s, step, &a);
    sampler_draw(&fresh, 40, &b);
    sampler_draw(&other, 40, &c);
    EXPECT(a.count == b.count);
    int64_t different = 0;
    for (int64_t i = 0; i < a.count; i++) {
        EXPECT(same_sample(&a.sample[i], &b.sample[i]));
        different += i >= c.count || a.sample[i].caption != c.sample[i].caption;
    }
    EXPECT(different > a.count / 2);
    sampler_destroy(&s);
    sampler_destroy(&fresh);
    sampler_destroy(&other);
}

static int compare_samples(const void *left, const void *right) {
    const sample *a = left, *b = right;
    if (a->epoch != b->epoch)
        return a->epoch < b->epoch ? -1 : 1;
    return (a->caption > b->caption) - (a->caption < b->caption);
}

/* The samples do not depend on the number of chunks, and the ranks' blocks are a partition for any
 * number of ranks. */
static void check_chunks(const dataset *d, int64_t chunks) {
    sampler_config config = SETTINGS;
    config.chunks = chunks;
    sampler s = create(&config, d);
    config.chunks = 1;
    sampler one_chunk = create(&config, d);
    sampler_batch whole, batch;
    sampler_draw(&one_chunk, 3, &whole);
    sampler_draw(&s, 3, &batch);
    EXPECT(whole.count == batch.count && batch.offset[0] == 0);
    EXPECT(batch.offset[chunks] == batch.count);
    int64_t owned = 0;
    for (int64_t ranks = 1; ranks <= chunks && ranks <= 9; ranks++, owned = 0) {
        for (int64_t r = 0; r < ranks; r++) {
            int64_t first = 0, end = 0;
            sampler_chunks_of_rank(chunks, r, ranks, &first, &end);
            EXPECT(end > first);
            owned += batch.offset[end] - batch.offset[first];
        }
        EXPECT(owned == batch.count, "%lld ranks", (long long)ranks);
    }
    sample *sorted[2] = {malloc((size_t)batch.count * sizeof(sample)),
                         malloc((size_t)batch.count * sizeof(sample))};
    const sample *from[2] = {whole.sample, batch.sample};
    for (int k = 0; k < 2; k++) {
        memcpy(sorted[k], from[k], (size_t)batch.count * sizeof(sample));
        qsort(sorted[k], (size_t)batch.count, sizeof(sample), compare_samples);
    }
    for (int64_t i = 0; i < batch.count; i++)
        EXPECT(same_sample(&sorted[0][i], &sorted[1][i]));
    free(sorted[0]);
    free(sorted[1]);
    sampler_destroy(&one_chunk);
    sampler_destroy(&s);
}

static int64_t chunk_of(const sampler_batch *batch, int64_t i) {
    int64_t c = 0;
    while (batch->offset[c + 1] <= i)
        c++;
    return c;
}

/* residues + bytes/4, times 4 */
static int64_t weight(const sample *x) {
    const int64_t L = t.offset[x->protein + 1] - t.offset[x->protein];
    const int64_t bytes = t.question[x->caption + 1] - t.question[x->caption] +
                          t.text[x->caption + 1] - t.text[x->caption];
    return 4 * (L < 1022 ? L : 1022) + (bytes < 4 * 512 ? bytes : 4 * 512);
}

/* What the batch has of a protein stays together; no two halves of the tree over chunks differ by
 * more than one protein. */
static void check_balance(const dataset *d, int64_t chunks, int64_t global_batch) {
    sampler_config config = SETTINGS;
    config.chunks = chunks;
    config.global_batch = global_batch;
    sampler s = create(&config, d);
    sampler_batch batch;
    sampler_draw(&s, 11, &batch);
    int64_t *load = calloc((size_t)(2 * chunks), sizeof *load), heaviest = 0;
    for (int64_t i = 0; i < batch.count; i++) {
        int64_t all = 0; /* of the protein */
        for (int64_t j = 0; j < batch.count; j++) {
            if (batch.sample[i].protein != batch.sample[j].protein)
                continue;
            EXPECT(chunk_of(&batch, i) == chunk_of(&batch, j));
            all += weight(&batch.sample[j]);
        }
        heaviest = all > heaviest ? all : heaviest;
        for (int64_t node = chunks + chunk_of(&batch, i); node > 0; node /= 2)
            load[node] += weight(&batch.sample[i]);
    }
    for (int64_t node = 1; node < chunks; node++)
        EXPECT(llabs(load[2 * node] - load[2 * node + 1]) <= heaviest);
    free(load);
    sampler_destroy(&s);
}

/* Heaviest first, the two halves of a batch differ by half a percent on average; in the batch's
 * order by three (measured on this batch). */
static void check_halves(const dataset *d) {
    sampler s = create(&SETTINGS, d);
    sampler_batch batch;
    double difference = 0, total = 0;
    for (int64_t step = 0; step < 50; step++) {
        sampler_draw(&s, step, &batch);
        double half[2] = {0, 0};
        for (int64_t i = 0; i < batch.count; i++)
            half[i >= batch.offset[8]] += (double)weight(&batch.sample[i]);
        difference += fabs(half[0] - half[1]);
        total += half[0] + half[1];
    }
    EXPECT(difference / total < 0.01, "%g", difference / total);
    sampler_destroy(&s);
}

static void check_structure(const dataset *d) {
    const double drops[] = {0, 0.15, 1};
    for (int k = 0; k < 3; k++) {
        sampler_config config = SETTINGS;
        config.structure_drop = drops[k];
        sampler s = create(&config, d);
        sampler_batch batch;
        int64_t with = 0, could = 0;
        for (int64_t step = 0; step < 100; step++) {
            sampler_draw(&s, step, &batch);
            for (int64_t i = 0; i < batch.count; i++) {
                could += t.source[batch.sample[i].protein] != SOURCE_NONE;
                with += batch.sample[i].structure;
                EXPECT(!batch.sample[i].structure ||
                       t.source[batch.sample[i].protein] != SOURCE_NONE);
            }
        }
        /* about 4,000 draws: the standard error of the share is under 0.006 */
        EXPECT(could > 3000 && fabs(1 - (double)with / (double)could - drops[k]) < 0.025,
               "%lld of %lld at %g", (long long)with, (long long)could, drops[k]);
        EXPECT(drops[k] != 0 || with == could);
        EXPECT(drops[k] != 1 || with == 0);
        sampler_destroy(&s);
    }
}

static void expect_refused(const sampler_config *config, const dataset *d, const char *part) {
    sampler s;
    error err = {0};
    EXPECT(sampler_create(&s, config, d, &err) == STATUS_INPUT);
    EXPECT(strstr(err.text, part) != NULL, "no \"%s\" in: %s", part, err.text);
    sampler_destroy(&s);
}

static void check_refusals(const dataset *d) {
    dataset empty = *d;
    empty.captions = empty.proteins = 0;
    expect_refused(&SETTINGS, &empty, "made-up.h5 has no caption to train on: 0 captions");
    dataset held_out = *d;
    held_out.captions = 1;
    const uint8_t split = t.split[t.protein[0]];
    t.split[t.protein[0]] = 2;
    expect_refused(&SETTINGS, &held_out, "no caption to train on: 1 captions");
    t.split[t.protein[0]] = split;
    sampler_config config = SETTINGS;
    config.chunks = 12;
    expect_refused(&config, d, "train.chunks must be a power of two");
}

/* One caption only: every step is that caption, again and again. */
static void check_one_caption(const dataset *d) {
    dataset one = *d;
    one.captions = 1;
    sampler_config config = SETTINGS;
    config.global_batch = 3;
    sampler s = create(&config, &one);
    sampler_batch batch;
    sampler_draw(&s, 5, &batch);
    EXPECT(batch.count == 3 && s.groups == 1);
    for (int64_t i = 0; i < batch.count; i++)
        EXPECT(batch.sample[i].caption == 0 && batch.sample[i].epoch >= 15);
    sampler_destroy(&s);
}

int main(void) {
    const dataset d = make_dataset(3000);
    EXPECT(d.captions < MOST && t.split[t.protein[0]] == 0);
    check_groups(&d);
    check_epochs(&d, 64);
    check_epochs(&d, 7);
    check_pure(&d);
    for (int64_t chunks = 1; chunks <= 256; chunks *= 2) {
        check_chunks(&d, chunks);
        check_balance(&d, chunks, 64);
    }
    check_balance(&d, 16, 8); /* fewer groups than chunks */
    check_balance(&d, 16, 512);
    check_halves(&d);
    check_structure(&d);
    check_refusals(&d);
    check_one_caption(&d);
    return test_end();
}
