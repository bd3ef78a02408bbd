#include "src/data/esm_alphabet.h"

#include "src/base/error.h"
#include "src/nn/esm.h"

#include <ctype.h>

static const char *const TEXT[ESM_VOCABULARY] = {
    "<cls>", "<pad>", "<eos>", "<unk>", "L", "A", "G", "V", "S", "E",        "R",
    "T",     "I",     "D",     "P",     "K", "Q", "N", "F", "Y", "M",        "H",
    "W",     "C",     "X",     "B",     "U", "Z", "O", ".", "-", "<null_1>", "<mask>"};

int32_t esm_alphabet_id(uint8_t letter) {
    const char upper = (char)toupper(letter);
    for (int32_t id = ESM_UNK + 1; TEXT[id][1] == '\0'; id++) /* up to <null_1> */
        if (TEXT[id][0] == upper)
            return id;
    return ESM_UNK;
}

const char *esm_alphabet_text(int32_t id) {
    CHECK(id >= 0 && id < ESM_VOCABULARY, "%d is not one of ESM's %d ids.", id, ESM_VOCABULARY);
    return TEXT[id];
}
