#include "src/data/build.h"

#include "parallel/agree.h"
#include "src/base/clock.h"
#include "src/base/log.h"
#include "src/data/build_records.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Everything that lives while a dataset is built. */
typedef struct building {
    input_list inputs;
    uint64_t *hash;
    record_set entries, chains;
    uint8_t *borders;
    build_share share;
} building;

/* Reads the entries and brings them into order over the ranks. */
static status sort_entries(MPI_Comm comm, const build_settings *settings, building *b,
                           ledger *counts, error *err) {
    const int rank = comm_rank(comm), size = comm_size(comm);
    status code =
        build_read_entries(&b->inputs, rank, size, settings->seed, &b->entries, counts, err);
    if (code == STATUS_OK)
        code = record_set_sort(&b->entries, err);
    TRY(agree(comm, code, err));
    TRY(record_set_borders(comm, &b->entries, &b->borders, err));
    return record_set_exchange(comm, &b->entries, b->borders, err);
}

/* Reads the structures, sends the chains to their entries and chooses. */
static status pair_structures(MPI_Comm comm, const build_settings *settings, building *b,
                              ledger *counts, error *err) {
    const int rank = comm_rank(comm), size = comm_size(comm);
    TRY(agree(comm, build_read_structures(&b->inputs, rank, size, &b->chains, counts, err), err));
    TRY(record_set_exchange(comm, &b->chains, b->borders, err));
    TRY(agree(comm,
              build_pair(&b->entries, &b->chains, settings->min_identity, &b->share, counts, err),
              err));
    record_set_destroy(&b->chains);
    return STATUS_OK;
}

/* Says which compressed files one rank alone must read. */
static void log_inputs(const building *b, int size) {
    int64_t compressed = 0;
    for (int64_t i = 0; i < b->inputs.entry_files; i++)
        compressed += b->inputs.files[i].compressed;
    log_info("reading %lld entry files and %lld structure files on %d rank%s",
             (long long)b->inputs.entry_files, (long long)(b->inputs.count - b->inputs.entry_files),
             size, size == 1 ? "" : "s");
    if (compressed > 0 && compressed < size && size > 1)
        log_info("%lld of the entry files are compressed and read by one rank each; uncompressed "
                 "ones would be shared by all",
                 (long long)compressed);
}

static void fill_report(MPI_Comm comm, const building *b, build_report *report) {
    const build_share *s = &b->share;
    int64_t sums[4] = {s->proteins, s->residues, 0, 0};
    for (int64_t p = 0; p < s->proteins; p++)
        sums[2] += s->source[p] != SOURCE_NONE;
    for (int64_t i = 0; i < s->residues; i++)
        sums[3] += !isnan(s->coord[3 * i]);
    comm_sum(comm, sums, 4);
    report->proteins = report->captions = sums[0];
    report->residues = sums[1];
    report->with_structure = sums[2];
    report->with_coordinate = sums[3];
    report->input_files = b->inputs.count;
    report->ignored_files = b->inputs.ignored;
    for (int64_t i = 0; i < b->inputs.count; i++)
        report->input_bytes += b->inputs.files[i].size;
}

static status build(MPI_Comm comm, const build_settings *settings, building *b,
                    build_report *report, error *err) {
    const double start = clock_seconds();
    TRY(input_list_create(&b->inputs, comm, settings->entries, settings->entry_paths,
                          settings->structures, settings->structure_paths, err));
    log_inputs(b, comm_size(comm));
    TRY(input_list_hash(&b->inputs, comm, &b->hash, err));
    TRY(sort_entries(comm, settings, b, &report->ledger, err));
    const double read = clock_seconds();
    TRY(pair_structures(comm, settings, b, &report->ledger, err));
    const double paired = clock_seconds();
    ledger_total(&report->ledger, comm);
    CHECK(ledger_adds_up(report->ledger.count), "the ledger does not add up.");
    fill_report(comm, b, report);
    if (report->proteins == 0)
        return error_set(err, STATUS_INPUT,
                         "none of the %lld entries can be used, so there is no dataset to write "
                         "(the lines above say why)",
                         (long long)report->ledger.count[ENTRIES_IN]);
    TRY(build_write(comm, settings, &b->inputs, b->hash, &b->entries, &b->share, &report->ledger,
                    err));
    report->read_seconds = read - start;
    report->pair_seconds = paired - read;
    report->write_seconds = clock_seconds() - paired;
    report->seconds = clock_seconds() - start;
    return STATUS_OK;
}

status build_dataset(MPI_Comm comm, const build_settings *settings, build_report *report,
                     error *err) {
    building b = {0};
    memset(report, 0, sizeof *report);
    const status code = build(comm, settings, &b, report, err);
    build_share_destroy(&b.share);
    record_set_destroy(&b.entries);
    record_set_destroy(&b.chains);
    input_list_destroy(&b.inputs);
    free(b.borders);
    free(b.hash);
    ledger_destroy(&report->ledger);
    return code;
}
