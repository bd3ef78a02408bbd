#include "io/event_file.h"

#include "io/crc32c.h"
#include "io/durable.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char name_start[] = "events.out.tfevents.";

/* Bytes that grow. */
typedef struct bytes {
    uint8_t *at;
    size_t count, room;
} bytes;

struct event_file {
    char *path;
    int fd;
    int64_t length;   /* of the whole records in the file */
    bytes queue;      /* whole records that are not there yet */
    bytes summary;    /* the values of the step that is being added */
    int64_t step;     /* that one … */
    double wall_time; /* … and when it was first heard of */
};

/* ---- protocol buffers ------------------------------------------------------------------------ */

/* protobuf.dev, "Encoding": a field is its key, number · 8 + wire type, then its value. */
enum { VARINT = 0, FIXED64 = 1, LENGTH = 2, FIXED32 = 5 };

/* Field numbers of event.proto and summary.proto. */
enum { EVENT_WALL_TIME = 1, EVENT_STEP = 2, EVENT_FILE_VERSION = 3, EVENT_SUMMARY = 5 };
enum { EVENT_SESSION_LOG = 7, SESSION_LOG_STATUS = 1, SESSION_LOG_START = 1 };
enum { SUMMARY_VALUE = 1, VALUE_TAG = 1, VALUE_SIMPLE = 2 };

static void put(bytes *b, const void *data, size_t count) {
    if (b->count + count > b->room) {
        b->room = 2 * (b->count + count);
        b->at = realloc(b->at, b->room);
        CHECK(b->at != NULL, "No memory for %zu bytes of events.", b->room);
    }
    if (count > 0)
        memcpy(b->at + b->count, data, count);
    b->count += count;
}

static void put_little_endian(bytes *b, uint64_t value, int count) {
    for (int i = 0; i < count; i++) {
        const uint8_t byte = (uint8_t)(value >> (8 * i));
        put(b, &byte, 1);
    }
}

static void put_varint(bytes *b, uint64_t value) {
    do {
        const uint8_t byte = (uint8_t)((value & 0x7F) | (value > 0x7F ? 0x80 : 0));
        put(b, &byte, 1);
        value >>= 7;
    } while (value > 0);
}

static void put_key(bytes *b, int field, int wire_type) {
    put_varint(b, (uint64_t)(field << 3 | wire_type));
}

static void put_field(bytes *b, int field, const void *data, size_t count) {
    put_key(b, field, LENGTH);
    put_varint(b, count);
    put(b, data, count);
}

/* A field that is zero is left out, as protobuf's own encoder does. */
static void put_event_start(bytes *b, double wall_time, int64_t step) {
    uint64_t bits;
    memcpy(&bits, &wall_time, sizeof bits);
    if (bits != 0) {
        put_key(b, EVENT_WALL_TIME, FIXED64);
        put_little_endian(b, bits, 8);
    }
    if (step != 0) {
        put_key(b, EVENT_STEP, VARINT);
        put_varint(b, (uint64_t)step);
    }
}

/* ---- records --------------------------------------------------------------------------------- */

static uint32_t masked(uint32_t crc) {
    return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

/* Queues an event as a record and empties it. */
static void queue_record(event_file *f, bytes *event) {
    const size_t start = f->queue.count;
    put_little_endian(&f->queue, event->count, 8);
    put_little_endian(&f->queue, masked(crc32c(f->queue.at + start, 8)), 4);
    put(&f->queue, event->at, event->count);
    put_little_endian(&f->queue, masked(crc32c(event->at, event->count)), 4);
    free(event->at);
    *event = (bytes){0};
}

static void queue_header(event_file *f, int64_t steps, double wall_time) {
    static const char version[] = "brain.Event:2";
    bytes event = {0}, session = {0};
    put_event_start(&event, wall_time, 0);
    put_field(&event, EVENT_FILE_VERSION, version, sizeof version - 1);
    queue_record(f, &event);
    put_key(&session, SESSION_LOG_STATUS, VARINT);
    put_varint(&session, SESSION_LOG_START);
    put_event_start(&event, wall_time, steps + 1);
    put_field(&event, EVENT_SESSION_LOG, session.at, session.count);
    queue_record(f, &event);
    free(session.at);
}

static void queue_step(event_file *f) {
    if (f->summary.count == 0)
        return;
    bytes event = {0};
    put_event_start(&event, f->wall_time, f->step);
    put_field(&event, EVENT_SUMMARY, f->summary.at, f->summary.count);
    queue_record(f, &event);
    f->summary.count = 0;
}

/* ---- files ----------------------------------------------------------------------------------- */

/* The time in the last name of the folder's event files; −1 without any. */
static status find_last_time(const char *folder, int64_t *last, error *err) {
    *last = -1;
    DIR *names = opendir(folder);
    if (names == NULL)
        return error_set(err, STATUS_FAILED, "cannot read the folder %s: %s", folder,
                         strerror(errno));
    for (const struct dirent *entry; (entry = readdir(names)) != NULL;) {
        long long seconds;
        if (strncmp(entry->d_name, name_start, sizeof name_start - 1) == 0 &&
            sscanf(entry->d_name + sizeof name_start - 1, "%lld.", &seconds) == 1 &&
            seconds > *last)
            *last = seconds;
    }
    closedir(names);
    return STATUS_OK;
}

static char *name_file(const char *folder, int64_t seconds) {
    char host[HOST_NAME_MAX + 1] = "";
    gethostname(host, sizeof host - 1);
    const size_t size = strlen(folder) + sizeof name_start + sizeof host + 64;
    char *path = malloc(size);
    CHECK(path != NULL, "No memory for a path.");
    snprintf(path, size, "%s/%s%010lld.%s.%d", folder, name_start, (long long)seconds, host,
             (int)getpid());
    return path;
}

status event_file_open(event_file **opened, const char *folder, int64_t steps, double wall_time,
                       error *err) {
    int64_t last;
    *opened = NULL;
    TRY(durable_make_folder(folder, err));
    TRY(find_last_time(folder, &last, err));
    event_file *f = calloc(1, sizeof *f);
    CHECK(f != NULL, "No memory for an event file.");
    f->path = name_file(folder, (int64_t)wall_time > last ? (int64_t)wall_time : last + 1);
    status code = durable_open(f->path, 1, &f->fd, err);
    if (code == STATUS_OK) {
        queue_header(f, steps, wall_time);
        code = event_file_flush(f, err);
    }
    if (code == STATUS_OK) {
        *opened = f;
        return STATUS_OK;
    }
    error closing = {0};
    f->queue.count = 0;
    if (f->fd >= 0)
        unlink(f->path);
    event_file_close(f, &closing);
    return code;
}

void event_file_add(event_file *f, int64_t step, double wall_time, const char *name, double value) {
    const float simple = (float)value;
    uint32_t bits;
    bytes scalar = {0};
    memcpy(&bits, &simple, sizeof bits);
    if (step != f->step)
        queue_step(f);
    if (f->summary.count == 0) {
        f->step = step;
        f->wall_time = wall_time;
    }
    put_field(&scalar, VALUE_TAG, name, strlen(name));
    put_key(&scalar, VALUE_SIMPLE, FIXED32);
    put_little_endian(&scalar, bits, 4);
    put_field(&f->summary, SUMMARY_VALUE, scalar.at, scalar.count);
    free(scalar.at);
}

status event_file_flush(event_file *f, error *err) {
    queue_step(f);
    TRY(durable_write_at(f->path, f->fd, f->length, f->queue.at, (int64_t)f->queue.count, err));
    f->length += (int64_t)f->queue.count;
    f->queue.count = 0;
    return STATUS_OK;
}

status event_file_sync(event_file *f, error *err) {
    return durable_sync(f->path, f->fd, err);
}

status event_file_close(event_file *f, error *err) {
    if (f == NULL)
        return STATUS_OK;
    error closing = {0};
    status code = f->fd >= 0 ? event_file_flush(f, err) : STATUS_OK;
    const status closed = durable_close(f->path, &f->fd, &closing);
    if (code == STATUS_OK && closed != STATUS_OK)
        code = error_set(err, closed, "%s", closing.text);
    free(f->queue.at);
    free(f->summary.at);
    free(f->path);
    free(f);
    return code;
}
