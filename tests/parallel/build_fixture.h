/* Inputs for tests of the builder: a folder of its own, UniProt entries and PDB files made of
 * given sequences, and small helpers around them.
 */
#ifndef SEPIT_TESTS_PARALLEL_BUILD_FIXTURE_H
#define SEPIT_TESTS_PARALLEL_BUILD_FIXTURE_H

#include "io/uniprot.h"
#include "parallel/agree.h"
#include "tests/test.h"

#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FIXTURE_PATH = 512 };

/* A fresh folder, the same name on all ranks. */
static void fixture_folder(char *folder) {
    snprintf(folder, FIXTURE_PATH, "/tmp/sepit_build_XXXXXX");
    if (comm_rank(MPI_COMM_WORLD) == 0 && mkdtemp(folder) == NULL)
        MPI_Abort(MPI_COMM_WORLD, 1);
    MPI_Bcast(folder, FIXTURE_PATH, MPI_CHAR, 0, MPI_COMM_WORLD);
}

static inline void fixture_remove(const char *folder) {
    char command[FIXTURE_PATH + 16];
    MPI_Barrier(MPI_COMM_WORLD);
    if (comm_rank(MPI_COMM_WORLD) == 0) {
        snprintf(command, sizeof command, "rm -rf '%s'", folder);
        if (system(command) != 0)
            fprintf(stderr, "%s was not removed\n", folder);
    }
    MPI_Barrier(MPI_COMM_WORLD);
}

static inline const char *fixture_join(char *path, const char *folder, const char *name) {
    snprintf(path, FIXTURE_PATH, "%.400s/%.100s", folder, name);
    return path;
}

/* The k-th letter of protein number `seed`: any rule does that makes sequences differ. */
static inline char fixture_letter(int seed, int k) {
    static const char letters[] = "ACDEFGHIKLMNPQRSTVWY";
    return letters[(unsigned)(seed * 7919 + k * (31 + seed % 17) + k * k) % 20];
}

/* One entry; `comments` are whole CC lines, or "". wrong_crc spoils the checksum. */
static inline void fixture_entry(FILE *f, const char *accession, const char *version_date, int seed,
                                 int length, const char *comments, int wrong_crc) {
    char *sequence = malloc((size_t)length + 1);
    for (int k = 0; k < length; k++)
        sequence[k] = fixture_letter(seed, k);
    sequence[length] = '\0';
    fprintf(f, "ID   %s_TEST   Reviewed;   %d AA.\nAC   %s;\n", accession, length, accession);
    fprintf(f, "DT   01-FEB-1999, integrated into UniProtKB/Swiss-Prot.\n");
    fprintf(f, "DT   01-FEB-1999, sequence version 1.\nDT   %s, entry version 3.\n", version_date);
    fprintf(f, "DE   RecName: Full=Test protein %d;\nOS   Escherichia coli.\n", seed);
    fprintf(f, "OX   NCBI_TaxID=562;\n%s", comments);
    fprintf(f, "SQ   SEQUENCE   %d AA;  1000 MW;  %016llX CRC64;\n", length,
            (unsigned long long)uniprot_crc64(sequence, (size_t)length) ^ (unsigned)wrong_crc);
    for (int k = 0; k < length; k++) {
        if (k % 60 == 0)
            fprintf(f, "     ");
        fputc(sequence[k], f);
        fputs(k % 60 == 59 || k == length - 1 ? "\n" : k % 10 == 9 ? " " : "", f);
    }
    fprintf(f, "//\n");
    free(sequence);
}

/* Where fixture_pdb puts the Cα of residue k (from 0). */
static inline void fixture_position(int seed, int k, float x[3]) {
    x[0] = (float)(k * 3) + 0.125F;
    x[1] = (float)(seed % 100) + 0.5F;
    x[2] = (float)(k % 7) * -1.25F;
}

static inline const char *fixture_three(char letter) {
    static const char *const names[] = {"ALA", "CYS", "ASP", "GLU", "PHE", "GLY", "HIS",
                                        "ILE", "LYS", "LEU", "MET", "ASN", "PRO", "GLN",
                                        "ARG", "SER", "THR", "VAL", "TRP", "TYR"};
    return names[strchr("ACDEFGHIKLMNPQRSTVWY", letter) - "ACDEFGHIKLMNPQRSTVWY"];
}

/* A PDB file with one chain: residues [first, last) of the protein, as a Cα trace; every
 * residue whose number is divisible by `mutate` (0: none) is a tryptophan. accession "" leaves out
 * the DBREF line. */
static inline void fixture_pdb(const char *path, const char *accession, int seed, int first,
                               int last, int mutate) {
    FILE *f = fopen(path, "w");
    fprintf(f, "HEADER    TEST                                    01-JAN-00   9TST\n");
    if (accession[0] != '\0')
        fprintf(f, "DBREF  9TST A %4d  %4d  UNP    %-8s %-12s %5d  %5d\n", first + 1, last,
                accession, "TEST", first + 1, last);
    for (int k = first; k < last; k++) {
        float x[3];
        fixture_position(seed, k, x);
        const char letter = mutate > 0 && k % mutate == 0 ? 'W' : fixture_letter(seed, k);
        fprintf(f, "ATOM  %5d  CA  %s A%4d    %8.3f%8.3f%8.3f%6.2f%6.2f           C\n",
                k - first + 1, fixture_three(letter), k + 1, (double)x[0], (double)x[1],
                (double)x[2], 1.0, 20.0);
    }
    fprintf(f, "TER\nEND\n");
    fclose(f);
}

/* A whole file; the caller frees it. */
static inline char *fixture_read(const char *path, size_t *size) {
    FILE *f = fopen(path, "rb");
    *size = 0;
    if (f == NULL)
        return NULL;
    struct stat info;
    fstat(fileno(f), &info);
    char *data = malloc((size_t)info.st_size + 1);
    *size = fread(data, 1, (size_t)info.st_size, f);
    fclose(f);
    return data;
}

#endif
