#include "io/chain.h"

#include "io/chain_collect.h"
#include "io/chain_readers.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char *skip_blank(const char *p, const char *end) {
    while (p < end && (*p == ' ' || *p == '\t' || *p == '\r' || *p == '\n' || *p == '#')) {
        const bool comment = *p == '#';
        while (comment && p < end && *p != '\n')
            p++;
        p += p < end;
    }
    return p;
}

static bool looks_like_mmcif(const char *text, size_t size) {
    const char *end = text + size, *p = skip_blank(text, end);
    return end - p >= 5 && strncasecmp(p, "data_", 5) == 0;
}

static bool looks_like_pdb(const char *text, size_t size) {
    static const char *const first[] = {
        "HEADER", "OBSLTE", "TITLE ", "SPLIT ", "CAVEAT", "COMPND", "SOURCE", "KEYWDS", "EXPDTA",
        "NUMMDL", "MDLTYP", "AUTHOR", "REVDAT", "SPRSDE", "JRNL  ", "REMARK", "DBREF ", "DBREF1",
        "SEQADV", "SEQRES", "MODRES", "HET   ", "HETNAM", "FORMUL", "HELIX ", "SHEET ", "SSBOND",
        "LINK  ", "CISPEP", "SITE  ", "CRYST1", "ORIGX1", "SCALE1", "MTRIX1", "MODEL ", "ATOM  ",
        "HETATM", "ANISOU", "TER   ", "PARENT", "USER  "};
    const char *end = text + size, *p = text;
    while (p < end && (*p == ' ' || *p == '\n' || *p == '\r'))
        p++;
    for (size_t i = 0; i < sizeof first / sizeof *first; i++) {
        const size_t length = strcspn(first[i], " ");
        if ((size_t)(end - p) >= length && memcmp(p, first[i], length) == 0)
            return true;
    }
    return false;
}

status chain_file_parse(const char *text, size_t size, const char *path, chain_file *file,
                        error *err) {
    *file = (chain_file){0};
    const bool mmcif = looks_like_mmcif(text, size);
    if (!mmcif && !looks_like_pdb(text, size))
        return error_set(err, STATUS_INPUT,
                         "%s:1: this is no structure file: an mmCIF file begins with data_, a PDB "
                         "file with a record such as HEADER or ATOM%s.",
                         path, size == 0 ? "; the file is empty" : "");
    collector c;
    collector_create(&c);
    status result =
        mmcif ? mmcif_read(text, size, path, &c, err) : pdb_read(text, size, path, &c, err);
    char accession[ACCESSION_SIZE];
    if (c.source == SOURCE_PDB && chain_accession_from_name(path, accession) > 0)
        c.source = SOURCE_ALPHAFOLD;
    if (result == STATUS_OK)
        result = chain_collect_finish(&c, path, file, err);
    collector_destroy(&c);
    if (result != STATUS_OK)
        *file = (chain_file){0};
    return result;
}

void chain_file_destroy(chain_file *file) {
    free(file->memory);
    *file = (chain_file){0};
}

static bool is_accession_letter(char c) {
    return (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

int chain_accession_from_name(const char *path, char accession[ACCESSION_SIZE]) {
    memset(accession, 0, ACCESSION_SIZE);
    const char *slash = strrchr(path, '/');
    const char *p = slash != NULL ? slash + 1 : path;
    if (strncmp(p, "AF-", 3) != 0)
        return 0;
    const char *begin = p += 3;
    while (is_accession_letter(*p))
        p++;
    const size_t length = (size_t)(p - begin);
    if ((length != 6 && length != 10) || strncmp(p, "-F", 2) != 0)
        return 0;
    char *end;
    const long fragment = strtol(p + 2, &end, 10);
    if (end == p + 2 || p[2] < '0' || p[2] > '9' || fragment < 1 || fragment > 100000 ||
        strncmp(end, "-model_v", 8) != 0)
        return 0;
    memcpy(accession, begin, length);
    return (int)fragment;
}
