#include "io/structure_number.h"

#include <math.h>

static const double power_of_ten[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                      1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                      1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

static inline bool is_digit(char c) {
    return (unsigned char)(c - '0') < 10;
}

/* "e-4" → −4; leaves *at behind it. False when no digit follows or it is out of any use. */
static bool read_exponent(const char **at, const char *end, int *exponent) {
    const char *p = *at + 1;
    const bool negative = p < end && *p == '-';
    if (p < end && (*p == '-' || *p == '+'))
        p++;
    const char *first = p;
    int n = 0;
    for (; p < end && is_digit(*p) && n < 100; p++)
        n = 10 * n + (*p - '0');
    *exponent = negative ? -n : n;
    *at = p;
    return p > first && n < 100;
}

/* "(12)", the standard uncertainty. */
static bool skip_uncertainty(const char **at, const char *end) {
    const char *p = *at + 1;
    while (p < end && is_digit(*p))
        p++;
    const bool good = p < end && *p == ')' && p > *at + 1;
    *at = p + 1;
    return good;
}

static double scale(uint64_t digits, int exponent) {
    const double value = (double)digits;
    const int size = exponent < 0 ? -exponent : exponent;
    if (size > 22)
        return value * pow(10.0, exponent);
    return exponent < 0 ? value / power_of_ten[size] : value * power_of_ten[size];
}

bool structure_number_read(const char *text, size_t length, float *value) {
    const char *p = text, *const end = text + length;
    const bool negative = p < end && *p == '-';
    if (p < end && (*p == '-' || *p == '+'))
        p++;
    uint64_t digits = 0;
    int used = 0, seen = 0, exponent = 0;
    bool point = false;
    for (; p < end; p++) {
        if (is_digit(*p)) {
            const bool keep = used < 18;
            digits = keep ? 10 * digits + (uint64_t)(*p - '0') : digits;
            used += keep && digits > 0;
            exponent += (keep ? 0 : 1) - (point ? 1 : 0);
            seen = 1;
        } else if (*p == '.' && !point)
            point = true;
        else
            break;
    }
    int power = 0;
    if (!seen || (p < end && (*p == 'e' || *p == 'E') && !read_exponent(&p, end, &power)))
        return false;
    if (p < end && *p == '(' && !skip_uncertainty(&p, end))
        return false;
    const float result = (float)scale(digits, exponent + power);
    if (p != end || !isfinite(result))
        return false;
    *value = negative ? -result : result;
    return true;
}

bool structure_integer_read(const char *text, size_t length, int64_t *value) {
    const char *p = text, *const end = text + length;
    const bool negative = p < end && *p == '-';
    if (p < end && (*p == '-' || *p == '+'))
        p++;
    if (p == end || end - p > 18)
        return false;
    int64_t n = 0;
    for (; p < end; p++) {
        if (!is_digit(*p))
            return false;
        n = 10 * n + (*p - '0');
    }
    *value = negative ? -n : n;
    return true;
}
