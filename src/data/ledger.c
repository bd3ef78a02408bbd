#include "src/data/ledger.h"

#include "parallel/agree.h"
#include "parallel/exchange_records.h"
#include "src/base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct row_name {
    const char *stage, *reason;
} row_name;

static const row_name rows[LEDGER_ROWS] = {
    [ENTRIES_IN] = {"entries", "in"},
    [ENTRIES_KEPT] = {"entries", "kept"},
    [ENTRIES_DAMAGED] = {"entries", "damaged record"},
    [ENTRIES_DUPLICATE] = {"entries", "accession seen before, in a newer or earlier record"},
    [FILES_IN] = {"structure files", "in"},
    [FILES_KEPT] = {"structure files", "kept"},
    [FILES_DAMAGED] = {"structure files", "damaged"},
    [FILES_NO_PROTEIN] = {"structure files", "no protein chain"},
    [PAIRS_IN] = {"chain links", "in"},
    [PAIRS_KEPT] = {"chain links", "kept"},
    [PAIRS_NO_ACCESSION] = {"chain links", "chain names no UniProt accession"},
    [PAIRS_NO_ENTRY] = {"chain links", "accession is not among the entries"},
    [PAIRS_NO_COORDINATE] = {"chain links", "no residue with a coordinate"},
    [PAIRS_TOO_LONG] = {"chain links", "too long to align"},
    [PAIRS_SHORT] = {"chain links", "less than half of the shorter sequence aligns"},
    [PAIRS_DIFFERENT] = {"chain links", "identity below build.min_identity"},
    [PAIRS_WORSE] = {"chain links", "another chain shows more residues"},
};

const char *ledger_stage(ledger_row row) {
    return rows[row].stage;
}

const char *ledger_reason(ledger_row row) {
    return rows[row].reason;
}

void ledger_add_problem(ledger *l, ledger_row row, const char *sentence) {
    l->count[row]++;
    if (l->told[row]++ >= LEDGER_SENTENCES)
        return;
    const size_t used = l->sentences == NULL ? 0 : strlen(l->sentences);
    char *longer = realloc(l->sentences, used + strlen(sentence) + 16);
    CHECK(longer != NULL, "out of memory: a report.");
    l->sentences = longer;
    sprintf(longer + used, "%d %s", (int)row, sentence);
    for (char *c = longer + used; *c != '\0'; c++)
        if (*c == '\n')
            *c = ' ';
    strcat(longer + used, "\n");
}

/* Warnings of rank 0, from the lines of all ranks: few of each row, then how many more. */
static void tell(const ledger *l, char *lines) {
    int64_t told[LEDGER_ROWS] = {0};
    char *rest = NULL;
    for (char *line = strtok_r(lines, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        char *sentence = NULL;
        const long row = strtol(line, &sentence, 10);
        if (told[row]++ < LEDGER_SENTENCES)
            log_warn("skipped: %s", sentence + 1);
    }
    for (int row = 0; row < LEDGER_ROWS; row++)
        if (told[row] > 0 && l->count[row] > LEDGER_SENTENCES)
            log_warn("%lld more of the %s were skipped: %s",
                     (long long)(l->count[row] - LEDGER_SENTENCES), rows[row].stage,
                     rows[row].reason);
}

void ledger_total(ledger *l, MPI_Comm comm) {
    comm_sum(comm, l->count, LEDGER_ROWS);
    comm_sum(comm, (int64_t *)&l->tally, sizeof l->tally / sizeof(int64_t));
    char *lines = exchange_gather_text(comm, l->sentences == NULL ? "" : l->sentences);
    if (lines != NULL)
        tell(l, lines);
    free(lines);
}

int ledger_adds_up(const int64_t count[LEDGER_ROWS]) {
    static const ledger_row begin[] = {ENTRIES_IN, FILES_IN, PAIRS_IN, LEDGER_ROWS};
    for (int stage = 0; stage < 3; stage++) {
        int64_t sum = 0;
        for (int row = (int)begin[stage] + 1; row < (int)begin[stage + 1]; row++)
            sum += count[row];
        if (sum != count[begin[stage]])
            return 0;
    }
    return 1;
}

void ledger_destroy(ledger *l) {
    free(l->sentences);
    l->sentences = NULL;
}
