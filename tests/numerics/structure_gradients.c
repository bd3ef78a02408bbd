// TEST timeout=120 mode=double
/* Every gradient of the structure module against central differences: several tiles, residues
 * missing, d_bias not symmetric. */
#include "tests/numerics/structure_bench.h"

enum { L = 37, BIAS = BENCH_H * L * L, HIDDEN = L * BENCH_D };

typedef struct problem {
    structure_bench bench;
    float coord[3 * L];
    real d_bias[BIAS], d_hidden[HIDDEN];
} problem;

static double loss(void *context) {
    problem *at = context;
    static real bias[BIAS], hidden[HIDDEN];
    structure_forward(&at->bench.nn, &at->bench.p, &at->bench.module, at->coord, L, bias, hidden);
    return gradcheck_dot(bias, at->d_bias, BIAS) + gradcheck_dot(hidden, at->d_hidden, HIDDEN);
}

int main(void) {
    static problem at;
    bench_create(&at.bench, false, L);
    bench_draw(&at.bench);
    bench_trace(at.coord, L);
    bench_remove(at.coord, 0, 0);
    bench_remove(at.coord, 20, 2);
    gradcheck_fill(at.d_bias, BIAS, "d_bias", 0, 1);
    gradcheck_fill(at.d_hidden, HIDDEN, "d_hidden", 0, 20);
    structure_backward(&at.bench.nn, &at.bench.p, &at.bench.module, at.coord, L, at.d_bias,
                       at.d_hidden);
    EXPECT(arena_mark(&at.bench.scratch) == 0, "Scratch was not given back.");
    gradcheck_params(&at.bench.p, loss, &at);
    bench_destroy(&at.bench);
    return test_end();
}
