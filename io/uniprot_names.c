/* DE and GN lines: names of the protein and of its genes, structured and (before 2008) free. */
#include "io/uniprot_store.h"

#include <string.h>
#include <strings.h>

static void add_name(uniprot_store *store, uniprot_name_kind kind, uniprot_name_field field,
                     int part, const char *text) {
    if (*text)
        *(uniprot_name *)uniprot_list_add(&store->names) = (uniprot_name){kind, field, part, text};
}

static bool skip_word(uniprot_slice *line, const char *word) {
    if (!uniprot_slice_starts(*line, word))
        return false;
    line->text += strlen(word);
    line->size -= strlen(word);
    *line = uniprot_slice_trim(*line);
    return true;
}

/* ---- structured ----------------------------------------------------------------------------- */

/* Where in the DE lines one is. */
typedef struct place {
    uniprot_name_kind kind;
    int parts; /* Contains: and Includes: so far */
} place;

static bool is_structured(uniprot_slice first) {
    static const char *const words[] = {
        "RecName:", "AltName:", "SubName:", "Contains:", "Includes:", "Flags:"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (uniprot_slice_starts(first, words[i]))
            return true;
    return false;
}

static void read_flags(uniprot_entry *entry, uniprot_slice line) {
    if (memmem(line.text, line.size, "Precursor", 9))
        entry->precursor = true;
    if (memmem(line.text, line.size, "Fragment", 8)) /* "Fragments" too */
        entry->fragment = true;
}

/* "Full=…;" and its like, from `line` on to the line that ends with `;`. */
static void read_field(uniprot_store *store, uniprot_block *block, uniprot_slice line, place at) {
    static const struct {
        const char *word;
        uniprot_name_field field;
    } fields[] = {{"Full=", NAME_FULL},       {"Short=", NAME_SHORT},
                  {"EC=", NAME_EC},           {"Allergen=", NAME_SPECIAL},
                  {"Biotech=", NAME_SPECIAL}, {"CD_antigen=", NAME_SPECIAL},
                  {"INN=", NAME_SPECIAL}};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        if (!skip_word(&line, fields[i].word))
            continue;
        char *text = uniprot_text_begin(store);
        uniprot_text_append(store, text, line);
        while ((line.size == 0 || line.text[line.size - 1] != ';') &&
               uniprot_block_next(block, &line)) {
            line = uniprot_slice_trim(line);
            uniprot_text_append(store, text, line);
        }
        uniprot_text_end(store);
        uniprot_text_chop(text, ";");
        uniprot_text_strip(text, false, NULL);
        add_name(store, at.kind, fields[i].field, at.parts, text);
        return;
    }
}

static void read_structured(uniprot_store *store, uniprot_entry *entry, uniprot_block block) {
    place at = {NAME_RECOMMENDED, 0};
    uniprot_slice line;
    while (uniprot_block_next(&block, &line)) {
        line = uniprot_slice_trim(line);
        if (skip_word(&line, "Contains:") || skip_word(&line, "Includes:")) {
            at.parts++;
            continue;
        }
        if (skip_word(&line, "Flags:")) {
            read_flags(entry, line);
            continue;
        }
        if (skip_word(&line, "RecName:"))
            at.kind = NAME_RECOMMENDED;
        else if (skip_word(&line, "AltName:"))
            at.kind = NAME_ALTERNATIVE;
        else if (skip_word(&line, "SubName:"))
            at.kind = NAME_SUBMITTED;
        read_field(store, &block, line, at);
    }
}

/* ---- free ----------------------------------------------------------------------------------- */

/* The closing bracket of the group that opens at `open`; NULL when it is not closed. */
static char *group_end(char *open, char opening, char closing) {
    int depth = 0;
    for (char *at = open; *at; at++) {
        depth += *at == opening;
        depth -= *at == closing;
        if (depth == 0)
            return at;
    }
    return NULL;
}

/* The next "(name)" that stands by itself: parentheses inside a word belong to a name, as in
 * "(S)-2-haloacid dehalogenase". */
static char *find_group(char *text) {
    for (char *open = strchr(text, '('); open; open = strchr(open + 1, '(')) {
        char *close = group_end(open, '(', ')');
        if (!close)
            return NULL;
        if (open > text && open[-1] == ' ' && (close[1] == '\0' || close[1] == ' '))
            return open;
    }
    return NULL;
}

static void keep_group(uniprot_store *store, uniprot_entry *entry, char *text, int part) {
    if (strncmp(text, "EC ", 3) == 0)
        add_name(store, NAME_ALTERNATIVE, NAME_EC, part, text + 3);
    else if (strcasecmp(text, "Fragment") == 0 || strcasecmp(text, "Fragments") == 0)
        entry->fragment = true;
    else
        add_name(store, NAME_ALTERNATIVE, NAME_FULL, part, text);
}

/* "Name precursor (EC 1.2.3.4) (Other name) (Fragment)". */
static void read_free_name(uniprot_store *store, uniprot_entry *entry, char *text, int part) {
    static const char precursor[] = " precursor";
    char *group = find_group(text);
    if (group)
        group[-1] = '\0';
    size_t size = strlen(text);
    if (size >= sizeof precursor &&
        strcasecmp(text + size - sizeof precursor + 1, precursor) == 0) {
        entry->precursor = true;
        text[size - sizeof precursor + 1] = '\0';
    }
    add_name(store, NAME_RECOMMENDED, NAME_FULL, part, text);
    while (group) {
        char *close = group_end(group, '(', ')');
        char *rest = close[1] == '\0' ? close + 1 : close + 2;
        *close = '\0';
        keep_group(store, entry, group + 1, part);
        group = *rest == '(' ? rest : NULL;
        if (group && !group_end(group, '(', ')'))
            group = NULL;
    }
}

/* Cuts "[Contains: A; B]" out of the text and returns what stands between the brackets. */
static char *cut_parts(char *text) {
    char *open = strstr(text, " [Contains: ");
    if (!open)
        open = strstr(text, " [Includes: ");
    char *close = open ? group_end(open + 1, '[', ']') : NULL;
    if (!close)
        return NULL;
    *open = '\0';
    *close = '\0';
    return open + strlen(" [Contains: ");
}

static void read_free(uniprot_store *store, uniprot_entry *entry, uniprot_block block) {
    char *text = uniprot_text_join(store, block);
    uniprot_text_strip(text, false, NULL);
    uniprot_text_chop(text, ".");
    if (strstr(text, "(Fragment"))
        entry->fragment = true;
    char *parts = cut_parts(text);
    read_free_name(store, entry, text, 0);
    int part = 0;
    for (char *name; parts && (name = uniprot_text_next(&parts, "; "));)
        read_free_name(store, entry, name, ++part);
}

/* ---- both ----------------------------------------------------------------------------------- */

static const char *best_name(const uniprot_store *store) {
    const uniprot_name *names = (const uniprot_name *)(const void *)store->names.items;
    const uniprot_name *best = NULL;
    for (int64_t i = 0; i < store->names.count; i++) {
        const uniprot_name *n = names + i;
        if (n->part != 0 || n->field != NAME_FULL || (best && best->kind == NAME_RECOMMENDED))
            continue;
        if (!best || n->kind == NAME_RECOMMENDED ||
            (n->kind == NAME_SUBMITTED && best->kind == NAME_ALTERNATIVE))
            best = n;
    }
    return best ? best->text : "";
}

void uniprot_parse_names(uniprot_store *store, uniprot_entry *entry, uniprot_block block) {
    uniprot_block look = block;
    uniprot_slice first;
    if (!uniprot_block_next(&look, &first))
        return;
    if (is_structured(uniprot_slice_trim(first)))
        read_structured(store, entry, block);
    else
        read_free(store, entry, block);
    entry->name = best_name(store);
}

static void add_gene(uniprot_store *store, char *text) {
    uniprot_text_strip(text, false, NULL);
    if (*text)
        *(const char **)uniprot_list_add(&store->genes) = text;
}

/* "ABC1 OR XYZ AND DEF.", before 2004. */
static void read_free_genes(uniprot_store *store, char *text) {
    uniprot_text_chop(text, ".");
    for (char *at = text; *at; at++)
        if (*at == '(' || *at == ')')
            *at = ' ';
    for (char *choice; (choice = uniprot_text_next(&text, " AND "));)
        for (char *gene; (gene = uniprot_text_next(&choice, " OR "));) {
            uniprot_text_chop(gene, " ");
            add_gene(store, gene);
        }
}

/* "Name=A; Synonyms=B, C; OrderedLocusNames=D;", several genes joined by lines "and". */
void uniprot_parse_genes(uniprot_store *store, uniprot_block block) {
    char *text = uniprot_text_join(store, block);
    if (!strchr(text, '=')) {
        read_free_genes(store, text);
        return;
    }
    uniprot_text_chop(text, ";");
    for (char *field; (field = uniprot_text_next(&text, "; "));) {
        char *values = strchr(field, '=');
        if (!values)
            continue;
        values++;
        uniprot_text_strip(values, false, NULL);
        for (char *gene; (gene = uniprot_text_next(&values, ", "));)
            add_gene(store, gene);
    }
}
