#include "src/base/json_text.h"
#include "src/cli/command.h"

#include "io/dataset.h"
#include "parallel/agree.h"
#include "parallel/exchange_records.h"
#include "src/base/log.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { QUANTILES = 7, SCAN_RESIDUES = 1 << 18, SOURCES_SHOWN = 10, LINE = 60 };
static const double quantile_at[QUANTILES] = {0, 0.05, 0.25, 0.5, 0.75, 0.95, 1};
static const char *const quantile_name[QUANTILES] = {"min",  "5 %",  "25 %", "median",
                                                     "75 %", "95 %", "max"};
static const char *const source_name[] = {"none", "PDB", "AlphaFold", "synthetic"};
static const char *const split_name[] = {"train", "valid", "test"};

/* What is shown of a whole dataset. */
typedef struct summary {
    int64_t with_coordinate;
    int64_t by_source[4], by_split[3];
    int64_t length[QUANTILES];
    int64_t ledger_rows, sources;
    char (*stage)[16], (*reason)[64];
    int64_t *count;
    char *names;
    int64_t *name_offset, *size;
    uint64_t *hash;
} summary;

/* ---- gathering ------------------------------------------------------------------------------- */

/* Counts the residues of this rank's share that have a coordinate. */
static status count_coordinates(const dataset *d, int rank, int size, int64_t *found, error *err) {
    float *coord = malloc(SCAN_RESIDUES * 3 * sizeof *coord);
    CHECK(coord != NULL, "out of memory: a block of coordinates.");
    status code = STATUS_OK;
    *found = 0;
    for (int64_t at = (int64_t)rank * SCAN_RESIDUES; at < d->residues && code == STATUS_OK;
         at += (int64_t)size * SCAN_RESIDUES) {
        const int64_t n = d->residues - at < SCAN_RESIDUES ? d->residues - at : SCAN_RESIDUES;
        code = dataset_read_rows(d, PROTEIN_COORD, at, n, coord, err);
        for (int64_t i = 0; i < n && code == STATUS_OK; i++)
            *found += !isnan(coord[3 * i]);
    }
    free(coord);
    return code;
}

static int compare_lengths(const void *a, const void *b) {
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void find_quantiles(const dataset *d, int64_t *length_at) {
    if (d->proteins == 0)
        return;
    int64_t *length = malloc((size_t)d->proteins * sizeof *length);
    CHECK(length != NULL, "out of memory: %lld lengths.", (long long)d->proteins);
    for (int64_t i = 0; i < d->proteins; i++)
        length[i] = d->offset[i + 1] - d->offset[i];
    qsort(length, (size_t)d->proteins, sizeof *length, compare_lengths);
    for (int q = 0; q < QUANTILES; q++)
        length_at[q] = length[llround(quantile_at[q] * (double)(d->proteins - 1))];
    free(length);
}

static void *read_all(const dataset *d, dataset_array array, size_t row, status *code, error *err) {
    const int64_t rows = dataset_rows(d, array);
    void *data = calloc((size_t)rows + 1, row);
    CHECK(data != NULL, "out of memory: %lld rows.", (long long)rows);
    if (*code == STATUS_OK)
        *code = dataset_read_rows(d, array, 0, rows, data, err);
    return data;
}

/* The file's own tables, rank 0. */
static status read_tables(const dataset *d, summary *s, error *err) {
    status code = STATUS_OK;
    s->ledger_rows = dataset_rows(d, LEDGER_COUNT);
    s->stage = read_all(d, LEDGER_STAGE, sizeof *s->stage, &code, err);
    s->reason = read_all(d, LEDGER_REASON, sizeof *s->reason, &code, err);
    s->count = read_all(d, LEDGER_COUNT, sizeof *s->count, &code, err);
    s->sources = dataset_rows(d, SOURCE_SIZE);
    s->names = read_all(d, SOURCE_NAME, 1, &code, err);
    s->name_offset = read_all(d, SOURCE_NAME_OFFSET, sizeof *s->name_offset, &code, err);
    s->size = read_all(d, SOURCE_SIZE, sizeof *s->size, &code, err);
    s->hash = read_all(d, SOURCE_HASH, sizeof *s->hash, &code, err);
    const int64_t bytes = dataset_rows(d, SOURCE_NAME);
    for (int64_t i = 0; i < s->sources && code == STATUS_OK; i++)
        if (s->name_offset[i] < 0 || s->name_offset[i] > s->name_offset[i + 1] ||
            s->name_offset[i + 1] > bytes)
            code = error_set(err, STATUS_INPUT, "%s: /source/name_offset[%lld] is damaged", d->path,
                             (long long)i);
    return code;
}

static void free_summary(summary *s) {
    free(s->stage);
    free(s->reason);
    free(s->count);
    free(s->names);
    free(s->name_offset);
    free(s->size);
    free(s->hash);
}

static status summarise(const dataset *d, MPI_Comm comm, summary *s, error *err) {
    const int rank = comm_rank(comm);
    status code = count_coordinates(d, rank, comm_size(comm), &s->with_coordinate, err);
    if (code == STATUS_OK && rank == 0) {
        find_quantiles(d, s->length);
        for (int64_t i = 0; i < d->proteins; i++) {
            s->by_source[d->source[i]]++;
            s->by_split[d->split[i]]++;
        }
        code = read_tables(d, s, err);
    }
    TRY(agree(comm, code, err));
    comm_sum(comm, &s->with_coordinate, 1);
    return STATUS_OK;
}

/* ---- for people ------------------------------------------------------------------------------ */

static double percent(int64_t part, int64_t whole) {
    return whole > 0 ? 100.0 * (double)part / (double)whole : 0.0;
}

static void print_names(const char *title, const char *const *name, const int64_t *count, int n) {
    printf("  %-18s", title);
    for (int i = 0; i < n; i++)
        printf("%s%s %lld", i > 0 ? ", " : "", name[i], (long long)count[i]);
    putchar('\n');
}

static void print_ledger(const summary *s) {
    printf("\nledger\n");
    for (int64_t i = 0; i < s->ledger_rows; i++) {
        const int first = i == 0 || strncmp(s->stage[i], s->stage[i - 1], sizeof *s->stage) != 0;
        printf("  %-18.16s%-52.64s %12lld\n", first ? s->stage[i] : "", s->reason[i],
               (long long)s->count[i]);
    }
}

static void print_sources(const summary *s) {
    printf("\nsources %42s  xxh3\n", "bytes");
    for (int64_t i = 0; i < s->sources && i < SOURCES_SHOWN; i++)
        printf("  %-32.*s %15lld  %016llx\n", (int)(s->name_offset[i + 1] - s->name_offset[i]),
               s->names + s->name_offset[i], (long long)s->size[i], (unsigned long long)s->hash[i]);
    if (s->sources > SOURCES_SHOWN)
        printf("  and %lld more (--json lists all)\n", (long long)(s->sources - SOURCES_SHOWN));
}

static void print_summary(const dataset *d, const summary *s) {
    printf("%s\n", d->path);
    printf("  %-18s%s, version %d, written by %s\n", "format", DATASET_FORMAT, DATASET_VERSION,
           d->tool);
    printf("  %-18s%s\n", "settings", d->config);
    printf("  %-18s%lld\n", "proteins", (long long)d->proteins);
    printf("  %-18s%lld\n", "captions", (long long)d->captions);
    printf("  %-18s%lld, %lld (%.1f %%) with a coordinate\n", "residues", (long long)d->residues,
           (long long)s->with_coordinate, percent(s->with_coordinate, d->residues));
    print_names("structures", source_name, s->by_source, 4);
    print_names("split", split_name, s->by_split, 3);
    printf("  %-18s%s\n", "split by", d->split_method);
    printf("  %-18s", "length");
    for (int q = 0; q < QUANTILES; q++)
        printf("%s%s %lld", q > 0 ? ", " : "", quantile_name[q], (long long)s->length[q]);
    putchar('\n');
    print_ledger(s);
    print_sources(s);
}

/* ---- for programs ---------------------------------------------------------------------------- */

static void print_json_counts(const char *title, const char *const *name, const int64_t *count,
                              int n) {
    printf(" \"%s\": {", title);
    for (int i = 0; i < n; i++)
        printf("%s\"%s\": %lld", i > 0 ? ", " : "", name[i], (long long)count[i]);
    printf("},\n");
}

static void print_json(const dataset *d, const summary *s) {
    printf("{\"path\": ");
    json_print_string(stdout, d->path, (int64_t)strlen(d->path));
    printf(",\n \"format\": \"%s\", \"version\": %d,\n \"tool\": ", DATASET_FORMAT,
           DATASET_VERSION);
    json_print_string(stdout, d->tool, (int64_t)strlen(d->tool));
    printf(",\n \"config\": ");
    json_print_string(stdout, d->config, (int64_t)strlen(d->config));
    printf(",\n \"split_method\": ");
    json_print_string(stdout, d->split_method, (int64_t)strlen(d->split_method));
    printf(",\n \"proteins\": %lld, \"captions\": %lld, \"residues\": %lld, "
           "\"residues_with_coordinate\": %lld,\n",
           (long long)d->proteins, (long long)d->captions, (long long)d->residues,
           (long long)s->with_coordinate);
    print_json_counts("structures", source_name, s->by_source, 4);
    print_json_counts("split", split_name, s->by_split, 3);
    print_json_counts("length", quantile_name, s->length, QUANTILES);
    printf(" \"ledger\": [");
    for (int64_t i = 0; i < s->ledger_rows; i++) {
        printf("%s\n  {\"stage\": ", i > 0 ? "," : "");
        json_print_string(stdout, s->stage[i], (int64_t)strnlen(s->stage[i], sizeof *s->stage));
        printf(", \"reason\": ");
        json_print_string(stdout, s->reason[i], (int64_t)strnlen(s->reason[i], sizeof *s->reason));
        printf(", \"count\": %lld}", (long long)s->count[i]);
    }
    printf("],\n \"sources\": [");
    for (int64_t i = 0; i < s->sources; i++) {
        printf("%s\n  {\"name\": ", i > 0 ? "," : "");
        json_print_string(stdout, s->names + s->name_offset[i],
                          s->name_offset[i + 1] - s->name_offset[i]);
        printf(", \"bytes\": %lld, \"xxh3\": \"%016llx\"}", (long long)s->size[i],
               (unsigned long long)s->hash[i]);
    }
    printf("]}\n");
}

/* ---- one record ------------------------------------------------------------------------------ */

typedef struct record {
    int64_t length, present, question_size, text_size;
    uint8_t *letters;
    float *coord;
    char *question, *text; /* of its first caption; sizes 0 when it has none */
} record;

static int64_t find_caption(const dataset *d, int64_t protein) {
    int64_t low = 0, high = d->captions;
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        if (d->caption_protein[middle] < protein)
            low = middle + 1;
        else
            high = middle;
    }
    return low < d->captions && d->caption_protein[low] == protein ? low : -1;
}

static status read_record(const dataset *d, int64_t i, record *r, error *err) {
    r->length = d->offset[i + 1] - d->offset[i];
    r->letters = malloc((size_t)r->length);
    r->coord = malloc((size_t)r->length * 3 * sizeof *r->coord);
    const int64_t c = find_caption(d, i);
    if (c >= 0) {
        r->question_size = d->caption_question_offset[c + 1] - d->caption_question_offset[c];
        r->text_size = d->caption_offset[c + 1] - d->caption_offset[c];
    }
    r->question = malloc((size_t)r->question_size + 1);
    r->text = malloc((size_t)r->text_size + 1);
    CHECK(r->letters != NULL && r->coord != NULL && r->question != NULL && r->text != NULL,
          "out of memory: a record of %lld residues.", (long long)r->length);
    TRY(dataset_read_protein(d, i, r->length, r->letters, r->coord, err));
    for (int64_t k = 0; k < r->length; k++)
        r->present += !isnan(r->coord[3 * k]);
    return c < 0 ? STATUS_OK : dataset_read_caption(d, c, r->question, r->text, err);
}

static void print_record(const dataset *d, int64_t i, const record *r) {
    printf("%.16s\n", d->accession + i * ACCESSION_SIZE);
    printf("  %lld residues, %lld with a coordinate; structure: %s; split: %s\n\n",
           (long long)r->length, (long long)r->present, source_name[d->source[i]],
           split_name[d->split[i]]);
    /* Under each line of letters, a dot where the residue has a coordinate. */
    for (int64_t at = 0; at < r->length; at += LINE) {
        const int64_t n = r->length - at < LINE ? r->length - at : LINE;
        printf("  %6lld  %.*s\n", (long long)at + 1, (int)n, (const char *)r->letters + at);
        if (r->present == 0)
            continue;
        printf("          ");
        for (int64_t k = at; k < at + n; k++)
            putchar(isnan(r->coord[3 * k]) ? ' ' : '.');
        putchar('\n');
    }
    printf("\nquestion  %.*s\n", (int)r->question_size, r->question);
    printf("answer    %.*s\n", (int)r->text_size, r->text);
}

static void print_record_json(const dataset *d, int64_t i, const record *r) {
    const char *accession = d->accession + i * ACCESSION_SIZE;
    printf("{\"accession\": ");
    json_print_string(stdout, accession, (int64_t)strnlen(accession, ACCESSION_SIZE));
    printf(", \"length\": %lld, \"with_coordinate\": %lld, \"structure\": \"%s\", "
           "\"split\": \"%s\", \"sequence\": ",
           (long long)r->length, (long long)r->present, source_name[d->source[i]],
           split_name[d->split[i]]);
    json_print_string(stdout, (const char *)r->letters, r->length);
    printf(", \"question\": ");
    json_print_string(stdout, r->question, r->question_size);
    printf(", \"answer\": ");
    json_print_string(stdout, r->text, r->text_size);
    printf(", \"coord\": [");
    for (int64_t k = 0; k < r->length; k++) {
        const float *x = r->coord + 3 * k;
        if (!isfinite(x[0] + x[1] + x[2]))
            printf("%snull", k > 0 ? ", " : "");
        else
            printf("%s[%.9g, %.9g, %.9g]", k > 0 ? ", " : "", (double)x[0], (double)x[1],
                   (double)x[2]);
    }
    printf("]}\n");
}

static status show_record(const dataset *d, const command_flags *flags, error *err) {
    const int64_t i = dataset_find(d, flags->protein);
    if (i < 0)
        return error_set(err, STATUS_INPUT,
                         "%s: none of its %lld proteins is %s; expected an accession, as in P03023",
                         d->path, (long long)d->proteins, flags->protein);
    record r = {0};
    const status code = read_record(d, i, &r, err);
    if (code == STATUS_OK)
        (flags->json ? print_record_json : print_record)(d, i, &r);
    free(r.letters);
    free(r.coord);
    free(r.question);
    free(r.text);
    return code;
}

/* Questions and answers, a line each: what a tokenizer is trained on. */
static status print_texts(const dataset *d, error *err) {
    for (int64_t c = 0; c < d->captions; c++) {
        const int64_t question = d->caption_question_offset[c + 1] - d->caption_question_offset[c];
        const int64_t text = d->caption_offset[c + 1] - d->caption_offset[c];
        char *lines = malloc((size_t)(question + text) + 2);
        if (lines == NULL)
            return error_set(err, STATUS_FAILED, "no memory for caption %lld", (long long)c);
        const status code = dataset_read_caption(d, c, lines, lines + question + 1, err);
        lines[question] = lines[question + 1 + text] = '\n';
        if (code == STATUS_OK)
            fwrite(lines, 1, (size_t)(question + text) + 2, stdout);
        free(lines);
        TRY(code);
    }
    return STATUS_OK;
}

status command_inspect(const command_input *in, error *err) {
    if (in->flags.file == NULL)
        return error_set(
            err, STATUS_INPUT,
            "inspect what? usage: sepit inspect FILE [--json] [--text] [--protein ACCESSION]");
    dataset *d = NULL;
    TRY(dataset_open(&d, in->comm, in->flags.file, err));
    const int rank = comm_rank(in->comm);
    status code = STATUS_OK;
    if (in->flags.text) {
        code = agree(in->comm, rank == 0 ? print_texts(d, err) : STATUS_OK, err);
    } else if (in->flags.protein != NULL) {
        code = agree(in->comm, rank == 0 ? show_record(d, &in->flags, err) : STATUS_OK, err);
    } else {
        summary s = {0};
        code = summarise(d, in->comm, &s, err);
        if (code == STATUS_OK && rank == 0)
            (in->flags.json ? print_json : print_summary)(d, &s);
        free_summary(&s);
    }
    dataset_close(d);
    return code;
}
