// TEST timeout=60 mode=release,double,asan
/* A frozen group's gradient stays untouched, and those of the others are the same bits as when all
 * are trained: for every one of the 16 choices. */
#include "tests/numerics/chunk_bench.h"

static chunk usual;
static model_bench bench;

static void check_choice(unsigned choice, const real *all) {
    params *p = &bench.model.params;
    for (int group = 0; group < GROUP_COUNT; group++)
        p->frozen[group] = (choice >> group & 1u) != 0;
    model_run(&bench, &usual, 1, NULL);
    for (int64_t t = 0; t < p->count; t++) {
        const param *tensor = &p->table[t];
        int64_t wrong = 0;
        for (int64_t i = tensor->offset; i < tensor->offset + tensor->elements; i++)
            wrong += bench.gradient[i] != (p->frozen[tensor->group] ? 0 : all[i]);
        EXPECT(wrong == 0, "Frozen choice %u: %lld elements of %s are wrong.", choice,
               (long long)wrong, tensor->name);
    }
}

/* Less is kept for a backward pass that ends earlier. */
static void check_memory(void) {
    const unsigned choices[] = {0, 1u << GROUP_ENCODER | 1u << GROUP_STRUCTURE, 15};
    size_t peak[3];
    for (int i = 0; i < 3; i++) {
        for (int group = 0; group < GROUP_COUNT; group++)
            bench.model.params.frozen[group] = (choices[i] >> group & 1u) != 0;
        bench.m.activations.peak = 0;
        model_run(&bench, &usual, 1, NULL);
        peak[i] = bench.m.activations.peak;
    }
    EXPECT(peak[1] < peak[0] && peak[2] < peak[1], "%zu, %zu, %zu bytes", peak[0], peak[1],
           peak[2]);
}

int main(void) {
    chunk_make_usual(&usual);
    const sepit_sizes sizes = chunk_sizes(&usual);
    model_create(&bench, &CHUNK_MODEL, false, &sizes);
    const size_t bytes = (size_t)bench.model.params.elements * sizeof(real);
    real *all = malloc(bytes);
    if (all == NULL)
        exit(1);
    model_run(&bench, &usual, 1, NULL);
    memcpy(all, bench.gradient, bytes);
    for (unsigned choice = 0; choice < 1u << GROUP_COUNT; choice++)
        check_choice(choice, all);
    check_memory();
    free(all);
    model_destroy(&bench);
    return test_end();
}
