#include "src/train/watchdog_slot.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

status watchdog_slot_write(const char *path, int64_t rank, const watchdog_slot *slot, int create,
                           error *err) {
    const int fd = open(path, O_WRONLY | O_CLOEXEC | (create ? O_CREAT : 0), 0666);
    if (fd < 0)
        return error_set(err, STATUS_FAILED,
                         "cannot write %s: %s; free some space, or choose another run.dir", path,
                         strerror(errno));
    const off_t at = (off_t)rank * (off_t)sizeof *slot;
    const ssize_t written = pwrite(fd, slot, sizeof *slot, at);
    const int reason = written < 0 ? errno : ENOSPC;
    if ((close(fd) == 0 || errno == EINTR) && written == (ssize_t)sizeof *slot)
        return STATUS_OK;
    return error_set(err, STATUS_FAILED,
                     "cannot write %s: %s; free some space, or choose another run.dir", path,
                     strerror(reason));
}

/* Adds the slots of one host's file. */
static status read_file(const char *path, int64_t ranks, watchdog_slot *slot, error *err) {
    watchdog_slot some[32];
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) /* its ranks have ended */
        return STATUS_OK;
    if (fd < 0)
        return error_set(err, STATUS_FAILED, "cannot read %s: %s", path, strerror(errno));
    int64_t rank = 0;
    ssize_t got = 0;
    while (rank < ranks &&
           (got = pread(fd, some, sizeof some, (off_t)rank * (off_t)sizeof *slot)) >=
               (ssize_t)sizeof *slot) {
        const int64_t count = got / (ssize_t)sizeof *slot;
        for (int64_t i = 0; i < count && rank < ranks; i++, rank++)
            if (some[i].beat > slot[rank].beat)
                slot[rank] = some[i];
    }
    if (got < 0)
        error_set(err, STATUS_FAILED, "cannot read %s: %s", path, strerror(errno));
    close(fd);
    return got < 0 ? err->code : STATUS_OK;
}

status watchdog_slot_read_all(const char *folder, int64_t ranks, watchdog_slot *slot, error *err) {
    char path[PATH_MAX];
    memset(slot, 0, (size_t)ranks * sizeof *slot);
    DIR *listing = opendir(folder);
    if (listing == NULL)
        return error_set(err, STATUS_FAILED, "cannot read %s: %s", folder, strerror(errno));
    status code = STATUS_OK;
    for (struct dirent *e; code == STATUS_OK && (e = readdir(listing)) != NULL;)
        if (strncmp(e->d_name, "heartbeat_", 10) == 0) {
            const int length = snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
            CHECK(length < (int)sizeof path, "The path of the run folder is too long.");
            code = read_file(path, ranks, slot, err);
        }
    closedir(listing);
    return code;
}
