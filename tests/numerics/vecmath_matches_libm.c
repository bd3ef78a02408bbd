// TEST timeout=60 mode=release,asan,double
/* The vectorisable functions against libm's in double, in units of the last place; special values;
 * sums and maxima. */
#include "src/tensor/vecmath.h"
#include "tests/numerics/kernel.h"

/* |got − want| in units of the last place of want. */
static double ulps(real got, double want) {
    const double smallest = sizeof(real) == sizeof(float) ? 0x1p-149 : 0x1p-1074;
    const double size = fabs(want) > 0 ? ldexp((double)REAL_EPSILON, ilogb(want)) : smallest;
    return fabs((double)got - want) / fmax(size, smallest);
}

typedef struct range {
    double low, high;
} range;

static void compare(const char *name, real (*f)(real), double (*exact)(double), range r,
                    double allowed) {
    enum { POINTS = 400000 };
    double worst = 0, where = 0;
    for (int i = 0; i <= POINTS; i++) {
        const real x = (real)(r.low + (r.high - r.low) * i / POINTS);
        const double error = ulps(f(x), exact((double)x));
        if (!isnan(worst) && !(error <= worst)) {
            worst = error;
            where = (double)x;
        }
    }
    printf("%s on [%g, %g]: %.2f ulp at %g\n", name, r.low, r.high, worst, where);
    EXPECT(worst <= allowed, "%s is off by %.2f ulp at %.9g", name, worst, where);
}

static real exp_of(real x) {
    return vec_exp(x);
}

static real erf_of(real x) {
    return vec_erf(x);
}

static real sigmoid_of(real x) {
    return vec_sigmoid(x);
}

static double exact_sigmoid(double x) {
    return 1 / (1 + exp(-x));
}

static void check_special(void) {
    EXPECT(vec_exp((real)-INFINITY) == 0 && vec_exp(0) == 1);
    EXPECT(isinf(vec_exp((real)INFINITY)) && isinf(vec_exp(1000)) && vec_exp(-1000) == 0);
    EXPECT(isnan(vec_exp((real)NAN)) && isnan(vec_erf((real)NAN)));
    EXPECT(vec_erf((real)INFINITY) == 1 && vec_erf((real)-INFINITY) == -1 && vec_erf(0) == 0);
    EXPECT(vec_sigmoid(-1000) == 0 && vec_sigmoid(1000) == 1);
}

static void check_sincos(void) {
    double worst = 0;
    for (int i = 0; i < 400000; i++) {
        const double angle = (i - 200000) * 0.37;
        real s = 0, c = 0;
        vec_sincos(angle, &s, &c);
        worst = larger(worst, fabs((double)s - sin(angle)));
        worst = larger(worst, fabs((double)c - cos(angle)));
    }
    for (int i = 0; i < 100000; i++) { /* up to the largest angle promised */
        const double angle = 1e9 - i * 7919.03;
        real s = 0, c = 0;
        vec_sincos(angle, &s, &c);
        worst = larger(worst, fabs((double)s - sin(angle)));
        worst = larger(worst, fabs((double)c - cos(angle)));
    }
    printf("sincos: %.2f eps absolute\n", worst / (double)REAL_EPSILON);
    EXPECT(worst <= (double)REAL_EPSILON, "sincos is off by %g", worst);
}

/* Products and sums in double: n·2^−53 of the terms' size. */
static void check_sums(void) {
    enum { MOST = 70 };
    real *x = random_array(1, MOST, 1), *y = random_array(2, MOST, 1),
         *z = random_array(3, MOST, 1);
    for (int64_t n = 0; n <= MOST; n++) {
        double sum = 0, dot = 0, dot3 = 0, max = -INFINITY;
        for (int64_t i = 0; i < n; i++) {
            sum += (double)x[i];
            dot += (double)x[i] * (double)y[i];
            dot3 += (double)x[i] * (double)y[i] * (double)z[i];
            max = fmax(max, (double)x[i]);
        }
        EXPECT_CLOSE(vec_sum(x, n), sum, 1e-14);
        EXPECT_CLOSE(vec_dot(x, y, n), dot, 1e-14);
        EXPECT_CLOSE(vec_dot3(x, y, z, n), dot3, 1e-14);
        EXPECT((double)vec_max(x, n) == max, "the maximum of %lld", (long long)n);
    }
    free(x);
    free(y);
    free(z);
}

int main(void) {
    const bool is_float = sizeof(real) == sizeof(float);
    compare("exp", exp_of, exp, (range){-87, 88.7}, 2);
    compare("exp, denormal results", exp_of, exp, (range){-105, -87}, 2);
    compare("exp, small", exp_of, exp, (range){-1, 1}, 2);
    compare("erf", erf_of, erf, (range){-5, 5}, 2);
    compare("erf, small", erf_of, erf, (range){-1e-3, 1e-3}, 2);
    compare("sigmoid", sigmoid_of, exact_sigmoid, (range){-30, 30}, is_float ? 4 : 3);
    check_special();
    check_sincos();
    check_sums();
    return test_end();
}
