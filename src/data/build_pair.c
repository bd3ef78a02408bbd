#include "src/data/build_records.h"

#include "io/align.h"
#include "io/chain.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The least part of the shorter sequence that must align: a few letters always find a place. */
static const double LEAST_COVERAGE = 0.5;

/* A chain tried on an entry. */
typedef struct fit {
    int64_t chain;   /* record; −1: none */
    int64_t present; /* residues of the entry that get a coordinate */
    int64_t *map;    /* [L] */
} fit;

static int same_accession(const void *a, const void *b) {
    return memcmp(a, b, RECORD_GROUP) == 0;
}

static int64_t count_present(const chain_head *c, const int64_t *map, int64_t length) {
    int64_t present = 0;
    for (int64_t i = 0; i < length; i++)
        present += map[i] >= 0 && !isnan(chain_coord(c)[3 * map[i]]);
    return present;
}

/* Tries one chain; says in *row how it ended: PAIRS_KEPT when it may be used. */
static status try_chain(const entry_head *e, const chain_head *c, double min_identity, int64_t *map,
                        int64_t *present, ledger_row *row, error *err) {
    align_result result;
    TRY(align_entry((const uint8_t *)entry_sequence(e), e->length, chain_letters(c), c->length, map,
                    &result, err));
    *present = 0;
    if (result.kind == ALIGN_TOO_LONG)
        *row = PAIRS_TOO_LONG;
    else if (result.coverage < LEAST_COVERAGE)
        *row = PAIRS_SHORT;
    else if (result.identity < min_identity)
        *row = PAIRS_DIFFERENT;
    else
        *row = (*present = count_present(c, map, e->length)) > 0 ? PAIRS_KEPT : PAIRS_NO_COORDINATE;
    return STATUS_OK;
}

/* The best of chains [begin, end) for the entry: most residues with coordinates, then the first. */
static status find_best(const entry_head *e, const record_set *chains, int64_t begin, int64_t end,
                        double min_identity, fit *best, int64_t *map, ledger *counts, error *err) {
    best->chain = -1;
    best->present = 0;
    for (int64_t i = begin; i < end; i++) {
        int64_t present = 0;
        ledger_row row = PAIRS_KEPT;
        TRY(try_chain(e, chain_at(chains, i), min_identity, map, &present, &row, err));
        if (row == PAIRS_KEPT && best->chain >= 0)
            row = PAIRS_WORSE; /* one of the two */
        counts->count[row]++;
        if (present > best->present) {
            best->chain = i;
            best->present = present;
            memcpy(best->map, map, (size_t)e->length * sizeof *map);
        }
    }
    return STATUS_OK;
}

/* Writes the chosen chain's coordinates to the share's place of the protein. */
static void place_chain(build_share *share, int64_t protein, int64_t at, const entry_head *e,
                        const record_set *chains, const fit *best) {
    for (int64_t i = 0; i < 3 * e->length; i++)
        share->coord[3 * at + i] = NAN;
    memset(share->plddt + at, CHAIN_PLDDT_UNKNOWN, (size_t)e->length);
    share->source[protein] = SOURCE_NONE;
    if (best->chain < 0)
        return;
    const chain_head *c = chain_at(chains, best->chain);
    share->source[protein] = (uint8_t)c->source;
    for (int64_t i = 0; i < e->length; i++) {
        if (best->map[i] < 0)
            continue;
        memcpy(share->coord + 3 * (at + i), chain_coord(c) + 3 * best->map[i], 3 * sizeof(float));
        share->plddt[at + i] = chain_plddt(c)[best->map[i]];
    }
}

/* Counts and sizes the share: the first record of every accession. */
static status keep_entries(const record_set *entries, build_share *share, int64_t *longest,
                           ledger *counts, error *err) {
    share->entry = malloc((size_t)(entries->count + 1) * sizeof *share->entry);
    if (share->entry == NULL)
        return error_set(err, STATUS_FAILED, "out of memory: %lld entries",
                         (long long)entries->count);
    for (int64_t i = 0; i < entries->count; i++) {
        const entry_head *e = entry_at(entries, i);
        if (i > 0 && same_accession(e, entry_at(entries, i - 1))) {
            counts->count[ENTRIES_DUPLICATE]++;
            continue;
        }
        counts->count[ENTRIES_KEPT]++;
        share->entry[share->proteins++] = i;
        share->residues += e->length;
        share->question_bytes += e->question;
        share->text_bytes += e->text;
        *longest = e->length > *longest ? e->length : *longest;
    }
    const size_t residues = (size_t)share->residues;
    share->source = malloc((size_t)share->proteins + 1);
    share->plddt = malloc(residues + 1);
    share->coord = malloc((3 * residues + 1) * sizeof *share->coord);
    if (share->source == NULL || share->plddt == NULL || share->coord == NULL)
        return error_set(err, STATUS_FAILED, "out of memory: coordinates of %zu residues",
                         residues);
    return STATUS_OK;
}

/* Walks entries and chains together, both by accession. */
static status pair_all(const record_set *entries, const record_set *chains, double min_identity,
                       build_share *share, int64_t *maps, int64_t longest, ledger *counts,
                       error *err) {
    fit best = {-1, 0, maps};
    int64_t chain = 0, at = 0;
    for (int64_t p = 0; p < share->proteins; p++) {
        const entry_head *e = entry_at(entries, share->entry[p]);
        for (; chain < chains->count && memcmp(chain_at(chains, chain), e, RECORD_GROUP) < 0;
             chain++)
            counts->count[PAIRS_NO_ENTRY]++;
        const int64_t begin = chain;
        while (chain < chains->count && same_accession(chain_at(chains, chain), e))
            chain++;
        TRY(find_best(e, chains, begin, chain, min_identity, &best, maps + longest, counts, err));
        place_chain(share, p, at, e, chains, &best);
        at += e->length;
    }
    counts->count[PAIRS_NO_ENTRY] += chains->count - chain;
    return STATUS_OK;
}

status build_pair(const record_set *entries, const record_set *chains, double min_identity,
                  build_share *share, ledger *counts, error *err) {
    int64_t longest = 0;
    *share = (build_share){0};
    TRY(keep_entries(entries, share, &longest, counts, err));
    int64_t *maps = malloc((size_t)(2 * longest + 1) * sizeof *maps);
    if (maps == NULL)
        return error_set(err, STATUS_FAILED, "out of memory: a sequence of %lld residues",
                         (long long)longest);
    const status code = pair_all(entries, chains, min_identity, share, maps, longest, counts, err);
    free(maps);
    return code;
}

void build_share_destroy(build_share *share) {
    free(share->entry);
    free(share->source);
    free(share->coord);
    free(share->plddt);
    *share = (build_share){0};
}
