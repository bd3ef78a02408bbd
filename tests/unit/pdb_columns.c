// TEST timeout=20
/* PDB files made by hand, each with one thing that goes wrong easily. The wanted values can be read
 * off the text. */
#include "tests/unit/structure_text.h"

/* A file under construction, line by line. */
static char made[4096];

static void start(const char *line) {
    snprintf(made, sizeof made, "%s", line);
}

static void add(const char *line) {
    snprintf(made + strlen(made), sizeof made - strlen(made), "%s", line);
}

/* The Cα of residue "A  52A", at (x, 2, 3). */
static void add_ca(const char *record, const char *name, const char *residue, double x) {
    char line[128];
    snprintf(line, sizeof line,
             "%-6s    1  CA  %3s %6s   %8.3f   2.000   3.000  1.00 50.00           C\n", record,
             name, residue, x);
    add(line);
}

static void test_columns_that_touch(void) {
    EXPECT_PARSED(
        "ATOM  99999  CA AALA A1000A   -123.456-234.567-345.678  0.50 11.00           C\n"
        "ATOM  99999  CA BALA A1000A   -999.456-999.567-999.678  0.40 11.00           C\n"
        "ATOM  100000 CA  GLY A1001       1.000   2.000   3.000  1.00 11.00           C\n");
    EXPECT_CHAINS(1);
    EXPECT_TEXT(letters_of(0), "AG");
    EXPECT_X(0, 0, -123.456f);
    EXPECT_CLOSE(structure.chains[0].coord[1], -234.567f, 0);
    EXPECT_CLOSE(structure.chains[0].coord[2], -345.678f, 0);
    EXPECT(structure.chains[0].only_seen && structure.chains[0].plddt[0] == 255);
}

static void test_calcium_is_no_alpha_carbon(void) {
    EXPECT_PARSED(
        "ATOM      1  N   GLY A   1       9.000   2.000   3.000  1.00 11.00           N\n"
        "ATOM      2 CA   GLY A   1       8.000   2.000   3.000  1.00 11.00          CA\n"
        "ATOM      3 CA   GLY A   2       7.000   2.000   3.000  1.00 11.00\n"
        "ATOM      4  CA  GLY A   3       6.000   2.000   3.000\n"
        "ATOM      5 CA   GLY A   4       5.000   2.000   3.000  1.00 11.00           c\n"
        "ATOM      6  CA  GLY A   5       4.000   2.000   3.000  1.00 11.00      0297BC31\n"
        "HETATM    7 CA    CA A 101       3.000   2.000   3.000  1.00 11.00          CA\n");
    EXPECT_TEXT(letters_of(0), "GGGGG");
    EXPECT_X(0, 0, -1000);
    EXPECT_X(0, 1, -1000);
    EXPECT_X(0, 2, 6);
    EXPECT_X(0, 3, 5);
    EXPECT_X(0, 4, 4);
    EXPECT(structure.chains[0].present == 3);
}

static void test_insertions_and_gaps(void) {
    start("");
    add_ca("ATOM", "ALA", "H  52 ", 1);
    add_ca("ATOM", "CYS", "H  52A", 2);
    add_ca("ATOM", "ASP", "H  52B", 3);
    add_ca("ATOM", "GLU", "H  60 ", 4);
    add("TER\n");
    EXPECT_PARSED(made);
    EXPECT_TEXT(letters_of(0), "ACDE");
    EXPECT_X(0, 3, 4);
}

/* B has the higher mean over the residue although its Cα is the lower one. */
static void test_alternate_locations(void) {
    EXPECT_PARSED(
        "ATOM      1  CA AALA A   1       1.000   2.000   3.000  0.50 11.00           C\n"
        "ATOM      2  CA BALA A   1       2.000   2.000   3.000  0.40 11.00           C\n"
        "ATOM      3  CB AALA A   1       1.000   2.000   3.000  0.10 11.00           C\n"
        "ATOM      4  CB BALA A   1       2.000   2.000   3.000  0.90 11.00           C\n"
        "ATOM      5  CA ASER A   2       3.000   2.000   3.000  0.50 11.00           C\n"
        "ATOM      6  CA BTHR A   2       4.000   2.000   3.000  0.50 11.00           C\n"
        "ATOM      7  CA ALYS A   3       5.000   2.000   3.000  0.30 11.00           C\n"
        "ATOM      8  CA BARG A   3       6.000   2.000   3.000  0.70 11.00           C\n"
        "ATOM      9  CA  TRP A   4       7.000   2.000   3.000  0.10 11.00           C\n"
        "ATOM     10  CB BTRP A   4       7.000   2.000   3.000  0.90 11.00           C\n"
        "ATOM     11  CA AALA A   5       8.000   2.000   3.000  0.50 11.00           C\n"
        "ATOM     12  CB AALA A   5       8.000   2.000   3.000  0.50 11.00           C\n"
        "ATOM     13  CA BGLY A   5       9.000   2.000   3.000  0.60 11.00           C\n");
    EXPECT_TEXT(letters_of(0), "ASRWG");
    EXPECT_X(0, 0, 2);
    EXPECT_X(0, 1, 3);
    EXPECT_X(0, 2, 6);
    EXPECT_X(0, 3, 7);
}

static void test_first_model_and_ter(void) {
    start("MODEL        1\n");
    add_ca("ATOM", "ALA", "A   1 ", 1);
    add("TER       2      ALA A   1\n");
    add_ca("HETATM", "GLU", "A 201 ", 9);
    add("ENDMDL\nMODEL        2\n");
    add_ca("ATOM", "GLY", "A   1 ", 5);
    add("ENDMDL\n");
    EXPECT_PARSED(made);
    EXPECT_CHAINS(1);
    EXPECT_TEXT(letters_of(0), "A");
    EXPECT_X(0, 0, 1);
}

static void test_modified_residues(void) {
    start("MODRES 1ABC ZZZ A    2  LYS  NOT IN ANY TABLE\n");
    add_ca("HETATM", "MSE", "A   1 ", 1);
    add_ca("HETATM", "ZZZ", "A   2 ", 2);
    add_ca("ATOM", "ALA", "A   3 ", 3);
    add_ca("HETATM", "SEP", "A   4 ", 6.8);
    add_ca("HETATM", "GLY", "A 101 ", 30); /* floats free: no TER, but far away */
    EXPECT_PARSED(made);
    EXPECT_TEXT(letters_of(0), "MKAS");
}

#define SEQRES_LINE "SEQRES   1 A    8  MET GLY ALA ALA ALA SER GLY LYS                          \n"

/* Where the numbers jump, residues are missing: the gap lies between 12 and 15, not elsewhere,
 * although GLY and ALA would fit in several places. */
static void test_declared_sequence(void) {
    start(SEQRES_LINE "DBREF  1ABC A   10    17  UNP    P12345   NAME_ECOLI       1      8\n"
                      "DBREF  1ABC A   10    17  PDB    1ABC     1ABC             1      8\n"
                      "DBREF1 1ABC A   18    20  UNP                  A0A6M3G9R1_9BETC\n"
                      "DBREF2 1ABC A     A0A6M3G9R1                        315         523\n");
    add_ca("ATOM", "GLY", "A  11 ", 1);
    add_ca("ATOM", "ALA", "A  12 ", 2);
    add_ca("ATOM", "SER", "A  15 ", 3);
    EXPECT_PARSED(made);
    EXPECT_TEXT(letters_of(0), "MGAAASGK");
    EXPECT_CHAINS(1);
    const protein_chain *c = structure.chains;
    EXPECT(c->present == 3 && !c->only_seen);
    EXPECT_X(0, 1, 1);
    EXPECT_X(0, 2, 2);
    EXPECT_X(0, 3, -1000);
    EXPECT_X(0, 5, 3);
    EXPECT(c->link_count == 2);
    EXPECT_TEXT(c->links[0].accession, "P12345");
    EXPECT(c->links[0].begin == 1 && c->links[0].end == 8);
    EXPECT_TEXT(c->links[1].accession, "A0A6M3G9R1");
    EXPECT(c->links[1].begin == 315 && c->links[1].end == 523);
}

/* An insertion code breaks the numbers' rule: the program over names and jumps must find that the
 * missing residue lies between 11 and 13, not between 14 and 14A. */
static void test_declared_sequence_with_insertion(void) {
    start(SEQRES_LINE);
    add_ca("ATOM", "GLY", "A  11 ", 1);
    add_ca("ATOM", "ALA", "A  13 ", 2);
    add_ca("ATOM", "ALA", "A  14 ", 3);
    add_ca("ATOM", "SER", "A  14A", 4);
    EXPECT_PARSED(made);
    EXPECT_TEXT(letters_of(0), "MGAAASGK");
    EXPECT_X(0, 1, 1);
    EXPECT_X(0, 2, -1000);
    EXPECT_X(0, 3, 2);
    EXPECT_X(0, 4, 3);
    EXPECT_X(0, 5, 4);
}

static void test_contradicted_sequence(void) {
    start(SEQRES_LINE);
    add_ca("ATOM", "TRP", "A  11 ", 1);
    EXPECT_PARSED(made);
    EXPECT_TEXT(letters_of(0), "W");
    EXPECT(structure.contradicted == 1 && structure.chains[0].contradicted);
}

static void test_identical_chains_and_others(void) {
    start("");
    add_ca("ATOM", "ALA", "A   1 ", 1);
    add("TER\n");
    add_ca("ATOM", "ALA", "B   1 ", 2);
    add("TER\n"
        "ATOM      3  P    DA C   1       9.000   2.000   3.000  1.00 11.00           P\nTER\n");
    add_ca("ATOM", "ALA", "    1 ", 3);
    add("TER\n");
    add_ca("ATOM", "VAL", "    1 ", 4);
    EXPECT_PARSED(made);
    EXPECT_CHAINS(4);
    EXPECT(structure.chains[1].same_as == 0 && structure.chains[2].same_as == 0);
    EXPECT(structure.chains[3].same_as == -1 && structure.other_chains == 1);
    EXPECT_X(3, 0, 4);
}

static void test_models_of_alphafold(void) {
    start("");
    add_ca("ATOM", "ALA", "A   1 ", 1);
    EXPECT(parse_as(made, strlen(made), "x/AF-P12345-F2-model_v4.pdb.gz") == STATUS_OK);
    EXPECT(structure.source == SOURCE_ALPHAFOLD && structure.chains[0].plddt[0] == 50);
    char accession[ACCESSION_SIZE];
    EXPECT(chain_accession_from_name("x/AF-P12345-F2-model_v4.pdb.gz", accession) == 2);
    EXPECT_TEXT(accession, "P12345");
    EXPECT(chain_accession_from_name("AF-A0A6M3G9R1-F1-model_v6.cif", accession) == 1);
    EXPECT_TEXT(accession, "A0A6M3G9R1");
    EXPECT(chain_accession_from_name("AF-P12345-F1-confidence_v4.json", accession) == 0);
    EXPECT(chain_accession_from_name("1abc.pdb", accession) == 0);
    EXPECT_TEXT(accession, "");
}

static void test_damage_is_refused(void) {
    EXPECT_REFUSED("", "FILE:1: this is no structure file");
    EXPECT_REFUSED("just words\n", "FILE:1: this is no structure file");
    EXPECT_REFUSED("HEADER    NOTHING ELSE\n",
                   "FILE:1: the file ends without an ATOM or HETATM record");
    EXPECT_REFUSED("REMARK\nATOM      1  CA  ALA A   1       1.000   2.000   3.0",
                   "FILE:2: the line ends before column 54, inside z");
    EXPECT_REFUSED("ATOM      1  CA  ALA A   1       1.000   2.0x0   3.000  1.00 11.00\n",
                   "FILE:1: y in columns 39-46 is '2.0x0'");
    EXPECT_REFUSED("ATOM      1  CA  ALA A   1                       3.000  1.00 11.00\n",
                   "FILE:1: x in columns 31-38 is ''");
    EXPECT_REFUSED("ATOM      1  CA  ALA A  ?1       1.000   2.000   3.000  1.00 11.00\n",
                   "FILE:1: the residue number in columns 23-26 is '?1'");
    EXPECT_REFUSED("ATOM      1  CB  ALA A   1         nan   2.000   3.000  1.00 11.00\n",
                   "FILE:1: x in columns 31-38 is 'nan'");
    const char binary[] = "HEADER\nAT\0OM\n";
    EXPECT(parse_as(binary, sizeof binary - 1, "FILE") == STATUS_INPUT);
    EXPECT(strncmp(structure_error.text, "FILE:2: a byte 0", 16) == 0, "%s", structure_error.text);
}

int main(void) {
    test_columns_that_touch();
    test_calcium_is_no_alpha_carbon();
    test_insertions_and_gaps();
    test_alternate_locations();
    test_first_model_and_ter();
    test_modified_residues();
    test_declared_sequence();
    test_declared_sequence_with_insertion();
    test_contradicted_sequence();
    test_identical_chains_and_others();
    test_models_of_alphafold();
    test_damage_is_refused();
    chain_file_destroy(&structure);
    return test_end();
}
