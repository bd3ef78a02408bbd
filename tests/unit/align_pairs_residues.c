// TEST timeout=20
/* Alignments whose right answer is plain to see, and the score of random ones against a slow
 * program of another form (recursion over all ways to pair, with memory). */
#include "io/align.h"
#include "tests/test.h"

enum { LONGEST = 64 };

static int64_t map[LONGEST];
static align_result result;

static void align(const char *entry, const char *chain) {
    error err = {0};
    EXPECT(align_entry((const uint8_t *)entry, (int64_t)strlen(entry), (const uint8_t *)chain,
                       (int64_t)strlen(chain), map, &result, &err) == STATUS_OK);
}

/* The chain as the entry sees it, '-' where a residue has no partner. */
static const char *seen_by(const char *entry, const char *chain) {
    static char text[LONGEST + 1];
    const size_t length = strlen(entry);
    for (size_t i = 0; i < length; i++)
        text[i] = map[i] < 0 ? '-' : chain[map[i]];
    text[length] = '\0';
    return text;
}

static void expect(const char *entry, const char *chain, const char *seen, align_kind kind) {
    align(entry, chain);
    EXPECT_TEXT(seen_by(entry, chain), seen);
    EXPECT(result.kind == kind, "%s %s: %d", entry, chain, (int)result.kind);
}

static void test_plain_cases(void) {
    expect("MKTAYIAK", "MKTAYIAK", "MKTAYIAK", ALIGN_EQUAL);
    EXPECT(result.identity == 1 && result.coverage == 1 && result.pairs == 8);
    expect("MKTAYIAK", "TAYI", "--TAYI--", ALIGN_INSIDE);
    EXPECT(map[2] == 0 && result.identity == 1 && result.coverage == 1);
    expect("TAYI", "GSHMTAYIHHHHHH", "TAYI", ALIGN_INSIDE);
    EXPECT(map[0] == 4);
    expect("M", "W", "W", ALIGN_GLOBAL);
    EXPECT(result.identity == 0 && result.pairs == 1);
    expect("M", "M", "M", ALIGN_EQUAL);
}

static void test_changes(void) {
    expect("MKTAYIAKQRQISFVKSHF", "MKTAYIAKWRQISFVKSHF", "MKTAYIAKWRQISFVKSHF", ALIGN_GLOBAL);
    EXPECT_CLOSE(result.identity, 18.0 / 19, 1e-12);
    /* a tag in front, four residues not seen, an end cut off */
    expect("MKTAYIAKQRQISFVKSHFSRQLEERLG", "GSHMKTAYIAKQRFVKSHFSRQLEE",
           "MKTAYIAKQR---FVKSHFSRQLEE---", ALIGN_GLOBAL);
    EXPECT(result.identity == 1 && result.pairs == 22);
    EXPECT_CLOSE(result.coverage, 22.0 / 25, 1e-12);
    /* residues of the chain without partner */
    expect("MKTAYIAKQRFVKSHFSRQ", "MKTAYIAKQRGGGGGFVKSHFSRQ", "MKTAYIAKQRFVKSHFSRQ", ALIGN_GLOBAL);
    EXPECT(map[9] == 9 && map[10] == 15);
    /* X says nothing */
    expect("MKTAYIAK", "MKXAYIWK", "MKXAYIWK", ALIGN_GLOBAL);
    EXPECT(result.unknown == 1 && result.identical == 6);
    EXPECT_CLOSE(result.identity, 6.0 / 7, 1e-12);
}

static void test_strangers(void) {
    align("WWWWWWWWWW", "GGGGGGGGGG");
    EXPECT(result.identity == 0);
}

/* ---- the slow twin --------------------------------------------------------------------------- */

static int best[LONGEST][LONGEST];

static int pair_score(char a, char b) {
    return a == 'X' || b == 'X' ? 0 : a == b ? 4 : -3;
}

/* Score of a map: pairs, and 9 + (length − 1) for every run of skipped residues inside. */
static int score_of_map(const char *entry, const char *chain) {
    int score = 0;
    int64_t before = -1, partner = -1;
    for (int64_t i = 0; i < (int64_t)strlen(entry); i++) {
        if (map[i] < 0)
            continue;
        score += pair_score(entry[i], chain[map[i]]);
        if (before >= 0) {
            const int64_t gaps[2] = {i - before - 1, map[i] - partner - 1};
            for (int k = 0; k < 2; k++)
                score -= gaps[k] > 0 ? 8 + (int)gaps[k] : 0;
        }
        before = i;
        partner = map[i];
    }
    return score;
}

/* Best score of a path from pair (i, j) to the end, over every next pair. A run of skipped residues
 * on one side only is allowed between two pairs, and free ones at the ends of the matrix. */
static int best_from(const char *entry, const char *chain, int n, int m) {
    int top = -1000000;
    for (int i = n - 1; i >= 0; i--)
        for (int j = m - 1; j >= 0; j--) {
            int rest = i == n - 1 || j == m - 1 ? 0 : -1000000;
            for (int k = i + 1; k < n && j + 1 < m; k++) {
                const int gap = k - i - 1 > 0 ? 8 + k - i - 1 : 0;
                rest = best[k][j + 1] - gap > rest ? best[k][j + 1] - gap : rest;
            }
            for (int k = j + 2; k < m && i + 1 < n; k++) {
                const int gap = 8 + k - j - 1;
                rest = best[i + 1][k] - gap > rest ? best[i + 1][k] - gap : rest;
            }
            best[i][j] = pair_score(entry[i], chain[j]) + rest;
            if ((i == 0 || j == 0) && best[i][j] > top)
                top = best[i][j];
        }
    return top;
}

static void test_random_against_twin(void) {
    uint64_t state = 7;
    for (int round = 0; round < 500; round++) {
        char text[2][LONGEST];
        int length[2];
        for (int k = 0; k < 2; k++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            length[k] = 1 + (int)((state >> 33) % 40);
            for (int i = 0; i < length[k]; i++) {
                state = state * 6364136223846793005u + 1442695040888963407u;
                text[k][i] = "ACDX"[(state >> 33) % 16 % (round % 2 ? 4 : 3)];
            }
            text[k][length[k]] = '\0';
        }
        align(text[0], text[1]);
        const int want = best_from(text[0], text[1], length[0], length[1]);
        const int got = score_of_map(text[0], text[1]);
        EXPECT(got == want || result.kind != ALIGN_GLOBAL, "%s %s: %d, want %d", text[0], text[1],
               got, want);
        int64_t last = -1;
        for (int i = 0; i < length[0]; i++) {
            EXPECT(map[i] == -1 || map[i] > last);
            last = map[i] >= 0 ? map[i] : last;
        }
    }
}

static void test_too_long(void) {
    const int64_t n = 20000;
    uint8_t *a = malloc((size_t)n), *b = malloc((size_t)n);
    int64_t *long_map = malloc((size_t)n * sizeof *long_map);
    error err = {0};
    memset(a, 'A', (size_t)n);
    memset(b, 'C', (size_t)n);
    EXPECT(align_entry(a, n, b, n, long_map, &result, &err) == STATUS_OK);
    EXPECT(result.kind == ALIGN_TOO_LONG && result.pairs == 0 && long_map[n - 1] == -1);
    EXPECT(result.identity == 0 && result.coverage == 0);
    free(a);
    free(b);
    free(long_map);
}

int main(void) {
    test_plain_cases();
    test_changes();
    test_strangers();
    test_random_against_twin();
    test_too_long();
    return test_end();
}
