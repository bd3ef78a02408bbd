// TEST timeout=60
/* Every structure file of two Debian packages, against values that gemmi, an independent parser,
 * found in it: chains, lengths, sums of coordinates, letters. See structure_golden.py. */
#include "io/chain.h"
#include "io/inflate.h"
#include "tests/test.h"

#include <dirent.h>
#include <unistd.h>
#include <zlib.h>

static const char *const roots[] = {"/usr/share/doc/python-biopython-doc/Tests/PDB",
                                    "/usr/share/doc/theseus/examples"};
enum { FILES_WANTED = 450 };

typedef struct golden {
    char file[256], chain[CHAIN_NAME];
    long length, present;
    double sum[3];
    unsigned letters;
} golden;

static void read_file(const char *name, chain_file *file, status *result) {
    char path[512];
    error err = {0};
    char *text;
    size_t size;
    snprintf(path, sizeof path, "%s/%s", roots[name[0] - '0'], name + 2);
    if (inflate_file(path, &text, &size, &err) != STATUS_OK) {
        EXPECT(false, "%s", err.text);
        *result = STATUS_FAILED;
        return;
    }
    *result = chain_file_parse(text, size, path, file, &err);
    EXPECT(*result == STATUS_OK || strncmp(err.text, path, strlen(path)) == 0, "%s", err.text);
    free(text);
}

static void compare(const golden *want, const protein_chain *got) {
    double sum[3] = {0};
    for (int64_t i = 0; i < got->length; i++)
        for (int axis = 0; axis < 3 && !isnan(got->coord[3 * i]); axis++)
            sum[axis] += (double)got->coord[3 * i + axis];
    EXPECT_TEXT(got->name, want->chain);
    EXPECT(got->length == want->length, "%s %s: %ld, want %ld", want->file, want->chain,
           (long)got->length, want->length);
    EXPECT(got->present == want->present, "%s %s: %ld, want %ld", want->file, want->chain,
           (long)got->present, want->present);
    /* A coordinate of up to 1,000 has an error of up to 2^-15 in fp32; the sums print 3 digits. */
    for (int axis = 0; axis < 3; axis++)
        EXPECT(fabs(sum[axis] - want->sum[axis]) < 0.0006 + 3.1e-5 * (double)want->present,
               "%s %s axis %d: %.4f, want %.4f", want->file, want->chain, axis, sum[axis],
               want->sum[axis]);
    EXPECT(crc32(0, got->letters, (uInt)got->length) == want->letters, "%s %s: %.*s", want->file,
           want->chain, (int)got->length, (const char *)got->letters);
}

/* The next line of the table; false at its end. */
static bool next_golden(FILE *table, golden *g) {
    char line[512];
    if (fgets(line, sizeof line, table) == NULL)
        return false;
    memset(g, 0, sizeof *g);
    char *field[8], *at = line;
    for (int i = 0; i < 8; i++)
        field[i] = strsep(&at, "\t\n");
    snprintf(g->file, sizeof g->file, "%s", field[0]);
    snprintf(g->chain, sizeof g->chain, "%s", field[1]);
    g->length = atol(field[2]);
    g->present = atol(field[3]);
    for (int axis = 0; axis < 3; axis++)
        g->sum[axis] = atof(field[4 + axis]);
    g->letters = (unsigned)strtoul(field[7], NULL, 16);
    return true;
}

int main(void) {
    if (access(roots[0], R_OK) != 0 || access(roots[1], R_OK) != 0)
        TEST_SKIP("python-biopython-doc or theseus-examples is not installed");
    FILE *table = fopen("tests/unit/structure_golden.tsv", "r");
    EXPECT(table != NULL, "run this in the repository's root");
    golden g;
    bool more = table != NULL && next_golden(table, &g);
    int files = 0, chains = 0;
    while (more) {
        char name[sizeof g.file];
        memcpy(name, g.file, sizeof name);
        chain_file file = {0};
        status result;
        read_file(name, &file, &result);
        EXPECT(result == (g.length < 0 ? STATUS_INPUT : STATUS_OK), "%s: %d", name, (int)result);
        int64_t i = 0;
        for (; more && strcmp(g.file, name) == 0; more = next_golden(table, &g)) {
            if (g.length <= 0)
                continue;
            if (i < file.count)
                compare(&g, &file.chains[i]);
            i++;
        }
        EXPECT(i == file.count, "%s: %ld chains, want %ld", name, (long)file.count, (long)i);
        EXPECT(file.contradicted == 0, "%s: %ld", name, (long)file.contradicted);
        chains += (int)i;
        files++;
        chain_file_destroy(&file);
    }
    if (table != NULL)
        fclose(table);
    EXPECT(files >= FILES_WANTED, "%d files", files);
    printf("%d files, %d chains\n", files, chains);
    return test_end();
}
