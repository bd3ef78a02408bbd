/* Rows of tokenizer_golden.tsv (see tokenizer_golden.py), and the real tokenizer they belong to.
 */
#ifndef SEPIT_TESTS_GOLDEN_TOKENS_H
#define SEPIT_TESTS_GOLDEN_TOKENS_H

#include "io/tokenizer.h"
#include "tests/test.h"

#define LLAMA_TOKENIZER "../shared/data/llama/tokenizer.model"
#define GOLDEN_FILE     "tests/unit/tokenizer_golden.tsv"

enum { GOLDEN_LINE = 4096, GOLDEN_IDS = 256 };

typedef struct golden_row {
    char line[GOLDEN_LINE];
    char *kind, *text[2]; /* text[1] is NULL in a "text" row */
    int32_t ids[GOLDEN_IDS];
    int64_t count;
} golden_row;

static inline void load_llama_tokenizer(tokenizer *t) {
    FILE *file = fopen(LLAMA_TOKENIZER, "rb");
    if (file == NULL)
        TEST_SKIP("%s is absent", LLAMA_TOKENIZER);
    fclose(file);
    error err = {0};
    EXPECT(tokenizer_load(t, LLAMA_TOKENIZER, &err) == STATUS_OK, "%s", err.text);
}

static inline void unescape(char *text) {
    char *to = text;
    for (const char *from = text; *from != '\0'; from++) {
        if (*from != '\\') {
            *to++ = *from;
            continue;
        }
        from++;
        *to++ = (char)(*from == 'n' ? '\n' : *from == 't' ? '\t' : *from);
    }
    *to = '\0';
}

/* Next row, or 0 at the end. */
static inline int read_golden_row(FILE *file, golden_row *row) {
    if (fgets(row->line, GOLDEN_LINE, file) == NULL)
        return 0;
    char *rest = row->line;
    row->kind = strsep(&rest, "\t");
    row->text[0] = strsep(&rest, "\t");
    row->text[1] = strcmp(row->kind, "prompt") == 0 ? strsep(&rest, "\t") : NULL;
    for (int i = 0; i < 2 && row->text[i] != NULL; i++)
        unescape(row->text[i]);
    row->count = 0;
    for (char *id = strtok(rest, " \n"); id != NULL; id = strtok(NULL, " \n"))
        row->ids[row->count++] = (int32_t)atoi(id);
    return 1;
}

static inline void expect_ids(const int32_t *got, int64_t n, const int32_t *want, int64_t wanted,
                              const char *what) {
    EXPECT(n == wanted, "%s: %lld ids, want %lld", what, (long long)n, (long long)wanted);
    for (int64_t i = 0; i < n && i < wanted; i++)
        EXPECT(got[i] == want[i], "%s: id %lld is %d, want %d", what, (long long)i, got[i],
               want[i]);
}

#endif
