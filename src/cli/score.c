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
#include <sys/stat.h>
#include <unistd.h>

/* Where the lines go: standard output; or FILE.partial until all are there; or, where FILE is no
 * regular file (a pipe, a device), FILE itself. */
typedef struct sink {
    const char *path; /* NULL: standard output */
    char *partial;    /* owned; NULL: none */
    FILE *file;       /* rank 0; else NULL */
} sink;

static status fail_to_write(const sink *s, int code, error *err) {
    return error_set(err, code == ENOSPC ? STATUS_FAILED : STATUS_INPUT,
                     "cannot write %s: %s; give --output another file", s->path, strerror(code));
}

/* Rank 0 only. */
static status sink_open(sink *s, const char *path, error *err) {
    *s = (sink){.path = path, .file = path == NULL ? stdout : NULL};
    struct stat info;
    if (path == NULL)
        return STATUS_OK;
    const bool regular = stat(path, &info) != 0 || S_ISREG(info.st_mode);
    if (!regular && S_ISDIR(info.st_mode))
        return fail_to_write(s, EISDIR, err);
    const size_t size = strlen(path) + sizeof ".partial";
    s->partial = regular ? malloc(size) : NULL;
    CHECK(!regular || s->partial != NULL, "No memory for a path.");
    if (regular)
        snprintf(s->partial, size, "%s.partial", path);
    s->file = fopen(regular ? s->partial : path, "w");
    return s->file != NULL ? STATUS_OK : fail_to_write(s, errno, err);
}

/* The lines get their name if all went well, else nothing stays of them. */
static status sink_close(sink *s, status code, error *err) {
    if (s->path != NULL && s->file != NULL) {
        const bool closed = fclose(s->file) == 0;
        if (code == STATUS_OK &&
            (!closed || (s->partial != NULL && rename(s->partial, s->path) != 0)))
            code = fail_to_write(s, errno, err);
        if (code != STATUS_OK && s->partial != NULL)
            unlink(s->partial);
    }
    free(s->partial);
    return code;
}

static void print_totals(const score_totals *t) {
    log_info("%lld answers, %lld tokens: mean nll %.4f a token, perplexity %.3f; %lld left out, "
             "without room under data.max_text",
             (long long)t->answers, (long long)t->tokens, t->nll / (double)t->tokens,
             exp(t->nll / (double)t->tokens), (long long)t->without_room);
}

static status score_into(const command_input *in, const dataset *data, FILE *out, error *err) {
    inference f;
    score_totals totals = {0};
    const int64_t limit = in->flags.limit;
    const int64_t count = limit > 0 && limit < data->captions ? limit : data->captions;
    status code = inference_create(&f, in->comm, in->config, err);
    if (code == STATUS_OK)
        code = score_run(&f, in->comm, data, count, out, &totals, err);
    if (code == STATUS_OK && count > 0 && comm_max(in->comm, (double)totals.tokens) == 0)
        code = error_set(err, STATUS_INPUT,
                         "none of %lld answers has room under data.max_text=%lld; raise it to what "
                         "the model was trained with",
                         (long long)count, (long long)config_int(in->config, "data.max_text"));
    if (code == STATUS_OK)
        print_totals(&totals);
    inference_destroy(&f);
    return code;
}

static status score_dataset(const command_input *in, const dataset *data, error *err) {
    sink lines = {0};
    status code = STATUS_OK;
    if (comm_rank(in->comm) == 0)
        code = sink_open(&lines, in->flags.output, err);
    code = agree(in->comm, code, err);
    if (code == STATUS_OK)
        code = score_into(in, data, lines.file, err);
    return agree(in->comm, sink_close(&lines, code, err), err);
}

status command_score(const command_input *in, error *err) {
    dataset *data = NULL;
    status code = dataset_open(&data, in->comm, config_text(in->config, "data.path"), err);
    if (code == STATUS_OK)
        code = score_dataset(in, data, err);
    dataset_close(data);
    return code;
}
