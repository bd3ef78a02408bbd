#include "src/train/metrics.h"

#include "io/event_file.h"
#include "src/base/log.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct metrics {
    FILE *lines;
    event_file *events;
};

/* ---- opening --------------------------------------------------------------------------------- */

/* The step of a line, or −1 when the line is not whole. */
static int64_t step_of(const char *line, ssize_t length) {
    long long step = -1;
    if (length < 2 || line[length - 1] != '\n' || line[length - 2] != '}' ||
        sscanf(line, "{\"step\": %lld,", &step) != 1)
        return -1;
    return step;
}

/* Bytes of the leading lines that belong to steps 1 … steps, each once; −1 when they cannot be
 * read. */
static off_t length_to_keep(FILE *file, int64_t steps) {
    char *line = NULL;
    size_t capacity = 0;
    off_t keep = 0;
    int64_t last = 0;
    ssize_t length = 0;
    while ((length = getline(&line, &capacity, file)) > 0) {
        const int64_t step = step_of(line, length);
        if (step <= last || step > steps)
            break;
        last = step;
        keep += length;
    }
    free(line);
    return length > 0 || feof(file) ? keep : -1;
}

static status open_lines(FILE **opened, const char *folder, int64_t steps, error *err) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/metrics.jsonl", folder);
    FILE *file = fopen(path, "a+");
    if (file == NULL)
        return error_set(err, STATUS_FAILED, "cannot write %s: %s", path, strerror(errno));
    const off_t keep = length_to_keep(file, steps);
    if (keep < 0 || ftruncate(fileno(file), keep) != 0) {
        error_set(err, STATUS_FAILED, "cannot prepare %s: %s", path, strerror(errno));
        fclose(file);
        return err->code;
    }
    fseek(file, 0, SEEK_END); /* from reading to writing */
    *opened = file;
    return STATUS_OK;
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

status metrics_open(metrics **opened, const char *folder, int64_t steps, error *err) {
    char events[PATH_MAX];
    metrics *m = calloc(1, sizeof *m);
    CHECK(m != NULL, "No memory for the metrics.");
    snprintf(events, sizeof events, "%s/tensorboard", folder);
    status code = open_lines(&m->lines, folder, steps, err);
    if (code == STATUS_OK)
        code = event_file_open(&m->events, events, steps, now(), err);
    if (code != STATUS_OK) {
        metrics_close(m);
        m = NULL;
    }
    *opened = m;
    return code;
}

void metrics_close(metrics *of) {
    error err = {0};
    if (of == NULL)
        return;
    if (of->lines != NULL && fclose(of->lines) != 0)
        log_warn("metrics.jsonl may lack its last line: %s", strerror(errno));
    if (event_file_close(of->events, &err) != STATUS_OK)
        log_warn("%s", err.text);
    free(of);
}

/* ---- metrics.jsonl --------------------------------------------------------------------------- */

/* JSON has no NaN and no infinity: null. */
static const char *number(double x, char text[32]) {
    if (isfinite(x))
        snprintf(text, 32, "%.17g", x);
    else
        snprintf(text, 32, "null");
    return text;
}

/* [[…E], …layers] of one kind of share. */
static void write_shares(FILE *file, const char *name, const experts *x,
                         double (*share)(const experts *, int64_t, int64_t)) {
    fprintf(file, ", \"%s\": [", name);
    for (int64_t l = 0; l < x->layers; l++)
        for (int64_t e = 0; e < x->config.E; e++)
            fprintf(file, "%s%.5f%s",
                    e > 0   ? ", "
                    : l > 0 ? ", ["
                            : "[",
                    share(x, l, e), e == x->config.E - 1 ? "]" : "");
    fprintf(file, "]");
}

/* The share of all tokens that each expert of each layer got, and the like; empty without experts.
 */
static void write_experts(FILE *file, const step_metrics *m) {
    const experts *x = m->experts;
    write_shares(file, "expert_load", x, experts_load);
    fprintf(file, ", \"dropped\": %.6f", x->layers > 0 ? experts_dropped(x) : 0);
    if (x->layers == 0)
        return;
    fprintf(file, ", \"loss_balance\": %.9g, \"loss_z\": %.9g", m->loss_experts.balance,
            m->loss_experts.z);
    write_shares(file, "expert_protein_share", x, experts_protein_share);
    fprintf(file, ", \"router_entropy\": [");
    for (int64_t l = 0; l < x->layers; l++)
        fprintf(file, "%s%.5f", l > 0 ? ", " : "", experts_entropy(x, l));
    fprintf(file,
            "], \"dead_experts\": %lld, \"exchange_wait_s\": %.6f, \"exchange_hidden_s\": %.6f",
            (long long)experts_dead(x), x->waited_s, x->hidden_s);
}

static double tokens_per_s(const step_metrics *m) {
    return m->step_s > 0 ? (double)m->tokens / m->step_s : 0;
}

static void write_line(FILE *file, const step_metrics *m) {
    char loss[32], answer[32], norm[32];
    fprintf(file,
            "{\"step\": %lld, \"epoch\": %.6f, \"loss\": %s, \"loss_answer\": %s, \"lr\": %.9g, "
            "\"grad_norm\": %s, \"skipped\": %s, \"samples\": %lld, \"tokens\": %lld, "
            "\"supervised_tokens\": %lld, "
            "\"truncated_answers\": %lld, \"tokens_per_s\": %.1f, \"step_s\": %.6f, "
            "\"compute_s\": %.6f, \"comm_s\": %.6f, \"io_s\": %.6f, \"peak_bytes\": %lld",
            (long long)m->step, m->epoch, number(m->loss, loss), number(m->loss_answer, answer),
            m->lr, number(m->grad_norm, norm), m->skipped ? "true" : "false", (long long)m->samples,
            (long long)m->tokens, (long long)m->supervised_tokens, (long long)m->truncated_answers,
            tokens_per_s(m), m->step_s, m->compute_s, m->comm_s, m->io_s, (long long)m->peak_bytes);
    write_experts(file, m);
    fprintf(file, "}\n");
}

/* ---- tensorboard/ ---------------------------------------------------------------------------- */

/* 1: every expert of the layer gets the same; E: one gets all. */
static double largest_load(const experts *x, int64_t layer) {
    double largest = 0;
    for (int64_t e = 0; e < x->config.E; e++)
        largest = fmax(largest, experts_load(x, layer, e));
    return largest * (double)x->config.E;
}

static void add_experts(event_file *file, double time, const step_metrics *m) {
    const experts *x = m->experts;
    if (x->layers == 0)
        return;
    event_file_add(file, m->step, time, "loss/balance", m->loss_experts.balance);
    event_file_add(file, m->step, time, "loss/z", m->loss_experts.z);
    event_file_add(file, m->step, time, "experts/dropped", experts_dropped(x));
    event_file_add(file, m->step, time, "experts/dead", (double)experts_dead(x));
    event_file_add(file, m->step, time, "experts/exchange_wait_s", x->waited_s);
    for (int64_t l = 0; l < x->layers; l++) {
        char name[64];
        snprintf(name, sizeof name, "experts_largest_load/layer_%lld", (long long)l);
        event_file_add(file, m->step, time, name, largest_load(x, l));
        snprintf(name, sizeof name, "experts_router_entropy/layer_%lld", (long long)l);
        event_file_add(file, m->step, time, name, experts_entropy(x, l));
    }
}

/* What stands before the "/" is a group of charts. */
static void add_scalars(event_file *file, double time, const step_metrics *m) {
    const struct {
        const char *name;
        double value;
    } scalar[] = {
        {"loss/total", m->loss},
        {"loss/answer", m->loss_answer},
        {"train/lr", m->lr},
        {"train/grad_norm", m->grad_norm},
        {"train/skipped", m->skipped ? 1 : 0},
        {"train/epoch", m->epoch},
        {"train/supervised_tokens", (double)m->supervised_tokens},
        {"train/truncated_answers", (double)m->truncated_answers},
        {"speed/tokens_per_s", tokens_per_s(m)},
        {"speed/step_s", m->step_s},
        {"speed/compute_s", m->compute_s},
        {"speed/comm_s", m->comm_s},
        {"speed/io_s", m->io_s},
        {"memory/peak_bytes", (double)m->peak_bytes},
    };
    for (size_t i = 0; i < sizeof scalar / sizeof *scalar; i++)
        event_file_add(file, m->step, time, scalar[i].name, scalar[i].value);
    add_experts(file, time, m);
}

/* ---- both ------------------------------------------------------------------------------------ */

status metrics_write(metrics *to, const char *folder, const step_metrics *m, error *err) {
    write_line(to->lines, m);
    if (fflush(to->lines) != 0)
        return error_set(err, STATUS_FAILED,
                         "cannot write %s/metrics.jsonl: %s; make room there, then start the same "
                         "command again: it continues from the newest checkpoint",
                         folder, strerror(errno));
    add_scalars(to->events, now(), m);
    return event_file_flush(to->events, err);
}

status metrics_sync(metrics *of, const char *folder, error *err) {
    if (fsync(fileno(of->lines)) != 0)
        return error_set(err, STATUS_FAILED, "cannot bring %s/metrics.jsonl to disk: %s", folder,
                         strerror(errno));
    return event_file_sync(of->events, err);
}
