// TEST timeout=60
/* Records made by hand: what real files rarely hold, and what must be refused with a sentence. */
#include "io/uniprot.h"
#include "tests/test.h"

/* A record of the 38 residues below; every part can be replaced. */
typedef struct parts {
    const char *id, *ac, *de, *cc, *ft, *sq, *sequence, *end;
} parts;

/* The CRC64 is from Biopython's Bio.SeqUtils.CheckSum.crc64. */
static const parts good = {
    "ID   TEST_HUMAN              Reviewed;          38 AA.\n",
    "AC   P12345; Q00001;\n",
    "DE   RecName: Full=Test protein;\n",
    "",
    "",
    "SQ   SEQUENCE   38 AA;  4279 MW;  96F7AD561AA95DF8 CRC64;\n",
    "     MKTAYIAKQR QISFVKSHFS RQLEERLGLI EVQAPILS\n",
    "//\n",
};

static char text[1 << 20];
static uniprot_entry entry;
static uniprot_tally tally;
static error err;

static status parse_text(size_t size) {
    const uniprot_record record = {text, size, "test.dat", 0, 11};
    err = (error){0};
    tally = (uniprot_tally){0};
    return uniprot_parse(&record, &entry, &tally, &err);
}

static status parse_parts(parts p) {
    const int size = snprintf(text, sizeof text, "%s%s%s%s%s%s%s%s", p.id, p.ac, p.de, p.cc, p.ft,
                              p.sq, p.sequence, p.end);
    return parse_text((size_t)size);
}

static void expect_refused(parts p, const char *sentence) {
    EXPECT(parse_parts(p) == STATUS_INPUT);
    EXPECT_TEXT(err.text, sentence);
}

static void test_refusals(void) {
    EXPECT(parse_parts(good) == STATUS_OK, "%s", err.text);
    EXPECT(entry.length == 38 && entry.accession_count == 2);
    parts p = good;
    p.sequence = "     MKTAYIAKQR QISFVKSHFS RQLEERLGLI EVQAPILT\n";
    EXPECT(parse_parts(p) == STATUS_INPUT);
    EXPECT(strstr(err.text, "test.dat:14: entry P12345: the sequence's CRC64 is ") &&
               strstr(err.text, ", the SQ line says 96F7AD561AA95DF8."),
           "%s", err.text);
    p.sequence = "     MKTAYIAKQR\n";
    expect_refused(p, "test.dat:14: entry P12345: the sequence has 10 residues, the SQ line says "
                      "38.");
    p.sequence = "";
    expect_refused(p, "test.dat:14: entry P12345: the sequence is empty.");
    p.sequence = "     MKTAYIAKQR QISfVKSHFS\n";
    expect_refused(p, "test.dat:15: entry P12345: the sequence has 'f' where a capital letter is "
                      "expected.");
    p = good;
    p.id = "ID   TEST_HUMAN              Reviewed;          39 AA.\n";
    expect_refused(p, "test.dat:14: entry P12345: the sequence has 38 residues, the ID line says "
                      "39.");
    p = good;
    p.sq = p.sequence = "";
    expect_refused(p, "test.dat:11: entry P12345: it has no SQ line.");
    p = good;
    p.end = "";
    expect_refused(p, "test.dat:16: entry P12345: it is cut short: no // line before the next "
                      "record or the end.");
    p = good;
    p.ac = "";
    expect_refused(p, "test.dat:11: entry without accession: it has no AC line.");
    p.ac = "AC   P12\t345;\n";
    expect_refused(p, "test.dat:11: entry without accession: its first accession is not made of 1 "
                      "to 15 letters and digits.");
    p = good;
    p.id = "XX   nothing\n";
    expect_refused(p, "test.dat:11: entry without accession: expected a record that begins with "
                      "an ID line.");
    p = good;
    p.cc = "CC   -!- FUNCTION: Stra\xdf"
           "e.\n";
    expect_refused(p, "test.dat:14: entry without accession: byte 0xDF is no text (UTF-8).");
    p.cc = "CC   -!- FUNCTION: Stra\xc3\x9f"
           "e.\n";
    EXPECT(parse_parts(p) == STATUS_OK, "%s", err.text);
    EXPECT(parse_parts(good) == STATUS_OK);
    const size_t size = strlen(text);
    text[70] = '\0';
    EXPECT(parse_text(size) == STATUS_INPUT && strstr(err.text, "byte 0x00"), "%s", err.text);
    EXPECT(parse_text(0) == STATUS_INPUT);
}

static void test_old_checksum(void) {
    parts p = good;
    p.sq = "SQ   SEQUENCE   38 AA;  4279 MW;  7F33 CN;\n";
    EXPECT(parse_parts(p) == STATUS_OK && tally.unchecked_crc == 1, "%s", err.text);
    p.sq = "SQ   SEQUENCE of 38;\n";
    EXPECT(parse_parts(p) == STATUS_INPUT);
}

static void test_comments(void) {
    parts p = good;
    p.cc = "CC   -!- FUNCTION: Binds A- and\n"
           "CC       B-chains of non-\n"
           "CC       covalent kind -\n"
           "CC       and more (PubMed:1,\n"
           "CC       PubMed:2). {ECO:0000250|UniProtKB:P1, ECO:0000269|\n"
           "**   internal\n"
           "CC       PubMed:1}. Second (By\n"
           "CC       similarity). {ECO:0000305}. Third A-\n"
           "CC       or B-form.\n"
           "CC   -!- FUNCTION: [Isoform 2]: Other.\n"
           "CC   -!- SUBCELLULAR LOCATION: Isoform 3: Nucleus\n"
           "CC       {ECO:0000255}; Multi-pass. Note=Moves:\n"
           "CC       often. {ECO:0000269|PubMed:3}.\n"
           "CC   -!- CATALYTIC ACTIVITY:\n"
           "CC       Reaction=A;B + H(+) = C-\n"
           "CC         D; Xref=Rhea:RHEA:1; EC=1.1.1.1;\n"
           "CC         Evidence={ECO:0000269|PubMed:1,\n"
           "CC         ECO:0000305};\n"
           "CC   -!- COFACTOR:\n"
           "CC       Name=Mg(2+); Xref=ChEBI:CHEBI:1; Evidence={ECO:0000255};\n"
           "CC       Name=K(+); Note=Binds 1; or 2 {ECO:0000250} ions.;\n"
           "CC   -!- NEW TOPIC: x.\n"
           "CC   ---------------------------------\n"
           "CC   Copyrighted\n"
           "CC   ---------------------------------\n";
    EXPECT(parse_parts(p) == STATUS_OK, "%s", err.text);
    EXPECT(entry.comment_count == 6 && tally.unknown_topics == 1);
    if (entry.comment_count != 6)
        return;
    const uniprot_comment *c = entry.comments;
    char prose[1024];
    EXPECT_TEXT(c[0].text, "Binds A- and B-chains of non-covalent kind - and more (PubMed:1, "
                           "PubMed:2). Second. Third A- or B-form.");
    EXPECT(c[0].evidence == EVIDENCE_EXPERIMENTAL && c[0].span_count == 3);
    EXPECT(c[0].spans[0].evidence == EVIDENCE_EXPERIMENTAL);
    EXPECT(strncmp(c[0].text + c[0].spans[0].end, " Second.", 8) == 0);
    EXPECT(c[0].spans[1].evidence == EVIDENCE_SIMILARITY);
    EXPECT(c[0].spans[2].evidence == EVIDENCE_CURATOR);
    EXPECT_TEXT(uniprot_comment_prose(c, prose), "");
    EXPECT_TEXT(prose, "Binds A- and B-chains of non-covalent kind - and more. Second. Third A- or "
                       "B-form.");
    EXPECT_TEXT(c[1].molecule, "Isoform 2");
    EXPECT_TEXT(c[1].text, "Other.");
    EXPECT_TEXT(c[2].molecule, "Isoform 3");
    EXPECT_TEXT(uniprot_comment_prose(c + 2, prose), "Moves: often.");
    EXPECT_TEXT(prose, "Nucleus; Multi-pass.");
    EXPECT(c[3].evidence == EVIDENCE_EXPERIMENTAL);
    EXPECT_TEXT(c[3].text, "Reaction=A;B + H(+) = C-D; Xref=Rhea:RHEA:1; EC=1.1.1.1;");
    uniprot_comment_prose(c + 3, prose);
    EXPECT_TEXT(prose, "A;B + H(+) = C-D.");
    EXPECT_TEXT(uniprot_comment_prose(c + 4, prose), "Binds 1; or 2 ions.");
    EXPECT_TEXT(prose, "Mg(2+), K(+).");
}

/* A "Note=" that no `;` parts from the name before: the prose fits the size that the header gives.
 */
static void test_prose_fits(void) {
    parts p = good;
    p.cc = "CC   -!- COFACTOR:\n"
           "CC       Name=Zn(2+) Note=Binds a zinc ion for every chain, of which there are two;\n";
    EXPECT(parse_parts(p) == STATUS_OK && entry.comment_count == 1, "%s", err.text);
    char *prose = malloc(strlen(entry.comments[0].text) + 2);
    EXPECT_TEXT(uniprot_comment_prose(entry.comments, prose),
                "Binds a zinc ion for every chain, of which there are two");
    EXPECT_TEXT(prose, "Zn(2+).");
    free(prose);
}

/* Dates have a fixed width; nothing behind it is read, not even behind the record. */
static void test_dates(void) {
    static const char head[] = "ID   TEST_HUMAN\nAC   P12345;\nDT   21-JUL-1986";
    parts p = good;
    p.de = "DT   21-JUL-198699999999999999999999, integrated.\nDT   01-XXX-2000, x.\nDT   1.\n";
    EXPECT(parse_parts(p) == STATUS_OK, "%s", err.text);
    EXPECT(entry.date == 19860721 && entry.sequence_date == 0, "%d", entry.date);
    char *exact = malloc(sizeof head - 1);
    memcpy(exact, head, sizeof head - 1);
    const uniprot_record record = {exact, sizeof head - 1, "test.dat", 0, 1};
    EXPECT(uniprot_parse(&record, &entry, &tally, &err) == STATUS_INPUT);
    free(exact);
}

/* Only `**` is internal: another code that begins with a star is one that is not known. */
static void test_unknown_codes(void) {
    parts p = good;
    p.cc = "*A   what\n**   internal\nZZ   what\n";
    EXPECT(parse_parts(p) == STATUS_OK, "%s", err.text);
    EXPECT(tally.unknown_lines == 2, "%lld", (long long)tally.unknown_lines);
}

static void test_features(void) {
    parts p = good;
    p.ft = "FT   BINDING         <1..>9\n"
           "FT                   /ligand=\"ATP\"\n"
           "FT                   /ligand_id=\"ChEBI:CHEBI:30616\"\n"
           "FT                   /note=\"in the \"\"closed\"\" form, 5'-\n"
           "FT                   end \"\"said\"\"\n"
           "FT                   so\"\n"
           "FT                   /evidence=\"ECO:0000305, ECO:0000269|PubMed:1,\n"
           "FT                   ECO:0000255\"\n"
           "FT   CHAIN           ?..?9\n"
           "FT                   /id=\"PRO_1\"\n"
           "FT   CROSSLNK        P98765-2:700\n"
           "FT   VAR_SEQ         3\n"
           "FT                   /note=\"T -> AAAAAA\n"
           "FT                   CCCC (in HIV\n"
           "FT                   AIDS)\"\n"
           "FT   STRANGE         4\n"
           "FT   DOMAIN          1..99\n"
           "FT   DOMAIN          one..two\n"
           "FT   DOMAIN        2     >5       Old one (By similarity).\n"
           "FT                                /FTId=PRO_2.\n"
           "FT   SITE         37     37       Potential.\n"
           "FT   REGION          9\n"
           "FT                   /note=\"never closed\n"
           "FT   TURN            10\n";
    EXPECT(parse_parts(p) == STATUS_OK, "%s", err.text);
    EXPECT(tally.bad_features == 2 && tally.unknown_features == 1);
    EXPECT(entry.feature_count == 9, "%lld", (long long)entry.feature_count);
    if (entry.feature_count != 9)
        return;
    const uniprot_feature *f = entry.features;
    EXPECT(f[0].begin == 1 && f[0].end == 9);
    EXPECT(f[0].flags == (FEATURE_BEGIN_BEFORE | FEATURE_END_AFTER));
    EXPECT(f[0].evidence == EVIDENCE_EXPERIMENTAL);
    EXPECT_TEXT(f[0].ligand, "ATP");
    EXPECT_TEXT(f[0].note, "in the \"closed\" form, 5'-end \"said\" so");
    EXPECT(f[1].begin == -1 && f[1].end == 9);
    EXPECT(f[1].flags == (FEATURE_BEGIN_UNSURE | FEATURE_END_UNSURE));
    EXPECT_TEXT(f[1].id, "PRO_1");
    EXPECT_TEXT(f[2].sequence, "P98765-2");
    EXPECT(f[2].begin == 700);
    EXPECT_TEXT(f[3].note, "T -> AAAAAACCCC (in HIV AIDS)");
    EXPECT_TEXT(f[5].note, "Old one");
    EXPECT_TEXT(f[5].id, "PRO_2");
    EXPECT(f[5].evidence == EVIDENCE_SIMILARITY && f[5].flags == FEATURE_END_AFTER);
    EXPECT(f[6].note[0] == '\0' && f[6].evidence == EVIDENCE_AUTOMATIC);
    EXPECT_TEXT(f[7].note, "never closed");
    EXPECT_TEXT(f[8].key, "TURN");
}

static void expect_name(int64_t i, uniprot_name_kind kind, uniprot_name_field field, int part,
                        const char *wanted) {
    EXPECT(i < entry.name_count, "name %lld", (long long)i);
    if (i >= entry.name_count)
        return;
    const uniprot_name *n = entry.names + i;
    EXPECT(n->kind == kind && n->field == field && n->part == part, "%s", n->text);
    EXPECT_TEXT(n->text, wanted);
}

static void test_names(void) {
    parts p = good;
    p.de = "DE   (S)-test protein 1(B) precursor (EC 1.2.3.4) (Other (old) name)\n"
           "DE   [Contains: Alpha chain; Beta chain (BC)] (Fragment).\n"
           "GN   ABC1 OR (XYZ AND DEF).\n"
           "OX   NCBI_TaxID=82077, 82078;\n";
    EXPECT(parse_parts(p) == STATUS_OK, "%s", err.text);
    EXPECT_TEXT(entry.name, "(S)-test protein 1(B)");
    EXPECT(entry.precursor && entry.fragment && entry.taxon == 82077);
    EXPECT(entry.name_count == 6 && entry.gene_count == 3);
    expect_name(1, NAME_ALTERNATIVE, NAME_EC, 0, "1.2.3.4");
    expect_name(2, NAME_ALTERNATIVE, NAME_FULL, 0, "Other (old) name");
    expect_name(3, NAME_RECOMMENDED, NAME_FULL, 1, "Alpha chain");
    expect_name(5, NAME_ALTERNATIVE, NAME_FULL, 2, "BC");
    p.de = "DE   SubName: Full=A;B {ECO:0000313|EMBL:X;1};\n"
           "DE            EC=1.1.1.1 {ECO:0000256};\n"
           "DE   AltName: CD_antigen=CD9;\n"
           "DE   Includes:\n"
           "DE     RecName: Full=Part;\n"
           "DE   Flags: Precursor; Fragments;\n"
           "GN   Name=A;8 {ECO:0000313|EMBL:B}; Synonyms=B, C;\n"
           "GN   and\n"
           "GN   Name=D; ORFNames=E-\n"
           "GN   1;\n";
    EXPECT(parse_parts(p) == STATUS_OK, "%s", err.text);
    EXPECT_TEXT(entry.name, "A;B");
    EXPECT(entry.precursor && entry.fragment && entry.name_count == 4 && entry.gene_count == 5);
    expect_name(0, NAME_SUBMITTED, NAME_FULL, 0, "A;B");
    expect_name(2, NAME_ALTERNATIVE, NAME_SPECIAL, 0, "CD9");
    expect_name(3, NAME_RECOMMENDED, NAME_FULL, 1, "Part");
    EXPECT_TEXT(entry.genes[0], "A;8");
    EXPECT_TEXT(entry.genes[4], "E-1");
}

/* The same record with CRLF line ends gives the same entry. */
static void test_line_ends(void) {
    parts p = good;
    p.id = "ID   TEST_HUMAN              Reviewed;          38 AA.\r\n";
    p.ac = "AC   P12345;\r\n";
    p.de = "DE   RecName: Full=Test protein;\r\n";
    p.cc = "CC   -!- FUNCTION: One\r\nCC       two. {ECO:0000250}.\r\n";
    p.ft = "FT   DOMAIN          1..2\r\nFT                   /note=\"A\"\r\nXX   what\r\n";
    p.sequence = "     MKTAYIAKQR QISFVKSHFS RQLEERLGLI EVQAPILS\r\n";
    p.end = "//\r\n";
    EXPECT(parse_parts(p) == STATUS_OK, "%s", err.text);
    EXPECT(entry.comment_count == 1 && entry.feature_count == 1 && tally.unknown_lines == 1);
    EXPECT_TEXT(entry.name, "Test protein");
    EXPECT_TEXT(entry.comments[0].text, "One two.");
    EXPECT_TEXT(entry.features[0].note, "A");
}

static void test_long_line(void) {
    enum { SIZE = 500000 };
    static char comment[SIZE];
    int used = snprintf(comment, sizeof comment, "CC   -!- FUNCTION: ");
    memset(comment + used, 'x', (size_t)(SIZE - 10 - used));
    memcpy(comment + SIZE - 10, "\n", 2);
    parts p = good;
    p.cc = comment;
    EXPECT(parse_parts(p) == STATUS_OK, "%s", err.text);
    EXPECT(entry.comment_count == 1 &&
           strlen(entry.comments[0].text) == (size_t)(SIZE - 10 - used));
}

/* The polynomial by long division, bit by bit. */
static uint64_t slow_crc64(const char *letters, size_t count) {
    uint64_t crc = 0;
    for (size_t i = 0; i < count; i++)
        for (int bit = 0; bit < 8; bit++) {
            const uint64_t in = ((uint64_t)(uint8_t)letters[i] >> bit) & 1;
            crc = (crc >> 1) ^ ((crc & 1) ^ in ? UINT64_C(0xd800000000000000) : 0);
        }
    return crc;
}

static void test_crc64(void) {
    static char letters[1000];
    for (size_t i = 0; i < sizeof letters; i++)
        letters[i] = (char)(i * i * 31 + i / 7);
    for (size_t count = 0; count <= sizeof letters; count += count < 40 ? 1 : 37)
        EXPECT(uniprot_crc64(letters, count) == slow_crc64(letters, count), "%zu letters", count);
}

int main(void) {
    test_crc64();
    test_refusals();
    test_old_checksum();
    test_comments();
    test_prose_fits();
    test_dates();
    test_unknown_codes();
    test_features();
    test_names();
    test_line_ends();
    test_long_line();
    uniprot_entry_destroy(&entry);
    return test_end();
}
