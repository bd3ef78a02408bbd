// TEST timeout=60 mode=release,asan
/* What is written is read back; every single-byte change and every cut is refused; so are texts
 * with a right checksum but a wrong content. */
#include "io/crc32c.h"
#include "io/manifest.h"
#include "tests/test.h"

static const char *const whole =
    "{\"format\":\"sepit-checkpoint\",\"version\":1,\n"
    "\"step\":9007199254740993,\"file_bytes\":4194305,\"slab_bytes\":4194304,\n"
    "\"tensors\":[\n"
    "{\"name\":\"/model/a.b\",\"dtype\":\"f32\",\"shape\":[3,5],\"offset\":4096,\"crc32c\":"
    "\"0123abcd\"},\n"
    "{\"name\":\"/train/step\",\"dtype\":\"i64\",\"shape\":[],\"offset\":800,\"crc32c\":"
    "\"ffffffff\"}\n"
    "],\n"
    "\"slabs\":[\n"
    "\"00000001\",\"00000002\"\n"
    "],\n";

/* The text with its right last line; the caller frees it. */
static char *with_checksum(const char *text) {
    char *all = malloc(strlen(text) + 64);
    sprintf(all, "%s\"crc32c\":\"%08x\"}\n", text, crc32c(text, strlen(text)));
    return all;
}

static status parse(const char *text, size_t length, manifest *m) {
    error err = {0};
    /* An exact copy on the heap lets the sanitizer see a read past the end. */
    char *copy = malloc(length > 0 ? length : 1);
    memcpy(copy, text, length);
    const status code = manifest_parse(m, copy, length, &err);
    EXPECT((code == STATUS_OK) == (err.text[0] == '\0'));
    free(copy);
    return code;
}

static void test_round_trip(void) {
    char *text = with_checksum(whole);
    manifest m;
    EXPECT(parse(text, strlen(text), &m) == STATUS_OK);
    EXPECT(m.step == 9007199254740993LL, "%lld", (long long)m.step);
    EXPECT(m.bytes == 4194305 && m.tensors == 2 && m.slabs == 2);
    EXPECT_TEXT(m.tensor[0].name, "/model/a.b");
    EXPECT(m.tensor[0].type == CHECKPOINT_F32 && m.tensor[0].rank == 2);
    EXPECT(m.tensor[0].shape[0] == 3 && m.tensor[0].shape[1] == 5 && m.offset[0] == 4096);
    EXPECT(m.digest[0] == 0x0123abcdu && m.slab[1] == 2);
    EXPECT(m.tensor[1].type == CHECKPOINT_I64 && m.tensor[1].rank == 0);
    EXPECT(manifest_find(&m, "/train/step") == 1 && manifest_find(&m, "/train") == -1);
    size_t length = 0;
    char *again = manifest_format(&m, &length);
    EXPECT_TEXT(again, text);
    EXPECT(length == strlen(text));
    manifest_destroy(&m);
    free(again);
    free(text);
}

static void test_damage(void) {
    char *text = with_checksum(whole);
    const size_t length = strlen(text);
    manifest m;
    for (size_t i = 0; i < length; i++) {
        for (int bit = 0; bit < 8; bit++) {
            text[i] = (char)(text[i] ^ 1 << bit);
            EXPECT(parse(text, length, &m) == STATUS_INPUT, "byte %zu, bit %d", i, bit);
            text[i] = (char)(text[i] ^ 1 << bit);
        }
        EXPECT(parse(text, i, &m) == STATUS_INPUT, "cut at %zu", i);
    }
    free(text);
}

/* Replaces the first `from` by `to` and gives the text a right checksum. */
static void expect_refused(const char *from, const char *to) {
    char text[4096];
    const char *at = strstr(whole, from);
    EXPECT(at != NULL, "%s", from);
    sprintf(text, "%.*s%s%s", (int)(at - whole), whole, to, at + strlen(from));
    char *all = with_checksum(text);
    manifest m;
    EXPECT(parse(all, strlen(all), &m) == STATUS_INPUT, "with %s", to);
    free(all);
}

static void test_wrong_content(void) {
    expect_refused("sepit-checkpoint", "other-checkpoint");
    expect_refused("\"version\":1", "\"version\":2");
    expect_refused("9007199254740993", "9223372036854775808"); /* 2^63 */
    expect_refused("9007199254740993", "-1");
    expect_refused("9007199254740993", "007");
    expect_refused("9007199254740993", "1e3");
    expect_refused("9007199254740993", "");
    expect_refused("4194305", "4194304"); /* one slab too many */
    expect_refused("4194305", "9000000"); /* one slab too few */
    expect_refused("4194305", "0");
    expect_refused("\"slab_bytes\":4194304", "\"slab_bytes\":4096");
    expect_refused("/train/step", "/model/a.b"); /* twice */
    expect_refused("/train/step", "train/step");
    expect_refused("/train/step", "/train//step");
    expect_refused("/train/step", "/train/./step");
    expect_refused("/train/step", "/");
    expect_refused("\"f32\"", "\"f16\"");
    expect_refused("[3,5]", "[3,5,1,1]");
    expect_refused("[3,5]", "[3,]");
    expect_refused("[3,5]", "[4294967296,4294967296]");
    expect_refused("[3,5]", "[1048576,3]"); /* beyond the end */
    expect_refused("4096,", "4194300,");
    expect_refused("4096,", "9223372036854775807,");
    expect_refused("0123abcd", "0123ABCD");
    expect_refused("0123abcd", "123abcd");
    expect_refused("],\n\"slabs\"", "],\n\"extra\":1,\n\"slabs\"");
    expect_refused("\n],\n\"slabs\"", ",\n],\n\"slabs\"");
    expect_refused("\"00000001\",\"00000002\"", "");
    expect_refused("\"step\":", "\"step\":1,\"step\":");
}

static void test_long_name(void) {
    char from[] = "/train/step", to[300];
    memset(to, 'x', sizeof to);
    to[0] = '/';
    to[CHECKPOINT_NAME] = '\0';
    expect_refused(from, to);
}

int main(void) {
    test_round_trip();
    test_damage();
    test_wrong_content();
    test_long_name();
    return test_end();
}
