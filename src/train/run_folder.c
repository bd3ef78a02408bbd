#include "src/train/run_folder.h"

#include "io/durable.h"
#include "parallel/agree.h"
#include "src/base/log.h"
#include "src/nn/setup.h"
#include "src/train/metrics.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static char *file_in(const char *folder, const char *name) {
    const size_t size = strlen(folder) + strlen(name) + 2;
    char *path = malloc(size);
    CHECK(path != NULL, "No memory for a path.");
    snprintf(path, size, "%s/%s", folder, name);
    return path;
}

static status write_config(const char *path, const config *c, error *err) {
    char *text = config_to_json(c);
    const status code = durable_write_file(path, text, (int64_t)strlen(text), err);
    free(text);
    return code;
}

static status prepare(run_folder *f, const config *c, error *err) {
    TRY(durable_make_folder(f->path, err));
    char *path = file_in(f->path, "config.json");
    const status code = write_config(path, c, err);
    free(path);
    TRY(code);
    path = file_in(f->path, "log.txt");
    f->log = fopen(path, "a");
    if (f->log == NULL)
        error_set(err, STATUS_FAILED, "cannot write %s: %s", path, strerror(errno));
    free(path);
    if (f->log == NULL)
        return err->code;
    log_set_file(f->log);
    return STATUS_OK;
}

status run_folder_open(run_folder *f, MPI_Comm comm, const config *c, error *err) {
    *f = (run_folder){.path = config_text(c, "run.dir"), .checkpoints = setup_checkpoint_folder(c)};
    const status code = comm_rank(comm) == 0 ? prepare(f, c, err) : STATUS_OK;
    return agree(comm, code, err);
}

status run_folder_open_metrics(run_folder *f, MPI_Comm comm, int64_t steps, error *err) {
    status code = STATUS_OK;
    if (comm_rank(comm) == 0) {
        char *path = file_in(f->path, "metrics.jsonl");
        code = metrics_open(&f->metrics, path, steps, err);
        free(path);
    }
    return agree(comm, code, err);
}

void run_folder_close(run_folder *f) {
    log_set_file(NULL);
    if (f->log != NULL)
        fclose(f->log);
    if (f->metrics != NULL)
        fclose(f->metrics);
    free(f->checkpoints);
    *f = (run_folder){0};
}
