#include "src/tensor/rotary.h"

#include "src/base/error.h"
#include "src/tensor/vecmath.h"

enum {
    SPLIT = 8192, /* fewer elements are not worth waking threads for */
    BLOCK = 64    /* pairs whose sines and cosines are held at once */
};

/* One rotation for all: `sign` is +1 forward, −1 for the transpose. */
typedef struct rotation {
    int64_t H, d;
    int64_t first, count; /* pairs first … first+count−1 of each head, count ≤ BLOCK */
    double frequency[BLOCK];
} rotation;

static void rotate_token(const rotation *r, double position, real *x) {
    real sine[BLOCK], cosine[BLOCK];
    for (int64_t i = 0; i < r->count; i++)
        vec_sincos(position * r->frequency[i], &sine[i], &cosine[i]);
    for (int64_t h = 0; h < r->H; h++) {
        real *low = x + h * r->d + r->first, *high = low + r->d / 2;
        for (int64_t i = 0; i < r->count; i++) {
            const real a = low[i], b = high[i];
            low[i] = a * cosine[i] - b * sine[i];
            high[i] = b * cosine[i] + a * sine[i];
        }
    }
}

/* The transpose of a rotation is the rotation by the negative angle. */
static void rotate(real *x, const int32_t *position, int64_t T, rotation shape, double base,
                   int sign) {
    const int64_t H = shape.H, d = shape.d;
    CHECK(d % 2 == 0, "A head of width %lld cannot be split in half.", (long long)d);
    for (int64_t first = 0; first < d / 2; first += BLOCK) {
        const int64_t left = d / 2 - first;
        rotation r = {.H = H, .d = d, .first = first, .count = left < BLOCK ? left : BLOCK};
        for (int64_t i = 0; i < r.count; i++)
            r.frequency[i] = sign * pow(base, -2.0 * (double)(first + i) / (double)d);
#pragma omp parallel for if (T * H * d > SPLIT)
        for (int64_t t = 0; t < T; t++)
            rotate_token(&r, (double)position[t], x + t * H * d);
    }
}

void rotary_forward(real *x, const int32_t *position, int64_t T, int64_t H, int64_t d,
                    double base) {
    rotate(x, position, T, (rotation){.H = H, .d = d}, base, 1);
}

void rotary_backward(real *d_x, const int32_t *position, int64_t T, int64_t H, int64_t d,
                     double base) {
    rotate(d_x, position, T, (rotation){.H = H, .d = d}, base, -1);
}
