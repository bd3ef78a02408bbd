#include "io/chain_collect.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Makes room for one more item in an array that doubles; false when memory is short. */
static bool grow(collector *c, void *array, int64_t count, int64_t *room, size_t size) {
    if (count < *room)
        return true;
    const int64_t wanted = *room > 0 ? 2 * *room : 64;
    void *old;
    memcpy(&old, array, sizeof old);
    void *bigger = realloc(old, (size_t)wanted * size);
    if (bigger == NULL) {
        c->out_of_memory = true;
        return false;
    }
    memcpy(array, &bigger, sizeof bigger);
    *room = wanted;
    return true;
}

#define GROW(c, what)                                                                              \
    grow((c), &(c)->what##s, (c)->what##_count, &(c)->what##_room, sizeof *(c)->what##s)

void collector_create(collector *c) {
    *c = (collector){.source = SOURCE_PDB, .residue = -1, .place = -1};
}

void collector_destroy(collector *c) {
    free(c->chains);
    free(c->residues);
    free(c->conformers);
    free(c->sequences);
    free(c->items);
    free(c->links);
    free(c->references);
    free(c->modifieds);
    free(c->bucket);
    *c = (collector){.residue = -1, .place = -1};
}

bool collector_copy_name(char to[CHAIN_NAME], const char *text, size_t length) {
    memset(to, 0, CHAIN_NAME);
    if (length >= CHAIN_NAME || memchr(text, '\0', length) != NULL)
        return false;
    memcpy(to, text, length);
    return true;
}

int64_t collector_sequence(collector *c, const char *id) {
    for (int64_t i = c->sequence_count - 1; i >= 0; i--)
        if (strcmp(c->sequences[i].id, id) == 0)
            return i;
    if (!GROW(c, sequence))
        return -1;
    declared_sequence *s = &c->sequences[c->sequence_count];
    *s = (declared_sequence){.type = SEQUENCE_UNKNOWN};
    strcpy(s->id, id);
    return c->sequence_count++;
}

void collector_add_item(collector *c, int64_t sequence, uint64_t name, int64_t number) {
    if (sequence < 0 || !GROW(c, item))
        return;
    c->items[c->item_count++] = (sequence_item){sequence, name, number};
    if (number > c->sequences[sequence].length)
        c->sequences[sequence].length = number;
}

void collector_add_link(collector *c, const collected_link *link) {
    if (GROW(c, link))
        c->links[c->link_count++] = *link;
}

void collector_add_reference(collector *c, const collected_reference *reference) {
    if (GROW(c, reference))
        c->references[c->reference_count++] = *reference;
}

void collector_add_modified(collector *c, uint64_t name, uint64_t parent) {
    if (GROW(c, modified))
        c->modifieds[c->modified_count++] = (modified_name){name, parent};
}

int64_t collector_find_chain(const collector *c, const char *label) {
    for (int64_t i = c->chain_count - 1; i >= 0; i--)
        if (strcmp(c->chains[i].label, label) == 0)
            return i;
    return -1;
}

int64_t collector_chain(collector *c, const char *label, const char *name, const char *entity,
                        bool numbered) {
    for (int64_t i = c->chain_count - 1; i >= 0; i--)
        if (c->chains[i].numbered == numbered && !c->chains[i].closed &&
            strcmp(c->chains[i].label, label) == 0)
            return i;
    if (!GROW(c, chain))
        return -1;
    collected_chain *made = &c->chains[c->chain_count];
    *made = (collected_chain){.numbered = numbered};
    strcpy(made->label, label);
    strcpy(made->name, name);
    strcpy(made->entity, entity);
    return c->chain_count++;
}

static uint64_t hash(const residue_key *key) {
    uint64_t h = (uint64_t)key->chain * 0x9e3779b97f4a7c15u;
    h ^= ((uint64_t)(uint32_t)key->number << 32) ^ key->insertion;
    h *= 0xd6e8feb86659fd93u;
    return h ^ (h >> 32);
}

static residue_key key_of(const collected_residue *r) {
    return (residue_key){.chain = r->chain, .number = r->number, .insertion = r->insertion};
}

/* Doubles the hash table when it is as full as it has buckets. */
static bool make_room_in_table(collector *c) {
    if (c->residue_count < c->buckets)
        return true;
    const int64_t wanted = c->buckets > 0 ? 2 * c->buckets : 512;
    int64_t *bigger = malloc((size_t)wanted * sizeof *bigger);
    if (bigger == NULL) {
        c->out_of_memory = true;
        return false;
    }
    memset(bigger, -1, (size_t)wanted * sizeof *bigger);
    for (int64_t i = 0; i < c->residue_count; i++) {
        const residue_key key = key_of(&c->residues[i]);
        int64_t *slot = &bigger[hash(&key) & (uint64_t)(wanted - 1)];
        c->residues[i].next_same = *slot;
        *slot = i;
    }
    free(c->bucket);
    c->bucket = bigger;
    c->buckets = wanted;
    return true;
}

/* Two names under one number are one residue only as alternate locations of it. */
static bool is_same_residue(const collector *c, const collected_residue *r,
                            const residue_key *key) {
    if (r->chain != key->chain || r->number != key->number || r->insertion != key->insertion)
        return false;
    return r->name == key->name || key->alternate || r->conformers < 0 ||
           c->conformers[r->conformers].label != 0;
}

void collector_enter_residue(collector *c, const residue_key *key) {
    c->place = -1;
    c->residue = -1;
    if (key->chain < 0 || !make_room_in_table(c) || !GROW(c, residue))
        return;
    int64_t *slot = &c->bucket[hash(key) & (uint64_t)(c->buckets - 1)];
    for (int64_t i = *slot; i >= 0; i = c->residues[i].next_same)
        if (is_same_residue(c, &c->residues[i], key)) {
            c->residue = i;
            return;
        }
    c->residues[c->residue_count] = (collected_residue){.name = key->name,
                                                        .chain = key->chain,
                                                        .conformers = -1,
                                                        .next_same = *slot,
                                                        .number = key->number,
                                                        .insertion = key->insertion,
                                                        .hetero = key->hetero};
    *slot = c->residue = c->residue_count++;
}

/* The conformer of the current residue with this label and name; the last in its list is where a
 * new one is hung, so that file order decides ties. */
static conformer *find_conformer(collector *c, uint64_t label, uint64_t name) {
    int64_t last = -1;
    for (int64_t i = c->residues[c->residue].conformers; i >= 0; i = c->conformers[i].next) {
        if (c->conformers[i].label == label && c->conformers[i].name == name) {
            c->place = i;
            return &c->conformers[i];
        }
        last = i;
    }
    if (!GROW(c, conformer))
        return NULL;
    c->place = c->conformer_count++;
    c->conformers[c->place] = (conformer){.label = label, .name = name, .next = -1};
    if (last < 0)
        c->residues[c->residue].conformers = c->place;
    else
        c->conformers[last].next = c->place;
    return &c->conformers[c->place];
}

void collector_add_atom(collector *c, const collected_atom *atom) {
    if (c->residue < 0)
        return;
    conformer *at = c->place >= 0 ? &c->conformers[c->place] : NULL;
    if (at == NULL || at->label != atom->alternate || at->name != atom->name)
        at = find_conformer(c, atom->alternate, atom->name);
    if (at == NULL)
        return;
    at->occupancy += (double)atom->occupancy;
    at->atoms++;
    c->residues[c->residue].backbone |= atom->backbone;
    if (atom->backbone == BACKBONE_CA && atom->has_position && !at->has_ca) {
        memcpy(at->ca, atom->position, sizeof at->ca);
        at->b = atom->b;
        at->has_ca = true;
    }
}

/* ---- what was gathered ---------------------------------------------------------------------- */

static uint64_t parent_of(const collector *c, uint64_t name) {
    for (int64_t i = 0; i < c->modified_count; i++)
        if (c->modifieds[i].name == name)
            return c->modifieds[i].parent;
    return 0;
}

uint8_t collector_letter(const collector *c, uint64_t name) {
    const uint8_t letter = residue_name_letter(name);
    if (letter != 'X')
        return letter;
    const uint64_t parent = parent_of(c, name);
    return parent != 0 ? residue_name_letter(parent) : letter;
}

residue_kind collector_kind(const collector *c, uint64_t name) {
    const residue_kind kind = residue_name_kind(name);
    if (kind != RESIDUE_OTHER)
        return kind;
    const uint64_t parent = parent_of(c, name);
    return parent != 0 ? residue_name_kind(parent) : kind;
}

const conformer *collector_best_conformer(const collector *c, const collected_residue *r) {
    const conformer *best = NULL;
    double best_mean = 0;
    for (int64_t i = r->conformers; i >= 0; i = c->conformers[i].next) {
        const conformer *at = &c->conformers[i];
        const double mean = at->label == 0 ? INFINITY : at->occupancy / (double)at->atoms;
        if (best == NULL || at->has_ca > best->has_ca ||
            (at->has_ca == best->has_ca && mean > best_mean)) {
            best = at;
            best_mean = mean;
        }
    }
    return best;
}
