#include "src/data/build_records.h"

#include "io/chain.h"
#include "io/inflate.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* Whether the text is a UniProt accession: 6 or 10 characters,
 * https://www.uniprot.org/help/accession_numbers */
static int is_accession(const char *text, size_t size) {
    static const char *const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    if ((size != 6 && size != 10) || strchr(letters, text[0]) == NULL ||
        !isdigit((unsigned char)text[1]))
        return 0;
    for (size_t i = 2; i < size; i++)
        if (!isdigit((unsigned char)text[i]) && strchr(letters, text[i]) == NULL)
            return 0;
    return isdigit((unsigned char)text[5]) && isdigit((unsigned char)text[size - 1]);
}

/* The accession a file is named after: AF-P12345-F1-model_v4.cif.gz, P12345.pdb; "" for none. */
static void accession_of_name(const char *path, char accession[ACCESSION_SIZE]) {
    memset(accession, 0, ACCESSION_SIZE);
    if (chain_accession_from_name(path, accession) > 0)
        return;
    const char *slash = strrchr(path, '/');
    const char *name = slash == NULL ? path : slash + 1;
    const size_t size = strcspn(name, ".");
    if (is_accession(name, size))
        memcpy(accession, name, size);
}

static status add_chain(record_set *set, const protein_chain *c, protein_source source,
                        const char *accession, int64_t file, int64_t place, error *err) {
    const size_t L = (size_t)c->length;
    const chain_head head = {record_key_make(accession, 0, file, place), c->length, source};
    uint8_t *record = record_set_add(set, (int64_t)(sizeof head + 14 * L), err);
    if (record == NULL)
        return err->code;
    memcpy(record, &head, sizeof head);
    record += sizeof head;
    memcpy(record, c->coord, 12 * L);
    memcpy(record + 12 * L, c->letters, L);
    memcpy(record + 13 * L, c->plddt, L);
    return STATUS_OK;
}

static int has_link(const protein_chain *c, const char *accession) {
    for (int64_t k = 0; k < c->link_count; k++)
        if (strncmp(c->links[k].accession, accession, ACCESSION_SIZE) == 0)
            return 1;
    return 0;
}

/* Whether another copy of the same chain, with the same link, shows more residues: a file often
 * holds a protein many times, and only the best copy needs to travel. */
static int has_better_copy(const chain_file *file, int64_t i, const char *accession, int linked) {
    const protein_chain *c = &file->chains[i];
    const int64_t first = c->same_as >= 0 ? c->same_as : i;
    for (int64_t j = first; j < file->count; j++) {
        const protein_chain *other = &file->chains[j];
        if (j == i || (j != first && other->same_as != first) ||
            !(linked ? has_link(other, accession) : other->link_count == 0))
            continue;
        if (other->present > c->present || (other->present == c->present && j < i))
            return 1;
    }
    return 0;
}

/* One chain with one accession: kept as a record, or counted. `linked`: the file says so itself. */
static status add_link(const chain_file *file, int64_t i, const char *accession, int linked,
                       int64_t number, record_set *set, ledger *counts, error *err) {
    const protein_chain *c = &file->chains[i];
    counts->count[PAIRS_IN]++;
    if (accession[0] == '\0')
        counts->count[PAIRS_NO_ACCESSION]++;
    else if (c->present == 0)
        counts->count[PAIRS_NO_COORDINATE]++;
    else if (has_better_copy(file, i, accession, linked))
        counts->count[PAIRS_WORSE]++;
    else
        return add_chain(set, c, file->source, accession, number, i, err);
    return STATUS_OK;
}

static status add_file(const chain_file *file, const char *path, int64_t number, record_set *set,
                       ledger *counts, error *err) {
    char named[ACCESSION_SIZE];
    accession_of_name(path, named);
    for (int64_t i = 0; i < file->count; i++) {
        const protein_chain *c = &file->chains[i];
        for (int64_t k = 0; k < c->link_count; k++)
            TRY(add_link(file, i, c->links[k].accession, 1, number, set, counts, err));
        if (c->link_count == 0)
            TRY(add_link(file, i, named, 0, number, set, counts, err));
    }
    return STATUS_OK;
}

static status read_file(const input_file *input, int64_t number, record_set *set, ledger *counts,
                        error *err) {
    char *text = NULL;
    size_t size = 0;
    error problem = {0};
    chain_file file = {0};
    counts->count[FILES_IN]++;
    TRY(inflate_file(input->path, &text, &size, err));
    status code = chain_file_parse(text, size, input->path, &file, &problem);
    free(text);
    if (code == STATUS_INPUT) {
        ledger_add_problem(counts, FILES_DAMAGED, problem.text);
        return STATUS_OK;
    }
    if (code != STATUS_OK)
        return error_set(err, code, "%s", problem.text);
    counts->count[file.count > 0 ? FILES_KEPT : FILES_NO_PROTEIN]++;
    code = add_file(&file, input->path, number, set, counts, err);
    chain_file_destroy(&file);
    return code;
}

status build_read_structures(const input_list *inputs, int rank, int size, record_set *set,
                             ledger *counts, error *err) {
    int64_t begin = 0, end = 0;
    input_list_structures(inputs, rank, size, &begin, &end);
    for (int64_t i = begin; i < end; i++)
        TRY(read_file(&inputs->files[i], i, set, counts, err));
    return STATUS_OK;
}
