#include "io/uniprot_store.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { CODE_WIDTH = 5 /* line code and blanks */ };

void *uniprot_list_add(uniprot_list *list) {
    if (list->count == list->capacity) {
        const int64_t capacity = list->capacity > 0 ? 2 * list->capacity : 64;
        list->items = realloc(list->items, (size_t)capacity * list->item_size);
        CHECK(list->items != NULL, "no memory for %lld parts of a UniProt record",
              (long long)capacity);
        list->capacity = capacity;
    }
    void *slot = list->items + (size_t)list->count++ * list->item_size;
    return memset(slot, 0, list->item_size);
}

static void begin_list(uniprot_list *list, size_t item_size) {
    list->count = 0;
    list->item_size = item_size;
}

/* Every byte of a record is copied once at most; each line gains a space or a NUL, and a line has
 * one byte at least. */
void uniprot_store_begin(uniprot_store *store, size_t size) {
    const size_t needed = 2 * size + 64;
    if (store->text_capacity < needed) {
        free(store->text);
        store->text_capacity = needed + needed / 2;
        store->text = malloc(store->text_capacity);
        CHECK(store->text != NULL, "no memory for a UniProt record of %zu bytes", size);
    }
    store->text_used = 0;
    begin_list(&store->accessions, sizeof(char *));
    begin_list(&store->names, sizeof(uniprot_name));
    begin_list(&store->genes, sizeof(char *));
    begin_list(&store->comments, sizeof(uniprot_comment));
    begin_list(&store->spans, sizeof(uniprot_span));
    begin_list(&store->features, sizeof(uniprot_feature));
    begin_list(&store->xrefs, sizeof(uniprot_xref));
    begin_list(&store->keywords, sizeof(char *));
}

void uniprot_store_destroy(uniprot_store *store) {
    if (!store)
        return;
    free(store->text);
    free(store->accessions.items);
    free(store->names.items);
    free(store->genes.items);
    free(store->comments.items);
    free(store->spans.items);
    free(store->features.items);
    free(store->xrefs.items);
    free(store->keywords.items);
    free(store);
}

bool uniprot_block_next(uniprot_block *block, uniprot_slice *line) {
    while (block->at < block->end) {
        const char *begin = block->at;
        const char *newline = memchr(begin, '\n', (size_t)(block->end - begin));
        const char *end = newline ? newline : block->end;
        block->at = newline ? newline + 1 : block->end;
        if (end - begin >= 2 && memcmp(begin, "**", 2) == 0)
            continue;
        while (end > begin && (end[-1] == ' ' || end[-1] == '\r'))
            end--;
        begin = end - begin > CODE_WIDTH ? begin + CODE_WIDTH : end;
        *line = (uniprot_slice){begin, (size_t)(end - begin)};
        return true;
    }
    return false;
}

uniprot_slice uniprot_slice_trim(uniprot_slice s) {
    while (s.size > 0 && s.text[0] == ' ') {
        s.text++;
        s.size--;
    }
    while (s.size > 0 && s.text[s.size - 1] == ' ')
        s.size--;
    return s;
}

bool uniprot_slice_starts(uniprot_slice s, const char *prefix) {
    const size_t size = strlen(prefix);
    return s.size >= size && memcmp(s.text, prefix, size) == 0;
}

char *uniprot_text_begin(uniprot_store *store) {
    return store->text + store->text_used;
}

void uniprot_text_append_tight(uniprot_store *store, uniprot_slice line) {
    CHECK(store->text_capacity - store->text_used > line.size + 1, "the text block is too small");
    memcpy(store->text + store->text_used, line.text, line.size);
    store->text_used += line.size;
}

static bool goes_on_with_and(uniprot_slice line) {
    return uniprot_slice_starts(line, "and ") || uniprot_slice_starts(line, "or ");
}

void uniprot_text_append(uniprot_store *store, const char *begin, uniprot_slice line) {
    if (line.size == 0)
        return;
    const char *end = store->text + store->text_used;
    const bool hyphen = end > begin && end[-1] == '-' && end - begin > 1 && end[-2] != ' ';
    if (end > begin && (!hyphen || goes_on_with_and(line)))
        uniprot_text_append_tight(store, (uniprot_slice){" ", 1});
    uniprot_text_append_tight(store, line);
}

void uniprot_text_end(uniprot_store *store) {
    uniprot_text_append_tight(store, (uniprot_slice){"", 1});
}

char *uniprot_text_join(uniprot_store *store, uniprot_block block) {
    char *begin = uniprot_text_begin(store);
    uniprot_slice line;
    while (uniprot_block_next(&block, &line))
        uniprot_text_append(store, begin, uniprot_slice_trim(line));
    uniprot_text_end(store);
    return begin;
}

uniprot_evidence uniprot_evidence_stronger(uniprot_evidence a, uniprot_evidence b) {
    if (a == EVIDENCE_NONE || b == EVIDENCE_NONE)
        return a == EVIDENCE_NONE ? b : a;
    return a < b ? a : b;
}

static uniprot_evidence class_of_code(long code) {
    switch (code) {
    case 269:
    case 7744:
        return EVIDENCE_EXPERIMENTAL;
    case 303:
    case 305:
        return EVIDENCE_CURATOR;
    case 250:
        return EVIDENCE_SIMILARITY;
    case 213:
    case 255:
    case 256:
    case 259:
    case 313:
    case 7829:
        return EVIDENCE_AUTOMATIC;
    default:
        return EVIDENCE_OTHER;
    }
}

uniprot_evidence uniprot_evidence_of(const char *text, const char *end) {
    uniprot_evidence strongest = EVIDENCE_NONE;
    for (const char *at = text; end - at > 4; at++) {
        at = memchr(at, 'E', (size_t)(end - at) - 4);
        if (!at)
            break;
        if (memcmp(at, "ECO:", 4) != 0)
            continue;
        long code = 0;
        const char *digit = at + 4;
        for (; digit < end && isdigit((unsigned char)*digit) && code < 100000000; digit++)
            code = 10 * code + (*digit - '0');
        strongest = uniprot_evidence_stronger(strongest, class_of_code(code));
    }
    return strongest;
}

/* A tag at `at`: its evidence and the text behind it; NULL when there is none. */
static const char *match_tag(const char *at, bool words, uniprot_evidence *found) {
    static const struct {
        const char *text;
        uniprot_evidence evidence;
    } old[] = {{"(By similarity)", EVIDENCE_SIMILARITY},
               {"(Potential)", EVIDENCE_AUTOMATIC},
               {"(Probable)", EVIDENCE_CURATOR}};
    if (*at == '{' && strncmp(at, "{ECO:", 5) == 0) {
        const char *close = strchr(at, '}');
        if (!close)
            return NULL;
        *found = uniprot_evidence_of(at, close);
        return close + 1;
    }
    for (size_t i = 0; words && *at == '(' && i < sizeof old / sizeof *old; i++) {
        const size_t size = strlen(old[i].text);
        if (strncasecmp(at, old[i].text, size) == 0) {
            *found = old[i].evidence;
            return at + size;
        }
    }
    return NULL;
}

/* What a tag leaves behind: the blank before it, "Evidence=" … ";" of structured comments, and a
 * second full stop ("Text. {ECO:…}."). Returns where to write on. */
static char *close_gap(const char *text, char *out, const char **rest) {
    static const char label[] = "Evidence=";
    const size_t size = sizeof label - 1;
    const bool labelled = (size_t)(out - text) >= size && memcmp(out - size, label, size) == 0;
    if (labelled)
        out -= size;
    while (out > text && out[-1] == ' ')
        out--;
    if ((labelled && **rest == ';') || (**rest == '.' && out > text && out[-1] == '.'))
        ++*rest;
    return out;
}

uniprot_evidence uniprot_text_strip(char *text, bool words, uniprot_list *spans) {
    const char *marks = words ? "{(" : "{";
    uniprot_evidence strongest = EVIDENCE_NONE;
    const char *in = text;
    char *out = text;
    for (;;) {
        const size_t plain = strcspn(in, marks);
        if (out != in)
            memmove(out, in, plain);
        in += plain;
        out += plain;
        if (*in == '\0')
            break;
        uniprot_evidence found;
        const char *behind = match_tag(in, words, &found);
        if (!behind) {
            *out++ = *in++;
            continue;
        }
        strongest = uniprot_evidence_stronger(strongest, found);
        out = close_gap(text, out, &behind);
        in = behind;
        if (spans)
            *(uniprot_span *)uniprot_list_add(spans) = (uniprot_span){out - text, found};
    }
    *out = '\0';
    return strongest;
}

char *uniprot_text_next(char **rest, const char *separator) {
    char *value = *rest;
    while (*value == ' ' || *value == ';')
        value++;
    if (*value == '\0')
        return NULL;
    char *cut = strstr(value, separator);
    if (cut) {
        *cut = '\0';
        *rest = cut + strlen(separator);
    } else {
        *rest = value + strlen(value);
    }
    return value;
}

void uniprot_text_chop(char *text, const char *closing) {
    const size_t size = strlen(text);
    if (size > 0 && strchr(closing, text[size - 1]))
        text[size - 1] = '\0';
}

bool uniprot_is_known(const char *word, const char *const *list) {
    for (; *list; list++)
        if (**list == *word && strcmp(word, *list) == 0)
            return true;
    return false;
}
