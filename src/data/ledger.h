/* The ledger: every input ends in one row of it, in = kept + dropped by reason.
 *
 * Each rank counts what it saw; ledger_total makes the counts of all ranks everyone's. The first
 * few problems of each kind are also kept as sentences, for the log.
 */
#ifndef SEPIT_DATA_LEDGER_H
#define SEPIT_DATA_LEDGER_H

#include "io/uniprot.h"

#include <mpi.h>
#include <stdint.h>

/* Rows of the ledger. A stage starts with what came in and what was kept. */
typedef enum ledger_row {
    ENTRIES_IN,
    ENTRIES_KEPT,
    ENTRIES_DAMAGED,
    ENTRIES_DUPLICATE,
    FILES_IN,
    FILES_KEPT,
    FILES_DAMAGED,
    FILES_NO_PROTEIN,
    PAIRS_IN,
    PAIRS_KEPT,
    PAIRS_NO_ACCESSION,
    PAIRS_NO_ENTRY,
    PAIRS_NO_COORDINATE,
    PAIRS_TOO_LONG,
    PAIRS_SHORT,
    PAIRS_DIFFERENT,
    PAIRS_WORSE,
    LEDGER_ROWS
} ledger_row;

/* The stages: entries; structure files; pairs of a chain and the accession it is linked to (a
 * chain without a link counts once). */
const char *ledger_stage(ledger_row row);
const char *ledger_reason(ledger_row row);

enum { LEDGER_SENTENCES = 5 /* of each row, in the log */ };

typedef struct ledger {
    int64_t count[LEDGER_ROWS];
    int64_t told[LEDGER_ROWS];
    uniprot_tally tally; /* of the entries: what was met and not understood */
    char *sentences;     /* lines "ROW sentence\n"; owned */
} ledger;

/* Counts one, and keeps the sentence if the row has few so far. Local. */
void ledger_add_problem(ledger *l, ledger_row row, const char *sentence);

/* Counts and tally become those of all ranks; rank 0 logs the first sentences of every row as
 * warnings. Collective on comm. */
void ledger_total(ledger *l, MPI_Comm comm);

/* Whether every stage adds up. */
int ledger_adds_up(const int64_t count[LEDGER_ROWS]);

void ledger_destroy(ledger *l);

#endif
