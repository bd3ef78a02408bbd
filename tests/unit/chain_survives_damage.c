// TEST timeout=60
/* Real files, cut and changed at random 2,000 times: every one is read or refused with a sentence
 * that names it; under the sanitizers nothing is read that is not there. What is read holds only
 * finite or wholly missing positions. */
#include "io/inflate.h"
#include "tests/unit/structure_text.h"

#include <unistd.h>

#define FOLDER "/usr/share/doc/python-biopython-doc/Tests/PDB/"

enum { FILES = 5, ROUNDS = 400 };

static const char *const files[FILES] = {FOLDER "1A8O.cif.gz", FOLDER "3JQH.cif.gz",
                                         FOLDER "1A8O.pdb.gz", FOLDER "2n0n_M1.pdb.gz",
                                         FOLDER "disordered.pdb"};

/* A linear congruential generator: the same damage on every machine. */
static uint32_t draw(uint64_t *state, size_t below) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((*state >> 33) % (below > 0 ? below : 1));
}

static size_t damage(char *text, size_t size, uint64_t *state) {
    static const char nasty[] = "\n\n '\"; #_?.-9eE\0\x01\xff[(loop_data_ATOM";
    const uint32_t changes = 1 + draw(state, 8);
    for (uint32_t i = 0; i < changes; i++) {
        const size_t at = draw(state, size);
        const size_t length = draw(state, 40) < size - at ? draw(state, 40) % (size - at) : 0;
        switch (draw(state, 4)) {
        case 0:
            text[at] = nasty[draw(state, sizeof nasty - 1)];
            break;
        case 1: /* a piece is lost */
            memmove(text + at, text + at + length, size - at - length);
            size -= length;
            break;
        case 2: /* a piece stands elsewhere */
            memmove(text + at, text + draw(state, size - length), length);
            break;
        default:
            text[at] = (char)draw(state, 256);
        }
    }
    return draw(state, 3) == 0 ? draw(state, size) : size;
}

static void check_result(status result, const char *path) {
    if (result != STATUS_OK) {
        EXPECT(result == STATUS_INPUT && strncmp(structure_error.text, path, strlen(path)) == 0 &&
                   structure.memory == NULL,
               "%s", structure_error.text);
        return;
    }
    for (int64_t i = 0; i < structure.count; i++) {
        const protein_chain *c = &structure.chains[i];
        int64_t seen = 0, good = 0;
        for (int64_t j = 0; j < c->length; j++) {
            const float *at = c->coord + 3 * j;
            const int nans = isnan(at[0]) + isnan(at[1]) + isnan(at[2]);
            seen += nans == 0;
            good += (nans == 0 || nans == 3) && c->letters[j] >= 'A' && c->letters[j] <= 'Z';
        }
        EXPECT(good == c->length && seen == c->present && c->length > 0);
    }
}

int main(void) {
    if (access(files[0], R_OK) != 0)
        TEST_SKIP("python-biopython-doc is not installed");
    uint64_t state = 20;
    int refused = 0;
    for (int f = 0; f < FILES; f++) {
        char *text;
        size_t size;
        error err = {0};
        EXPECT(inflate_file(files[f], &text, &size, &err) == STATUS_OK, "%s", err.text);
        char *changed = malloc(size);
        for (int round = 0; round < ROUNDS; round++) {
            memcpy(changed, text, size);
            const size_t left = damage(changed, size, &state);
            const status result = parse_as(changed, left, files[f]);
            check_result(result, files[f]);
            refused += result != STATUS_OK;
        }
        free(changed);
        free(text);
    }
    printf("%d of %d refused\n", refused, FILES * ROUNDS);
    EXPECT(refused > 200 && refused < FILES * ROUNDS - 200, "%d", refused);
    chain_file_destroy(&structure);
    return test_end();
}
