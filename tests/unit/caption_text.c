// TEST timeout=20
/* Captions of entries written here, and of real ones, word for word as a reader would put them. */
#include "src/data/caption.h"
#include "tests/test.h"

#include <inttypes.h>

#define HEAD                                                                                       \
    "ID   TEST_ECOLI  Reviewed;   3 AA.\nAC   P00001;\n"                                           \
    "DT   01-FEB-1999, integrated into UniProtKB/Swiss-Prot.\n"
#define TAIL "SQ   SEQUENCE   3 AA;  300 MW;  %016" PRIX64 " CRC64;\n     MKV\n//\n"

static void expect_caption(const char *middle, const char *want) {
    char text[8192];
    error err = {0};
    uniprot_entry entry = {0};
    uniprot_tally tally = {0};
    caption c = {0};
    int size = snprintf(text, sizeof text, "%s%s", HEAD, middle);
    size += snprintf(text + size, sizeof text - (size_t)size, TAIL, uniprot_crc64("MKV", 3));
    const uniprot_record record = {text, (size_t)size, "here", 0, 1};
    EXPECT(uniprot_parse(&record, &entry, &tally, &err) == STATUS_OK, "%s", err.text);
    caption_write(&c, &entry);
    EXPECT_TEXT(c.text, want);
    EXPECT(c.size == strlen(want));
    caption_destroy(&c);
    uniprot_entry_destroy(&entry);
}

static void check_written_here(void) {
    expect_caption("DE   RecName: Full=Widget synthase;\n",
                   "The protein is named Widget synthase.");
    expect_caption("DE   RecName: Full=Widget synthase;\nDE   Flags: Fragment;\n",
                   "The protein is named Widget synthase (fragment).");
    expect_caption("", "The protein has no name yet.");
    /* The order is ours, not the entry's; a topic's lead stands once. */
    expect_caption("DE   RecName: Full=Widget synthase;\n"
                   "CC   -!- SIMILARITY: Belongs to the widget family. {ECO:0000305}.\n"
                   "CC   -!- PTM: Phosphorylated (PubMed:123, PubMed:456).\n"
                   "CC   -!- PTM: Cleaved by furin.\n"
                   "CC   -!- SUBUNIT: Homodimer. {ECO:0000269|PubMed:1}.\n"
                   "CC   -!- FUNCTION: makes widgets {ECO:0000255}.\n",
                   "Makes widgets. The protein is named Widget synthase. Subunits: Homodimer. "
                   "Modifications: Phosphorylated. Cleaved by furin. "
                   "It belongs to the widget family.");
    /* What is said of an isoform or a chain is not said of this sequence. */
    expect_caption("DE   RecName: Full=Widget synthase;\n"
                   "CC   -!- FUNCTION: [Isoform 2]: Does nothing.\n"
                   "CC   -!- FUNCTION: p53 is bound.\n"
                   "CC   -!- DISEASE: Widget shortage.\n"
                   "CC   -!- SUBCELLULAR LOCATION: [Isoform 2]: Secreted.\n",
                   "p53 is bound. The protein is named Widget synthase.");
    expect_caption("DE   RecName: Full=Widget synthase;\n"
                   "CC   -!- CATALYTIC ACTIVITY:\n"
                   "CC       Reaction=A + H2O = B; Xref=Rhea:RHEA:1, ChEBI:CHEBI:2;\n"
                   "CC         EC=1.2.3.4; Evidence={ECO:0000269|PubMed:1};\n"
                   "CC   -!- COFACTOR:\n"
                   "CC       Name=Zn(2+); Xref=ChEBI:CHEBI:29105;\n"
                   "CC       Note=Binds 2 zinc ions. {ECO:0000250};\n"
                   "CC   -!- PATHWAY: Widget biosynthesis; widget from B: step 1/2.\n"
                   "CC   -!- SUBCELLULAR LOCATION: Cytoplasm {ECO:0000305}. Note=Near the wall.\n",
                   "The protein is named Widget synthase. It catalyses this reaction: "
                   "A + H2O = B. It needs as cofactor: Zn(2+). Binds 2 zinc ions. "
                   "It takes part in this pathway: Widget biosynthesis; widget from B: step 1/2. "
                   "It is found here: Cytoplasm. Near the wall.");
}

static void check_questions(void) {
    int seen[64] = {0};
    EXPECT(caption_question_count() >= 8);
    for (int i = 0; i < caption_question_count(); i++) {
        const char *at = strstr(caption_question_at(i), "<protein>");
        EXPECT(at != NULL && strstr(at + 1, "<protein>") == NULL, "%s", caption_question_at(i));
    }
    for (int i = 0; i < 1000; i++) {
        char accession[16];
        snprintf(accession, sizeof accession, "P%05d", i);
        const char *question = caption_question(3, accession);
        EXPECT(question == caption_question(3, accession));
        for (int k = 0; k < caption_question_count(); k++)
            seen[k] += caption_question_at(k) == question;
    }
    /* A thousand draws of at most 64 kinds: each near its share, ±6 sigma of the binomial. */
    const double n = 1000, p = 1.0 / caption_question_count();
    for (int k = 0; k < caption_question_count(); k++)
        EXPECT(fabs(seen[k] - n * p) < 6 * sqrt(n * p * (1 - p)), "question %d: %d times", k,
               seen[k]);
    int changed = 0;
    for (int i = 0; i < 100; i++) {
        char accession[16];
        snprintf(accession, sizeof accession, "P%05d", i);
        changed += caption_question(3, accession) != caption_question(4, accession);
    }
    EXPECT(changed > 50, "another seed changes %d of 100 questions", changed);
}

int main(void) {
    check_written_here();
    check_questions();
    return test_end();
}
