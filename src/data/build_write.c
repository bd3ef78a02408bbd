#include "src/data/build_records.h"

#include "io/dataset_write.h"
#include "parallel/agree.h"
#include "src/base/version.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Where this rank's share begins in the whole file. */
typedef struct place {
    int64_t protein, residue, question, text;
} place;

/* Fills a fresh array row by row and writes it; the lists below say what a row is. */
typedef struct columns {
    char *accession;
    int64_t *offset, *question_offset, *text_offset;
    int32_t *taxon, *date, *number; /* number: of the protein, its component and its caption */
    uint8_t *residue, *question, *text, *split;
    float *nearest;
} columns;

static status make_columns(columns *c, const build_share *s, error *err) {
    const size_t P = (size_t)s->proteins + 1;
    c->accession = calloc(P, ACCESSION_SIZE);
    c->offset = malloc(P * sizeof *c->offset);
    c->question_offset = malloc(P * sizeof *c->question_offset);
    c->text_offset = malloc(P * sizeof *c->text_offset);
    c->taxon = malloc(P * sizeof *c->taxon);
    c->date = malloc(P * sizeof *c->date);
    c->number = malloc(P * sizeof *c->number);
    c->nearest = malloc(P * sizeof *c->nearest);
    c->split = calloc(P, 1); /* all train: nothing is split yet */
    c->residue = malloc((size_t)s->residues + 1);
    c->question = malloc((size_t)s->question_bytes + 1);
    c->text = malloc((size_t)s->text_bytes + 1);
    if (c->accession != NULL && c->offset != NULL && c->question_offset != NULL &&
        c->text_offset != NULL && c->taxon != NULL && c->date != NULL && c->number != NULL &&
        c->nearest != NULL && c->split != NULL && c->residue != NULL && c->question != NULL &&
        c->text != NULL)
        return STATUS_OK;
    return error_set(err, STATUS_FAILED, "out of memory: arrays of %lld proteins",
                     (long long)s->proteins);
}

static void free_columns(columns *c) {
    void *all[] = {c->accession, c->offset,  c->question_offset, c->text_offset,
                   c->taxon,     c->date,    c->number,          c->nearest,
                   c->split,     c->residue, c->question,        c->text};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

/* Offsets are those of the whole file; the last one closes this rank's share. */
static void fill_columns(columns *c, const record_set *entries, const build_share *s,
                         const place *begin) {
    place at = *begin;
    for (int64_t p = 0; p < s->proteins; p++) {
        const entry_head *e = entry_at(entries, s->entry[p]);
        memcpy(c->accession + p * ACCESSION_SIZE, e->key.accession, ACCESSION_SIZE);
        memcpy(c->residue + (at.residue - begin->residue), entry_sequence(e), (size_t)e->length);
        memcpy(c->question + (at.question - begin->question), entry_question(e),
               (size_t)e->question);
        memcpy(c->text + (at.text - begin->text), entry_text(e), (size_t)e->text);
        c->offset[p] = at.residue;
        c->question_offset[p] = at.question;
        c->text_offset[p] = at.text;
        c->taxon[p] = e->taxon;
        c->date[p] = e->date;
        c->number[p] = (int32_t)(begin->protein + p);
        c->nearest[p] = NAN;
        at.residue += e->length;
        at.question += e->question;
        at.text += e->text;
    }
    c->offset[s->proteins] = at.residue;
    c->question_offset[s->proteins] = at.question;
    c->text_offset[s->proteins] = at.text;
}

/* Every rank writes its own offsets; only the last one of the file needs the closing one. */
static status put_share(dataset_writer *w, const columns *c, const build_share *s, const place *at,
                        int last, error *err) {
    const int64_t P = s->proteins, p = at->protein;
    const struct {
        dataset_array array;
        int64_t first, count;
        const void *rows;
    } puts[] = {
        {PROTEIN_ACCESSION, p, P, c->accession},
        {PROTEIN_OFFSET, p, P + last, c->offset},
        {PROTEIN_RESIDUE, at->residue, s->residues, c->residue},
        {PROTEIN_COORD, at->residue, s->residues, s->coord},
        {PROTEIN_PLDDT, at->residue, s->residues, s->plddt},
        {PROTEIN_SOURCE, p, P, s->source},
        {PROTEIN_TAXON, p, P, c->taxon},
        {PROTEIN_DATE, p, P, c->date},
        {PROTEIN_COMPONENT, p, P, c->number},
        {PROTEIN_SPLIT, p, P, c->split},
        {PROTEIN_NEAREST, p, P, c->nearest},
        {CAPTION_PROTEIN, p, P, c->number},
        {CAPTION_QUESTION_OFFSET, p, P + last, c->question_offset},
        {CAPTION_QUESTION, at->question, s->question_bytes, c->question},
        {CAPTION_OFFSET, p, P + last, c->text_offset},
        {CAPTION_TEXT, at->text, s->text_bytes, c->text},
    };
    for (size_t i = 0; i < sizeof puts / sizeof *puts; i++)
        TRY(dataset_writer_put(w, puts[i].array, puts[i].first, puts[i].count, puts[i].rows, err));
    return STATUS_OK;
}

static status put_ledger(dataset_writer *w, const ledger *counts, error *err) {
    char stage[LEDGER_ROWS][16] = {{0}}, reason[LEDGER_ROWS][64] = {{0}};
    for (int row = 0; row < LEDGER_ROWS; row++) {
        memcpy(stage[row], ledger_stage((ledger_row)row), strlen(ledger_stage((ledger_row)row)));
        memcpy(reason[row], ledger_reason((ledger_row)row), strlen(ledger_reason((ledger_row)row)));
    }
    TRY(dataset_writer_put(w, LEDGER_STAGE, 0, LEDGER_ROWS, stage, err));
    TRY(dataset_writer_put(w, LEDGER_REASON, 0, LEDGER_ROWS, reason, err));
    return dataset_writer_put(w, LEDGER_COUNT, 0, LEDGER_ROWS, counts->count, err);
}

/* Bytes of all labels together. */
static int64_t label_bytes(const input_list *inputs) {
    int64_t bytes = 0;
    for (int64_t i = 0; i < inputs->count; i++)
        bytes += (int64_t)strlen(inputs->files[i].label);
    return bytes;
}

static status put_sources(dataset_writer *w, const input_list *inputs, const uint64_t *hash,
                          error *err) {
    const int64_t S = inputs->count;
    int64_t *number = malloc((size_t)(2 * S + 1) * sizeof *number);
    uint8_t *kind = malloc((size_t)S);
    char *name = malloc((size_t)label_bytes(inputs) + 1);
    CHECK(number != NULL && kind != NULL && name != NULL, "out of memory: %lld sources.",
          (long long)S);
    int64_t *offset = number, *size = number + S + 1;
    offset[0] = 0;
    for (int64_t i = 0; i < S; i++) {
        const input_file *f = &inputs->files[i];
        const int64_t bytes = (int64_t)strlen(f->label);
        memcpy(name + offset[i], f->label, (size_t)bytes);
        offset[i + 1] = offset[i] + bytes;
        size[i] = f->size;
        kind[i] = (uint8_t)f->kind;
    }
    status code = dataset_writer_put(w, SOURCE_NAME_OFFSET, 0, S + 1, offset, err);
    if (code == STATUS_OK)
        code = dataset_writer_put(w, SOURCE_NAME, 0, offset[S], name, err);
    if (code == STATUS_OK)
        code = dataset_writer_put(w, SOURCE_KIND, 0, S, kind, err);
    if (code == STATUS_OK)
        code = dataset_writer_put(w, SOURCE_SIZE, 0, S, size, err);
    if (code == STATUS_OK)
        code = dataset_writer_put(w, SOURCE_HASH, 0, S, hash, err);
    free(number);
    free(kind);
    free(name);
    return code;
}

/* What one rank puts into the open file; rank 0 adds the small tables. */
static status put_all(dataset_writer *w, const columns *c, const build_share *share,
                      const place *begin, const dataset_sizes *sizes, const input_list *inputs,
                      const uint64_t *hash, const ledger *counts, int rank, error *err) {
    const int last = begin->protein + share->proteins == sizes->proteins && share->proteins > 0;
    TRY(put_share(w, c, share, begin, last, err));
    if (rank > 0)
        return STATUS_OK;
    TRY(put_ledger(w, counts, err));
    return put_sources(w, inputs, hash, err);
}

status build_write(MPI_Comm comm, const build_settings *settings, const input_list *inputs,
                   const uint64_t *hash, const record_set *entries, const build_share *share,
                   const ledger *counts, error *err) {
    int64_t total[4] = {share->proteins, share->residues, share->question_bytes, share->text_bytes};
    place begin = {share->proteins, share->residues, share->question_bytes, share->text_bytes};
    comm_sum(comm, total, 4);
    exchange_sum_before(comm, 4, (int64_t *)&begin);
    if (total[0] > INT32_MAX)
        return error_set(err, STATUS_INPUT,
                         "%lld proteins; a dataset of this version holds at most %d: split the "
                         "entries over several",
                         (long long)total[0], INT32_MAX);
    const dataset_sizes sizes = {total[0], total[1],    total[0],      total[2],
                                 total[3], LEDGER_ROWS, inputs->count, label_bytes(inputs)};
    char config[256];
    snprintf(config, sizeof config,
             "{\"run\": {\"seed\": %llu}, \"build\": {\"min_identity\": %.15g}}",
             (unsigned long long)settings->seed, settings->min_identity);
    const dataset_about about = {SEPIT_VERSION, config, "none"};
    columns c = {0};
    dataset_writer *w = NULL;
    status code = agree(comm, make_columns(&c, share, err), err);
    if (code == STATUS_OK) {
        fill_columns(&c, entries, share, &begin);
        code = dataset_writer_create(&w, comm, settings->output, &sizes, &about, err);
    }
    if (code == STATUS_OK) {
        code = put_all(w, &c, share, &begin, &sizes, inputs, hash, counts, comm_rank(comm), err);
        code = dataset_writer_finish(w, code, err);
    }
    free_columns(&c);
    return code;
}
