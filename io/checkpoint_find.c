#include "io/checkpoint_files.h"
#include "io/durable.h"
#include "parallel/agree.h"

#include "src/base/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Rank 0: takes the step's files out of the way, under names that say why. */
static void set_aside(const char *folder, const checkpoint_entry *entry, const char *reason,
                      const char *sentence) {
    static const checkpoint_part parts[] = {PART_MANIFEST, PART_PARTIAL_MANIFEST, PART_DATA};
    log_warn("%s", sentence);
    for (int i = 0; i < 3; i++) {
        char from[CHECKPOINT_PATH], to[CHECKPOINT_PATH + 64];
        error err = {0};
        if (!(entry->parts & parts[i]) ||
            checkpoint_path(from, folder, entry->step, parts[i], &err) != STATUS_OK)
            continue;
        snprintf(to, sizeof to, "%s.bad-%s", from, reason);
        if (durable_rename(from, to, &err) == STATUS_OK)
            log_warn("it is skipped and renamed to %s", to);
        else
            log_warn("it is skipped; %s", err.text);
    }
}

/* A job that ended between its two renames left a complete checkpoint: finish its work. */
static status finish_renaming(const char *folder, const char *from, const char *to, error *err) {
    TRY(durable_rename(from, to, err));
    return durable_sync_folder(folder, err);
}

/* Collective: is the checkpoint of this entry whole? With the manifest's partial, finishes it. */
static status try_entry(char *path, MPI_Comm comm, const char *folder,
                        const checkpoint_entry *entry, const char **reason, error *err) {
    char manifest_path[CHECKPOINT_PATH], partial[CHECKPOINT_PATH];
    TRY(checkpoint_path(path, folder, entry->step, PART_DATA, err));
    TRY(checkpoint_path(manifest_path, folder, entry->step, PART_MANIFEST, err));
    TRY(checkpoint_path(partial, folder, entry->step, PART_PARTIAL_MANIFEST, err));
    const bool unfinished = checkpoint_is_unfinished(entry);
    checkpoint *c = NULL;
    TRY(checkpoint_open_with(&c, comm, path, unfinished ? partial : manifest_path, reason, err));
    status code = STATUS_OK;
    if (checkpoint_step(c) != entry->step) {
        *reason = "step";
        code = error_set(err, STATUS_INPUT,
                         "%s is a checkpoint of step %" PRId64 " under the name of step %" PRId64,
                         path, checkpoint_step(c), entry->step);
    } else {
        *reason = "checksum";
        code = checkpoint_verify(c, comm, err);
    }
    checkpoint_close(c);
    if (code == STATUS_OK && unfinished) {
        if (comm_rank(comm) == 0)
            code = finish_renaming(folder, partial, manifest_path, err);
        code = agree(comm, code, err);
    }
    return code;
}

/* Rank 0's list goes round entry by entry; every rank leaves with the same result. */
static status try_newest_first(char **path, MPI_Comm comm, const char *folder, bool mend,
                               const checkpoint_entry *entry, int64_t entries, error *err) {
    const int rank = comm_rank(comm);
    const unsigned whole = PART_DATA | PART_MANIFEST;
    MPI_TRY(MPI_Bcast(&entries, 1, MPI_INT64_T, 0, comm));
    char candidate[CHECKPOINT_PATH];
    bool some = false;
    for (int64_t i = 0; i < entries; i++) {
        int64_t pair[2] = {0, 0};
        if (rank == 0)
            memcpy(pair, (int64_t[2]){entry[i].step, entry[i].parts}, sizeof pair);
        MPI_TRY(MPI_Bcast(pair, 2, MPI_INT64_T, 0, comm));
        const checkpoint_entry next = {pair[0], (unsigned)pair[1]};
        /* Half of a checkpoint is a matter for the folder's owner: it may just be being saved. */
        const unsigned found = next.parts & whole;
        const bool worth_trying =
            mend ? found != 0 : found == whole && !checkpoint_is_unfinished(&next);
        some = some || worth_trying || (next.parts & PART_BAD);
        if (!worth_trying)
            continue;
        const char *reason = "";
        error local = {0};
        const status code = try_entry(candidate, comm, folder, &next, &reason, &local);
        if (code == STATUS_OK) {
            *path = strdup(candidate);
            if (*path == NULL)
                error_set(&local, STATUS_FAILED, "no memory for the path %s", candidate);
            *err = local;
            return agree(comm, local.code, err);
        }
        if (code != STATUS_INPUT) {
            *err = local;
            return code;
        }
        if (rank == 0 && mend)
            set_aside(folder, &next, reason, local.text);
        else if (rank == 0)
            log_warn("%s; it is skipped", local.text);
    }
    if (!some)
        return STATUS_OK;
    return error_set(err, STATUS_INPUT,
                     "%s holds checkpoints but none of them is whole; to start anew, move the "
                     "folder away, or put a good checkpoint there",
                     folder);
}

static status find_newest(char **path, MPI_Comm comm, const char *folder, bool mend, error *err) {
    checkpoint_entry *entry = NULL;
    int64_t entries = 0;
    status code = STATUS_OK;
    *path = NULL;
    if (comm_rank(comm) == 0)
        code = checkpoint_list(folder, &entry, &entries, err);
    code = agree(comm, code, err);
    if (code == STATUS_OK)
        code = try_newest_first(path, comm, folder, mend, entry, entries, err);
    free(entry);
    return code;
}

status checkpoint_find_newest(char **path, MPI_Comm comm, const char *folder, error *err) {
    return find_newest(path, comm, folder, true, err);
}

status checkpoint_look_newest(char **path, MPI_Comm comm, const char *folder, error *err) {
    return find_newest(path, comm, folder, false, err);
}
