#include "io/chain_collect.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A chain on its way: which residues were observed, and where they stand. */
typedef struct draft {
    int64_t source;   /* index into the collector's chains */
    int64_t sequence; /* declared sequence, or −1: the observed residues are all there is */
    int64_t *seen;    /* [count] residues, borrowed from workspace.order */
    int64_t *place;   /* [count] positions, borrowed from workspace.place */
    int64_t count, length;
    bool contradicted;
} draft;

/* Residues sorted by chain and sequence items by sequence, both in file order within. */
typedef struct workspace {
    const collector *c;
    int64_t *order, *order_start; /* [residues], [chains + 1] */
    int64_t *items, *item_start;  /* [items], [sequences + 1] */
    int64_t *place;               /* [residues] */
    int64_t *first;               /* [items + 1] first item of each position of one sequence */
    int32_t *number;              /* [residues] scratch */
    bool *taken;                  /* [sequences] */
    draft *drafts;                /* [chains] */
    int64_t draft_count, other_chains;
} workspace;

static void *room(int64_t count, size_t size) {
    return calloc((size_t)count + 1, size);
}

static void destroy_workspace(workspace *w) {
    free(w->order);
    free(w->order_start);
    free(w->items);
    free(w->item_start);
    free(w->place);
    free(w->first);
    free(w->number);
    free(w->taken);
    free(w->drafts);
}

static bool create_workspace(workspace *w, const collector *c) {
    *w = (workspace){
        .c = c,
        .order = room(c->residue_count, sizeof *w->order),
        .order_start = room(c->chain_count + 1, sizeof *w->order_start),
        .items = room(c->item_count, sizeof *w->items),
        .item_start = room(c->sequence_count + 1, sizeof *w->item_start),
        .place = room(c->residue_count, sizeof *w->place),
        .first = room(c->item_count + 1, sizeof *w->first),
        .number = room(c->residue_count, sizeof *w->number),
        .taken = room(c->sequence_count, sizeof *w->taken),
        .drafts = room(c->chain_count, sizeof *w->drafts),
    };
    return w->order && w->order_start && w->items && w->item_start && w->place && w->first &&
           w->number && w->taken && w->drafts;
}

/* Counting sorts; start[g] … start[g + 1] is group g afterwards. */
static void sort_by_group(workspace *w) {
    const collector *c = w->c;
    for (int64_t i = 0; i < c->residue_count; i++)
        w->order_start[c->residues[i].chain + 1]++;
    for (int64_t i = 0; i < c->chain_count; i++)
        w->order_start[i + 1] += w->order_start[i];
    for (int64_t i = c->residue_count - 1; i >= 0; i--)
        w->order[--w->order_start[c->residues[i].chain + 1]] = i;
    for (int64_t i = 0; i < c->item_count; i++)
        w->item_start[c->items[i].sequence + 1]++;
    for (int64_t i = 0; i < c->sequence_count; i++)
        w->item_start[i + 1] += w->item_start[i];
    for (int64_t i = c->item_count - 1; i >= 0; i--)
        w->items[--w->item_start[c->items[i].sequence + 1]] = i;
    /* Filling from the back moved every start by one group: move them back. */
    memmove(w->order_start, w->order_start + 1, (size_t)c->chain_count * sizeof(int64_t));
    w->order_start[c->chain_count] = c->residue_count;
    memmove(w->item_start, w->item_start + 1, (size_t)c->sequence_count * sizeof(int64_t));
    w->item_start[c->sequence_count] = c->item_count;
}

/* ---- what a residue is ---------------------------------------------------------------------- */

static bool is_listed(const workspace *w, int64_t sequence, uint64_t name) {
    if (sequence < 0)
        return false;
    for (int64_t k = w->item_start[sequence]; k < w->item_start[sequence + 1]; k++)
        if (w->c->items[w->items[k]].name == name)
            return true;
    return false;
}

/* Residue, or ligand and water beside it? Asked where no declared sequence and no number that
 * mmCIF gives to polymers alone can tell. */
static bool is_in_polymer(const workspace *w, int64_t sequence, const collected_residue *r) {
    if (collector_kind(w->c, r->name) != RESIDUE_OTHER || is_listed(w, sequence, r->name))
        return true;
    const int wanted = r->hetero ? BACKBONE_N | BACKBONE_CA | BACKBONE_C : BACKBONE_CA;
    return (r->backbone & wanted) == wanted;
}

/* Neighbours in a chain have Cα 3.8 Å apart (2.9 Å when cis). */
static bool are_bonded(const collector *c, int64_t a, int64_t b) {
    const conformer *first = collector_best_conformer(c, &c->residues[a]);
    const conformer *second = collector_best_conformer(c, &c->residues[b]);
    double square = 0;
    for (int axis = 0; axis < 3; axis++) {
        const double d = (double)first->ca[axis] - (double)second->ca[axis];
        square += d * d;
    }
    return first->has_ca && second->has_ca && square < 4.5 * 4.5;
}

/* In a chain that no TER ends, amino acids that float free stand among the HETATM behind the last
 * ATOM: such a residue counts only when nothing but residues came between and it is bonded. */
static void keep_polymer(const workspace *w, draft *d) {
    const collector *c = w->c;
    int64_t kept = 0, last_atom = -1;
    for (int64_t i = 0; i < d->count; i++)
        last_atom = c->residues[d->seen[i]].hetero ? last_atom : i;
    const bool ended = last_atom < 0 || c->chains[d->source].closed;
    for (int64_t i = 0; i < d->count; i++) {
        const int64_t residue = d->seen[i];
        const bool keep = is_in_polymer(w, d->sequence, &c->residues[residue]);
        const bool behind = !ended && i > last_atom;
        if (behind && (!keep || (kept > 0 && !are_bonded(c, d->seen[kept - 1], residue))))
            break;
        if (keep)
            d->seen[kept++] = residue;
    }
    d->count = kept;
}

/* ---- which sequence, and where ------------------------------------------------------------- */

/* In mmCIF an entity's sequence serves all its chains; a SEQRES record serves one. */
static int64_t find_sequence(workspace *w, const collected_chain *from) {
    const bool of_entity = from->entity[0] != '\0';
    const char *id = of_entity ? from->entity : from->name;
    for (int64_t i = 0; i < w->c->sequence_count; i++)
        if (strcmp(w->c->sequences[i].id, id) == 0 && (of_entity || !w->taken[i])) {
            w->taken[i] = true;
            return i;
        }
    return -1;
}

static bool is_protein(const workspace *w, const draft *d, bool *is_polymer) {
    *is_polymer = true;
    if (d->sequence >= 0 && w->c->sequences[d->sequence].type != SEQUENCE_UNKNOWN)
        return w->c->sequences[d->sequence].type == SEQUENCE_PROTEIN;
    int64_t amino = 0, nucleotides = 0;
    const bool declared = d->sequence >= 0 && w->c->sequences[d->sequence].length > 0;
    const int64_t begin = declared ? w->item_start[d->sequence] : 0;
    const int64_t end = declared ? w->item_start[d->sequence + 1] : d->count;
    for (int64_t i = begin; i < end; i++) {
        const uint64_t name =
            declared ? w->c->items[w->items[i]].name : w->c->residues[d->seen[i]].name;
        const residue_kind kind = collector_kind(w->c, name);
        amino += kind == RESIDUE_AMINO;
        nucleotides += kind == RESIDUE_NUCLEOTIDE;
    }
    *is_polymer = amino + nucleotides > 0;
    return amino > nucleotides;
}

/* first[j]: the first item of position j, for one sequence whose numbers run 1, 2, 3, … */
static void index_positions(workspace *w, int64_t sequence) {
    int64_t position = 0;
    for (int64_t k = w->item_start[sequence]; k < w->item_start[sequence + 1]; k++)
        while (position < w->c->items[w->items[k]].number)
            w->first[position++] = k;
    w->first[position] = w->item_start[sequence + 1];
}

typedef struct fits_context {
    const workspace *w;
    const draft *d;
} fits_context;

static bool fits(const void *context, int64_t i, int64_t j) {
    const workspace *w = ((const fits_context *)context)->w;
    const collector *c = w->c;
    const int64_t residue = ((const fits_context *)context)->d->seen[i];
    for (int64_t k = w->first[j]; k < w->first[j + 1]; k++) {
        const uint64_t name = c->items[w->items[k]].name;
        for (int64_t at = c->residues[residue].conformers; at >= 0; at = c->conformers[at].next)
            if (c->conformers[at].name == name)
                return true;
    }
    return false;
}

static status place_residues(workspace *w, draft *d, bool *placed, error *err) {
    const fits_context context = {w, d};
    const int64_t length = w->c->sequences[d->sequence].length;
    index_positions(w, d->sequence);
    if (!w->c->chains[d->source].numbered) {
        for (int64_t i = 0; i < d->count; i++)
            w->number[i] = w->c->residues[d->seen[i]].number;
        return chain_place(w->number, d->count, length, fits, &context, d->place, placed, err);
    }
    *placed = true;
    for (int64_t i = 0; i < d->count && *placed; i++) {
        d->place[i] = (int64_t)w->c->residues[d->seen[i]].number - 1;
        *placed = d->place[i] >= 0 && d->place[i] < length && fits(&context, i, d->place[i]);
    }
    return STATUS_OK;
}

static status draft_chain(workspace *w, int64_t i, error *err) {
    if (w->c->chains[i].left_out)
        return STATUS_OK;
    const int64_t begin = w->order_start[i];
    draft d = {.source = i,
               .seen = w->order + begin,
               .place = w->place + begin,
               .count = w->order_start[i + 1] - begin};
    d.sequence = find_sequence(w, &w->c->chains[i]);
    if (!w->c->chains[i].numbered || d.sequence < 0)
        keep_polymer(w, &d);
    bool is_polymer = false;
    if (d.count == 0 || !is_protein(w, &d, &is_polymer)) {
        w->other_chains += d.count > 0 && is_polymer;
        return STATUS_OK;
    }
    bool placed = false;
    if (d.sequence >= 0 && w->c->sequences[d.sequence].length > 0) {
        TRY(place_residues(w, &d, &placed, err));
        d.contradicted = !placed;
    }
    if (!placed) {
        d.sequence = -1;
        for (int64_t k = 0; k < d.count; k++)
            d.place[k] = k;
    }
    d.length = d.sequence >= 0 ? w->c->sequences[d.sequence].length : d.count;
    w->drafts[w->draft_count++] = d;
    return STATUS_OK;
}

/* ---- the chains themselves ------------------------------------------------------------------ */

static uint8_t confidence(const collector *c, float b) {
    if (c->source != SOURCE_ALPHAFOLD && c->source != SOURCE_SYNTHETIC)
        return CHAIN_PLDDT_UNKNOWN;
    if (!(b >= 0) || b > 100)
        return CHAIN_PLDDT_UNKNOWN;
    return (uint8_t)lroundf(b);
}

static void fill_residues(workspace *w, const draft *d, protein_chain *out) {
    const collector *c = w->c;
    for (int64_t j = 0; j < 3 * d->length; j++)
        out->coord[j] = NAN;
    memset(out->plddt, CHAIN_PLDDT_UNKNOWN, (size_t)d->length);
    if (d->sequence >= 0) {
        index_positions(w, d->sequence);
        for (int64_t j = 0; j < d->length; j++)
            out->letters[j] = collector_letter(c, c->items[w->items[w->first[j]]].name);
    }
    for (int64_t i = 0; i < d->count; i++) {
        const conformer *best = collector_best_conformer(c, &c->residues[d->seen[i]]);
        const int64_t j = d->place[i];
        if (!isnan(out->coord[3 * j]))
            continue; /* a second name there, not told to be an alternate location */
        out->letters[j] = collector_letter(c, best->name);
        if (!best->has_ca)
            continue;
        memcpy(out->coord + 3 * j, best->ca, sizeof best->ca);
        out->plddt[j] = confidence(c, best->b);
        out->present++;
    }
}

/* The UniProt entry that a link means: false when it is to another database or to nothing. */
static bool resolve_link(const collector *c, const collected_link *from, chain_link *link) {
    *link = from->link;
    bool uniprot = from->reference[0] == '\0';
    for (int64_t i = 0; i < c->reference_count && !uniprot; i++) {
        const collected_reference *reference = &c->references[i];
        if (strcmp(reference->id, from->reference) != 0)
            continue;
        uniprot = reference->uniprot;
        if (link->accession[0] == '\0')
            memcpy(link->accession, reference->accession, ACCESSION_SIZE);
    }
    char *dash = strchr(link->accession, '-');
    if (dash != NULL)
        memset(dash, 0, (size_t)(link->accession + ACCESSION_SIZE - dash));
    if (link->begin < 1 || link->end < link->begin)
        link->begin = link->end = 0;
    return uniprot && link->accession[0] != '\0';
}

static void fill_links(const collector *c, protein_chain *out) {
    for (int64_t i = 0; i < c->link_count; i++) {
        chain_link link;
        if (strcmp(c->links[i].chain, out->name) != 0 || !resolve_link(c, &c->links[i], &link))
            continue;
        chain_link *to = out->links;
        while (to < out->links + out->link_count && strcmp(to->accession, link.accession) != 0)
            to++;
        if (to == out->links + out->link_count) {
            *to = link;
            out->link_count++;
            continue;
        }
        const bool known = to->begin > 0 && link.begin > 0;
        to->begin = !known ? 0 : (link.begin < to->begin ? link.begin : to->begin);
        to->end = !known ? 0 : (link.end > to->end ? link.end : to->end);
    }
}

static int64_t count_links(const collector *c, const draft *d) {
    int64_t count = 0;
    for (int64_t i = 0; i < c->link_count; i++)
        count += strcmp(c->links[i].chain, c->chains[d->source].name) == 0;
    return count;
}

static void find_same(chain_file *file, int64_t i) {
    protein_chain *out = &file->chains[i];
    out->same_as = -1;
    for (int64_t k = 0; k < i && out->same_as < 0; k++)
        if (file->chains[k].same_as < 0 && file->chains[k].length == out->length &&
            memcmp(file->chains[k].letters, out->letters, (size_t)out->length) == 0)
            out->same_as = k;
}

/* One block holds everything: chains, links, coordinates, then bytes. */
static status fill_file(workspace *w, chain_file *file, error *err) {
    int64_t residues = 0, links = 0;
    for (int64_t i = 0; i < w->draft_count; i++) {
        residues += w->drafts[i].length;
        links += count_links(w->c, &w->drafts[i]);
    }
    const size_t size = (size_t)w->draft_count * sizeof(protein_chain) +
                        (size_t)links * sizeof(chain_link) +
                        (size_t)residues * (3 * sizeof(float) + 2);
    uint8_t *block = calloc(size + 1, 1);
    if (block == NULL)
        return error_set(err, STATUS_FAILED, "no memory for %lld residues.", (long long)residues);
    file->memory = block;
    file->chains = (protein_chain *)(void *)block;
    chain_link *link = (chain_link *)(void *)(file->chains + w->draft_count);
    float *coord = (float *)(void *)(link + links);
    uint8_t *byte = (uint8_t *)(coord + 3 * residues);
    for (int64_t i = 0; i < w->draft_count; i++) {
        const draft *d = &w->drafts[i];
        const collected_chain *from = &w->c->chains[d->source];
        protein_chain *out = &file->chains[i];
        *out = (protein_chain){.length = d->length,
                               .letters = byte,
                               .plddt = byte + d->length,
                               .coord = coord,
                               .links = link,
                               .only_seen = d->sequence < 0,
                               .contradicted = d->contradicted};
        memcpy(out->name, from->name, CHAIN_NAME);
        memcpy(out->label, from->label, CHAIN_NAME);
        byte += 2 * d->length;
        coord += 3 * d->length;
        link += count_links(w->c, d);
        fill_residues(w, d, out);
        fill_links(w->c, out);
        find_same(file, i);
        file->contradicted += d->contradicted;
    }
    file->count = w->draft_count;
    return STATUS_OK;
}

status chain_collect_finish(const collector *c, const char *path, chain_file *file, error *err) {
    *file = (chain_file){.source = c->source};
    memcpy(file->name, c->name, sizeof file->name);
    if (c->out_of_memory)
        return error_set(err, STATUS_FAILED, "%s: no memory to read it.", path);
    workspace w;
    status result = STATUS_OK;
    if (!create_workspace(&w, c))
        result = error_set(err, STATUS_FAILED, "%s: no memory to read it.", path);
    else {
        sort_by_group(&w);
        for (int64_t i = 0; i < c->chain_count && result == STATUS_OK; i++)
            result = draft_chain(&w, i, err);
        if (result == STATUS_OK)
            result = fill_file(&w, file, err);
        if (result != STATUS_OK)
            error_prefix(err, "%s", path);
        file->other_chains = w.other_chains;
    }
    destroy_workspace(&w);
    return result;
}
