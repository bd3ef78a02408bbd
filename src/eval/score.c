#include "src/eval/score.h"

#include "parallel/agree.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PER_ROUND = 8 }; /* answers of a rank in one round; they are one chunk */

/* What rank 0 gets of an answer; tokens 0: no room. */
typedef struct scored {
    int64_t tokens;
    double nll;
} scored;

/* Scores captions first … end−1 as one chunk. Local. */
static status score_some(inference *f, const dataset *d, int64_t first, int64_t end,
                         scored result[PER_ROUND], error *err) {
    sample samples[PER_ROUND];
    for (int64_t i = first; i < end; i++)
        samples[i - first] = (sample){i, d->caption_protein[i], 0, f->model.config.structure};
    arena_reset(&f->batch, 0);
    pack_input input;
    packed_chunk packed;
    TRY(pack_read(d, samples, end - first, &f->batch, &input, err));
    TRY(pack_build(&f->packing, &input, &f->batch, &packed, err));
    TRY(inference_check_memory(f, &packed.counts, err));
    double *nll = ARENA_ARRAY(&f->batch, double, packed.counts.supervised);
    sepit_run_chunk(&f->nn, &f->model, &packed.batch, 0, nll);
    const text_batch *text = &packed.batch.text;
    int64_t place = 0;
    for (int64_t b = 0; b < text->B; b++) {
        scored *s = &result[packed.sample[b]];
        for (int64_t t = text->offset[b]; t < text->offset[b + 1]; t++)
            if (text->target[t] >= 0) {
                s->tokens++;
                s->nll += nll[place++];
            }
        if (!isfinite(s->nll)) /* and JSON could not say it */
            return error_set(
                err, STATUS_FAILED,
                "the score of caption %lld is not finite: the weights of step %lld are "
                "of no use; go back to an earlier checkpoint",
                (long long)(first + packed.sample[b]), (long long)f->step);
    }
    return STATUS_OK;
}

static void print_scored(FILE *out, const dataset *d, int64_t caption, const scored *s) {
    const char *accession = d->accession + (int64_t)ACCESSION_SIZE * d->caption_protein[caption];
    fprintf(out, "{\"caption\": %lld, \"protein\": \"%.*s\", \"tokens\": %lld, \"nll\": ",
            (long long)caption, ACCESSION_SIZE, accession, (long long)s->tokens);
    if (s->tokens > 0)
        fprintf(out, "%.9g}\n", s->nll);
    else
        fprintf(out, "null}\n");
}

static status print_round(FILE *out, const dataset *d, int64_t first, int64_t end,
                          const scored *all, score_totals *totals, error *err) {
    for (int64_t i = first; i < end; i++) {
        const scored *s = &all[i - first];
        if (out != NULL)
            print_scored(out, d, i, s);
        totals->answers += s->tokens > 0;
        totals->without_room += s->tokens == 0;
        totals->tokens += s->tokens;
        totals->nll += s->nll;
    }
    if (out != NULL && (fflush(out) != 0 || ferror(out)))
        return error_set(err, STATUS_FAILED, "cannot write the scores: %s", strerror(errno));
    return STATUS_OK;
}

status score_run(inference *f, MPI_Comm comm, const dataset *data, int64_t count, FILE *out,
                 score_totals *totals, error *err) {
    const int64_t ranks = comm_size(comm), rank = comm_rank(comm), step = ranks * PER_ROUND;
    *totals = (score_totals){0};
    scored *all = calloc((size_t)step, sizeof *all);
    CHECK(all != NULL, "No memory for a round of scores.");
    status code = STATUS_OK;
    for (int64_t round = 0; round < count && code == STATUS_OK; round += step) {
        const int64_t first = round + rank * PER_ROUND;
        const int64_t end = first + PER_ROUND < count ? first + PER_ROUND : count;
        scored mine[PER_ROUND] = {{0, 0}};
        if (first < end)
            code = score_some(f, data, first, end, mine, err);
        code = agree(comm, code, err);
        if (code != STATUS_OK)
            break;
        comm_gather(comm, mine, sizeof mine, all);
        if (rank == 0)
            code = print_round(out, data, round, round + step < count ? round + step : count, all,
                               totals, err);
        code = agree(comm, code, err);
    }
    free(all);
    return code;
}
