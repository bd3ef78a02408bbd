// TEST timeout=20
/* mmCIF files made by hand, each with one thing that goes wrong easily. The wanted values can be
 * read off the text. */
#include "tests/unit/structure_text.h"

#define COLUMNS                                                                                    \
    "loop_\n_atom_site.group_PDB\n_atom_site.type_symbol\n_atom_site.label_atom_id\n"              \
    "_atom_site.label_alt_id\n_atom_site.label_comp_id\n_atom_site.label_asym_id\n"                \
    "_atom_site.label_entity_id\n_atom_site.label_seq_id\n_atom_site.Cartn_x\n"                    \
    "_atom_site.Cartn_y\n_atom_site.Cartn_z\n_atom_site.occupancy\n_atom_site.B_iso_or_equiv\n"    \
    "_atom_site.auth_asym_id\n_atom_site.pdbx_PDB_model_num\n"

#define SEQUENCE                                                                                   \
    "_entity_poly.entity_id 1\n_entity_poly.type 'polypeptide(L)'\n"                               \
    "loop_\n_entity_poly_seq.entity_id\n_entity_poly_seq.num\n_entity_poly_seq.mon_id\n"           \
    "1 1 MET 1 2 MSE 1 3 ALA 1 3 SER 1 4 GLY\n"

static void test_unseen_residues_and_ligands(void) {
    EXPECT_PARSED("data_1ABC\n" SEQUENCE COLUMNS "HETATM C CA . MSE A 1 2 1.5 2 3 1.0 20 Z 1\n"
                  "ATOM C CA A ALA A 1 3 5 2 3 0.4 20 Z 1\n"
                  "ATOM C CA B SER A 1 3 6 2 3 0.6 20 Z 1\n"
                  "HETATM C CA . GLY B 2 . 7 2 3 1.0 20 Z 1\n"
                  "HETATM CA CA . CA C 3 . 8 2 3 1.0 20 Z 1\n"
                  "ATOM C CA . MSE A 1 2 9.5 2 3 1.0 20 Z 2\n"
                  "ATOM C CA . MET A 1 1 9.5 2 3 1.0 20 Z 2\n");
    EXPECT_CHAINS(1);
    EXPECT_TEXT(letters_of(0), "MMSG");
    EXPECT_X(0, 0, -1000);
    EXPECT_X(0, 1, 1.5);
    EXPECT_X(0, 2, 6);
    EXPECT_X(0, 3, -1000);
    EXPECT_TEXT(structure.name, "1ABC");
    EXPECT(structure.count == 1 && strcmp(structure.chains[0].name, "Z") == 0 &&
           strcmp(structure.chains[0].label, "A") == 0 && structure.chains[0].present == 2);
}

/* Tags in any case, values in quotes and text blocks, comments, line ends of DOS, and an atom
 * written as pairs. */
static void test_forms_of_values(void) {
    EXPECT_PARSED("# a comment\r\ndata_X # another\r\n_entry.id 'it's \"one\"'\r\n"
                  "_struct.title\r\n;line one; still\r\n_atom_site.id 'loop_ #\r\n;\r\n"
                  "_ATOM_SITE.cartn_X -1.25e1\r\n_atom_site.Cartn_y +2.5(3)\r\n"
                  "_atom_site.Cartn_z\r\n;.5\r\n;\r\n_atom_site.label_atom_id \"CA\"\r\n"
                  "_atom_site.label_comp_id 'TRP'\r\n_atom_site.label_asym_id \"A'\"\r\n"
                  "_atom_site.auth_seq_id -7\r\n_atom_site.type_symbol c");
    EXPECT_TEXT(structure.name, "it's \"one\"");
    EXPECT_TEXT(letters_of(0), "W");
    EXPECT_X(0, 0, -12.5);
    EXPECT_CHAINS(1);
    EXPECT(structure.count == 1 && structure.chains[0].coord[1] == 2.5f &&
           structure.chains[0].coord[2] == 0.5f && strcmp(structure.chains[0].label, "A'") == 0);
}

static void test_missing_values_and_calcium(void) {
    EXPECT_PARSED("data_X\n" COLUMNS "ATOM C CA . ALA A 1 1 ? ? ? ? ? A 1\n"
                  "ATOM CA CA . ALA A 1 2 1 2 3 . . A 1\n"
                  "ATOM C CA . '?' A 1 3 4 2 3 . . A 1\n");
    EXPECT_TEXT(letters_of(0), "AAX");
    EXPECT_X(0, 0, -1000);
    EXPECT_X(0, 1, -1000);
    EXPECT_X(0, 2, 4);
}

static void test_first_block_with_atoms(void) {
    EXPECT_PARSED("data_one\n" SEQUENCE "data_two\n" COLUMNS "ATOM C CA . ALA A 1 1 1 2 3 1 1 A 1\n"
                  "data_three\n" COLUMNS "ATOM C CA . GLY A 1 1 9 2 3 1 1 A 1\n");
    EXPECT_TEXT(structure.name, "two");
    EXPECT_TEXT(letters_of(0), "A");
}

/* struct_ref may stand behind the rows that use it; only UniProt counts. */
static void test_links(void) {
    EXPECT_PARSED("data_AF-P12345-F1\n" COLUMNS "ATOM C CA . ALA A 1 1 1 2 3 1 70.5 A 1\n"
                  "loop_\n_struct_ref_seq.ref_id\n_struct_ref_seq.pdbx_strand_id\n"
                  "_struct_ref_seq.pdbx_db_accession\n_struct_ref_seq.db_align_beg\n"
                  "_struct_ref_seq.db_align_end\n1 A P12345-2 5 9 2 A 1ABC 1 1 1 A P12345 20 30\n"
                  "3 A ? 1 4 1 B Q11111 1 2\n"
                  "loop_\n_struct_ref.db_name\n_struct_ref.id\n_struct_ref.pdbx_db_accession\n"
                  "UNP 1 P12345 PDB 2 1ABC UNP 3 Q99999\n");
    EXPECT_CHAINS(1);
    if (structure.count != 1)
        return;
    const protein_chain *c = structure.chains;
    EXPECT(c->link_count == 2, "%ld", (long)c->link_count);
    EXPECT_TEXT(c->links[0].accession, "P12345");
    EXPECT(c->links[0].begin == 5 && c->links[0].end == 30);
    EXPECT_TEXT(c->links[1].accession, "Q99999");
    EXPECT(structure.source == SOURCE_ALPHAFOLD && c->plddt[0] >= 70 && c->plddt[0] <= 71);
}

static void test_sources(void) {
    EXPECT_PARSED("data_synthetic_1\n" COLUMNS "ATOM C CA . ALA A 1 1 1 2 3 1 50 A 1\n");
    EXPECT(structure.source == SOURCE_SYNTHETIC);
    EXPECT_PARSED("data_1ABC\n" COLUMNS "ATOM C CA . ALA A 1 1 1 2 3 1 50 A 1\n");
    EXPECT(structure.source == SOURCE_PDB && structure.chains[0].plddt[0] == 255);
}

static void test_contradicted_sequence(void) {
    EXPECT_PARSED("data_1\n" SEQUENCE COLUMNS "ATOM C CA . TRP A 1 1 1 2 3 1 1 A 1\n");
    EXPECT_TEXT(letters_of(0), "W");
    EXPECT(structure.contradicted == 1);
}

/* Two names at one place without alternate locations: one residue, and the first with a Cα. */
static void test_two_names_at_one_place(void) {
    EXPECT_PARSED("data_1\n" SEQUENCE COLUMNS "ATOM C CA . ALA A 1 3 1 2 3 1 1 A 1\n"
                  "ATOM C CA . SER A 1 3 5 2 3 1 1 A 1\n");
    EXPECT_TEXT(letters_of(0), "MMAG");
    EXPECT_X(0, 2, 1);
    EXPECT(structure.count == 1 && structure.chains[0].present == 1);
}

static void test_nucleic_acid_is_left_out(void) {
    EXPECT_PARSED("data_1\n" COLUMNS "ATOM P P . DA A 1 1 1 2 3 1 1 A 1\n");
    EXPECT_CHAINS(0);
    EXPECT(structure.other_chains == 1);
}

static void test_damage_is_refused(void) {
    EXPECT_REFUSED("data_1\n", "FILE:2: the file ends without an atom_site table");
    EXPECT_REFUSED("data_1\n" COLUMNS "ATOM C CA . ALA A 1 1 1 2 3 1 1 A 1\nATOM C CA . ALA A\n",
                   "FILE:19: the number of values of a loop is not a multiple of its 15 columns");
    EXPECT_REFUSED("data_1\n" COLUMNS "ATOM C CA . ALA A 1 1 1 2x 3 1 1 A 1\n",
                   "FILE:18: _atom_site.Cartn_y is '2x'");
    EXPECT_REFUSED("data_1\n" COLUMNS "ATOM C CA . ALA A 1 1 1 ? 3 1 1 A 1\n",
                   "FILE:18: an atom has only some of its three coordinates");
    EXPECT_REFUSED("data_1\n" COLUMNS "ATOM C CA . ALA A 1 0 1 2 3 1 1 A 1\n",
                   "FILE:18: the residue number is '0'");
    EXPECT_REFUSED("data_1\n_a.b 'no end\n", "FILE:2: the quote ' that opens here");
    EXPECT_REFUSED("data_1\n_a.b\n;no end\n", "FILE:3: the text that begins with ';'");
    EXPECT_REFUSED("data_1\n_a.b 1 2\n", "FILE:2: '2' stands where a tag");
    EXPECT_REFUSED("data_1\n_a.b _c.d 1\n", "FILE:2: the tag '_a.b' has no value");
    EXPECT_REFUSED("data_1\nloop_ 1\n", "FILE:2: loop_ is not followed by a tag");
    EXPECT_REFUSED("data_1\nloop_ _entry.id _c.d 1 2\n", "FILE:2: the loop mixes categories");
    EXPECT_REFUSED("data_1\nloop_\n_atom_site.Cartn_x\n1\n", "FILE:4: the atom_site table needs");
    EXPECT_REFUSED("data_1\n_a.b \x01\n", "FILE:2: the byte 0x01 does not belong");
    EXPECT_REFUSED("data_1\nloop_\n_entity_poly_seq.entity_id\n_entity_poly_seq.num\n"
                   "_entity_poly_seq.mon_id\n1 1 ALA\n1 3 ALA\n",
                   "FILE:7: _entity_poly_seq.num is '3' behind number 1");
    /* However long a value is, the sentence comes to its end. */
    char text[4096];
    snprintf(text, sizeof text, "data_1\n_struct_ref.id %02000d\n", 0);
    EXPECT(parse(text) == STATUS_INPUT);
    EXPECT(strstr(structure_error.text, "is longer than 15 bytes.") != NULL);
    EXPECT_REFUSED("data_1\nloop_\n_atom_site.label_atom_id _atom_site.label_comp_id "
                   "_atom_site.label_asym_id _atom_site.label_seq_id _atom_site.Cartn_x "
                   "_atom_site.Cartn_y _atom_site.Cartn_z CA ALA A 1 1.25 1.25 1.2",
                   "FILE:3: the file ends inside a coordinate");
}

int main(void) {
    test_unseen_residues_and_ligands();
    test_forms_of_values();
    test_missing_values_and_calcium();
    test_first_block_with_atoms();
    test_links();
    test_sources();
    test_contradicted_sequence();
    test_two_names_at_one_place();
    test_nucleic_acid_is_left_out();
    test_damage_is_refused();
    chain_file_destroy(&structure);
    return test_end();
}
