#include "src/nn/params.h"

#include "src/base/bf16.h"
#include "src/base/rng.h"

#include <stdlib.h>
#include <string.h>

void params_init(params *p) {
    *p = (params){0};
}

void params_destroy(params *p) {
    free(p->table);
    free(p->value);
    free(p->rounded);
    *p = (params){0};
}

int64_t params_declare(params *p, const char *name, int64_t rows, int64_t cols, param_group group) {
    CHECK(p->value == NULL, "%s is declared after the storage was allocated.", name);
    CHECK(strlen(name) < PARAM_NAME, "The parameter name %s is too long.", name);
    CHECK(params_find(p, name) < 0, "The parameter %s is declared twice.", name);
    if (p->count == p->capacity) {
        p->capacity = p->capacity == 0 ? 64 : 2 * p->capacity;
        p->table = realloc(p->table, (size_t)p->capacity * sizeof *p->table);
        CHECK(p->table != NULL, "No memory for the table of %lld parameters.",
              (long long)p->capacity);
    }
    param *added = &p->table[p->count];
    *added = (param){.rank = 2,
                     .shape = {rows, cols},
                     .group = group,
                     .init = INIT_ZERO,
                     .expert = -1,
                     .offset = p->elements,
                     .elements = rows * cols};
    memcpy(added->name, name, strlen(name) + 1);
    p->elements += (added->elements + PARAM_ALIGN - 1) / PARAM_ALIGN * PARAM_ALIGN;
    return p->count++;
}

int64_t params_declare_vector(params *p, const char *name, int64_t n, param_group group) {
    const int64_t index = params_declare(p, name, n, 1, group);
    p->table[index].rank = 1;
    return index;
}

void params_set_init(params *p, param_init init, double scale, double low) {
    CHECK(p->count > 0);
    param *last = &p->table[p->count - 1];
    last->init = init;
    last->scale = scale;
    last->low = low;
}

void params_set_expert(params *p, int64_t expert) {
    CHECK(p->count > 0);
    p->table[p->count - 1].expert = expert;
}

void params_align(params *p, int64_t elements) {
    CHECK(p->value == NULL && elements > 0);
    p->elements = (p->elements + elements - 1) / elements * elements;
}

void params_reserve(params *p, int64_t storage) {
    CHECK(p->value == NULL, "Room is asked for after the storage was allocated.");
    p->storage = storage;
}

status params_allocate(params *p, bool bf16, error *err) {
    if (p->storage < p->elements)
        p->storage = p->elements;
    const size_t n = (size_t)(p->storage > 0 ? p->storage : 1);
    p->value = calloc(n, sizeof *p->value);
    p->rounded = bf16 ? calloc(n, sizeof *p->rounded) : NULL;
    if (p->value == NULL || (bf16 && p->rounded == NULL))
        return error_set(err, STATUS_FAILED, "no memory for %zu model parameters (%zu bytes each)",
                         n, sizeof *p->value + (bf16 ? sizeof *p->rounded : 0));
    return STATUS_OK;
}

static double draw_element(const param *t, rng_key key, uint64_t i) {
    switch (t->init) {
    case INIT_ONE:
        return 1.0;
    case INIT_NORMAL:
        return t->scale * rng_normal(key, i, 0);
    case INIT_UNIFORM:
        return t->low + t->scale * rng_uniform(key, i, 0);
    case INIT_ZERO:
        break;
    }
    return 0.0;
}

void params_draw(params *p, uint64_t seed) {
    for (int64_t t = 0; t < p->count; t++) {
        const param *tensor = &p->table[t];
        const rng_key key = rng_key_make(seed, tensor->name);
        real *value = p->value + tensor->offset;
#pragma omp parallel for
        for (int64_t i = 0; i < tensor->elements; i++)
            value[i] = (real)draw_element(tensor, key, (uint64_t)i);
    }
    params_refresh(p);
}

int64_t params_find(const params *p, const char *name) {
    for (int64_t i = 0; i < p->count; i++)
        if (strcmp(p->table[i].name, name) == 0)
            return i;
    return -1;
}

int64_t params_first_trained(const params *p) {
    for (int64_t i = 0; i < p->count; i++)
        if (!p->frozen[p->table[i].group])
            return p->table[i].offset;
    return p->elements;
}

void params_use_gradient(params *p, real *gradient) {
    p->gradient = gradient;
}

void params_refresh(params *p) {
    if (p->rounded == NULL)
        return;
#pragma omp parallel for
    for (int64_t i = 0; i < p->elements; i++)
        p->rounded[i] = bf16_from_float((float)p->value[i]);
}

const real *param_value(const params *p, int64_t index) {
    return p->value + p->table[index].offset;
}

real *param_gradient(const params *p, int64_t index) {
    const param *tensor = &p->table[index];
    if (p->gradient == NULL || p->frozen[tensor->group])
        return NULL;
    return p->gradient + (tensor->offset - p->gradient_from);
}

operand param_operand(const params *p, int64_t index) {
    const param *tensor = &p->table[index];
    const void *data = p->rounded != NULL ? (const void *)(p->rounded + tensor->offset)
                                          : (const void *)(p->value + tensor->offset);
    return (operand){data, tensor->shape[0], tensor->shape[1], p->rounded != NULL};
}
