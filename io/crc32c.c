#include "io/crc32c.h"

#include <string.h>
#ifdef __SSE4_2__
#include <nmmintrin.h>
#endif

#ifdef __SSE4_2__
uint32_t crc32c_raw(uint32_t raw, const void *data, size_t bytes) {
    const uint8_t *at = data;
    uint64_t crc = raw;
    for (; bytes >= 8; bytes -= 8, at += 8) {
        uint64_t word;
        memcpy(&word, at, sizeof word);
        crc = _mm_crc32_u64(crc, word);
    }
    for (; bytes > 0; bytes--, at++)
        crc = _mm_crc32_u8((uint32_t)crc, *at);
    return (uint32_t)crc;
}
#else
/* Four bits at a time: entry i is the remainder of i·x^32. */
static const uint32_t nibble[16] = {
    0x00000000, 0x105EC76F, 0x20BD8EDE, 0x30E349B1, 0x417B1DBC, 0x5125DAD3, 0x61C69362, 0x7198540D,
    0x82F63B78, 0x92A8FC17, 0xA24BB5A6, 0xB21572C9, 0xC38D26C4, 0xD3D3E1AB, 0xE330A81A, 0xF36E6F75};

uint32_t crc32c_raw(uint32_t raw, const void *data, size_t bytes) {
    const uint8_t *at = data;
    for (size_t i = 0; i < bytes; i++) {
        raw ^= at[i];
        raw = raw >> 4 ^ nibble[raw & 15];
        raw = raw >> 4 ^ nibble[raw & 15];
    }
    return raw;
}
#endif

/* Polynomials over GF(2), bit 31 = x^0: the product modulo the generator. */
static uint32_t multiply(uint32_t a, uint32_t b) {
    uint32_t product = 0;
    for (uint32_t bit = 1u << 31; bit != 0; bit >>= 1) {
        if (a & bit)
            product ^= b;
        b = b >> 1 ^ (b & 1 ? 0x82F63B78u : 0); /* b := b·x */
    }
    return product;
}

uint32_t crc32c_shift(uint32_t raw, int64_t bytes) {
    uint32_t power = 1u << 23; /* x^8, squared from bit to bit of the exponent */
    for (; bytes > 0; bytes >>= 1, power = multiply(power, power))
        if (bytes & 1)
            raw = multiply(power, raw);
    return raw;
}

uint32_t crc32c_finish(uint32_t raw, int64_t bytes) {
    return ~(raw ^ crc32c_shift(0xFFFFFFFFu, bytes));
}

uint32_t crc32c(const void *data, size_t bytes) {
    return ~crc32c_raw(0xFFFFFFFFu, data, bytes);
}
