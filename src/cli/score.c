/* sepit score: the negative log-likelihood of every answer in the dataset, as JSON lines. */
#include "src/eval/score.h"
#include "parallel/agree.h"
#include "src/base/log.h"
#include "src/cli/command.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Where the lines go: standard output, or FILE.partial until all are there. */
typedef struct sink {
    const char *path; /* NULL: standard output */
    char *partial;
    FILE *file; /* rank 0; else NULL */
} sink;

static status sink_open(sink *s, int rank, const char *path, error *err) {
    *s = (sink){.path = path};
    if (rank != 0)
        return STATUS_OK;
    if (path == NULL) {
        s->file = stdout;
        return STATUS_OK;
    }
    const size_t size = strlen(path) + sizeof ".partial";
    s->partial = malloc(size);
    CHECK(s->partial != NULL, "No memory for a path.");
    snprintf(s->partial, size, "%s.partial", path);
    s->file = fopen(s->partial, "w");
    if (s->file == NULL)
        return error_set(err, STATUS_INPUT, "cannot write %s: %s", s->partial, strerror(errno));
    return STATUS_OK;
}

static status sink_close(sink *s, status code, error *err) {
    if (s->partial != NULL && s->file != NULL) {
        const bool closed = fclose(s->file) == 0;
        if (code == STATUS_OK && (!closed || rename(s->partial, s->path) != 0))
            code = error_set(err, STATUS_FAILED, "cannot write %s: %s", s->path, strerror(errno));
        if (code != STATUS_OK)
            unlink(s->partial);
    }
    free(s->partial);
    return code;
}

static status score_dataset(const command_input *in, const dataset *data, error *err) {
    inference f;
    sink lines = {0};
    score_totals totals = {0};
    status code = inference_create(&f, in->comm, in->config, err);
    if (code == STATUS_OK) {
        code = sink_open(&lines, comm_rank(in->comm), in->flags.output, err);
        code = agree(in->comm, code, err);
        const int64_t limit = in->flags.limit;
        const int64_t count = limit > 0 && limit < data->captions ? limit : data->captions;
        if (code == STATUS_OK)
            code = score_run(&f, in->comm, data, count, lines.file, &totals, err);
        code = agree(in->comm, sink_close(&lines, code, err), err);
    }
    if (code == STATUS_OK && totals.tokens > 0)
        log_info(
            "%lld answers, %lld tokens: mean nll %.4f a token, perplexity %.3f; %lld left out, "
            "without room under data.max_text",
            (long long)totals.answers, (long long)totals.tokens, totals.nll / (double)totals.tokens,
            exp(totals.nll / (double)totals.tokens), (long long)totals.without_room);
    inference_destroy(&f);
    return code;
}

status command_score(const command_input *in, error *err) {
    dataset *data = NULL;
    status code = dataset_open(&data, in->comm, config_text(in->config, "data.path"), err);
    if (code == STATUS_OK)
        code = score_dataset(in, data, err);
    dataset_close(data);
    return code;
}
