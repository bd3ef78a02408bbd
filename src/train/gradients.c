#include "src/train/gradients.h"

#include "parallel/tree.h"

#include <string.h>

int gradients_arrays(int64_t chunks, bool exact) {
    if (!exact)
        return 1;
    /* While chunk 2^k runs, k subtrees of the chunks before it wait: k + 1 arrays. */
    int levels = 0;
    for (int64_t n = chunks; n > 0; n /= 2)
        levels++;
    return levels > 0 ? levels : 1;
}

status gradients_create(gradients *g, int64_t storage, int64_t chunks, bool exact, error *err) {
    *g = (gradients){.storage = storage, .exact = exact};
    const int most = gradients_arrays(chunks, exact);
    CHECK(most <= GRADIENT_LEVELS, "%lld chunks are too many.", (long long)chunks);
    const size_t bytes = arena_bytes(storage, sizeof(real)) + 64;
    return arena_create(&g->memory, "gradient", bytes * (size_t)most, err);
}

void gradients_destroy(gradients *g) {
    arena_destroy(&g->memory);
    *g = (gradients){0};
}

void gradients_begin(gradients *g) {
    g->spares = 0;
    for (int i = 0; i < g->arrays; i++)
        g->spare[g->spares++] = g->array[i];
    memset(g->level, 0, sizeof g->level);
    g->current = NULL;
    g->merged = g->storage;
}

static real *take_array(gradients *g) {
    if (g->spares == 0) {
        g->array[g->arrays] = ARENA_ARRAY(&g->memory, real, g->storage);
        g->spare[g->spares++] = g->array[g->arrays++];
    }
    real *taken = g->spare[--g->spares];
    memset(taken, 0, (size_t)g->storage * sizeof *taken);
    return taken;
}

real *gradients_open_chunk(gradients *g) {
    if (!g->exact && g->level[0] != NULL) {
        g->current = g->level[0];
        g->level[0] = NULL;
    } else {
        g->current = take_array(g);
    }
    return g->current;
}

/* waiting += array; the latter becomes a spare. Returns the sum. */
static real *merge(gradients *g, real *waiting, real *array) {
    tree_add(waiting, array, g->storage, sizeof(real));
    g->spare[g->spares++] = array;
    return waiting;
}

void gradients_close_chunk(gradients *g) {
    real *done = g->current;
    g->current = NULL;
    int l = 0;
    for (; g->level[l] != NULL; l++) {
        done = merge(g, g->level[l], done);
        g->level[l] = NULL;
    }
    g->level[l] = done;
}

/* Where the last chunk and all finished subtrees meet: the largest of them. */
real *gradients_total_place(gradients *g) {
    real *place = g->current;
    for (int l = 0; l < GRADIENT_LEVELS; l++)
        if (g->level[l] != NULL)
            place = g->level[l];
    return place != NULL ? place : (g->current = take_array(g));
}

void gradients_finish_from(gradients *g, int64_t element) {
    if (element >= g->merged)
        return;
    real *done = g->current;
    for (int l = 0; l < GRADIENT_LEVELS; l++) {
        if (g->level[l] == NULL)
            continue;
        if (done != NULL)
            tree_add(g->level[l] + element, done + element, g->merged - element, sizeof(real));
        done = g->level[l];
    }
    g->merged = element;
}

real *gradients_total(gradients *g) {
    real *total = gradients_total_place(g);
    gradients_finish_from(g, 0);
    return total;
}
