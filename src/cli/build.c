#include "src/data/build.h"
#include "src/cli/command.h"

#include "src/base/log.h"

#include <stdio.h>
#include <string.h>

static void print_ledger(const ledger *l) {
    const char *stage = "";
    for (int row = 0; row < LEDGER_ROWS; row++) {
        const int first = strcmp(stage, ledger_stage((ledger_row)row)) != 0;
        stage = ledger_stage((ledger_row)row);
        if (first || l->count[row] > 0 || strcmp(ledger_reason((ledger_row)row), "kept") == 0)
            printf("  %-16s %-56s %12lld\n", first ? stage : "", ledger_reason((ledger_row)row),
                   (long long)l->count[row]);
    }
}

static void print_tally(const uniprot_tally *t) {
    if (t->unknown_lines + t->unknown_topics + t->unknown_features + t->bad_features > 0)
        printf("  not understood in the entries: %lld lines, %lld comment topics, %lld feature "
               "keys, %lld feature places\n",
               (long long)t->unknown_lines, (long long)t->unknown_topics,
               (long long)t->unknown_features, (long long)t->bad_features);
    if (t->unchecked_crc > 0)
        printf("  %lld entries are older than the CRC64 checksum: only their length was checked\n",
               (long long)t->unchecked_crc);
}

static void print_report(const char *path, const build_report *r) {
    printf("%s\n", path);
    printf("  %lld proteins, %lld residues, %lld captions\n", (long long)r->proteins,
           (long long)r->residues, (long long)r->captions);
    printf("  %lld proteins with a structure; %lld residues (%.1f %%) with coordinates\n",
           (long long)r->with_structure, (long long)r->with_coordinate,
           100.0 * (double)r->with_coordinate / (double)r->residues);
    print_ledger(&r->ledger);
    print_tally(&r->ledger.tally);
    const double megabytes = (double)r->input_bytes / 1e6;
    printf("  %lld input files, %.1f MB, in %.2f s: %.1f MB/s (entries %.2f s, structures %.2f s, "
           "writing %.2f s)\n",
           (long long)r->input_files, megabytes, r->seconds, megabytes / r->seconds,
           r->read_seconds, r->pair_seconds, r->write_seconds);
    if (r->ignored_files > 0)
        printf("  %lld other files in the folders were left alone\n", (long long)r->ignored_files);
}

status command_build(const command_input *in, error *err) {
    TRY(config_require(in->config, "build.entries", err));
    build_settings settings = {.min_identity = config_real(in->config, "build.min_identity"),
                               .seed = (uint64_t)config_int(in->config, "run.seed"),
                               .output = config_text(in->config, "data.path")};
    settings.entry_paths = config_paths(in->config, "build.entries", &settings.entries);
    settings.structure_paths = config_paths(in->config, "build.structures", &settings.structures);
    build_report report;
    TRY(build_dataset(in->comm, &settings, &report, err));
    if (log_rank() == 0)
        print_report(settings.output, &report);
    return STATUS_OK;
}
