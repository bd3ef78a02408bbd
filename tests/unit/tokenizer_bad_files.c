// TEST timeout=60
/* A tokenizer that is not there or not whole: a sentence with the key and the file. */
#include "io/tokenizer.h"
#include "tests/test.h"

#include <sys/stat.h>
#include <unistd.h>

static char path[] = "/tmp/sepit-tokenizer-XXXXXX";

static void write_file(const char *bytes, size_t count) {
    FILE *file = fopen(path, "wb");
    EXPECT(file != NULL && fwrite(bytes, 1, count, file) == count && fclose(file) == 0);
}

static void expect_refused(const char *what, const char *name, const char *part) {
    tokenizer t;
    error err = {0};
    EXPECT(tokenizer_load(&t, name, &err) == STATUS_INPUT, "%s", what);
    EXPECT(strstr(err.text, "data.tokenizer") != NULL, "%s: %s", what, err.text);
    EXPECT(strstr(err.text, part) != NULL, "%s: no \"%s\" in: %s", what, part, err.text);
    EXPECT(name == NULL || strstr(err.text, name) != NULL, "%s: %s", what, err.text);
    tokenizer_destroy(&t);
}

/* One piece of a model, as protobuf: field 1 {text, score 0, type}. */
static size_t add_piece(char *to, const char *text, char type) {
    const size_t n = strlen(text);
    char *at = to;
    *at++ = 0x0A; /* field 1 of the model: a message of n + 4 bytes */
    *at++ = (char)(n + 4);
    *at++ = 0x0A; /* field 1 of the piece: text of n bytes */
    *at++ = (char)n;
    memcpy(at, text, n);
    at += n;
    *at++ = 0x18; /* field 3 of the piece: type */
    *at++ = type;
    return (size_t)(at - to);
}

/* Whole models of three and four pieces, made by hand. Type 2 is unknown, 3 control, 1 ordinary. */
static void check_tiny_models(void) {
    char model[64];
    size_t size = add_piece(model, "<unk>", 2);
    size += add_piece(model + size, "<s>", 3);
    size += add_piece(model + size, "a", 1);
    write_file(model, size);
    expect_refused("no </s>", path, "</s>");
    size += add_piece(model + size, "</s>", 3);
    write_file(model, size);
    tokenizer t;
    error err = {0};
    EXPECT(tokenizer_load(&t, path, &err) == STATUS_OK, "%s", err.text);
    EXPECT(t.pieces == 4 && t.vocabulary == 11 && t.rows == 16);
    tokenizer_destroy(&t);
}

/* The real model cut short. */
static void check_cut_model(void) {
    enum { HALF = 250000 };
    FILE *real = fopen("../shared/data/llama/tokenizer.model", "rb");
    if (real == NULL)
        return;
    char *bytes = malloc(HALF);
    EXPECT(bytes != NULL && fread(bytes, 1, HALF, real) == HALF);
    fclose(real);
    write_file(bytes, HALF);
    free(bytes);
    expect_refused("cut short", path, "not a whole SentencePiece model");
}

int main(void) {
    const int descriptor = mkstemp(path);
    EXPECT(descriptor >= 0);
    close(descriptor);
    expect_refused("no value", NULL, "has no value");
    expect_refused("missing file", "/nowhere/tokenizer.model", "No such file");
    expect_refused("folder", "/tmp", "not a file");
    write_file("", 0);
    expect_refused("empty file", path, "not a whole SentencePiece model");
    write_file("{\"version\": \"1.0\"}", 18);
    expect_refused("tokenizer.json", path, "not a whole SentencePiece model");
    check_tiny_models();
    check_cut_model();
    EXPECT(truncate(path, INT64_C(1) << 40) == 0); /* without a block on the disk */
    expect_refused("weights", path, "more than any SentencePiece model");
    EXPECT(unlink(path) == 0 && mkfifo(path, 0600) == 0);
    expect_refused("a pipe that nobody writes to", path, "not a file");
    unlink(path);
    return test_end();
}
