#include "io/durable.h"

#include "src/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { CALL_BYTES = 1 << 30, PATH_BYTES = 4096 };

void durable_prepare(void) {
    signal(SIGXFSZ, SIG_IGN);
}

/* What the system said, with what to do about it where that is known. */
static status fail(error *err, const char *verb, const char *path, int code) {
    const char *advice = "";
    if (code == ENOSPC)
        advice = "; free some space or choose another folder";
    else if (code == EDQUOT)
        advice = "; your quota is used up";
    else if (code == EFBIG)
        advice = "; the file-size limit (ulimit -f) or the file system does not allow such a file";
    else if (code == EACCES || code == EPERM || code == EROFS)
        advice = "; choose a folder where you may write";
    return error_set(err, STATUS_FAILED, "cannot %s %s: %s%s", verb, path, strerror(code), advice);
}

status durable_make_folder(const char *folder, error *err) {
    char path[PATH_BYTES];
    const int length = snprintf(path, sizeof path, "%s", folder);
    if (length <= 0 || length >= PATH_BYTES)
        return error_set(err, STATUS_INPUT, "a folder's path must have 1 to %d bytes, this has %d",
                         PATH_BYTES - 1, length);
    for (int i = 1; i <= length; i++) {
        if (path[i] != '/' && path[i] != '\0')
            continue;
        const char kept = path[i];
        path[i] = '\0';
        if (mkdir(path, 0777) != 0 && errno != EEXIST)
            return fail(err, "create the folder", path, errno);
        path[i] = kept;
    }
    struct stat info;
    if (stat(folder, &info) != 0)
        return fail(err, "use the folder", folder, errno);
    return S_ISDIR(info.st_mode) ? STATUS_OK : fail(err, "use the folder", folder, ENOTDIR);
}

status durable_check_space(const char *folder, int64_t bytes, error *err) {
    struct statvfs info;
    struct rlimit limit;
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur < (rlim_t)bytes)
        return fail(err, "make a file of the size needed in", folder, EFBIG);
    if (statvfs(folder, &info) != 0)
        return fail(err, "look at the free space of", folder, errno);
    const double mib = 1024.0 * 1024.0;
    const double available = (double)info.f_bavail * (double)info.f_frsize;
    if (available >= (double)bytes)
        return STATUS_OK;
    return error_set(err, STATUS_FAILED,
                     "%s has %.1f MiB free and %.1f MiB are needed; free some space or choose "
                     "another folder",
                     folder, available / mib, (double)bytes / mib);
}

status durable_open(const char *path, int create, int *fd, error *err) {
    const int flags = create ? O_RDWR | O_CREAT | O_TRUNC : O_RDWR;
    *fd = open(path, flags | O_CLOEXEC, 0666);
    return *fd >= 0 ? STATUS_OK : fail(err, create ? "create" : "open", path, errno);
}

status durable_close(const char *path, int *fd, error *err) {
    const int closing = *fd;
    *fd = -1;
    /* Network file systems report a failed write here. */
    if (closing >= 0 && close(closing) != 0)
        return fail(err, "close", path, errno);
    return STATUS_OK;
}

status durable_reserve(const char *path, int fd, int64_t bytes, error *err) {
    int code = 0;
    do
        code = bytes > 0 && fallocate(fd, 0, 0, bytes) != 0 ? errno : 0;
    while (code == EINTR);
    /* Where the file system cannot reserve, posix_fallocate would write a byte into each block. */
    if ((code == EOPNOTSUPP || code == ENOSYS) && ftruncate(fd, bytes) == 0)
        return STATUS_OK;
    return code == 0 ? STATUS_OK : fail(err, "reserve the space of", path, code);
}

status durable_write_at(const char *path, int fd, int64_t offset, const void *data, int64_t bytes,
                        error *err) {
    const char *from = data;
    while (bytes > 0) {
        const size_t part = (size_t)(bytes < CALL_BYTES ? bytes : CALL_BYTES);
        const ssize_t done = pwrite(fd, from, part, offset);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return fail(err, "write", path, done < 0 ? errno : ENOSPC);
        from += done;
        offset += done;
        bytes -= done;
    }
    return STATUS_OK;
}

status durable_read_at(const char *path, int fd, int64_t offset, void *data, int64_t bytes,
                       error *err) {
    char *to = data;
    while (bytes > 0) {
        const size_t part = (size_t)(bytes < CALL_BYTES ? bytes : CALL_BYTES);
        const ssize_t done = pread(fd, to, part, offset);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return fail(err, "read", path, errno);
        if (done == 0)
            return error_set(err, STATUS_INPUT,
                             "%s ends at byte %lld, %lld bytes too early; it was cut short", path,
                             (long long)offset, (long long)bytes);
        to += done;
        offset += done;
        bytes -= done;
    }
    return STATUS_OK;
}

status durable_copy_written(int from, const char *path, int to, error *err) {
    char buffer[65536];
    struct stat info;
    if (fstat(from, &info) != 0)
        return fail(err, "copy the header to", path, errno);
    for (off_t at = 0; at < info.st_size;) {
        at = lseek(from, at, SEEK_DATA);
        if (at < 0)
            return errno == ENXIO ? STATUS_OK : fail(err, "copy the header to", path, errno);
        const off_t hole = lseek(from, at, SEEK_HOLE);
        for (const off_t end = hole < at ? info.st_size : hole; at < end;) {
            const off_t left = end - at;
            const int64_t bytes = left < (off_t)sizeof buffer ? left : (off_t)sizeof buffer;
            TRY(durable_read_at("the header in memory", from, at, buffer, bytes, err));
            TRY(durable_write_at(path, to, at, buffer, bytes, err));
            at += bytes;
        }
    }
    return STATUS_OK;
}

status durable_sync(const char *path, int fd, error *err) {
    return fsync(fd) == 0 ? STATUS_OK : fail(err, "bring to disk", path, errno);
}

status durable_rename(const char *from, const char *to, error *err) {
    if (rename(from, to) == 0)
        return STATUS_OK;
    const char *reason = strerror(errno);
    return error_set(err, STATUS_FAILED, "cannot rename %s to %s: %s", from, to, reason);
}

status durable_sync_folder(const char *folder, error *err) {
    const int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return fail(err, "open the folder", folder, errno);
    /* Some file systems cannot sync a folder; then renames are as lasting as they make them. */
    const int code = fsync(fd) == 0 || errno == EINVAL ? 0 : errno;
    close(fd);
    return code == 0 ? STATUS_OK : fail(err, "bring to disk", folder, code);
}

status durable_write_file(const char *path, const void *data, int64_t bytes, error *err) {
    int fd = -1;
    status code = durable_open(path, 1, &fd, err);
    if (code == STATUS_OK)
        code = durable_write_at(path, fd, 0, data, bytes, err);
    if (code == STATUS_OK)
        code = durable_sync(path, fd, err);
    error closing = {0};
    const status closed = durable_close(path, &fd, &closing);
    if (code == STATUS_OK && closed != STATUS_OK)
        return error_set(err, closed, "%s", closing.text);
    return code;
}

status durable_fault(const char *point, int rank, error *err) {
    const char *wish = getenv("SEPIT_FAULT");
    if (wish == NULL)
        return STATUS_OK;
    const int kills = strncmp(wish, "kill-", 5) == 0;
    const char *name = wish + (kills ? 5 : 0);
    const size_t length = strcspn(name, ":");
    const int wanted = name[length] == ':' ? atoi(name + length + 1) : 0;
    if (length != strlen(point) || strncmp(name, point, length) != 0 || rank != wanted)
        return STATUS_OK;
    if (kills) {
        log_error("SEPIT_FAULT kills rank %d at %s", rank, point);
        raise(SIGKILL);
    }
    return error_set(err, STATUS_FAILED, "SEPIT_FAULT made %s fail on purpose", point);
}
