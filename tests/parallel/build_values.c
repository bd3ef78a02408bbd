// TEST np=1,3 timeout=60
/* Real entries and a real structure: what the dataset says about them was read by hand. */
#include "io/dataset.h"
#include "src/data/build.h"
#include "tests/parallel/build_fixture.h"

static const char swiss[] = "/usr/share/EMBOSS/test/swiss/seq.dat";
static const char recent[] = "../shared/data/uniprot";
static const char lac[] = "/usr/share/doc/python-biopython-doc/Tests/PDB/1LCD.pdb.gz";

static void read_all(const dataset *d, int64_t p, char *letters, float *coord, char *text) {
    error err = {0};
    char question[512];
    const int64_t L = d->offset[p + 1] - d->offset[p];
    const int64_t size = d->caption_offset[p + 1] - d->caption_offset[p];
    const int64_t asked = d->caption_question_offset[p + 1] - d->caption_question_offset[p];
    EXPECT(dataset_read_protein(d, p, L, (uint8_t *)letters, coord, &err) == STATUS_OK);
    EXPECT(dataset_read_caption(d, p, question, text, &err) == STATUS_OK);
    letters[L] = text[size] = question[asked] = '\0';
    EXPECT(strstr(question, "<protein>") != NULL, "%s", question);
    EXPECT(d->caption_protein[p] == p);
}

/* The lactose repressor and its head piece, NMR model 1 of 1LCD. */
static void check_repressor(const dataset *d, int paired) {
    char letters[512], text[2048];
    float coord[512 * 3];
    error err = {0};
    int32_t taxon = 0, date = 0;
    const int64_t p = dataset_find(d, "P03023");
    EXPECT(p >= 0);
    if (p < 0)
        return;
    EXPECT(d->offset[p + 1] - d->offset[p] == 360);
    read_all(d, p, letters, coord, text);
    EXPECT(strncmp(letters, "MKPVTLYDVAEYAGVSYQTVSRVVNQASHVSAKTREKVEAAMAELNYIPNRVAQQLAGKQ", 60) ==
           0);
    EXPECT_TEXT(text, "Repressor of the lactose operon. Binds allolactose as an inducer. The "
                      "protein is named Lactose operon repressor. Subunits: Homotetramer. "
                      "Contains 1 HTH lacI-type DNA-binding domain.");
    EXPECT(dataset_read_rows(d, PROTEIN_TAXON, p, 1, &taxon, &err) == STATUS_OK);
    EXPECT(dataset_read_rows(d, PROTEIN_DATE, p, 1, &date, &err) == STATUS_OK);
    EXPECT(taxon == 83333 && date == 19860721, "%d, %d", taxon, date);
    int64_t present = 0;
    for (int k = 0; k < 360; k++)
        present += !isnan(coord[3 * k]);
    EXPECT(present == (paired ? 51 : 0), "%lld", (long long)present);
    EXPECT(d->source[p] == (paired ? SOURCE_PDB : SOURCE_NONE));
    if (!paired)
        return;
    const float first[3] = {27.910F, 28.670F, 6.970F}, last[3] = {24.390F, 22.580F, 14.560F};
    EXPECT(memcmp(coord, first, sizeof first) == 0, "%g", (double)coord[0]);
    EXPECT(memcmp(coord + 3 * 50, last, sizeof last) == 0, "%g", (double)coord[150]);
    EXPECT(isnan(coord[3 * 51]));
}

/* A recent entry: evidence tags, Name= and Note= of a cofactor. */
static void check_recent(const dataset *d) {
    char letters[512], text[2048];
    float coord[512 * 3];
    const int64_t p = dataset_find(d, "A8EZU1");
    EXPECT(p >= 0);
    if (p < 0)
        return;
    read_all(d, p, letters, coord, text);
    EXPECT_TEXT(text, "Single strand-specific metallo-endoribonuclease involved in late-stage 70S "
                      "ribosome quality control and in maturation of the 3' terminus of the 16S "
                      "rRNA. The protein is named Endoribonuclease YbeY. It needs as cofactor: "
                      "Zn(2+). Binds 1 zinc ion. It is found here: Cytoplasm. It belongs to the "
                      "endoribonuclease YbeY family.");
}

int main(int argc, char **argv) {
    MPI_Init(&argc, &argv);
    if (access(swiss, R_OK) != 0) {
        MPI_Finalize();
        TEST_SKIP("%s is not there (package emboss-test)", swiss);
    }
    char folder[FIXTURE_PATH], path[FIXTURE_PATH];
    fixture_folder(folder);
    const int has_recent = access(recent, R_OK) == 0, paired = access(lac, R_OK) == 0;
    const char *const entries[] = {swiss, recent}, *const structures[] = {lac};
    const build_settings settings = {entries,
                                     1 + has_recent,
                                     structures,
                                     paired,
                                     0.95,
                                     1,
                                     fixture_join(path, folder, "real.h5")};
    build_report report;
    error err = {0};
    dataset *d = NULL;
    EXPECT(build_dataset(MPI_COMM_WORLD, &settings, &report, &err) == STATUS_OK, "%s", err.text);
    /* seq.dat has a hundred ID lines, the folder 25 in 24 files; P35626 is in both. */
    EXPECT(report.ledger.count[ENTRIES_IN] == (has_recent ? 125 : 100), "%lld",
           (long long)report.ledger.count[ENTRIES_IN]);
    EXPECT(report.ledger.count[ENTRIES_DAMAGED] == 0);
    EXPECT(report.ledger.count[ENTRIES_DUPLICATE] == has_recent);
    EXPECT(report.with_structure == paired && report.with_coordinate == 51 * paired);
    EXPECT(dataset_open(&d, MPI_COMM_WORLD, path, &err) == STATUS_OK, "%s", err.text);
    if (d != NULL) {
        check_repressor(d, paired);
        if (has_recent)
            check_recent(d);
        EXPECT(dataset_find(d, "NOTHERE") == -1 && dataset_find(d, "") == -1);
        dataset_close(d);
    }
    fixture_remove(folder);
    const int code = test_end();
    MPI_Finalize();
    return code;
}
