// TEST timeout=60 mode=double
/* The structure module's bits do not depend on the number of threads, where those of its matrix
 * products do not: in the double build (oneDNN's do on some processors). */
#include "tests/numerics/structure_bench.h"

#include <omp.h>

enum { L = 100, BIAS = BENCH_H * L * L, HIDDEN = L * BENCH_D };

typedef struct result {
    real bias[BIAS], hidden[HIDDEN], *gradient;
} result;

static void run(structure_bench *bench, const float *coord, int threads, result *out) {
    omp_set_num_threads(threads);
    memset(bench->gradient, 0, (size_t)bench->p.elements * sizeof(real));
    structure_forward(&bench->nn, &bench->p, &bench->module, coord, L, out->bias, out->hidden);
    structure_backward(&bench->nn, &bench->p, &bench->module, coord, L, out->bias, out->hidden);
    out->gradient = malloc((size_t)bench->p.elements * sizeof(real));
    if (out->gradient == NULL)
        exit(1);
    memcpy(out->gradient, bench->gradient, (size_t)bench->p.elements * sizeof(real));
}

int main(void) {
    static result one, many;
    structure_bench bench;
    float coord[3 * L];
    bench_create(&bench, false, L);
    bench_draw(&bench);
    bench_trace(coord, L);
    run(&bench, coord, 1, &one);
    run(&bench, coord, 3, &many);
    EXPECT(memcmp(one.bias, many.bias, sizeof one.bias) == 0);
    EXPECT(memcmp(one.hidden, many.hidden, sizeof one.hidden) == 0);
    for (int64_t t = 0; t < bench.p.count; t++) {
        const param *tensor = &bench.p.table[t];
        int64_t differ = 0;
        for (int64_t i = tensor->offset; i < tensor->offset + tensor->elements; i++)
            differ += one.gradient[i] != many.gradient[i];
        EXPECT(differ == 0, "%lld of %lld elements of %s.", (long long)differ,
               (long long)tensor->elements, tensor->name);
    }
    free(one.gradient);
    free(many.gradient);
    bench_destroy(&bench);
    return test_end();
}
