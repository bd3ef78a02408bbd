/* The chat prompt, as token ids (spec/sepit.md §3):
 *
 *     <s>[INST] <<SYS>>\n{system}\n<</SYS>>\n\n{question} [/INST] {answer} </s>
 *
 * The first <protein> of the question becomes <bop><protein><eop>; a question without one gets
 * "<protein>\n" in front. Any further <protein>, and every other added token that is written in
 * system sentence, question or answer, stays plain text. Each stretch of text between two added
 * tokens is tokenized on its own, so the answer's ids do not depend on the question. Supervised
 * are the answer and </s>: the last places of the prompt.
 * Read next: src/data/pack.h.
 */
#ifndef SEPIT_DATA_PROMPT_H
#define SEPIT_DATA_PROMPT_H

#include "io/tokenizer.h"
#include "src/base/arena.h"

#include <stdbool.h>
#include <stdint.h>

/* UTF-8 without NUL at the end; borrowed. */
typedef struct prompt_text {
    const char *system;
    const char *question;
    int64_t question_bytes;
    const char *answer; /* NULL: the prompt ends at [/INST], for generation */
    int64_t answer_bytes;
} prompt_text;

typedef struct prompt {
    int32_t *id;     /* [count] the protein being one place, <protein> */
    int64_t count;   /* 0 when !fits */
    int64_t protein; /* place of <protein> */
    int64_t answer;  /* first supervised place; places answer … count−1 are supervised */
    int64_t lost;    /* ids of answer and </s> that max_text cut off */
    bool fits;       /* false: question and system alone need max_text or more */
    int64_t needed;  /* ids of everything before the answer */
} prompt;

/* Builds the prompt in at most max_text ids. A longer one loses the tail of its answer, </s> being
 * the first to go; one without room for any id of the answer does not fit and has no ids.
 * The ids come from `memory`, which keeps exactly those. STATUS_FAILED when the library fails. */
status prompt_build(const tokenizer *t, const prompt_text *text, int64_t max_text, arena *memory,
                    prompt *built, error *err);

/* The most that prompt_build takes from the arena while it works, for a system sentence, question
 * and answer of `text_bytes` bytes together. */
size_t prompt_bytes(int64_t max_text, int64_t text_bytes);

#endif
