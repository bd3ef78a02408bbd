#include "src/train/bad_steps.h"

#include "io/durable.h"
#include "parallel/agree.h"
#include "src/base/log.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void bad_steps_begin(bad_steps *b, int64_t limit) {
    *b = (bad_steps){.limit = limit};
}

void bad_steps_end(bad_steps *b) {
    free(b->report);
    *b = (bad_steps){0};
}

void bad_steps_note_good(bad_steps *b) {
    b->in_a_row = 0;
    free(b->report);
    b->report = NULL;
}

bool bad_steps_too_many(const bad_steps *b) {
    return b->in_a_row >= b->limit;
}

/* ---- which chunks ---------------------------------------------------------------------------- */

/* What makes a chunk suspect; 0: nothing. */
enum { GOOD, BAD_LOSS, BAD_GRADIENT };

static bool is_finite(const real *x, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(x[i]))
            return false;
    return true;
}

/* The gradients of a rank's chunks are one sum: when their losses are all finite, any of them may
 * have spoiled it. */
static void suspect_own(const bad_step *s, int64_t *why) {
    bool found = false;
    for (int64_t c = s->first_chunk; c < s->end_chunk; c++)
        if (!isfinite(s->own_loss[c - s->first_chunk])) {
            why[c] = BAD_LOSS;
            found = true;
        }
    if (found || is_finite(s->gradient, s->gradient_count))
        return;
    for (int64_t c = s->first_chunk; c < s->end_chunk; c++)
        why[c] = BAD_GRADIENT;
}

static int rank_of_chunk(int64_t chunk, int64_t chunks, int ranks) {
    int64_t first = 0, end = 0;
    int rank = -1;
    do
        sampler_chunks_of_rank(chunks, ++rank, ranks, &first, &end);
    while (chunk >= end);
    return rank;
}

/* ---- in words -------------------------------------------------------------------------------- */

/* How much is named; the rest is counted. */
typedef struct bounds {
    int64_t chunks, samples; /* of a chunk */
} bounds;

static const bounds in_log = {4, 8}, in_report = {16, 64};

static void name_samples(FILE *out, const sampler_batch *batch, const dataset *d, int64_t chunk,
                         int64_t most) {
    const int64_t first = batch->offset[chunk], count = batch->offset[chunk + 1] - first;
    for (int64_t i = 0; i < count && i < most; i++) {
        const sample *s = &batch->sample[first + i];
        fprintf(out, "%s%.*s caption %lld", i > 0 ? ", " : " ", ACCESSION_SIZE,
                d->accession + ACCESSION_SIZE * s->protein, (long long)s->caption);
    }
    if (count > most)
        fprintf(out, " and %lld more", (long long)(count - most));
    if (count == 0)
        fprintf(out, " no samples");
}

/* why[chunks] of all ranks. */
static void describe_chunks(FILE *out, const bad_step *s, const int64_t *why, int ranks,
                            bounds most) {
    const int64_t chunks = s->sampler->config.chunks;
    sampler_batch batch;
    sampler_draw(s->sampler, s->step - 1, &batch);
    int64_t found = 0;
    for (int64_t c = 0; c < chunks; c++) {
        if (why[c] == GOOD || found++ >= most.chunks)
            continue;
        fprintf(out, "\n  chunk %lld of rank %d, whose %s not finite:", (long long)c,
                rank_of_chunk(c, chunks, ranks),
                why[c] == BAD_LOSS ? "loss is" : "chunks' summed gradient is");
        name_samples(out, &batch, s->sampler->data, c, most.samples);
    }
    if (found > most.chunks)
        fprintf(out, "\n  and %lld more of the %lld chunks", (long long)(found - most.chunks),
                (long long)chunks);
    if (found == 0)
        fprintf(out, "\n  every chunk's loss and every rank's gradient is finite by itself: only "
                     "their sum, or the gradient of experts, is not");
}

/* The caller frees it. */
static char *describe_step(const bad_step *s, const int64_t *why, int ranks, bounds most) {
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    CHECK(out != NULL, "No memory for the report of a step.");
    fprintf(out, "step %lld: loss %g, gradient norm %g, learning rate %.4g: not finite, skipped",
            (long long)s->step, s->loss, s->grad_norm, s->lr);
    describe_chunks(out, s, why, ranks, most);
    CHECK(fclose(out) == 0 && text != NULL, "No memory for the report of a step.");
    return text;
}

static void add_to_report(bad_steps *b, const char *text) {
    const size_t used = b->report == NULL ? 0 : strlen(b->report);
    b->report = realloc(b->report, used + strlen(text) + 2);
    CHECK(b->report != NULL, "No memory for the report of %lld steps.", (long long)b->in_a_row);
    sprintf(b->report + used, "%s\n", text);
}

void bad_steps_note_bad(bad_steps *b, MPI_Comm comm, const bad_step *s) {
    const int64_t chunks = s->sampler->config.chunks;
    int64_t *why = calloc((size_t)chunks, sizeof *why);
    CHECK(why != NULL, "No memory for a list of %lld chunks.", (long long)chunks);
    b->in_a_row++;
    b->total++;
    suspect_own(s, why);
    comm_sum(comm, why, chunks);
    if (comm_rank(comm) == 0) {
        char *brief = describe_step(s, why, comm_size(comm), in_log);
        char *full = describe_step(s, why, comm_size(comm), in_report);
        log_info("%s", brief);
        add_to_report(b, full);
        free(brief);
        free(full);
    }
    free(why);
}

/* ---- the end --------------------------------------------------------------------------------- */

static status write_report(const bad_steps *b, const char *path, error *err) {
    char *text = NULL, *partial = NULL;
    const int length = asprintf(
        &text,
        "The run ended after %lld steps in a row whose loss or gradient was not finite\n"
        "(%lld in all since it was last started). No weight has changed in them; the\n"
        "newest checkpoint holds the weights from before, and the place in the data\n"
        "after them. What may help:\n"
        "- the same samples each time: look at them (sepit inspect --protein ACCESSION);\n"
        "- others each time, in all chunks: the weights have grown too large: continue\n"
        "  with a lower train.lr or train.clip, from an older checkpoint (move newer ones\n"
        "  away), or with compute.dtype=fp32.\n\n%s",
        (long long)b->in_a_row, (long long)b->total, b->report);
    CHECK(length >= 0 && asprintf(&partial, "%s.partial", path) >= 0, "No memory for a report.");
    status code = durable_write_file(partial, text, length, err);
    if (code == STATUS_OK)
        code = durable_rename(partial, path, err);
    if (code != STATUS_OK)
        unlink(partial);
    free(text);
    free(partial);
    return code;
}

status bad_steps_stop(const bad_steps *b, MPI_Comm comm, const char *folder, error *err) {
    char *path = NULL;
    CHECK(asprintf(&path, "%s/bad_steps.txt", folder) >= 0, "No memory for a path.");
    status code = agree(comm, comm_rank(comm) == 0 ? write_report(b, path, err) : STATUS_OK, err);
    if (code == STATUS_OK)
        code = error_set(err, STATUS_FAILED,
                         "%lld steps in a row had a loss or gradient that is not finite, so the "
                         "run ends with a checkpoint; %s names their samples and what to try",
                         (long long)b->in_a_row, path);
    free(path);
    return code;
}

bool bad_steps_fault(int64_t chunk, int64_t step) {
    char always[64], once[64];
    error ignored;
    snprintf(always, sizeof always, "nan-%lld", (long long)chunk);
    snprintf(once, sizeof once, "nan-%lld-%lld", (long long)chunk, (long long)step);
    return durable_fault(always, 0, &ignored) != STATUS_OK ||
           durable_fault(once, 0, &ignored) != STATUS_OK;
}
