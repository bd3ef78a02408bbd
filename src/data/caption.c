#include "src/data/caption.h"

#include "src/base/error.h"
#include "src/base/rng.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* ---- growing text ---------------------------------------------------------------------------- */

static void reserve(char **buffer, size_t *room, size_t need) {
    if (need <= *room)
        return;
    *room = need > 2 * *room ? need : 2 * *room;
    *buffer = realloc(*buffer, *room);
    CHECK(*buffer != NULL, "out of memory: a text of %zu bytes.", need);
}

static void append_bytes(caption *c, const char *text, size_t size) {
    reserve(&c->text, &c->room, c->size + size + 1);
    memcpy(c->text + c->size, text, size);
    c->size += size;
    c->text[c->size] = '\0';
}

static void append(caption *c, const char *text) {
    append_bytes(c, text, strlen(text));
}

/* Appends `lead` and `text` as one or more sentences: a space before, a dot after, and a capital
 * where the text itself starts the sentence. */
static void append_sentence(caption *c, const char *lead, const char *text) {
    while (*text == ' ')
        text++;
    size_t size = strlen(text);
    while (size > 0 && (text[size - 1] == ' ' || text[size - 1] == ';' || text[size - 1] == '.'))
        size--;
    if (size == 0)
        return;
    if (c->size > 0)
        append(c, " ");
    append(c, lead);
    const size_t begin = c->size;
    append_bytes(c, text, size);
    /* Names such as "p53" and "mRNA" keep their small letter: only whole words are capitalised. */
    const bool word = islower((unsigned char)text[0]) && islower((unsigned char)text[1]);
    if (*lead == '\0' && word)
        c->text[begin] = (char)toupper((unsigned char)text[0]);
    append(c, strchr("!?", text[size - 1]) != NULL ? "" : ".");
}

/* ---- one topic after the other --------------------------------------------------------------- */

typedef struct section {
    const char *topic;
    const char *lead;       /* before the text */
    bool lead_each;         /* before every comment of the topic, or before the first only */
    const char *names_mark; /* NULL, or how a raw text begins that is no sentence yet.. */
    const char *names_lead; /* .. and the lead that makes it one */
} section;

static const section function_section = {"FUNCTION", "", false, NULL, NULL};

static const section sections[] = {
    {"CATALYTIC ACTIVITY", "It catalyses this reaction: ", true, NULL, NULL},
    {"COFACTOR", "", true, "Name=", "It needs as cofactor: "},
    {"PATHWAY", "It takes part in this pathway: ", true, NULL, NULL},
    {"SUBUNIT", "Subunits: ", false, NULL, NULL},
    {"SUBCELLULAR LOCATION", "It is found here: ", true, NULL, NULL},
    {"PTM", "Modifications: ", false, NULL, NULL},
    {"DOMAIN", "Domains: ", false, NULL, NULL},
    {"TISSUE SPECIFICITY", "Tissues: ", false, NULL, NULL},
    {"DEVELOPMENTAL STAGE", "Stages of development: ", false, NULL, NULL},
    {"INDUCTION", "Induction: ", false, NULL, NULL},
    {"SIMILARITY", "", true, "Belongs to ", "It belongs to "},
};

static bool starts_with(const char *text, const char *start) {
    return start != NULL && strncmp(text, start, strlen(start)) == 0;
}

static void append_comment(caption *c, const section *s, const uniprot_comment *comment,
                           bool first) {
    reserve(&c->scratch, &c->scratch_room, strlen(comment->text) + 2);
    const char *note = uniprot_comment_prose(comment, c->scratch);
    const char *prose = c->scratch;
    const char *lead = first || s->lead_each ? s->lead : "";
    if (starts_with(comment->text, s->names_mark)) {
        lead = s->names_lead;
        /* "Belongs to the X family" becomes "It belongs to the X family". */
        if (starts_with(prose, s->names_mark))
            prose += strlen(s->names_mark);
    }
    append_sentence(c, lead, prose);
    append_sentence(c, "", note);
}

static void append_section(caption *c, const section *s, const uniprot_entry *entry) {
    bool first = true;
    for (int64_t i = 0; i < entry->comment_count; i++) {
        const uniprot_comment *comment = &entry->comments[i];
        if (comment->molecule[0] != '\0' || strcmp(comment->topic, s->topic) != 0)
            continue;
        append_comment(c, s, comment, first);
        first = false;
    }
}

static void append_name(caption *c, const uniprot_entry *entry) {
    append(c, c->size > 0 ? " " : "");
    if (entry->name[0] == '\0') {
        append(c, "The protein has no name yet");
    } else {
        append(c, "The protein is named ");
        append(c, entry->name);
    }
    append(c, entry->fragment ? " (fragment)." : ".");
}

void caption_write(caption *c, const uniprot_entry *entry) {
    c->size = 0;
    append_section(c, &function_section, entry);
    append_name(c, entry);
    for (size_t s = 0; s < sizeof sections / sizeof *sections; s++)
        append_section(c, &sections[s], entry);
}

void caption_destroy(caption *c) {
    free(c->text);
    free(c->scratch);
    *c = (caption){0};
}

/* ---- questions ------------------------------------------------------------------------------- */

static const char *const questions[] = {
    "<protein> What does this protein do?",
    "Describe the protein <protein>.",
    "Here is a protein: <protein> Sum up what is known about it.",
    "Read <protein> and explain its function and its properties.",
    "What can you tell me about the protein <protein>?",
    "Give a short account of <protein>: its role, where it acts and what it is related to.",
    "We came across the protein <protein>. Which function does it have, and what else is known?",
    "Please characterise this protein. <protein>",
    "Tell me about the function, the partners and the family of <protein>.",
    "Consider <protein>. What is its role in biology?",
    "<protein> Write a summary of this protein for a colleague.",
    "Which protein is <protein>, and what is it for?",
};
enum { QUESTIONS = sizeof questions / sizeof *questions };

int caption_question_count(void) {
    return QUESTIONS;
}

const char *caption_question_at(int number) {
    return questions[number];
}

const char *caption_question(uint64_t seed, const char *accession) {
    uint64_t counter[2] = {0, 0};
    const size_t size = strlen(accession);
    memcpy(counter, accession, size < sizeof counter ? size : sizeof counter);
    const rng_key key = rng_key_make(seed, "caption question");
    return questions[rng_below(key, counter[0], counter[1], QUESTIONS)];
}
