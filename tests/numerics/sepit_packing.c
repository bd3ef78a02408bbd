// TEST timeout=60 mode=release,double,asan
/* A packed chunk gives the loss, the nll and the gradient of its prompts run one at a time; chunks
 * that lack proteins, text or targets run; and a chunk's gradient is the same bits every time. */
#include "tests/numerics/chunk_bench.h"

static const int EVERY_PROTEIN[ALL_PROTEINS] = {0, 1, 2, 3};
/* The usual prompts, and two with the proteins of one residue and of none. */
static const prompt MANY[] = {{0, 2, 6, 3},  {0, 3, 5, 4}, {1, 1, 4, 2},
                              {-1, 0, 6, 5}, {2, 1, 3, 2}, {3, 2, 3, 1}};
enum { MANY_COUNT = sizeof MANY / sizeof *MANY, MOST_NLL = 32 };

static chunk packed, single;
static model_bench bench;

static void check_packed(void) {
    double nll[MOST_NLL] = {0}, one[MOST_NLL] = {0}, sum = 0;
    const int64_t n = bench.model.params.elements;
    real *total = calloc((size_t)n, sizeof *total);
    if (total == NULL)
        exit(1);
    int64_t places = 0;
    for (int i = 0; i < MANY_COUNT; i++) {
        const int protein = MANY[i].protein;
        chunk_make(&single, protein >= 0, &protein, 1, &MANY[i]);
        sum += model_run(&bench, &single, 1, one + places);
        places += single.batch.text.supervised;
        for (int64_t k = 0; k < n; k++)
            total[k] += bench.gradient[k];
    }
    const double loss = model_run(&bench, &packed, 1, nll);
    /* both sides are rounded */
    const double bound = 2 * path_terms(&CHUNK_MODEL, &packed) * (double)REAL_EPSILON;
    EXPECT(places == packed.batch.text.supervised);
    EXPECT_CLOSE(loss, sum, bound);
    for (int64_t i = 0; i < places; i++)
        EXPECT_CLOSE(nll[i], one[i], bound);
    const double distance = relative_distance(bench.gradient, total, n);
    printf("packed against one at a time: loss %.12f, %.12f, gradient off by %.1e\n", loss, sum,
           distance);
    EXPECT(distance < 2 * bound, "The packed gradient is off by %.3e (relative).", distance);
    free(total);
}

static void check_repeatable(void) {
    const size_t bytes = (size_t)bench.model.params.elements * sizeof(real);
    real *first = malloc(bytes);
    if (first == NULL)
        exit(1);
    const double loss = model_run(&bench, &packed, (real)0.5, NULL);
    memcpy(first, bench.gradient, bytes);
    EXPECT(model_run(&bench, &packed, (real)0.5, NULL) == loss);
    EXPECT(memcmp(first, bench.gradient, bytes) == 0, "Twice the same chunk, other bits.");
    EXPECT(model_run(&bench, &packed, 0, NULL) == loss, "Inference gives another loss.");
    free(first);
}

static bool all_zero(const params *p, param_group group, bool whole_model) {
    for (int64_t t = 0; t < p->count; t++)
        for (int64_t i = 0; i < p->table[t].elements; i++)
            if ((whole_model || p->table[t].group == group) &&
                p->gradient[p->table[t].offset + i] != 0)
                return false;
    return true;
}

static void check_empty(void) {
    const params *p = &bench.model.params;
    double nll[MOST_NLL];
    const prompt silent = {0, 2, 3, 0};
    chunk_make(&single, 1, EVERY_PROTEIN, 0, NULL);
    EXPECT(model_run(&bench, &single, 1, nll) == 0, "No text has a loss.");
    chunk_make(&single, 1, EVERY_PROTEIN, 1, &silent);
    EXPECT(model_run(&bench, &single, 1, nll) == 0, "No target has a loss.");
    chunk_make(&single, 0, NULL, 0, NULL);
    EXPECT(model_run(&bench, &single, 1, nll) == 0, "Nothing has a loss.");
    EXPECT(all_zero(p, GROUP_LLM, true));
    chunk_make(&single, 0, NULL, 1, &MANY[3]);
    EXPECT(model_run(&bench, &single, 1, nll) > 0, "Text alone has no loss.");
    EXPECT(all_zero(p, GROUP_ENCODER, false) && all_zero(p, GROUP_PROJECTOR, false));
    EXPECT(!all_zero(p, GROUP_LLM, false));
    /* Structure exists, but no protein of the chunk has it. */
    chunk_make(&single, 1, (const int[]){1}, 1, &MANY[2]);
    EXPECT(model_run(&bench, &single, 1, nll) > 0);
    EXPECT(all_zero(p, GROUP_STRUCTURE, false) && !all_zero(p, GROUP_ENCODER, false));
}

static void check_encode(void) {
    const int64_t D = CHUNK_MODEL.llm.D, rows = packed.batch.protein.offset[ALL_PROTEINS];
    const size_t mark = arena_mark(&bench.m.activations);
    const double bound = 2 * path_terms(&CHUNK_MODEL, &packed) * (double)REAL_EPSILON;
    real *all = malloc((size_t)(rows * D) * sizeof *all);
    if (all == NULL)
        exit(1);
    const real *y = sepit_encode(&bench.m.nn, &bench.model, &packed.batch.protein);
    memcpy(all, y, (size_t)(rows * D) * sizeof *all);
    arena_reset(&bench.m.activations, mark);
    for (int i = 0; i < ALL_PROTEINS; i++) {
        chunk_make(&single, 1, &i, 0, NULL);
        y = sepit_encode(&bench.m.nn, &bench.model, &single.batch.protein);
        const int64_t first = packed.first_row[i], n = single.batch.protein.offset[1] * D;
        EXPECT(relative_distance(y, all + first * D, n) < bound);
        arena_reset(&bench.m.activations, mark);
    }
    free(all);
}

int main(void) {
    chunk_make(&packed, ALL_PROTEINS, EVERY_PROTEIN, MANY_COUNT, MANY);
    const sepit_sizes sizes = chunk_sizes(&packed);
    model_create(&bench, &CHUNK_MODEL, false, &sizes);
    check_packed();
    check_repeatable();
    check_empty();
    check_encode();
    model_destroy(&bench);
    return test_end();
}
