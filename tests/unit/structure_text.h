/* What the tests of structure files share: parse a text, and ask for one residue. */
#ifndef SEPIT_TESTS_STRUCTURE_TEXT_H
#define SEPIT_TESTS_STRUCTURE_TEXT_H

#include "io/chain.h"
#include "tests/test.h"

static chain_file structure;
static error structure_error;

/* Parses into `structure`, from an exact copy without a NUL behind it, so that a read beyond its
 * end is seen by the sanitizer. */
static inline status parse_as(const char *text, size_t size, const char *path) {
    char *copy = malloc(size + (size == 0));
    memcpy(copy, text, size);
    chain_file_destroy(&structure);
    structure_error = (error){0};
    const status result = chain_file_parse(copy, size, path, &structure, &structure_error);
    free(copy);
    return result;
}

static inline status parse(const char *text) {
    return parse_as(text, strlen(text), "FILE");
}

#define EXPECT_PARSED(input) EXPECT(parse(input) == STATUS_OK, "%s", structure_error.text)

/* Refused, with this beginning of the sentence. */
#define EXPECT_REFUSED(input, start)                                                               \
    do {                                                                                           \
        EXPECT(parse(input) == STATUS_INPUT);                                                      \
        EXPECT(strncmp(structure_error.text, (start), strlen(start)) == 0, "got \"%s\"",           \
               structure_error.text);                                                              \
    } while (0)

#define EXPECT_CHAINS(want) EXPECT(structure.count == (want), "%ld chains", (long)structure.count)

/* Letters of chain i, where it exists. */
static inline const char *letters_of(int64_t i) {
    static char text[4096];
    snprintf(text, sizeof text, "%.*s", i < structure.count ? (int)structure.chains[i].length : 0,
             i < structure.count ? (const char *)structure.chains[i].letters : "");
    return text;
}

/* x of residue j of chain i; −1000 for a missing residue, −2000 where there is no such residue. */
static inline double x_of(int64_t i, int64_t j) {
    if (i >= structure.count || j >= structure.chains[i].length)
        return -2000;
    const float *at = structure.chains[i].coord + 3 * j;
    return isnan(at[0]) && isnan(at[1]) && isnan(at[2]) ? -1000 : (double)at[0];
}

#define EXPECT_X(i, j, want) EXPECT_CLOSE(x_of((i), (j)), (want), 1e-6)

#endif
