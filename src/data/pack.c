#include "src/data/pack.h"

#include "src/data/esm_alphabet.h"
#include "src/nn/esm.h"

#include <math.h>
#include <string.h>

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static int64_t largest(int64_t a, int64_t b) {
    return a > b ? a : b;
}

/* ---- from the dataset ---- */

static status read_protein(const dataset *d, int64_t index, arena *memory, pack_protein *protein,
                           error *err) {
    protein->L = d->offset[index + 1] - d->offset[index];
    const int64_t kept = least(protein->L, ESM_MAX_RESIDUES);
    uint8_t *letters = ARENA_ARRAY(memory, uint8_t, kept);
    float *coord = d->source[index] == SOURCE_NONE ? NULL : ARENA_ARRAY(memory, float, 3 * kept);
    protein->letters = letters;
    protein->coord = coord;
    return dataset_read_protein(d, index, kept, letters, coord, err);
}

static status read_text(const dataset *d, int64_t caption, arena *memory, pack_sample *read,
                        error *err) {
    read->question_bytes =
        d->caption_question_offset[caption + 1] - d->caption_question_offset[caption];
    read->answer_bytes = d->caption_offset[caption + 1] - d->caption_offset[caption];
    char *question = ARENA_ARRAY(memory, char, read->question_bytes);
    char *answer = ARENA_ARRAY(memory, char, read->answer_bytes);
    read->question = question;
    read->answer = answer;
    return dataset_read_caption(d, caption, question, answer, err);
}

status pack_read(const dataset *d, const sample *samples, int64_t count, arena *memory,
                 pack_input *input, error *err) {
    pack_protein *protein = ARENA_ARRAY(memory, pack_protein, count);
    pack_sample *read = ARENA_ARRAY(memory, pack_sample, count);
    int64_t *index = ARENA_ARRAY(memory, int64_t, count); /* of each protein, in the dataset */
    int64_t proteins = 0;
    for (int64_t i = 0; i < count; i++) {
        int64_t found = proteins; /* searched from the end: a group shares its protein */
        while (found > 0 && index[found - 1] != samples[i].protein)
            found--;
        if (found == 0) {
            TRY(read_protein(d, samples[i].protein, memory, &protein[proteins], err));
            index[proteins++] = samples[i].protein;
            found = proteins;
        }
        read[i] = (pack_sample){.protein = found - 1, .structure = samples[i].structure};
        TRY(read_text(d, samples[i].caption, memory, &read[i], err));
    }
    *input =
        (pack_input){.proteins = proteins, .samples = count, .protein = protein, .sample = read};
    return STATUS_OK;
}

/* ---- which sequences and encoder passes there will be ---- */

typedef struct encoder_pass {
    int64_t protein;
    bool structure;
    int64_t row; /* of its <cls> among all protein tokens */
} encoder_pass;

typedef struct plan {
    const pack_input *input;
    int64_t sequences, passes;
    prompt *prompt;     /* [sequences] */
    int64_t *sample;    /* [sequences] */
    int64_t *pass_of;   /* [sequences] */
    encoder_pass *pass; /* [passes] */
} plan;

static int64_t kept_residues(const plan *p, int64_t pass) {
    return least(p->input->protein[p->pass[pass].protein].L, ESM_MAX_RESIDUES);
}

static bool has_coordinate(const pack_protein *protein) {
    const int64_t kept = protein->coord == NULL ? 0 : least(protein->L, ESM_MAX_RESIDUES);
    for (int64_t i = 0; i < kept; i++)
        if (!isnan(protein->coord[3 * i]))
            return true;
    return false;
}

/* The sample's encoder pass, a new one if it is the first of its kind. */
static int64_t find_pass(plan *p, int64_t protein, bool structure) {
    for (int64_t i = p->passes - 1; i >= 0; i--)
        if (p->pass[i].protein == protein && p->pass[i].structure == structure)
            return i;
    p->pass[p->passes] = (encoder_pass){.protein = protein, .structure = structure};
    return p->passes++;
}

static status plan_sequences(plan *p, const pack_settings *settings, arena *memory,
                             pack_counts *counts, error *err) {
    const pack_input *in = p->input;
    for (int64_t i = 0; i < in->samples; i++) {
        const pack_sample *s = &in->sample[i];
        const prompt_text text = {settings->system, s->question, s->question_bytes, s->answer,
                                  s->answer_bytes};
        prompt *built = &p->prompt[p->sequences];
        TRY(prompt_build(settings->tokenizer, &text, settings->max_text, memory, built, err));
        counts->longest_needed = largest(counts->longest_needed, built->needed);
        if (!built->fits) {
            counts->without_room++;
            continue;
        }
        counts->cut_answers += built->lost > 0;
        const bool structure = s->structure && has_coordinate(&in->protein[s->protein]);
        p->pass_of[p->sequences] = find_pass(p, s->protein, structure);
        p->sample[p->sequences++] = i;
    }
    counts->samples = p->sequences;
    return STATUS_OK;
}

/* ---- protein batch ---- */

typedef struct protein_rows {
    int32_t *token, *position;
    float *coord;
} protein_rows;

/* The L + 2 rows of one protein. */
static void lay_protein(const pack_protein *protein, int64_t L, protein_rows rows) {
    for (int64_t i = 0; i < L + 2; i++) {
        const bool residue = i > 0 && i <= L;
        rows.token[i] = i == 0       ? ESM_CLS
                        : i == L + 1 ? ESM_EOS
                                     : esm_alphabet_id(protein->letters[i - 1]);
        rows.position[i] = (int32_t)i;
        for (int64_t axis = 0; axis < 3; axis++)
            rows.coord[3 * i + axis] =
                residue && protein->coord != NULL ? protein->coord[3 * (i - 1) + axis] : NAN;
    }
}

static void count_pass(const plan *p, int64_t pass, pack_counts *counts) {
    const int64_t L = kept_residues(p, pass);
    counts->cut_proteins += p->input->protein[p->pass[pass].protein].L > L;
    counts->longest_protein = largest(counts->longest_protein, L);
    if (p->pass[pass].structure)
        counts->residues_squared += L * L;
}

static void lay_proteins(plan *p, arena *memory, protein_batch *batch, pack_counts *counts) {
    int64_t *offset = ARENA_ARRAY(memory, int64_t, p->passes + 1);
    bool *structure = ARENA_ARRAY(memory, bool, p->passes);
    offset[0] = 0;
    for (int64_t b = 0; b < p->passes; b++) {
        p->pass[b].row = offset[b];
        structure[b] = p->pass[b].structure;
        offset[b + 1] = offset[b] + kept_residues(p, b) + 2;
        count_pass(p, b, counts);
    }
    const int64_t T = offset[p->passes];
    const protein_rows all = {ARENA_ARRAY(memory, int32_t, T), ARENA_ARRAY(memory, int32_t, T),
                              ARENA_ARRAY(memory, float, 3 * T)};
    for (int64_t b = 0; b < p->passes; b++) {
        const int64_t row = offset[b];
        lay_protein(&p->input->protein[p->pass[b].protein], kept_residues(p, b),
                    (protein_rows){all.token + row, all.position + row, all.coord + 3 * row});
    }
    counts->protein_tokens = T;
    *batch = (protein_batch){.B = p->passes,
                             .offset = offset,
                             .token = all.token,
                             .position = all.position,
                             .coord = all.coord,
                             .structure = structure};
}

/* ---- text batch ---- */

typedef struct text_rows {
    int32_t *token, *position, *target;
    int64_t *source;
} text_rows;

/* One sequence: the prompt with `vectors` rows from `row` on in place of <protein>. */
static void lay_prompt(const prompt *built, int64_t row, int64_t vectors, text_rows rows) {
    const int64_t length = built->count - 1 + vectors;
    for (int64_t t = 0; t < length; t++) {
        const int64_t vector = t - built->protein;
        const bool is_vector = vector >= 0 && vector < vectors;
        rows.token[t] = is_vector ? -1 : built->id[vector < 0 ? t : t - vectors + 1];
        rows.source[t] = is_vector ? row + vector : -1;
        rows.position[t] = (int32_t)t;
        rows.target[t] = -1;
    }
    /* Place i of the prompt, behind the protein, is row i + vectors − 1; the row before predicts.
     */
    for (int64_t i = built->answer; i < built->count; i++)
        rows.target[i + vectors - 2] = built->id[i];
}

static void lay_text(const plan *p, arena *memory, text_batch *batch, pack_counts *counts) {
    int64_t *offset = ARENA_ARRAY(memory, int64_t, p->sequences + 1);
    offset[0] = 0;
    for (int64_t b = 0; b < p->sequences; b++) {
        const int64_t vectors = kept_residues(p, p->pass_of[b]) + 2;
        offset[b + 1] = offset[b] + p->prompt[b].count - 1 + vectors;
        counts->supervised += p->prompt[b].count - p->prompt[b].answer;
    }
    const int64_t T = counts->text_tokens = offset[p->sequences];
    const text_rows all = {ARENA_ARRAY(memory, int32_t, T), ARENA_ARRAY(memory, int32_t, T),
                           ARENA_ARRAY(memory, int32_t, T), ARENA_ARRAY(memory, int64_t, T)};
    for (int64_t b = 0; b < p->sequences; b++) {
        const int64_t at = offset[b];
        lay_prompt(
            &p->prompt[b], p->pass[p->pass_of[b]].row, kept_residues(p, p->pass_of[b]) + 2,
            (text_rows){all.token + at, all.position + at, all.target + at, all.source + at});
    }
    *batch = (text_batch){.B = p->sequences,
                          .offset = offset,
                          .token = all.token,
                          .source = all.source,
                          .position = all.position,
                          .target = all.target,
                          .supervised = counts->supervised};
}

status pack_build(const pack_settings *settings, const pack_input *input, arena *memory,
                  packed_chunk *packed, error *err) {
    *packed = (packed_chunk){0};
    const int64_t n = input->samples;
    plan p = {.input = input,
              .prompt = ARENA_ARRAY(memory, prompt, n),
              .sample = ARENA_ARRAY(memory, int64_t, n),
              .pass_of = ARENA_ARRAY(memory, int64_t, n),
              .pass = ARENA_ARRAY(memory, encoder_pass, n)};
    TRY(plan_sequences(&p, settings, memory, &packed->counts, err));
    packed->sample = p.sample;
    lay_proteins(&p, memory, &packed->batch.protein, &packed->counts);
    lay_text(&p, memory, &packed->batch.text, &packed->counts);
    return STATUS_OK;
}

/* ---- memory ---- */

enum { ROUNDING = 64, ARRAYS_A_SAMPLE = 5, ARRAYS_A_CHUNK = 19 };

size_t pack_bytes(const dataset *d, int64_t samples, const pack_settings *settings) {
    int64_t longest_text = 0, residues = 0;
    for (int64_t c = 0; c < d->captions; c++)
        longest_text = largest(longest_text, d->caption_question_offset[c + 1] -
                                                 d->caption_question_offset[c] +
                                                 d->caption_offset[c + 1] - d->caption_offset[c]);
    for (int64_t i = 0; i < d->proteins; i++)
        residues = largest(residues, d->offset[i + 1] - d->offset[i]);
    residues = least(residues, ESM_MAX_RESIDUES);
    const int64_t of_residue = 1 + 3 * sizeof(float);                       /* pack_read */
    const int64_t of_protein_row = 2 * sizeof(int32_t) + 3 * sizeof(float); /* protein batch */
    const int64_t of_text_row = 3 * sizeof(int32_t) + sizeof(int64_t);      /* text batch */
    const int64_t of_sample = sizeof(pack_protein) + sizeof(pack_sample) + sizeof(prompt) +
                              sizeof(encoder_pass) + sizeof(bool) + 5 * sizeof(int64_t);
    const int64_t one = of_sample + residues * of_residue + (residues + 2) * of_protein_row +
                        (settings->max_text + residues + 2) * of_text_row + longest_text +
                        settings->max_text * (int64_t)sizeof(int32_t) + ROUNDING * ARRAYS_A_SAMPLE;
    const int64_t text_bytes = longest_text + (int64_t)strlen(settings->system);
    return arena_bytes(samples, (size_t)one) + prompt_bytes(settings->max_text, text_bytes) +
           ROUNDING * ARRAYS_A_CHUNK;
}
