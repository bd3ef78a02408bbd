// TEST np=1,2,4 timeout=60 mode=release,double,asan
/* A dense checkpoint becomes a model with experts, which are spread over all ranks: every value
 * against the file, in each mode; the same experts when one rank holds them all; the receipt.
 * tests/parallel/initial_weights.c has the rest of init.all. */
#include "tests/parallel/upcycle_bench.h"

#include <stdbool.h>

static const double SMALL = sizeof(real) == sizeof(double) ? 1e-12 : 1e-5;

/* The dense file's matrix that this expert's tensor comes from; the caller frees it. */
static real *dense_of(const checkpoint *file, const param *tensor) {
    char name[CHECKPOINT_NAME], head[PARAM_NAME];
    snprintf(head, sizeof head, "%s", tensor->name);
    char *cut = strstr(head, "experts.");
    const char *tail = strchr(strstr(tensor->name, "experts.") + 8, '.') + 1;
    *cut = '\0';
    snprintf(name, sizeof name, "/model/%s%s", head, tail);
    real *value = calloc((size_t)tensor->elements, sizeof *value);
    error err = {0};
    EXPECT(checkpoint_read(file, name, setup_real_type(), 0, tensor->elements, value, &err) ==
               STATUS_OK,
           "%s", err.text);
    return value;
}

static bool is_down(const param *tensor) {
    return strstr(tensor->name, ".down_proj.") != NULL;
}

/* ---- copy and exact ---- */

static void check_factors(const checkpoint *file, const params *experts, double down) {
    for (int64_t t = 0; t < experts->count; t++) {
        const param *tensor = &experts->table[t];
        const real *got = param_value(experts, t), factor = is_down(tensor) ? (real)down : 1;
        real *dense = dense_of(file, tensor);
        int64_t wrong = 0;
        for (int64_t i = 0; i < tensor->elements; i++)
            wrong += got[i] != factor * dense[i];
        EXPECT(wrong == 0, "%lld elements of %s are not %g times the dense ones.", (long long)wrong,
               tensor->name, (double)factor);
        free(dense);
    }
}

/* Everything but experts and routers is the file's; routers are zero, or as params_draw has them.
 */
static void check_others(const checkpoint *file, const params *p, bool zero_routers) {
    for (int64_t t = 0; t < p->count; t++) {
        const param *tensor = &p->table[t];
        const real *got = param_value(p, t);
        real *want = calloc((size_t)tensor->elements, sizeof *want);
        char name[CHECKPOINT_NAME];
        error err = {0};
        setup_tensor_name(name, "model", tensor);
        const rng_key key = rng_key_make(BENCH_SEED, tensor->name);
        const bool router = tensor->group == GROUP_ROUTER;
        for (int64_t i = 0; router && !zero_routers && i < tensor->elements; i++)
            want[i] = (real)(tensor->scale * rng_normal(key, (uint64_t)i, 0));
        if (!router)
            EXPECT(checkpoint_read(file, name, setup_real_type(), 0, tensor->elements, want,
                                   &err) == STATUS_OK,
                   "%s", err.text);
        EXPECT(memcmp(got, want, (size_t)tensor->elements * sizeof *want) == 0, "%s", tensor->name);
        free(want);
    }
}

/* ---- drop ---- */

/* Which intermediate indices differ anywhere. */
static int64_t find_changed(const param *tensor, const real *got, const real *dense,
                            bool changed[BENCH_F]) {
    int64_t count = 0;
    memset(changed, 0, BENCH_F * sizeof *changed);
    for (int64_t i = 0; i < tensor->elements; i++)
        if (got[i] != dense[i])
            changed[is_down(tensor) ? i % BENCH_F : i / tensor->shape[1]] = true;
    for (int64_t f = 0; f < BENCH_F; f++)
        count += changed[f];
    return count;
}

/* Replaced entries are what the header says of the dense entries that they replace. */
static void check_drawn(const param *tensor, const real *got, const real *dense,
                        const bool changed[BENCH_F]) {
    double sum = 0, squares = 0, n = 0;
    char purpose[PARAM_NAME + 16];
    snprintf(purpose, sizeof purpose, "upcycle %s", tensor->name);
    const rng_key key = rng_key_make(BENCH_SEED, purpose);
    for (int64_t i = 0; i < tensor->elements; i++)
        if (changed[is_down(tensor) ? i % BENCH_F : i / tensor->shape[1]]) {
            sum += (double)dense[i];
            squares += (double)dense[i] * (double)dense[i];
            n++;
        }
    const double mean = sum / n, sd = sqrt(squares / n - mean * mean);
    double worst = 0;
    for (int64_t i = 0; i < tensor->elements; i++)
        if (changed[is_down(tensor) ? i % BENCH_F : i / tensor->shape[1]])
            worst = fmax(worst, fabs((double)got[i] - mean - sd * rng_normal(key, (uint64_t)i, 0)));
    EXPECT(worst <= 16 * REAL_EPSILON, "%s is off by %g.", tensor->name, worst);
}

/* gate, up and down of one expert and layer follow each other in the table. */
static void check_drop(const checkpoint *file, const params *experts) {
    bool changed[3][BENCH_F], before[BENCH_F] = {false};
    const int64_t want = lround(BENCH_DROP * BENCH_F);
    for (int64_t t = 0; t < experts->count; t++) {
        const param *tensor = &experts->table[t];
        const int part = (int)(t % 3);
        real *dense = dense_of(file, tensor);
        const int64_t count = find_changed(tensor, param_value(experts, t), dense, changed[part]);
        EXPECT(count == want, "%s: %lld indices are new, want %lld.", tensor->name,
               (long long)count, (long long)want);
        EXPECT(part == 0 || memcmp(changed[part], changed[0], sizeof changed[0]) == 0,
               "%s has other new indices than the gate.", tensor->name);
        check_drawn(tensor, param_value(experts, t), dense, changed[part]);
        if (part == 0) {
            EXPECT(memcmp(changed[0], before, sizeof before) != 0,
                   "%s has the new indices of the one before.", tensor->name);
            memcpy(before, changed[0], sizeof before);
        }
        free(dense);
    }
}

/* ‖W_e − W_0‖/‖W_0‖ from a model that holds all experts. */
static double plain_distance(const bench *all) {
    const params *experts = &all->model.experts;
    const int64_t E = all->model.config.llm.moe.E, tensors = experts->count / E;
    double mean = 0;
    for (int64_t e = 1; e < E; e++)
        for (int64_t first = 0; first < tensors; first += 3) {
            double apart = 0, size = 0;
            for (int64_t t = first; t < first + 3; t++)
                for (int64_t i = 0; i < experts->table[t].elements; i++) {
                    const double x = (double)param_value(experts, t)[i];
                    apart += pow((double)param_value(experts, e * tensors + t)[i] - x, 2);
                    size += x * x;
                }
            mean += sqrt(apart / size) / (double)((E - 1) * tensors / 3);
        }
    return mean;
}

/* ---- the cases ---- */

static const struct {
    const char *mode, *renormalize;
    int64_t E, k, copies;
    double down;        /* factor on the down projection */
    bool same_as_dense; /* the output is the dense model's */
} cases[] = {{"copy", "off", 4, 1, 1, 1, false}, {"copy", "on", 4, 2, 1, 1, true},
             {"exact", "off", 4, 1, 1, 4, true}, {"exact", "off", 12, 5, 1, 12.0 / 5, true},
             {"exact", "on", 4, 2, 1, 1, true},  {"drop", "off", 4, 1, 1, 1, false},
             {"drop", "off", 4, 1, 2, 1, false}};

/* The same experts as where one rank has them all. */
static void compare_layouts(const bench *b, const bench *all) {
    const params *mine = &b->model.experts, *whole = &all->model.experts;
    for (int64_t t = 0; t < mine->count; t++) {
        const int64_t other = params_find(whole, mine->table[t].name);
        EXPECT(memcmp(param_value(mine, t), param_value(whole, other),
                      (size_t)mine->table[t].elements * sizeof(real)) == 0,
               "%s depends on the layout.", mine->table[t].name);
    }
}

/* The number that follows these words. */
static double number_after(const char *receipt, const char *words) {
    double number = NAN;
    const char *at = receipt != NULL ? strstr(receipt, words) : NULL;
    EXPECT(at != NULL && sscanf(at + strlen(words), "%lg", &number) == 1, "\"%s\" in \"%s\"", words,
           receipt != NULL ? receipt : "");
    return number;
}

static double difference_of(const char *receipt) {
    return number_after(receipt, "logit difference to the dense model ");
}

/* Hidden states of the model's last layer; in the activation arena. */
static const real *plain_hidden(bench *b, const chunk_batch *batch) {
    const real *vectors = sepit_encode(&b->m.nn, &b->model, &batch->protein);
    return llama_forward(&b->m.nn, &b->model.params, &b->model.llm, &batch->text, vectors, NULL);
}

/* Largest difference of the logits of the two models at the supervised places of `all`'s chunk. */
static double plain_difference(bench *dense, bench *all) {
    const text_batch *text = &all->chunk.batch.text;
    const int64_t D = all->model.config.llm.D, V = all->model.config.llm.V;
    const real *x = plain_hidden(dense, &all->chunk.batch);
    const real *y = plain_hidden(all, &all->chunk.batch);
    const real *head = param_value(&dense->model.params, dense->model.llm.head);
    double largest = 0;
    for (int64_t t = 0; t < text->offset[text->B]; t++)
        for (int64_t v = 0; text->target[t] >= 0 && v < V; v++) {
            double apart = 0;
            for (int64_t d = 0; d < D; d++)
                apart += ((double)x[t * D + d] - (double)y[t * D + d]) * (double)head[v * D + d];
            largest = fmax(largest, fabs(apart));
        }
    arena_reset(&dense->m.activations, 0);
    arena_reset(&all->m.activations, 0);
    return largest;
}

/* receipt: over all ranks; alone: of the rank that holds all experts. */
static void check_receipts(const char *receipt, const char *alone, bench *dense, bench *all,
                           bool same) {
    const double difference = difference_of(receipt), distance = plain_distance(all);
    const double mine = difference_of(alone), want = plain_difference(dense, all);
    int64_t places = 0;
    for (int r = 0; r < comm_size(MPI_COMM_WORLD); r++)
        places += BENCH_PLACES[r];
    EXPECT(fabs(mine - want) <= (same ? SMALL : 1e-2 * want), "%s; plainly %g", alone, want);
    EXPECT(same ? difference <= SMALL : difference > 0.99 * mine && mine > 0.1, "%s", receipt);
    EXPECT(difference == comm_max(MPI_COMM_WORLD, difference), "The ranks' receipts differ.");
    EXPECT((int64_t)number_after(receipt, " at ") == places, "%s", receipt);
    EXPECT(fabs(number_after(receipt, "distance between experts ") - distance) <= 1e-2 * distance,
           "%s; plainly %g", receipt, distance);
}

static void run_case(size_t i, const char *path, const checkpoint *file, bench *dense) {
    bench b, all;
    const bool renormalize = strcmp(cases[i].renormalize, "on") == 0;
    const bench_sizes sizes = {cases[i].E, cases[i].k, renormalize, cases[i].copies, 0};
    if (cases[i].copies > comm_size(MPI_COMM_WORLD))
        return;
    bench_create(&b, MPI_COMM_WORLD, sizes);
    bench_create(&all, MPI_COMM_SELF, (bench_sizes){cases[i].E, cases[i].k, renormalize, 1, 0});
    char *receipt = NULL, *alone = NULL;
    error err = {0};
    EXPECT(bench_start(&b, path, cases[i].mode, "0.05", &receipt, &err) == STATUS_OK, "%s",
           err.text);
    EXPECT(bench_start(&all, path, cases[i].mode, "0.05", &alone, &err) == STATUS_OK, "%s",
           err.text);
    check_others(file, &b.model.params, strcmp(cases[i].mode, "exact") == 0);
    if (strcmp(cases[i].mode, "drop") == 0)
        check_drop(file, &b.model.experts);
    else
        check_factors(file, &b.model.experts, cases[i].down);
    compare_layouts(&b, &all);
    check_receipts(receipt, alone, dense, &all, cases[i].same_as_dense);
    free(receipt);
    free(alone);
    bench_destroy(&all);
    bench_destroy(&b);
}

int main(int argc, char **argv) {
    MPI_Init(&argc, &argv);
    char folder[64], path[128];
    fixture_make_folder(folder);
    bench dense;
    bench_create(&dense, MPI_COMM_WORLD, (bench_sizes){0});
    bench_save(&dense, folder, 7);
    snprintf(path, sizeof path, "%s/step_00000007.h5", folder);
    checkpoint *file = NULL;
    error err = {0};
    EXPECT(checkpoint_open(&file, MPI_COMM_WORLD, path, &err) == STATUS_OK, "%s", err.text);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        run_case(i, path, file, &dense);
    checkpoint_close(file);
    bench_destroy(&dense);
    fixture_remove_folder(folder);
    MPI_Finalize();
    return test_end();
}
