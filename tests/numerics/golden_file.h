/* The file of golden values (tests/numerics/golden/README.md), and the weights of the model it was
 * made with: both sides compute them from a tensor's name. */
#ifndef SEPIT_TESTS_GOLDEN_FILE_H
#define SEPIT_TESTS_GOLDEN_FILE_H

#include "src/nn/params.h"
#include "tests/test.h"

#define GOLDEN_FILE "tests/numerics/golden/sepit.golden"
enum { GOLDEN_NAME = 160, GOLDEN_RECORDS = 512 };

/* A line: an input has its values, an array also what sums it up (see sepit_golden.py). */
typedef struct record {
    char name[GOLDEN_NAME];
    int64_t elements, stride, count;
    double norm, sum, moment;
    double *value; /* [count], owned */
} record;

typedef struct golden {
    int64_t count;
    record record[GOLDEN_RECORDS];
} golden;

static inline bool golden_read(FILE *file, record *r) {
    char kind[8];
    long long elements, stride = 1;
    if (fscanf(file, "%7s %159s %lld", kind, r->name, &elements) != 3)
        return false;
    if (strcmp(kind, "array") == 0 &&
        fscanf(file, "%lf %lf %lf %lld", &r->norm, &r->sum, &r->moment, &stride) != 4)
        return false;
    r->elements = elements;
    r->stride = stride;
    r->count = (elements + stride - 1) / stride;
    r->value = malloc((size_t)(r->count + 1) * sizeof *r->value);
    if (r->value == NULL)
        exit(1);
    for (int64_t i = 0; i < r->count; i++)
        if (fscanf(file, "%lf", &r->value[i]) != 1)
            return false;
    return true;
}

static inline void golden_load(golden *g) {
    FILE *file = fopen(GOLDEN_FILE, "r");
    if (file == NULL) {
        perror(GOLDEN_FILE);
        exit(1);
    }
    while (g->count < GOLDEN_RECORDS && golden_read(file, &g->record[g->count]))
        g->count++;
    EXPECT(feof(file), "%s is cut or too long after %lld lines.", GOLDEN_FILE, (long long)g->count);
    fclose(file);
}

static inline void golden_destroy(golden *g) {
    for (int64_t i = 0; i < g->count; i++)
        free(g->record[i].value);
}

static inline const record *golden_find(const golden *g, const char *name) {
    for (int64_t i = 0; i < g->count; i++)
        if (strcmp(g->record[i].name, name) == 0)
            return &g->record[i];
    return NULL;
}

/* ---- the script's numbers: multiples of 2^-16 in [0, 1) ---- */

static inline uint64_t golden_seed(const char *name) {
    uint64_t seed = 0xCBF29CE484222325u;
    for (; *name != '\0'; name++)
        seed = (seed ^ (uint8_t)*name) * 0x100000001B3u;
    return seed;
}

static inline double golden_number(uint64_t seed, int64_t i) {
    uint64_t z = seed + (uint64_t)(i + 1) * 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return (double)((z ^ z >> 31) >> 48) / 65536;
}

static inline bool golden_ends_with(const char *name, const char *end) {
    const size_t n = strlen(name), m = strlen(end);
    return n >= m && strcmp(name + n - m, end) == 0;
}

/* Element i of a tensor, exact in fp32: as `weight` in sepit_golden.py. */
static inline double golden_weight(const param *tensor, uint64_t seed, int64_t i) {
    const double u = golden_number(seed, i);
    if (golden_ends_with(tensor->name, "gbf.means"))
        return 16 * u;
    if (golden_ends_with(tensor->name, "gbf.stds"))
        return (0.5 + 4 * u) * (i % 5 == 0 ? -1 : 1);
    if (golden_ends_with(tensor->name, ".bias"))
        return 0.5 * u - 0.25;
    return tensor->rank == 1 ? 0.75 + 0.5 * u : u - 0.5;
}

static inline void golden_fill(params *p) {
    for (int64_t t = 0; t < p->count; t++) {
        const param *tensor = &p->table[t];
        const uint64_t seed = golden_seed(tensor->name);
        for (int64_t i = 0; i < tensor->elements; i++)
            p->value[tensor->offset + i] = (real)golden_weight(tensor, seed, i);
    }
    params_refresh(p);
}

#endif
