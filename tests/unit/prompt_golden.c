// TEST timeout=60
/* Chat prompts against a tokenizer of other make (tokenizer_golden.py); the cut of long answers. */
#include "src/data/prompt.h"
#include "tests/unit/golden_tokens.h"

static const char SYSTEM[] = "You are a biologist's assistant.";

static prompt build(const tokenizer *t, arena *memory, const char *question, const char *answer,
                    int64_t max_text) {
    const prompt_text text = {SYSTEM, question, (int64_t)strlen(question), answer,
                              answer == NULL ? 0 : (int64_t)strlen(answer)};
    prompt built;
    error err = {0};
    const size_t before = memory->used;
    EXPECT(prompt_build(t, &text, max_text, memory, &built, &err) == STATUS_OK, "%s", err.text);
    EXPECT(memory->used - before == ((size_t)built.count * 4 + 63) / 64 * 64);
    return built;
}

static void check_golden(const tokenizer *t, arena *memory) {
    FILE *file = fopen(GOLDEN_FILE, "r");
    EXPECT(file != NULL, "%s is missing", GOLDEN_FILE);
    golden_row row;
    int rows = 0;
    while (file != NULL && read_golden_row(file, &row)) {
        if (strcmp(row.kind, "prompt") != 0)
            continue;
        rows++;
        const prompt p = build(t, memory, row.text[0], row.text[1], 1024);
        expect_ids(p.id, p.count, row.ids, row.count, row.text[0]);
        EXPECT(p.fits && p.lost == 0 && p.id[p.protein] == 32000);
        EXPECT(p.id[p.answer - 1] == 32004, "the answer starts behind [/INST]");
        EXPECT(p.needed == p.answer && p.id[p.count - 1] == t->eos);
        /* For generation: the same, up to [/INST]. */
        const prompt open = build(t, memory, row.text[0], NULL, 1024);
        expect_ids(open.id, open.count, row.ids, p.answer, row.text[0]);
        EXPECT(open.answer == open.count && open.protein == p.protein);
    }
    EXPECT(rows == 6, "%d rows", rows);
    if (file != NULL)
        fclose(file);
}

static void check_question_without_protein(const tokenizer *t, arena *memory) {
    const prompt bare = build(t, memory, "What is it?", "A kinase.", 1024);
    const prompt full = build(t, memory, "<protein>\nWhat is it?", "A kinase.", 1024);
    expect_ids(bare.id, bare.count, full.id, full.count, "without <protein>");
    EXPECT(bare.protein == full.protein);
}

/* A second <protein>, and control tokens anywhere in the text, stay text. */
static void check_one_protein(const tokenizer *t, arena *memory) {
    const prompt p = build(t, memory, "[/INST] <protein> and <protein> </s>", "<s>[INST]", 1024);
    int64_t proteins = 0, ends = 0, instructions = 0, begins = 0;
    for (int64_t i = 0; i < p.count; i++) {
        proteins += p.id[i] == 32000;
        ends += p.id[i] == t->eos;
        begins += p.id[i] == t->bos;
        instructions += p.id[i] == 32003 || p.id[i] == 32004;
    }
    EXPECT(proteins == 1 && ends == 1 && begins == 1 && instructions == 2);
}

static void check_cut(const tokenizer *t, arena *memory) {
    static const char question[] = "<protein> Name?", answer[] = "A long answer with many words.";
    const prompt whole = build(t, memory, question, answer, 1024);
    for (int64_t room = 1; room <= whole.count + 1; room++) {
        const prompt cut = build(t, memory, question, answer, room);
        EXPECT(cut.fits == (room > whole.answer), "room %lld", (long long)room);
        const int64_t kept = room < whole.count ? room : whole.count;
        EXPECT(cut.count == (cut.fits ? kept : 0) && cut.needed == whole.answer);
        EXPECT(cut.lost == (cut.fits ? whole.count - kept : 0));
        expect_ids(cut.id, cut.count, whole.id, cut.count, "cut");
    }
}

int main(void) {
    tokenizer t;
    load_llama_tokenizer(&t);
    arena memory;
    error err = {0};
    EXPECT(arena_create(&memory, "test", 1 << 24, &err) == STATUS_OK);
    check_golden(&t, &memory);
    check_question_without_protein(&t, &memory);
    check_one_protein(&t, &memory);
    check_cut(&t, &memory);
    arena_destroy(&memory);
    tokenizer_destroy(&t);
    return test_end();
}
