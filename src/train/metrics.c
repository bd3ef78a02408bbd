#include "src/train/metrics.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The step of a line, or −1 when the line is not whole. */
static int64_t step_of(const char *line, ssize_t length) {
    long long step = -1;
    if (length < 2 || line[length - 1] != '\n' || line[length - 2] != '}' ||
        sscanf(line, "{\"step\": %lld,", &step) != 1)
        return -1;
    return step;
}

/* Bytes of the leading lines that belong to steps 1 … steps. */
static off_t length_to_keep(FILE *file, int64_t steps) {
    char *line = NULL;
    size_t capacity = 0;
    off_t keep = 0;
    for (ssize_t length = 0; (length = getline(&line, &capacity, file)) > 0; keep += length) {
        const int64_t step = step_of(line, length);
        if (step < 0 || step > steps)
            break;
    }
    free(line);
    return keep;
}

status metrics_open(FILE **opened, const char *path, int64_t steps, error *err) {
    FILE *file = fopen(path, "a+");
    if (file == NULL)
        return error_set(err, STATUS_FAILED, "cannot write %s: %s", path, strerror(errno));
    rewind(file);
    const off_t keep = length_to_keep(file, steps);
    if (ferror(file) || ftruncate(fileno(file), keep) != 0) {
        error_set(err, STATUS_FAILED, "cannot prepare %s: %s", path, strerror(errno));
        fclose(file);
        return err->code;
    }
    fseek(file, 0, SEEK_END);
    *opened = file;
    return STATUS_OK;
}

/* JSON has no NaN and no infinity: null. */
static const char *number(double x, char text[32]) {
    if (isfinite(x))
        snprintf(text, 32, "%.17g", x);
    else
        snprintf(text, 32, "null");
    return text;
}

status metrics_write(FILE *file, const char *folder, const step_metrics *m, error *err) {
    char loss[32], norm[32];
    const double rate = m->step_s > 0 ? (double)m->tokens / m->step_s : 0;
    fprintf(file,
            "{\"step\": %lld, \"epoch\": %.6f, \"loss\": %s, \"lr\": %.9g, \"grad_norm\": %s, "
            "\"skipped\": %s, \"samples\": %lld, \"tokens\": %lld, \"supervised_tokens\": %lld, "
            "\"truncated_answers\": %lld, \"tokens_per_s\": %.1f, \"step_s\": %.6f, "
            "\"compute_s\": %.6f, \"comm_s\": %.6f, \"io_s\": %.6f, \"peak_bytes\": %lld}\n",
            (long long)m->step, m->epoch, number(m->loss, loss), m->lr, number(m->grad_norm, norm),
            m->skipped ? "true" : "false", (long long)m->samples, (long long)m->tokens,
            (long long)m->supervised_tokens, (long long)m->truncated_answers, rate, m->step_s,
            m->compute_s, m->comm_s, m->io_s, (long long)m->peak_bytes);
    if (fflush(file) != 0)
        return error_set(err, STATUS_FAILED,
                         "cannot write %s/metrics.jsonl: %s; make room there, then start the same "
                         "command again: it continues from the newest checkpoint",
                         folder, strerror(errno));
    return STATUS_OK;
}
