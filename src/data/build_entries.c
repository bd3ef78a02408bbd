#include "src/data/build_records.h"

#include "src/data/caption.h"

#include <stdlib.h>
#include <string.h>

record_key record_key_make(const char *accession, uint32_t age, int64_t file, int64_t place) {
    record_key key = {{0}, {0}, {0}, {0}};
    memcpy(key.accession, accession, strnlen(accession, ACCESSION_SIZE));
    for (int b = 0; b < 4; b++) {
        key.age[b] = (uint8_t)(age >> (24 - 8 * b));
        key.file[b] = (uint8_t)((uint64_t)file >> (24 - 8 * b));
    }
    for (int b = 0; b < 8; b++)
        key.place[b] = (uint8_t)((uint64_t)place >> (56 - 8 * b));
    return key;
}

/* What is used again from entry to entry. */
typedef struct workbench {
    uniprot_entry entry;
    caption caption;
} workbench;

static status add_entry(record_set *set, const workbench *bench, uint64_t seed, int64_t file,
                        int64_t place, error *err) {
    const uniprot_entry *e = &bench->entry;
    const char *accession = e->accessions[0];
    const char *question = caption_question(seed, accession);
    const entry_head head = {record_key_make(accession, ~(uint32_t)e->entry_date, file, place),
                             e->length,
                             (int64_t)strlen(question),
                             (int64_t)bench->caption.size,
                             e->taxon,
                             e->date};
    uint8_t *record =
        record_set_add(set, (int64_t)sizeof head + head.length + head.question + head.text, err);
    if (record == NULL)
        return err->code;
    memcpy(record, &head, sizeof head);
    record += sizeof head;
    memcpy(record, e->sequence, (size_t)head.length);
    memcpy(record + head.length, question, (size_t)head.question);
    memcpy(record + head.length + head.question, bench->caption.text, (size_t)head.text);
    return STATUS_OK;
}

/* Parses one record; a bad one is counted and told, with its line, and leaves *good 0. */
static status parse_record(uniprot_reader *reader, uniprot_record *record, workbench *bench,
                           ledger *counts, int *good, error *err) {
    error problem = {0};
    counts->count[ENTRIES_IN]++;
    const status code = uniprot_parse(record, &bench->entry, &counts->tally, &problem);
    *good = code == STATUS_OK;
    if (code == STATUS_OK)
        return STATUS_OK;
    if (code != STATUS_INPUT)
        return error_set(err, code, "%s", problem.text);
    if (record->line == 0 && counts->told[ENTRIES_DAMAGED] < LEDGER_SENTENCES) {
        /* Reading began inside the file: count its lines, and say it again with the right one. */
        uniprot_tally again = {0};
        TRY(uniprot_reader_locate(reader, record, err));
        uniprot_parse(record, &bench->entry, &again, &problem);
    }
    ledger_add_problem(counts, ENTRIES_DAMAGED, problem.text);
    return STATUS_OK;
}

static status read_part(const input_list *inputs, const input_part *part, uint64_t seed,
                        workbench *bench, record_set *set, ledger *counts, error *err) {
    uniprot_reader *reader = NULL;
    TRY(uniprot_reader_open(&reader, inputs->files[part->file].path, part->begin, part->end, err));
    status code = STATUS_OK;
    while (code == STATUS_OK) {
        uniprot_record record;
        int good = 0;
        code = uniprot_reader_next(reader, &record, err);
        if (code != STATUS_OK || record.size == 0)
            break;
        code = parse_record(reader, &record, bench, counts, &good, err);
        if (code == STATUS_OK && good) {
            caption_write(&bench->caption, &bench->entry);
            code = add_entry(set, bench, seed, part->file, record.offset, err);
        }
    }
    uniprot_reader_close(reader);
    return code;
}

status build_read_entries(const input_list *inputs, int rank, int size, uint64_t seed,
                          record_set *set, ledger *counts, error *err) {
    workbench bench = {0};
    input_part *parts = NULL;
    const int64_t count = input_list_parts(inputs, rank, size, &parts);
    status code = STATUS_OK;
    for (int64_t i = 0; i < count && code == STATUS_OK; i++)
        code = read_part(inputs, &parts[i], seed, &bench, set, counts, err);
    free(parts);
    caption_destroy(&bench.caption);
    uniprot_entry_destroy(&bench.entry);
    return code;
}
