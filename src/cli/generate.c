/* sepit generate: answers one question about one protein of the dataset or of a file. */
#include "src/eval/generate.h"
#include "io/chain.h"
#include "io/inflate.h"
#include "parallel/agree.h"
#include "src/base/json_text.h"
#include "src/base/log.h"
#include "src/cli/command.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The protein that is asked about, and the question. Owns its memory. */
typedef struct subject {
    int64_t L;
    uint8_t *letters; /* [L] */
    float *coord;     /* [L,3], or NULL */
    char *question;
} subject;

static void subject_destroy(subject *s) {
    free(s->letters);
    free(s->coord);
    free(s->question);
}

static status allocate(subject *s, int64_t L, bool coord, error *err) {
    s->L = L;
    s->letters = calloc((size_t)L + 1, 1);
    s->coord = coord ? calloc((size_t)(3 * L) + 1, sizeof *s->coord) : NULL;
    if (s->letters == NULL || (coord && s->coord == NULL))
        return error_set(err, STATUS_FAILED, "no memory for a protein of %lld residues",
                         (long long)L);
    return STATUS_OK;
}

/* The letters of the first record of a FASTA text. */
static status read_fasta(subject *s, const char *text, const char *path, error *err) {
    const char *at = text + strcspn(text, "\n");
    int64_t line = 1;
    TRY(allocate(s, (int64_t)strlen(at), false, err));
    s->L = 0;
    for (; *at != '\0' && !(*at == '>' && at[-1] == '\n'); at++) {
        line += *at == '\n';
        if (isalpha((unsigned char)*at))
            s->letters[s->L++] = (uint8_t)toupper((unsigned char)*at);
        else if (!isspace((unsigned char)*at) && *at != '*' && *at != '-')
            return error_set(err, STATUS_INPUT,
                             "%s:%lld: the sequence holds '%c'; residues are letters", path,
                             (long long)line, isprint((unsigned char)*at) ? *at : '?');
    }
    if (s->L == 0)
        return error_set(err, STATUS_INPUT, "%s: the first FASTA record has no sequence", path);
    return STATUS_OK;
}

/* The chain with the most Cα positions, the first of equals. */
static status read_structure(subject *s, const char *text, size_t size, const char *path,
                             error *err) {
    chain_file file;
    TRY(chain_file_parse(text, size, path, &file, err));
    const protein_chain *best = NULL;
    for (int64_t i = 0; i < file.count; i++)
        if (best == NULL || file.chains[i].present > best->present)
            best = &file.chains[i];
    status code = STATUS_OK;
    if (best == NULL)
        code = error_set(err, STATUS_INPUT, "%s: there is no protein chain in it", path);
    else
        code = allocate(s, best->length, true, err);
    if (code == STATUS_OK) {
        memcpy(s->letters, best->letters, (size_t)best->length);
        memcpy(s->coord, best->coord, (size_t)best->length * 3 * sizeof *s->coord);
        log_info("%s: chain %s of %lld, %lld residues, %lld with a position", path, best->name,
                 (long long)file.count, (long long)best->length, (long long)best->present);
    }
    chain_file_destroy(&file);
    return code;
}

/* Whether the first line is one word of letters, as of a sequence without its FASTA header. */
static bool is_bare_word(const char *text) {
    const size_t letters = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz*-");
    return letters > 0 && (text[letters] == '\0' || isspace((unsigned char)text[letters])) &&
           strcspn(text, "\n") <= letters + 1;
}

static status read_file(subject *s, const char *path, error *err) {
    char *text = NULL;
    size_t size = 0;
    TRY(inflate_file(path, &text, &size, err));
    const char *start = text + strspn(text, " \t\r\n");
    const bool fasta = *start == '>';
    status code = STATUS_OK;
    if (fasta && strlen(text) != size)
        code = error_set(err, STATUS_INPUT, "%s: a NUL byte in it: this is not a text file", path);
    else if (fasta)
        code = read_fasta(s, start, path, err);
    else if (*start == '\0' || is_bare_word(start))
        code = error_set(err, STATUS_INPUT,
                         "%s: this is no FASTA file (which begins with >), nor PDB, nor mmCIF%s",
                         path, *start == '\0' ? "; it is empty" : "");
    else
        code = read_structure(s, text, size, path, err);
    free(text);
    return code;
}

/* The dataset's own question about the protein, where the user asked none. */
static status take_question(subject *s, const dataset *d, int64_t protein, error *err) {
    for (int64_t c = 0; c < d->captions; c++) {
        if (d->caption_protein[c] != protein)
            continue;
        const int64_t question = d->caption_question_offset[c + 1] - d->caption_question_offset[c];
        const int64_t text = d->caption_offset[c + 1] - d->caption_offset[c];
        s->question = calloc((size_t)question + 1, 1);
        char *unused = malloc((size_t)text + 1);
        status code = STATUS_OK;
        if (s->question == NULL || unused == NULL)
            code = error_set(err, STATUS_FAILED, "no memory for a question");
        if (code == STATUS_OK)
            code = dataset_read_caption(d, c, s->question, unused, err);
        free(unused);
        return code;
    }
    return error_set(err, STATUS_INPUT, "%s has no question for this protein: give --question",
                     d->path);
}

static status read_from_dataset(subject *s, const dataset *d, const char *accession, bool question,
                                error *err) {
    const int64_t i = dataset_find(d, accession);
    if (i < 0)
        return error_set(
            err, STATUS_INPUT,
            "%s is neither a file nor an accession in %s (`sepit inspect` shows what is "
            "there)",
            accession, d->path);
    TRY(allocate(s, d->offset[i + 1] - d->offset[i], d->source[i] != SOURCE_NONE, err));
    TRY(dataset_read_protein(d, i, s->L, s->letters, s->coord, err));
    return question ? take_question(s, d, i, err) : STATUS_OK;
}

static status read_subject(subject *s, const command_input *in, const dataset *d, error *err) {
    const char *asked = in->flags.question;
    if (d != NULL)
        return read_from_dataset(s, d, in->flags.protein, asked == NULL, err);
    if (asked == NULL)
        return error_set(err, STATUS_INPUT, "a protein from a file needs a --question");
    return read_file(s, in->flags.protein, err);
}

static void print_answer(const command_input *in, const char *question, const answer *a) {
    if (!in->flags.json) {
        printf("question: %s\nanswer:   %s%s\n", question, a->text, a->finished ? "" : " …");
        return;
    }
    printf("{\"protein\": ");
    json_print_string(stdout, in->flags.protein, (int64_t)strlen(in->flags.protein));
    printf(", \"question\": ");
    json_print_string(stdout, question, (int64_t)strlen(question));
    printf(", \"answer\": ");
    json_print_string(stdout, a->text, a->bytes);
    printf(", \"tokens\": %lld, \"finished\": %s}\n", (long long)a->tokens,
           a->finished ? "true" : "false");
}

/* Rank 0 answers; the others have nothing to do. */
static status answer_here(const command_input *in, inference *f, const subject *s, error *err) {
    const char *question = in->flags.question != NULL ? in->flags.question : s->question;
    const pack_protein protein = {s->L, s->letters, s->coord};
    answer result = {0};
    const status code = generate_answer(
        f, &protein, question, config_int(in->config, "generate.max_tokens"), &result, err);
    if (code == STATUS_OK)
        print_answer(in, question, &result);
    free(result.text);
    return code;
}

static status generate(const command_input *in, const dataset *d, error *err) {
    subject s = {0};
    inference f;
    status code = agree(in->comm, read_subject(&s, in, d, err), err);
    if (code == STATUS_OK) {
        code = inference_create(&f, in->comm, in->config, err);
        if (code == STATUS_OK && comm_rank(in->comm) == 0)
            code = answer_here(in, &f, &s, err);
        code = agree(in->comm, code, err);
        inference_destroy(&f);
    }
    subject_destroy(&s);
    return code;
}

status command_generate(const command_input *in, error *err) {
    if (in->flags.protein == NULL)
        return error_set(
            err, STATUS_INPUT,
            "generate needs --protein: an accession of the dataset, or a FASTA, PDB or "
            "mmCIF file");
    const bool file = access(in->flags.protein, F_OK) == 0;
    if (comm_max(in->comm, file) > 0) /* the same way on every rank, whatever each can see */
        return generate(in, NULL, err);
    dataset *data = NULL;
    status code = dataset_open(&data, in->comm, config_text(in->config, "data.path"), err);
    if (code == STATUS_OK)
        code = generate(in, data, err);
    dataset_close(data);
    return code;
}
