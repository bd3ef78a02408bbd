#include "src/train/run_folder.h"

#include "io/durable.h"
#include "parallel/agree.h"
#include "src/base/log.h"
#include "src/nn/setup.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char *file_in(const char *folder, const char *name) {
    const size_t size = strlen(folder) + strlen(name) + 2;
    char *path = malloc(size);
    CHECK(path != NULL, "No memory for a path.");
    snprintf(path, size, "%s/%s", folder, name);
    return path;
}

/* Under its name when it is whole: a full disk leaves the one that was there before. */
static status write_config(const run_folder *f, const config *c, error *err) {
    char *path = file_in(f->path, "config.json"),
         *partial = file_in(f->path, "config.json.partial");
    char *text = config_to_json(c);
    status code = durable_write_file(partial, text, (int64_t)strlen(text), err);
    if (code == STATUS_OK)
        code = durable_rename(partial, path, err);
    if (code != STATUS_OK)
        unlink(partial);
    free(text);
    free(partial);
    free(path);
    return code;
}

static status open_log(run_folder *f, error *err) {
    TRY(durable_make_folder(f->path, err));
    TRY(durable_make_folder(f->checkpoints, err));
    char *path = file_in(f->path, "log.txt");
    f->log = fopen(path, "a");
    if (f->log == NULL)
        error_set(err, STATUS_FAILED, "cannot write %s: %s; choose another run.dir", path,
                  strerror(errno));
    free(path);
    if (f->log == NULL)
        return err->code;
    log_set_file(f->log);
    return STATUS_OK;
}

static status begin(run_folder *f, const config *c, int64_t steps, error *err) {
    TRY(write_config(f, c, err));
    return metrics_open(&f->metrics, f->path, steps, err);
}

status run_folder_open(run_folder *f, MPI_Comm comm, const config *c, error *err) {
    *f = (run_folder){.path = config_text(c, "run.dir"), .checkpoints = setup_checkpoint_folder(c)};
    return agree(comm, comm_rank(comm) == 0 ? open_log(f, err) : STATUS_OK, err);
}

status run_folder_begin(run_folder *f, MPI_Comm comm, const config *c, int64_t steps, error *err) {
    return agree(comm, comm_rank(comm) == 0 ? begin(f, c, steps, err) : STATUS_OK, err);
}

void run_folder_note_failure(run_folder *f, const error *err) {
    if (f->log != NULL)
        fprintf(f->log, "error: %s\n", err->text);
}

void run_folder_close(run_folder *f) {
    log_set_file(NULL);
    if (f->log != NULL)
        fclose(f->log);
    metrics_close(f->metrics);
    free(f->checkpoints);
    *f = (run_folder){0};
}
