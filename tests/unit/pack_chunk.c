// TEST timeout=60
/* Chunks packed end to end: a small one token by token, then the shapes that are easy to get wrong.
 */
#include "src/data/esm_alphabet.h"
#include "src/data/pack.h"
#include "tests/unit/golden_tokens.h"

enum { LONG = 2000 };

static const float COORD[9] = {1, 2, 3, NAN, NAN, NAN, 4, 5, 6};
static const float MISSING[6] = {NAN, NAN, NAN, NAN, NAN, NAN};
static uint8_t long_letters[LONG];
static float long_coord[3 * LONG];

static pack_settings settings;
static arena memory;

/* MKJ with a hole; a single residue without structure; 2000 residues; two without coordinates. */
static pack_protein PROTEINS[] = {{3, (const uint8_t *)"MkJ", COORD},
                                  {1, (const uint8_t *)"A", NULL},
                                  {LONG, long_letters, long_coord},
                                  {2, (const uint8_t *)"GG", MISSING}};

static pack_sample sample_of(int64_t protein, bool structure, const char *question,
                             const char *answer) {
    return (pack_sample){.protein = protein,
                         .structure = structure,
                         .question = question,
                         .answer = answer,
                         .question_bytes = (int64_t)strlen(question),
                         .answer_bytes = answer == NULL ? 0 : (int64_t)strlen(answer)};
}

static packed_chunk pack(const pack_sample *samples, int64_t count) {
    const pack_input input = {4, count, PROTEINS, samples};
    packed_chunk packed;
    error err = {0};
    EXPECT(pack_build(&settings, &input, &memory, &packed, &err) == STATUS_OK, "%s", err.text);
    return packed;
}

/* The prompt's ids are those of tokenizer_golden.tsv, written out. */
static void check_by_hand(void) {
    static const int32_t head[] = {1,     32003, 259,   32005, 29871, 13,    3492,  526,
                                   263,   4768,  19915, 29915, 29879, 20255, 29889, 13,
                                   32006, 29871, 13,    13,    5618,  947,   29871, 32001};
    static const int32_t tail[] = {32002, 29871, 437,   29973, 29871, 32004, 29871,
                                   739,   7868,  29879, 25348, 29889, 29871, 2};
    enum { HEAD = 24, VECTORS = 5, TAIL = 14, UNSUPERVISED = 6, T = HEAD + VECTORS + TAIL };
    const pack_sample one = sample_of(0, true, "What does <protein> do?", "It binds DNA.");
    const packed_chunk p = pack(&one, 1);
    const protein_batch *protein = &p.batch.protein;
    static const int32_t residues[] = {0, 20, 15, 3, 2}; /* <cls> M K <unk> <eos> */
    EXPECT(protein->B == 1 && protein->offset[0] == 0 && protein->structure[0]);
    expect_ids(protein->token, protein->offset[1], residues, 5, "residues");
    for (int i = 0; i < 15; i++) {
        const float want = i < 3 || i >= 12 ? NAN : COORD[i - 3];
        EXPECT(isnan(want) ? isnan(protein->coord[i]) : protein->coord[i] == want, "%d", i);
    }
    const text_batch *text = &p.batch.text;
    EXPECT(text->B == 1 && text->offset[0] == 0 && text->offset[1] == T);
    EXPECT(text->supervised == TAIL - UNSUPERVISED);
    for (int i = 0; i < T; i++) {
        const bool vector = i >= HEAD && i < HEAD + VECTORS;
        EXPECT(text->token[i] == (vector ? -1 : i < HEAD ? head[i] : tail[i - HEAD - VECTORS]));
        EXPECT(text->source[i] == (vector ? i - HEAD : -1));
        EXPECT(text->position[i] == i && (i >= VECTORS || protein->position[i] == i));
        /* [/INST] predicts the answer's first id, the last id but one </s>, </s> nothing. */
        const int next = i + 1 - HEAD - VECTORS;
        const bool predicts = next >= UNSUPERVISED && next < TAIL;
        EXPECT(text->target[i] == (predicts ? tail[next] : -1), "target %d", i);
    }
    EXPECT(p.sample[0] == 0 && p.counts.samples == 1 && p.counts.text_tokens == T);
    EXPECT(p.counts.protein_tokens == 5 && p.counts.supervised == 8);
    EXPECT(p.counts.residues_squared == 9 && p.counts.longest_protein == 3);
    EXPECT(p.counts.cut_answers == 0 && p.counts.cut_proteins == 0);
}

/* The protein's row of sequence b's first vector, and how many vectors it has. */
static int64_t first_row(const text_batch *text, int64_t b, int64_t *vectors) {
    int64_t first = -1;
    *vectors = 0;
    for (int64_t i = text->offset[b]; i < text->offset[b + 1]; i++) {
        EXPECT((text->token[i] == -1) == (text->source[i] >= 0));
        EXPECT(text->position[i] == i - text->offset[b]);
        if (text->source[i] < 0)
            continue;
        first = first < 0 ? text->source[i] : first;
        EXPECT(text->source[i] == first + (*vectors)++);
    }
    return first;
}

/* Six samples: protein 0 with, without and again with structure; 1; the long one; the one without a
 * coordinate with structure wanted and not wanted, which is one pass. */
static void check_sharing(void) {
    const pack_sample s[] = {sample_of(0, true, "a", "b"), sample_of(0, false, "a", "b"),
                             sample_of(1, true, "a", "b"), sample_of(0, true, "c", "d"),
                             sample_of(2, true, "a", "b"), sample_of(3, true, "a", "b"),
                             sample_of(3, false, "a", "b")};
    const packed_chunk p = pack(s, 7);
    const protein_batch *protein = &p.batch.protein;
    static const int64_t offset[] = {0, 5, 10, 13, 1037, 1041};
    static const bool structure[] = {true, false, false, true, false};
    static const int64_t pass_of[] = {0, 1, 2, 0, 3, 4, 4};
    EXPECT(protein->B == 5 && p.batch.text.B == 7);
    for (int b = 0; b < 5 && protein->B == 5; b++)
        EXPECT(protein->offset[b + 1] == offset[b + 1] && protein->structure[b] == structure[b]);
    for (int b = 0; b < 7; b++) {
        int64_t vectors = 0;
        EXPECT(first_row(&p.batch.text, b, &vectors) == offset[pass_of[b]]);
        EXPECT(vectors == offset[pass_of[b] + 1] - offset[pass_of[b]] && p.sample[b] == b);
    }
    EXPECT(p.counts.cut_proteins == 1 && p.counts.longest_protein == 1022);
    EXPECT(p.counts.residues_squared == 9 + 1022 * 1022);
    EXPECT(p.counts.protein_tokens == 1041 && p.batch.text.offset[7] == p.counts.text_tokens);
    /* The cut protein: residue 1022 is the last one, then <eos> without a coordinate. */
    EXPECT(protein->token[13 + 1022] == 23 && protein->token[13 + 1023] == 2);
    EXPECT(protein->coord[3 * (13 + 1022)] == 1021 && isnan(protein->coord[3 * (13 + 1023)]));
    int64_t targets = 0;
    for (int64_t i = 0; i < p.counts.text_tokens; i++)
        targets += p.batch.text.target[i] >= 0;
    EXPECT(targets == p.batch.text.supervised && targets == p.counts.supervised);
}

/* Room for the whole prompt and two ids of the answer of sample 0; none for sample 1; sample 2 has
 * no answer to lose. */
static void check_cuts(void) {
    const pack_sample s[] = {sample_of(1, false, "Q?", "word word word"),
                             sample_of(2, false, "Q Q Q Q Q Q Q Q Q Q?", "word"),
                             sample_of(0, false, "Q?", NULL)};
    const packed_chunk whole = pack(s, 3);
    EXPECT(whole.counts.samples == 3 && whole.counts.cut_answers == 0);
    const int64_t needed = whole.batch.text.offset[3] - whole.batch.text.offset[2] - 4;
    const int64_t before = settings.max_text;
    settings.max_text = needed + 2;
    const packed_chunk cut = pack(s, 3);
    settings.max_text = before;
    EXPECT(cut.counts.samples == 2 && cut.counts.without_room == 1 && cut.counts.cut_answers == 1);
    EXPECT(cut.counts.longest_needed > settings.max_text || cut.counts.longest_needed > needed + 1);
    EXPECT(cut.sample[0] == 0 && cut.sample[1] == 2);
    EXPECT(cut.batch.protein.B == 2 && cut.counts.protein_tokens == 8, "2 has no encoder pass");
    EXPECT(cut.batch.text.supervised == 2);
    const int64_t last = cut.batch.text.offset[1] - 1; /* of the cut answer: predicts nothing */
    EXPECT(cut.batch.text.target[last] == -1 && cut.batch.text.target[last - 1] >= 0);
    EXPECT(cut.batch.text.target[last - 2] >= 0 && cut.batch.text.target[last - 3] == -1);
    EXPECT(cut.batch.text.token[last] != 2);
}

static void check_empty(void) {
    const packed_chunk p = pack(NULL, 0);
    EXPECT(p.batch.protein.B == 0 && p.batch.protein.offset[0] == 0);
    EXPECT(p.batch.text.B == 0 && p.batch.text.offset[0] == 0 && p.batch.text.supervised == 0);
    EXPECT(p.counts.samples == 0 && p.counts.text_tokens == 0 && p.counts.protein_tokens == 0);
}

/* ---- a dataset of two proteins and three captions, in memory ---- */

static const char QUESTIONS[] = "Name?<protein> Role?", TEXTS[] = "alphabetagamma";
static const int64_t RESIDUES[] = {0, 3, 3 + LONG}, QUESTION_AT[] = {0, 5, 5, 20};
static const int64_t TEXT_AT[] = {0, 5, 9, 14};
static const uint8_t SOURCES[] = {SOURCE_PDB, SOURCE_NONE};
static const int32_t OWNERS[] = {0, 0, 1};
static int reads; /* of proteins */

/* Stand in for io/dataset.c, which needs a file; the linker takes these first. */
status dataset_read_protein(const dataset *d, int64_t i, int64_t count, uint8_t *letters,
                            float *coord, error *err) {
    (void)err;
    reads++;
    EXPECT(count == (i == 0 ? 3 : 1022) && (coord == NULL) == (d->source[i] == SOURCE_NONE));
    memcpy(letters, i == 0 ? PROTEINS[0].letters : long_letters, (size_t)count);
    if (coord != NULL)
        memcpy(coord, COORD, sizeof COORD);
    return STATUS_OK;
}

status dataset_read_caption(const dataset *d, int64_t i, char *question, char *text, error *err) {
    (void)d;
    (void)err;
    memcpy(question, QUESTIONS + QUESTION_AT[i], (size_t)(QUESTION_AT[i + 1] - QUESTION_AT[i]));
    memcpy(text, TEXTS + TEXT_AT[i], (size_t)(TEXT_AT[i + 1] - TEXT_AT[i]));
    return STATUS_OK;
}

static void check_read(void) {
    static char name[] = "made-up.h5";
    const dataset d = {.path = name,
                       .proteins = 2,
                       .captions = 3,
                       .offset = RESIDUES,
                       .source = SOURCES,
                       .caption_protein = OWNERS,
                       .caption_question_offset = QUESTION_AT,
                       .caption_offset = TEXT_AT};
    const sample drawn[] = {{.caption = 1, .protein = 0, .structure = true},
                            {.caption = 2, .protein = 1, .structure = false},
                            {.caption = 0, .protein = 0, .structure = false}};
    const pack_sample same[] = {sample_of(0, true, "", "beta"),
                                sample_of(2, false, "<protein> Role?", "gamma"),
                                sample_of(0, false, "Name?", "alpha")};
    error err = {0};
    pack_input input;
    packed_chunk got;
    const size_t mark = arena_mark(&memory);
    memory.peak = memory.used;
    EXPECT(pack_read(&d, drawn, 3, &memory, &input, &err) == STATUS_OK && reads == 2);
    EXPECT(input.proteins == 2 && input.protein[1].L == LONG && input.protein[1].coord == NULL);
    EXPECT(pack_build(&settings, &input, &memory, &got, &err) == STATUS_OK);
    const size_t used = memory.peak - mark, bound = pack_bytes(&d, 3, &settings);
    EXPECT(used <= bound && bound < 8 * used, "%zu bytes used, bound %zu", used, bound);
    const packed_chunk want = pack(same, 3);
    EXPECT(memcmp(&got.counts, &want.counts, sizeof got.counts) == 0);
    expect_ids(got.batch.text.token, got.counts.text_tokens, want.batch.text.token,
               want.counts.text_tokens, "text");
    expect_ids(got.batch.protein.token, got.counts.protein_tokens, want.batch.protein.token,
               want.counts.protein_tokens, "protein");
}

static void check_alphabet(void) {
    static const char letters[] = "LAGVSERTIDPKQNFYMHWCXBUZO.-";
    for (int32_t i = 0; i < 27; i++) {
        EXPECT(esm_alphabet_id((uint8_t)letters[i]) == 4 + i, "%c", letters[i]);
        EXPECT(esm_alphabet_text(4 + i)[0] == letters[i]);
    }
    EXPECT(esm_alphabet_id('w') == esm_alphabet_id('W') && esm_alphabet_id('J') == 3);
    EXPECT(esm_alphabet_id('<') == 3 && esm_alphabet_id(0) == 3 && esm_alphabet_id(255) == 3);
    EXPECT_TEXT(esm_alphabet_text(0), "<cls>");
    EXPECT_TEXT(esm_alphabet_text(31), "<null_1>");
    EXPECT_TEXT(esm_alphabet_text(32), "<mask>");
}

int main(void) {
    check_alphabet();
    tokenizer t;
    load_llama_tokenizer(&t);
    error err = {0};
    EXPECT(arena_create(&memory, "test", 1 << 24, &err) == STATUS_OK);
    settings = (pack_settings){&t, "You are a biologist's assistant.", 1024};
    for (int i = 0; i < LONG; i++) {
        long_letters[i] = i == 1021 ? 'C' : 'L';
        for (int axis = 0; axis < 3; axis++)
            long_coord[3 * i + axis] = (float)i;
    }
    check_by_hand();
    check_sharing();
    check_cuts();
    check_empty();
    check_read();
    arena_destroy(&memory);
    tokenizer_destroy(&t);
    return test_end();
}
