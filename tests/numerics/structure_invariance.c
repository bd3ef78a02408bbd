// TEST timeout=60 mode=release,double,asan
/* Rotating and translating a structure changes nothing, with the values a model starts from. */
#include "tests/numerics/kernel.h"
#include "tests/numerics/structure_bench.h"

enum { L = 90, BIAS = BENCH_H * L * L, HIDDEN = L * BENCH_D };

/* Rotations by angles with these sines and cosines about z and x, then a translation. */
static void move(const float *from, const double *angles, const double *shift, float *to) {
    const double cz = angles[0], sz = angles[1], cx = angles[2], sx = angles[3];
    for (int i = 0; i < L; i++) {
        const double x = (double)from[3 * i], y = (double)from[3 * i + 1];
        const double z = (double)from[3 * i + 2];
        const double turned = sz * x + cz * y;
        to[3 * i] = (float)(cz * x - sz * y + shift[0]);
        to[3 * i + 1] = (float)(cx * turned - sx * z + shift[1]);
        to[3 * i + 2] = (float)(sx * turned + cx * z + shift[2]);
    }
}

static double largest(const real *x, const real *y, int64_t n) {
    double size = 0, difference = 0;
    for (int64_t i = 0; i < n; i++) {
        size = larger(size, fabs((double)x[i]));
        difference = larger(difference, fabs((double)x[i] - (double)y[i]));
    }
    return difference / size;
}

static void expect_same(const structure_bench *bench, const float *coord, const double *angles,
                        double tolerance) {
    static real bias[2][BIAS], hidden[2][HIDDEN];
    const double shift[] = {-31, 12, 57};
    float moved[3 * L];
    move(coord, angles, shift, moved);
    structure_forward(&bench->nn, &bench->p, &bench->module, coord, L, bias[0], hidden[0]);
    structure_forward(&bench->nn, &bench->p, &bench->module, moved, L, bias[1], hidden[1]);
    const double by_bias = largest(bias[0], bias[1], BIAS);
    const double by_hidden = largest(hidden[0], hidden[1], HIDDEN);
    printf("largest relative change: bias %.1e, hidden %.1e\n", by_bias, by_hidden);
    EXPECT(by_bias <= tolerance, "The bias changes by %.1e.", by_bias);
    EXPECT(by_hidden <= tolerance, "The hidden bias changes by %.1e.", by_hidden);
}

/* The angles of two Pythagorean triangles: multiples of 65/64 turn into multiples of 1/64, exact as
 * floats. */
static const double EXACT[] = {3 / 5.0, 4 / 5.0, 5 / 13.0, 12 / 13.0};

static void expect_invariance(const float *coord, double tolerance) {
    structure_bench bench;
    bench_create(&bench, false, L);
    expect_same(&bench, coord, EXACT, tolerance);
    /* Here the float coordinates themselves are rounded. */
    const double general[] = {cos(0.7), sin(0.7), cos(2.1), sin(2.1)};
    expect_same(&bench, coord, general, 1e-4);
    bench_destroy(&bench);
}

/* In bf16 too; and the backward pass stays inside structure_scratch_bytes, as both must. */
static void expect_bf16(const float *coord, double tolerance) {
    static real d_bias[BIAS], d_hidden[HIDDEN];
    structure_bench bench;
    bench_create(&bench, sizeof(real) == sizeof(float), L);
    expect_same(&bench, coord, EXACT, tolerance);
    structure_backward(&bench.nn, &bench.p, &bench.module, coord, L, d_bias, d_hidden);
    EXPECT(arena_mark(&bench.scratch) == 0, "Scratch was not given back.");
    bench_destroy(&bench);
}

int main(void) {
    float coord[3 * L];
    const double tolerance = sizeof(real) == sizeof(double) ? 1e-9 : 1e-4;
    bench_trace(coord, L);
    expect_invariance(coord, tolerance);
    expect_bf16(coord, tolerance);
    return test_end();
}
