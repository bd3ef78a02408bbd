// TEST timeout=60 mode=release,asan
/* Rounding the inputs of products to bf16 moves the encoder's output and the gradients no further
 * than independent roundings by 2^-9 at most would, two for each product on the way (six in each of
 * two blocks; for gradients there and back), and what it takes from the arenas is within
 * esm_activation_bytes and esm_scratch_bytes. */
#include "tests/numerics/encoder_bench.h"

enum { TD = BENCH_TOKENS * 16 };

/* ‖x − y‖ / ‖y‖ */
static double distance(const real *x, const real *y, int64_t n) {
    double apart = 0, size = 0;
    for (int64_t i = 0; i < n; i++) {
        apart += pow((double)x[i] - (double)y[i], 2);
        size += pow((double)y[i], 2);
    }
    return sqrt(apart / size);
}

typedef struct result {
    real x[TD], d_hidden[TD], *gradient;
} result;

static void run(encoder_bench *bench, bool bf16, result *out) {
    bench_create(bench, bf16, BENCH_TOKENS);
    const protein_batch batch = bench_batch();
    real d_x[TD];
    gradcheck_fill(d_x, TD, "coefficient", 0, 1);
    esm_saved *saved = NULL;
    const real *x = esm_forward(&bench->nn, &bench->p, &bench->encoder, &batch, BENCH_CONFIG.layers,
                                (esm_structure){NULL, NULL}, &saved);
    memcpy(out->x, x, sizeof out->x);
    esm_backward(&bench->nn, &bench->p, &bench->encoder, &batch, saved, d_x, out->d_hidden, NULL);
    arena_reset(&bench->activations, 0);
    x = esm_forward(&bench->nn, &bench->p, &bench->encoder, &batch, BENCH_CONFIG.layers,
                    (esm_structure){NULL, NULL}, NULL);
    EXPECT(memcmp(out->x, x, sizeof out->x) == 0, "Training and inference differ.");
    out->gradient = bench->gradient;
}

int main(void) {
    static result exact, rounded;
    encoder_bench with_exact, with_rounded;
    run(&with_exact, false, &exact);
    run(&with_rounded, true, &rounded);
    const double apart[] = {distance(rounded.x, exact.x, TD),
                            distance(rounded.d_hidden, exact.d_hidden, TD),
                            distance(rounded.gradient, exact.gradient, with_exact.p.elements)};
    const double there = sqrt(2.0 * 12) / 512, back = sqrt(2.0 * 24) / 512;
    for (int i = 0; i < 3; i++)
        EXPECT(apart[i] > 1e-5 && apart[i] < (i == 0 ? there : back), "Part %d is %.1e apart.", i,
               apart[i]);
    printf("output %.1e, input's gradient %.1e, parameters' gradients %.1e\n", apart[0], apart[1],
           apart[2]);
    bench_destroy(&with_exact);
    bench_destroy(&with_rounded);
    return test_end();
}
