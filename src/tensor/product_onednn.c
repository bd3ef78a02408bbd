/* Products through oneDNN: matmul primitives, kept by shape. */
#include "src/tensor/product.h"

#ifndef SEPIT_DOUBLE

#include <oneapi/dnnl/dnnl.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    SLOTS = 1024 /* primitives kept: a step has about 20 shapes per chunk */
};

/* A primitive is made for sizes, strides and types; the pointers are set at each call. */
typedef struct shape_key {
    int64_t M, N, K, lda, ldb, ldc;
    bool a_transposed, b_transposed, bf16, add;
} shape_key;

typedef struct slot {
    shape_key key;
    dnnl_primitive_t primitive; /* NULL: the slot is empty */
    dnnl_memory_t a, b, c;
} slot;

struct product_engine {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    slot slots[SLOTS];
    char library[64];
};

/* ---- the one place that knows oneDNN's API 2 from its API 3 ---- */

#if DNNL_VERSION_MAJOR >= 3

typedef dnnl_memory_desc_t layout; /* an object */

static dnnl_status_t layout_create(layout *made, int64_t rows, int64_t cols, int64_t ld,
                                   bool transposed, dnnl_data_type_t type) {
    const dnnl_dims_t dims = {rows, cols}, strides = {transposed ? 1 : ld, transposed ? ld : 1};
    return dnnl_memory_desc_create_with_strides(made, 2, dims, type, strides);
}

static void layout_destroy(layout *made) {
    dnnl_memory_desc_destroy(*made);
}

static dnnl_status_t memory_create(dnnl_memory_t *memory, const layout *of, dnnl_engine_t engine) {
    return dnnl_memory_create(memory, *of, engine, DNNL_MEMORY_NONE);
}

static dnnl_status_t matmul_create(dnnl_primitive_desc_t *made, dnnl_engine_t engine,
                                   const layout *a, const layout *b, const layout *c,
                                   const_dnnl_primitive_attr_t attr) {
    return dnnl_matmul_primitive_desc_create(made, engine, *a, *b, NULL, *c, attr);
}

static dnnl_status_t add_to_output(dnnl_post_ops_t operations) {
    return dnnl_post_ops_append_sum(operations, 1.0F, 0, dnnl_data_type_undef);
}

#else

typedef dnnl_memory_desc_t layout; /* a plain struct */

static dnnl_status_t layout_create(layout *made, int64_t rows, int64_t cols, int64_t ld,
                                   bool transposed, dnnl_data_type_t type) {
    const dnnl_dims_t dims = {rows, cols}, strides = {transposed ? 1 : ld, transposed ? ld : 1};
    return dnnl_memory_desc_init_by_strides(made, 2, dims, type, strides);
}

static void layout_destroy(layout *made) {
    (void)made;
}

static dnnl_status_t memory_create(dnnl_memory_t *memory, const layout *of, dnnl_engine_t engine) {
    return dnnl_memory_create(memory, of, engine, DNNL_MEMORY_NONE);
}

static dnnl_status_t matmul_create(dnnl_primitive_desc_t *made, dnnl_engine_t engine,
                                   const layout *a, const layout *b, const layout *c,
                                   const_dnnl_primitive_attr_t attr) {
    dnnl_matmul_desc_t description;
    const dnnl_status_t code = dnnl_matmul_desc_init(&description, a, b, NULL, c);
    return code != dnnl_success
               ? code
               : dnnl_primitive_desc_create(made, &description, attr, engine, NULL);
}

static dnnl_status_t add_to_output(dnnl_post_ops_t operations) {
    return dnnl_post_ops_append_sum(operations, 1.0F);
}

#endif

/* ---- primitives ---- */

static dnnl_status_t attributes_create(dnnl_primitive_attr_t *attr, bool add) {
    dnnl_post_ops_t operations = NULL;
    dnnl_status_t code = dnnl_primitive_attr_create(attr);
    if (code != dnnl_success || !add)
        return code;
    code = dnnl_post_ops_create(&operations);
    if (code == dnnl_success)
        code = add_to_output(operations);
    if (code == dnnl_success)
        code = dnnl_primitive_attr_set_post_ops(*attr, operations);
    dnnl_post_ops_destroy(operations);
    return code;
}

static dnnl_status_t primitive_create(slot *s, dnnl_engine_t engine, const layout *a,
                                      const layout *b, const layout *c) {
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t description = NULL;
    dnnl_status_t code = attributes_create(&attr, s->key.add != 0);
    if (code == dnnl_success)
        code = matmul_create(&description, engine, a, b, c, attr);
    if (code == dnnl_success)
        code = dnnl_primitive_create(&s->primitive, description);
    if (code == dnnl_success)
        code = memory_create(&s->a, a, engine);
    if (code == dnnl_success)
        code = memory_create(&s->b, b, engine);
    if (code == dnnl_success)
        code = memory_create(&s->c, c, engine);
    if (description != NULL)
        dnnl_primitive_desc_destroy(description);
    if (attr != NULL)
        dnnl_primitive_attr_destroy(attr);
    return code;
}

static void slot_clear(slot *s) {
    if (s->a != NULL)
        dnnl_memory_destroy(s->a);
    if (s->b != NULL)
        dnnl_memory_destroy(s->b);
    if (s->c != NULL)
        dnnl_memory_destroy(s->c);
    if (s->primitive != NULL)
        dnnl_primitive_destroy(s->primitive);
    *s = (slot){.primitive = NULL};
}

static dnnl_status_t slot_fill(slot *s, dnnl_engine_t engine, const shape_key *key) {
    const dnnl_data_type_t type = key->bf16 ? dnnl_bf16 : dnnl_f32;
    layout a, b, c;
    s->key = *key;
    dnnl_status_t code = layout_create(&a, key->M, key->K, key->lda, key->a_transposed, type);
    if (code != dnnl_success)
        return code;
    code = layout_create(&b, key->K, key->N, key->ldb, key->b_transposed, type);
    if (code == dnnl_success) {
        code = layout_create(&c, key->M, key->N, key->ldc, false, dnnl_f32);
        if (code == dnnl_success) {
            code = primitive_create(s, engine, &a, &b, &c);
            layout_destroy(&c);
        }
        layout_destroy(&b);
    }
    layout_destroy(&a);
    return code;
}

static uint64_t key_hash(const shape_key *key) {
    const int64_t kind =
        key->a_transposed | key->b_transposed << 1 | key->bf16 << 2 | key->add << 3;
    const int64_t field[] = {key->M, key->N, key->K, key->lda, key->ldb, key->ldc, kind};
    uint64_t hash = 0;
    for (size_t i = 0; i < sizeof field / sizeof field[0]; i++)
        hash = (hash ^ (uint64_t)field[i]) * 0x9E3779B97F4A7C15U + (hash >> 29);
    return hash >> 32;
}

static bool key_equal(const shape_key *x, const shape_key *y) {
    return x->M == y->M && x->N == y->N && x->K == y->K && x->lda == y->lda && x->ldb == y->ldb &&
           x->ldc == y->ldc && x->a_transposed == y->a_transposed &&
           x->b_transposed == y->b_transposed && x->bf16 == y->bf16 && x->add == y->add;
}

/* Two shapes that fall on one slot take turns in it: M differs from chunk to chunk, so old shapes
 * must leave, and making a primitive anew costs microseconds (oneDNN keeps the code it made). */
static slot *slot_find(product_engine *e, const shape_key *key) {
    slot *s = &e->slots[key_hash(key) % SLOTS];
    if (s->primitive != NULL && key_equal(&s->key, key))
        return s;
    slot_clear(s);
    const dnnl_status_t code = slot_fill(s, e->engine, key);
    CHECK(code == dnnl_success, "oneDNN has no product of %lld x %lld x %lld (its status is %d).",
          (long long)key->M, (long long)key->N, (long long)key->K, (int)code);
    return s;
}

void product_run(product_engine *e, const product *p) {
    const shape_key key = {.M = p->M,
                           .N = p->N,
                           .K = p->K,
                           .lda = p->a.ld,
                           .ldb = p->b.ld,
                           .ldc = p->ldc,
                           .a_transposed = p->a.transposed,
                           .b_transposed = p->b.transposed,
                           .bf16 = p->a.bf16,
                           .add = p->beta != 0};
    const slot *s = slot_find(e, &key);
    const dnnl_exec_arg_t argument[] = {
        {DNNL_ARG_SRC, s->a}, {DNNL_ARG_WEIGHTS, s->b}, {DNNL_ARG_DST, s->c}};
    /* oneDNN's interface has no const; it reads a and b only. */
    dnnl_status_t code = dnnl_memory_set_data_handle(s->a, (void *)(uintptr_t)p->a.data);
    if (code == dnnl_success)
        code = dnnl_memory_set_data_handle(s->b, (void *)(uintptr_t)p->b.data);
    if (code == dnnl_success)
        code = dnnl_memory_set_data_handle(s->c, p->c);
    if (code == dnnl_success)
        code = dnnl_primitive_execute(s->primitive, e->stream, 3, argument);
    if (code == dnnl_success)
        code = dnnl_stream_wait(e->stream);
    CHECK(code == dnnl_success, "oneDNN failed in a product of %lld x %lld x %lld (status %d).",
          (long long)p->M, (long long)p->N, (long long)p->K, (int)code);
}

/* ---- the engine ---- */

static const char *isa_name(void) {
    const struct {
        dnnl_cpu_isa_t isa;
        const char *name;
    } known[] = {
        {dnnl_cpu_isa_sse41, "SSE4.1"},
        {dnnl_cpu_isa_avx, "AVX"},
        {dnnl_cpu_isa_avx2, "AVX2"},
        {dnnl_cpu_isa_avx512_core, "AVX-512"},
        {dnnl_cpu_isa_avx512_core_vnni, "AVX-512 VNNI"},
        {dnnl_cpu_isa_avx512_core_bf16, "AVX-512 BF16"},
    };
    const dnnl_cpu_isa_t isa = dnnl_get_effective_cpu_isa();
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (known[i].isa == isa)
            return known[i].name;
    return isa > dnnl_cpu_isa_avx512_core_bf16 ? "beyond AVX-512 BF16" : "other instructions";
}

status product_engine_create(product_engine **engine, error *err) {
    product_engine *e = calloc(1, sizeof *e);
    if (e == NULL)
        return error_set(err, STATUS_FAILED, "no memory for the product engine");
    dnnl_status_t code = dnnl_engine_create(&e->engine, dnnl_cpu, 0);
    if (code == dnnl_success)
        code = dnnl_stream_create(&e->stream, e->engine, dnnl_stream_default_flags);
    if (code != dnnl_success) {
        product_engine_destroy(e);
        return error_set(err, STATUS_FAILED, "oneDNN cannot use this processor (its status is %d)",
                         (int)code);
    }
    const dnnl_version_t *v = dnnl_version();
    snprintf(e->library, sizeof e->library, "oneDNN %d.%d.%d, %s", v->major, v->minor, v->patch,
             isa_name());
    *engine = e;
    return STATUS_OK;
}

void product_engine_destroy(product_engine *engine) {
    if (engine == NULL)
        return;
    for (int i = 0; i < SLOTS; i++)
        slot_clear(&engine->slots[i]);
    if (engine->stream != NULL)
        dnnl_stream_destroy(engine->stream);
    if (engine->engine != NULL)
        dnnl_engine_destroy(engine->engine);
    free(engine);
}

const char *product_library(const product_engine *engine) {
    return engine->library;
}

/* Tries the three layouts that a linear layer needs. */
bool product_takes_bf16(product_engine *e) {
    enum { SIZE = 64 };
    shape_key tried[] = {
        {.b_transposed = true}, {.add = true}, {.a_transposed = true, .add = true}};
    bool accepted = true;
    for (size_t i = 0; i < sizeof tried / sizeof tried[0]; i++) {
        shape_key *key = &tried[i];
        slot s = {.primitive = NULL};
        key->M = key->N = key->K = key->lda = key->ldb = key->ldc = SIZE;
        key->bf16 = true;
        accepted = slot_fill(&s, e->engine, key) == dnnl_success && accepted;
        slot_clear(&s);
    }
    return accepted;
}

#endif
