/* Elementary functions that a compiler can put into vector loops, and sums in a fixed order.
 *
 * libm's functions stop the vectoriser; these are branch-free. In float they are polynomials within
 * 2 ulp of the true value (tests/numerics/vecmath_matches_libm.c measures them), in MODE=double
 * they are libm's. NaN stays NaN. The coefficients are weighted minimax fits on the ranges named
 * beside them.
 */
#ifndef SEPIT_TENSOR_VECMATH_H
#define SEPIT_TENSOR_VECMATH_H

#include "src/tensor/real.h"

#include <string.h>

#ifdef SEPIT_DOUBLE

static inline real vec_exp(real x) {
    return exp(x);
}

static inline real vec_erf(real x) {
    return erf(x);
}

static inline void vec_sincos(double angle, real *sine, real *cosine) {
    *sine = sin(angle);
    *cosine = cos(angle);
}

#else

/* Adding this to a float of magnitude below 2^22 leaves its nearest integer in the low bits. */
#define VEC_TO_INTEGER 12582912.0F

static inline uint32_t vec_bits(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float vec_from_bits(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* 2^n for −126 ≤ n ≤ 127. */
static inline float vec_power_of_two(int32_t n) {
    return vec_from_bits((uint32_t)(n + 127) << 23);
}

/* x = n·ln 2 + r with |r| ≤ ln 2 / 2, e^x = 2^n·e^r. The power is applied in two halves, so that
 * results down to the smallest denormal and up to infinity come out right; e^−∞ is exactly 0. */
static inline real vec_exp(real x) {
    x = x < -104.0F ? -104.0F : x;
    x = x > 89.0F ? 89.0F : x;
    const float shifted = x * 1.44269504F + VEC_TO_INTEGER;
    const float n = shifted - VEC_TO_INTEGER;
    const int32_t power = (int32_t)(vec_bits(shifted) - vec_bits(VEC_TO_INTEGER));
    const int32_t half = power >> 1;
    float r = x - n * 0.693359375F; /* ln 2 in two parts; the product with the first is exact */
    r = r + n * 2.12194440e-4F;
    float q = 0.00139517173F;
    q = q * r + 0.00836959841F;
    q = q * r + 0.0416661873F;
    q = q * r + 0.166665129F;
    q = q * r + 0.50000001F;
    const float e = 1.0F + (r + r * r * q);
    return e * vec_power_of_two(half) * vec_power_of_two(power - half);
}

/* |x| < 0.9375: x + x·p(x²). Beyond: 1 − e^{t·g(t)} with g(t) = ln(erfc t)/t and t = |x| ≤ 3.95,
 * where erf is 1 in float. */
static inline real vec_erf(real x) {
    const float s = x * x;
    float p = -0.000591954798F;
    p = p * s + 0.00497916205F;
    p = p * s - 0.0267570631F;
    p = p * s + 0.112815536F;
    p = p * s - 0.376124688F;
    p = p * s + 0.128379146F;
    float t = fabsf(x);
    t = t > 3.95F ? 3.95F : t;
    float g = -1.15419823e-05F;
    g = g * t + 0.000325916437F;
    g = g * t - 0.00365512785F;
    g = g * t + 0.0237888875F;
    g = g * t - 0.106268058F;
    g = g * t - 0.635132439F;
    g = g * t - 1.12865314F;
    const float tail = copysignf(1.0F - vec_exp(t * g), x);
    return t < 0.9375F ? x + x * p : tail;
}

/* Sine and cosine of an angle in radians, |angle| < 10^9: reduced in double to a quarter turn, then
 * float polynomials on |r| ≤ π/4. */
static inline void vec_sincos(double angle, real *sine, real *cosine) {
    const double to_integer = 6755399441055744.0; /* as VEC_TO_INTEGER, for double */
    const double shifted = angle * 0.63661977236758134308 + to_integer;
    const double n = shifted - to_integer;
    const float r = (float)(angle - n * 1.57079632679489661923);
    const int32_t quarter = (int32_t)n;
    const float s = r * r;
    float p = -0.000195108399F;
    p = p * s + 0.0083321315F;
    p = p * s - 0.166666542F;
    const float sin_r = r + r * s * p;
    float q = 2.44312043e-05F;
    q = q * s - 0.0013887306F;
    q = q * s + 0.0416666457F;
    const float cos_r = 1.0F + s * (s * q - 0.5F);
    const float a = quarter & 1 ? cos_r : sin_r;
    const float b = quarter & 1 ? sin_r : cos_r;
    *sine = quarter & 2 ? -a : a;
    *cosine = (quarter + 1) & 2 ? -b : b;
}

#endif

/* 1 / (1 + e^−x) */
static inline real vec_sigmoid(real x) {
    return 1 / (1 + vec_exp(-x));
}

/* Sums run in VEC_LANES interleaved partial sums, so that they vectorise; the order depends on n
 * alone. */
enum { VEC_LANES = 16 };

static inline double vec_lanes_total(const double lane[VEC_LANES]) {
    double sum[VEC_LANES / 2];
    for (int i = 0; i < VEC_LANES / 2; i++)
        sum[i] = lane[i] + lane[i + VEC_LANES / 2];
    for (int width = VEC_LANES / 4; width > 0; width /= 2)
        for (int i = 0; i < width; i++)
            sum[i] += sum[i + width];
    return sum[0];
}

/* Σ x_i */
static inline double vec_sum(const real *x, int64_t n) {
    double lane[VEC_LANES] = {0};
    int64_t i = 0;
    for (; i + VEC_LANES <= n; i += VEC_LANES)
        for (int j = 0; j < VEC_LANES; j++)
            lane[j] += (double)x[i + j];
    for (int j = 0; i < n; i++, j++)
        lane[j] += (double)x[i];
    return vec_lanes_total(lane);
}

/* Σ x_i·y_i */
static inline double vec_dot(const real *x, const real *y, int64_t n) {
    double lane[VEC_LANES] = {0};
    int64_t i = 0;
    for (; i + VEC_LANES <= n; i += VEC_LANES)
        for (int j = 0; j < VEC_LANES; j++)
            lane[j] += (double)x[i + j] * (double)y[i + j];
    for (int j = 0; i < n; i++, j++)
        lane[j] += (double)x[i] * (double)y[i];
    return vec_lanes_total(lane);
}

/* Σ x_i·y_i·z_i */
static inline double vec_dot3(const real *x, const real *y, const real *z, int64_t n) {
    double lane[VEC_LANES] = {0};
    int64_t i = 0;
    for (; i + VEC_LANES <= n; i += VEC_LANES)
        for (int j = 0; j < VEC_LANES; j++)
            lane[j] += (double)x[i + j] * (double)y[i + j] * (double)z[i + j];
    for (int j = 0; i < n; i++, j++)
        lane[j] += (double)x[i] * (double)y[i] * (double)z[i];
    return vec_lanes_total(lane);
}

/* max x_i, NaN passed over; −∞ for n = 0. A maximum is the same in any order. */
static inline real vec_max(const real *x, int64_t n) {
    real max = (real)-INFINITY;
#pragma omp simd reduction(max : max)
    for (int64_t i = 0; i < n; i++)
        max = x[i] > max ? x[i] : max;
    return max;
}

#endif
