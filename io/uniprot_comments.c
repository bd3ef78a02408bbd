/* CC lines: comments by topic, and their prose. */
#include "io/uniprot_store.h"

#include <string.h>

static const char *const known_topics[] = {"ACTIVITY REGULATION",
                                           "ALLERGEN",
                                           "ALTERNATIVE PRODUCTS",
                                           "BIOPHYSICOCHEMICAL PROPERTIES",
                                           "BIOTECHNOLOGY",
                                           "CATALYTIC ACTIVITY",
                                           "CAUTION",
                                           "COFACTOR",
                                           "DATABASE",
                                           "DEVELOPMENTAL STAGE",
                                           "DISEASE",
                                           "DISRUPTION PHENOTYPE",
                                           "DOMAIN",
                                           "ENZYME REGULATION",
                                           "FUNCTION",
                                           "INDUCTION",
                                           "INTERACTION",
                                           "MASS SPECTROMETRY",
                                           "MISCELLANEOUS",
                                           "PATHWAY",
                                           "PHARMACEUTICAL",
                                           "POLYMORPHISM",
                                           "PTM",
                                           "RNA EDITING",
                                           "SEQUENCE CAUTION",
                                           "SIMILARITY",
                                           "SUBCELLULAR LOCATION",
                                           "SUBUNIT",
                                           "TISSUE SPECIFICITY",
                                           "TOXIC DOSE",
                                           "WEB RESOURCE",
                                           NULL};

enum { LONGEST_MOLECULE = 120 };

/* "[Isoform 2]: text", since 2018: the molecule's name is cut off; returns the text. */
static char *cut_bracketed(char *text, uniprot_comment *comment) {
    char *close = *text == '[' ? strstr(text, "]:") : NULL;
    if (!close)
        return text;
    *close = '\0';
    comment->molecule = text + 1;
    return close + 2 + strspn(close + 2, " ");
}

/* "Isoform 2: text", and before a subcellular location any name: the form until 2018. */
static char *cut_unbracketed(char *text, uniprot_comment *comment) {
    if (strncmp(text, "Isoform ", 8) != 0 && strcmp(comment->topic, "SUBCELLULAR LOCATION") != 0)
        return text;
    const size_t size = strcspn(text, ":.;{=");
    if (size > LONGEST_MOLECULE || text[size] != ':' || text[size + 1] != ' ')
        return text;
    text[size] = '\0';
    comment->molecule = text;
    return text + size + 2;
}

/* Makes a comment of "TOPIC: text". */
static void finish_comment(uniprot_store *store, char *joined, uniprot_tally *tally) {
    uniprot_comment *comment = uniprot_list_add(&store->comments);
    char *text = strchr(joined, ':');
    comment->topic = text ? joined : "";
    if (text)
        *text++ = '\0';
    else
        text = joined;
    text += strspn(text, " ");
    comment->molecule = "";
    if (!uniprot_is_known(comment->topic, known_topics))
        tally->unknown_topics++;
    char *rest = cut_bracketed(text, comment);
    if (rest == text)
        rest = cut_unbracketed(text, comment);
    const int64_t spans_before = store->spans.count;
    comment->evidence = uniprot_text_strip(rest, true, &store->spans);
    comment->span_count = store->spans.count - spans_before;
    comment->text = rest;
}

/* The copyright notice stands between lines of dashes; none of its lines goes on a comment. */
void uniprot_parse_comments(uniprot_store *store, uniprot_block block, uniprot_tally *tally) {
    char *joined = NULL; /* the comment being read */
    uniprot_slice line;
    while (uniprot_block_next(&block, &line)) {
        const bool begins = uniprot_slice_starts(line, "-!-");
        if (begins || uniprot_slice_starts(line, "---")) {
            if (joined) {
                uniprot_text_end(store);
                finish_comment(store, joined, tally);
            }
            joined = begins ? uniprot_text_begin(store) : NULL;
            line.text += 3;
            line.size -= 3;
        }
        if (joined)
            uniprot_text_append(store, joined, uniprot_slice_trim(line));
    }
    if (joined) {
        uniprot_text_end(store);
        finish_comment(store, joined, tally);
    }
}

/* ---- prose ---------------------------------------------------------------------------------- */

/* Copies [text, end) without "(PubMed:…)" and "(Ref.…)" and the blank before; returns where to
 * write on. */
static char *copy_without_references(const char *text, const char *end, char *out) {
    char *const begin = out;
    while (text < end) {
        const char *close = NULL;
        if (*text == '(' && (strncmp(text, "(PubMed:", 8) == 0 || strncmp(text, "(Ref.", 5) == 0))
            close = memchr(text, ')', (size_t)(end - text));
        if (!close) {
            *out++ = *text++;
            continue;
        }
        while (out > begin && out[-1] == ' ')
            out--;
        text = close + 1;
    }
    while (out > begin && out[-1] == ' ')
        out--;
    return out;
}

/* Where the value ends that starts here: at a `;` before a blank or the end. */
static const char *value_end(const char *text) {
    for (; *text; text++)
        if (*text == ';' && (text[1] == ' ' || text[1] == '\0'))
            break;
    return text;
}

static char *write_reaction(const char *text, char *out) {
    const char *reaction = text + strlen("Reaction=");
    out = copy_without_references(reaction, value_end(reaction), out);
    *out++ = '.';
    return out;
}

static char *write_cofactors(const char *text, const char *end, char *out) {
    char *const begin = out;
    while (text < end) {
        const char *stop = value_end(text);
        stop = stop < end ? stop : end;
        if (strncmp(text, "Name=", 5) == 0) {
            if (out > begin) {
                memcpy(out, ", ", 2);
                out += 2;
            }
            out = copy_without_references(text + 5, stop, out);
        }
        text = stop;
        text += strspn(text, "; ");
    }
    if (out > begin)
        *out++ = '.';
    return out;
}

static bool has_topic(const uniprot_comment *comment, const char *topic) {
    return strcmp(comment->topic, topic) == 0;
}

const char *uniprot_comment_prose(const uniprot_comment *comment, char *prose) {
    const char *text = comment->text, *end = text + strlen(text), *note = end;
    const bool cofactor = has_topic(comment, "COFACTOR");
    if (cofactor || has_topic(comment, "SUBCELLULAR LOCATION")) {
        note = strstr(text, "Note=");
        note = note && (note == text || note[-1] == ' ') ? note : end;
    }
    char *out = prose;
    if (has_topic(comment, "CATALYTIC ACTIVITY") && strncmp(text, "Reaction=", 9) == 0)
        out = write_reaction(text, out);
    else if (cofactor && strncmp(text, "Name=", 5) == 0)
        out = write_cofactors(text, note, out);
    else
        out = copy_without_references(text, note, out);
    *out++ = '\0';
    char *const written_note = out;
    if (note < end)
        out = copy_without_references(note + 5, end, out);
    while (out > written_note && (out[-1] == ';' || out[-1] == ' '))
        out--;
    *out = '\0';
    return written_note;
}
