// TEST timeout=60
/* Ids of real texts against two other implementations' (tokenizer_golden.py), there and back. */
#include "io/sentencepiece.h"
#include "tests/unit/golden_tokens.h"

static void decode(const tokenizer *t, const int32_t *ids, int64_t count, char *text,
                   int64_t room) {
    error err = {0};
    int64_t bytes = 0;
    EXPECT(tokenizer_decode(t, ids, count, text, room - 1, &bytes, &err) == STATUS_OK, "%s",
           err.text);
    EXPECT(bytes < room);
    text[bytes < room ? bytes : room - 1] = '\0';
}

static void check_golden(const tokenizer *t) {
    FILE *file = fopen(GOLDEN_FILE, "r");
    EXPECT(file != NULL, "%s is missing", GOLDEN_FILE);
    golden_row row;
    int rows = 0;
    while (file != NULL && read_golden_row(file, &row)) {
        if (strcmp(row.kind, "text") != 0)
            continue;
        rows++;
        error err = {0};
        int32_t ids[GOLDEN_IDS];
        int64_t count = 0;
        const char *text = row.text[0];
        EXPECT(tokenizer_encode(t, text, (int64_t)strlen(text), ids, GOLDEN_IDS, &count, &err) ==
               STATUS_OK);
        expect_ids(ids, count, row.ids, row.count, text);
        char back[GOLDEN_LINE];
        decode(t, row.ids, row.count, back, GOLDEN_LINE);
        EXPECT_TEXT(back, text);
    }
    EXPECT(rows == 20, "%d rows", rows);
    if (file != NULL)
        fclose(file);
}

/* What a user writes never becomes a control token. */
static void check_no_smuggling(const tokenizer *t) {
    static const char text[] =
        "<s></s><unk><0x0A> <protein><bop><eop>[INST] [/INST]<<SYS>><</SYS>>";
    error err = {0};
    int32_t ids[GOLDEN_IDS];
    int64_t count = 0;
    EXPECT(tokenizer_encode(t, text, sizeof text - 1, ids, GOLDEN_IDS, &count, &err) == STATUS_OK);
    for (int64_t i = 0; i < count; i++) /* 0 … 2 are <unk> <s> </s>, 3 … 258 the bytes */
        EXPECT(ids[i] > 258 && ids[i] < 32000, "id %lld is %d", (long long)i, ids[i]);
    char back[256];
    decode(t, ids, count, back, sizeof back);
    EXPECT_TEXT(back, text);
}

static void check_edges(const tokenizer *t) {
    error err = {0};
    int32_t ids[4] = {-7, -7, -7, -7};
    int64_t count = -1, bytes = -1;
    EXPECT(tokenizer_encode(t, "", 0, ids, 4, &count, &err) == STATUS_OK && count == 0);
    EXPECT(tokenizer_decode(t, ids, 0, NULL, 0, &bytes, &err) == STATUS_OK && bytes == 0);
    /* More ids than room: counted, not written. */
    EXPECT(tokenizer_encode(t, "one two three four", 18, ids, 2, &count, &err) == STATUS_OK);
    EXPECT(count == 4 && ids[1] > 0 && ids[2] == -7);
    /* A byte that is no UTF-8 is not fatal. */
    EXPECT(tokenizer_encode(t, "a\xff", 2, ids, 4, &count, &err) == STATUS_OK && count > 0);
}

static void check_decode(const tokenizer *t) {
    char text[64];
    /* 日 (E6 97 A5) from bytes; <0xNN> has the id NN + 3. */
    const int32_t bytes[] = {29871, 0xE6 + 3, 0x97 + 3, 0xA5 + 3};
    decode(t, bytes, 4, text, sizeof text);
    EXPECT_TEXT(text, "日");
    decode(t, bytes, 3, text, sizeof text); /* cut inside the character */
    EXPECT_TEXT(text, "\xEF\xBF\xBD\xEF\xBF\xBD");
    /* "▁Hello ▁world" with everything that leaves no text around and between. */
    const int32_t mixed[] = {1, 32003, 15043, 32004, 3186, 2, 32007};
    decode(t, mixed, 7, text, sizeof text);
    EXPECT_TEXT(text, "Helloworld");
}

int main(void) {
    tokenizer t;
    load_llama_tokenizer(&t);
    EXPECT(t.pieces == 32000 && t.bos == 1 && t.eos == 2);
    EXPECT(t.vocabulary == 32007 && t.rows == 32008);
    EXPECT(tokenizer_added_id(&t, ADDED_PROTEIN) == 32000);
    EXPECT(tokenizer_added_id(&t, ADDED_SYSTEM_END) == 32006);
    EXPECT_TEXT(tokenizer_added_text(ADDED_INST_END), "[/INST]");
    check_golden(&t);
    check_no_smuggling(&t);
    check_edges(&t);
    check_decode(&t);
    tokenizer_destroy(&t);
    return test_end();
}
