// TEST timeout=20 mode=release,asan
/* Known answers of RFC 3720 B.4, a bit-by-bit twin, and parts that are summed in any cut. */
#include "io/crc32c.h"
#include "src/base/rng.h"
#include "tests/test.h"

static uint32_t slow_crc32c(const uint8_t *data, size_t bytes) {
    uint32_t crc = 0xFFFFFFFFu;
    for (size_t i = 0; i < 8 * bytes; i++) {
        const uint32_t bit = ((uint32_t)data[i / 8] >> i % 8 & 1u) ^ (crc & 1u);
        crc = crc >> 1 ^ (bit ? 0x82F63B78u : 0u);
    }
    return ~crc;
}

static void test_known_answers(void) {
    uint8_t zeros[32] = {0}, ones[32], up[32];
    memset(ones, 0xFF, sizeof ones);
    for (int i = 0; i < 32; i++)
        up[i] = (uint8_t)i;
    EXPECT(crc32c("123456789", 9) == 0xE3069283u);
    EXPECT(crc32c(zeros, 32) == 0x8A9136AAu);
    EXPECT(crc32c(ones, 32) == 0x62A8AB43u);
    EXPECT(crc32c(up, 32) == 0x46DD794Eu);
    EXPECT(crc32c("", 0) == 0);
}

static void test_parts(void) {
    enum { BYTES = 5000 };
    uint8_t data[BYTES];
    const rng_key key = rng_key_make(7, "crc32c");
    for (uint64_t i = 0; i < BYTES; i++)
        data[i] = (uint8_t)rng_bits(key, 0, i);
    for (uint64_t trial = 0; trial < 200; trial++) {
        const size_t bytes = (size_t)rng_below(key, 1, trial, BYTES + 1);
        const size_t cut = (size_t)rng_below(key, 2, trial, bytes + 1);
        const uint32_t want = slow_crc32c(data, bytes);
        EXPECT(crc32c(data, bytes) == want, "%zu bytes", bytes);
        const uint32_t first = crc32c_raw(0, data, cut);
        const uint32_t last = crc32c_raw(0, data + cut, bytes - cut);
        const uint32_t raw = crc32c_shift(first, (int64_t)(bytes - cut)) ^ last;
        EXPECT(crc32c_finish(raw, (int64_t)bytes) == want, "%zu bytes cut at %zu", bytes, cut);
        EXPECT(crc32c_raw(first, data + cut, bytes - cut) == raw);
    }
}

int main(void) {
    test_known_answers();
    test_parts();
    return test_end();
}
