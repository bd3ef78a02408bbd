// TEST timeout=30
/* A run that continues writes a file of its own that is read after the killed run's, whatever the
 * clock says, and that makes readers forget the steps it will repeat; a full disk is a sentence and
 * leaves no torn record in the middle. */
#include "io/durable.h"
#include "io/event_file.h"
#include "tests/unit/event_folder.h"

#include <stdbool.h>
#include <sys/resource.h>

enum { ROOM = 4096 };

static void write_steps(event_file *f, int64_t first, int64_t last, double time) {
    for (int64_t step = first; step <= last; step++)
        event_file_add(f, step, time, "loss", 1.0 / (double)step);
}

/* The START of the i-th file: its step, or −1. File format: io/event_file.h; the first record is
 * 16 + 24 bytes long. */
static int start_step(const char *folder, size_t i) {
    uint8_t bytes[ROOM];
    if (event_folder_read(folder, i, bytes, sizeof bytes) < 40 + 12 + 15)
        return -1;
    const uint8_t *event = bytes + 40 + 12;
    /* wall_time (key and 8 bytes), step (key and a small value), session log {status: START} */
    return event[9] == 0x10 && memcmp(event + 11, "\x3a\x02\x08\x01", 4) == 0 ? event[10] : -1;
}

static void check_order(const char *folder) {
    static const double clock[] = {1700000000, 1700000000, 1600000000, 1800000000};
    static const int done[] = {0, 3, 3, 7};
    char first[ROOM], again[ROOM], path[4][1024];
    int64_t length = 0;
    for (size_t i = 0; i < 4; i++) {
        event_file *f = NULL;
        error err = {0};
        EXPECT(event_file_open(&f, folder, done[i], clock[i], &err) == STATUS_OK, "%s", err.text);
        write_steps(f, done[i] + 1, done[i] + 6, clock[i]);
        EXPECT(event_file_close(f, &err) == STATUS_OK, "%s", err.text);
        EXPECT(event_folder_path(folder, i, path[i]) == (int64_t)i + 1);
        EXPECT(start_step(folder, i) == done[i] + 1, "file %zu: %d", i, start_step(folder, i));
        if (i == 0)
            length = event_folder_read(folder, 0, first, sizeof first);
    }
    EXPECT(strstr(path[0], "/events.out.tfevents.1700000000.") != NULL, "%s", path[0]);
    EXPECT(strstr(path[1], "/events.out.tfevents.1700000001.") != NULL, "%s", path[1]);
    EXPECT(strstr(path[2], "/events.out.tfevents.1700000002.") != NULL, "%s", path[2]);
    EXPECT(strstr(path[3], "/events.out.tfevents.1800000000.") != NULL, "%s", path[3]);
    EXPECT(event_folder_read(folder, 0, again, sizeof again) == length);
    EXPECT(memcmp(first, again, (size_t)length) == 0, "an old file was touched");
}

static void limit_files(rlim_t bytes) {
    struct rlimit limit;
    EXPECT(getrlimit(RLIMIT_FSIZE, &limit) == 0);
    limit.rlim_cur = bytes;
    EXPECT(setrlimit(RLIMIT_FSIZE, &limit) == 0);
}

/* The same steps twice; `full`: the file cannot grow when the second is written, then it can. */
static int64_t write_through(const char *folder, bool full, char bytes[ROOM]) {
    event_file *f = NULL;
    error err = {0};
    char path[1024];
    EXPECT(event_file_open(&f, folder, 0, 1700000000, &err) == STATUS_OK, "%s", err.text);
    write_steps(f, 1, 2, 1700000001);
    EXPECT(event_file_flush(f, &err) == STATUS_OK, "%s", err.text);
    write_steps(f, 3, 4, 1700000002);
    event_folder_path(folder, 0, path);
    if (full) {
        limit_files(175);
        EXPECT(event_file_flush(f, &err) == STATUS_FAILED);
        EXPECT(strstr(err.text, path) != NULL && strstr(err.text, "File too large") != NULL, "%s",
               err.text);
        EXPECT(event_folder_read(folder, 0, bytes, ROOM) == 175, "nothing of it was written");
        limit_files(RLIM_INFINITY);
        err = (error){0};
    }
    write_steps(f, 5, 5, 1700000003);
    EXPECT(event_file_close(f, &err) == STATUS_OK, "%s", err.text);
    return event_folder_read(folder, 0, bytes, ROOM);
}

static void check_full_disk(const char *folder) {
    char whole[ROOM], mended[ROOM], inside[600], path[1024];
    error err = {0};
    event_file *f = NULL;
    durable_prepare();
    snprintf(inside, sizeof inside, "%s/whole", folder);
    const int64_t length = write_through(inside, false, whole);
    snprintf(inside, sizeof inside, "%s/mended", folder);
    EXPECT(length > 175 && write_through(inside, true, mended) == length);
    EXPECT(memcmp(whole, mended, (size_t)length) == 0);
    /* No room for the first records: no file stays. */
    snprintf(inside, sizeof inside, "%s/full", folder);
    limit_files(50);
    EXPECT(event_file_open(&f, inside, 0, 1700000000, &err) == STATUS_FAILED && f == NULL);
    limit_files(RLIM_INFINITY);
    EXPECT(strstr(err.text, inside) != NULL, "%s", err.text);
    EXPECT(event_folder_path(inside, 0, path) == 0, "%s", path);
}

static void check_bad_folder(const char *folder) {
    char inside[600];
    error err = {0};
    event_file *f = NULL;
    snprintf(inside, sizeof inside, "%s/a file", folder);
    FILE *file = fopen(inside, "w");
    EXPECT(file != NULL && fclose(file) == 0);
    EXPECT(event_file_open(&f, inside, 0, 1700000000, &err) == STATUS_FAILED && f == NULL);
    EXPECT(strstr(err.text, inside) != NULL, "%s", err.text);
    EXPECT(event_file_close(NULL, &err) == STATUS_OK);
}

int main(void) {
    char folder[512];
    event_folder_create(folder);
    check_order(folder);
    check_full_disk(folder);
    check_bad_folder(folder);
    event_folder_remove(folder);
    return test_end();
}
