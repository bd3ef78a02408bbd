#include "io/checkpoint_files.h"

#include "io/durable.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct {
    checkpoint_part part;
    const char *suffix;
} suffixes[] = {{PART_DATA, ".h5"},
                {PART_MANIFEST, ".json"},
                {PART_PARTIAL_DATA, ".h5.partial"},
                {PART_PARTIAL_MANIFEST, ".json.partial"}};
enum { SUFFIXES = sizeof suffixes / sizeof suffixes[0], STEM = 32 };

status checkpoint_path(char *path, const char *folder, int64_t step, checkpoint_part part,
                       error *err) {
    const char *suffix = "";
    for (int i = 0; i < SUFFIXES; i++)
        if (suffixes[i].part == part)
            suffix = suffixes[i].suffix;
    const int length =
        snprintf(path, CHECKPOINT_PATH, "%s/step_%08" PRId64 "%s", folder, step, suffix);
    /* Room is left for ".bad-REASON". */
    if (length < 0 || length >= CHECKPOINT_PATH - 64)
        return error_set(err, STATUS_INPUT, "the path of the folder %s is too long", folder);
    return STATUS_OK;
}

/* Reads "step_00000120.SUFFIX"; 0 when it is no such name. */
static unsigned parse_name(const char *name, int64_t *step) {
    char *end = NULL, stem[STEM];
    if (strncmp(name, "step_", 5) != 0)
        return 0;
    errno = 0;
    *step = strtoll(name + 5, &end, 10);
    snprintf(stem, sizeof stem, "step_%08" PRId64, *step);
    if (errno != 0 || *step < 0 || strncmp(name, stem, strlen(stem)) != 0 ||
        strlen(stem) != (size_t)(end - name))
        return 0;
    for (int i = 0; i < SUFFIXES; i++)
        if (strcmp(end, suffixes[i].suffix) == 0)
            return suffixes[i].part;
    if (strncmp(end, ".h5.bad-", 8) == 0 || strncmp(end, ".json.bad-", 10) == 0)
        return PART_BAD;
    return 0;
}

static int newest_first(const void *a, const void *b) {
    const int64_t x = ((const checkpoint_entry *)a)->step, y = ((const checkpoint_entry *)b)->step;
    return (x < y) - (x > y);
}

/* Joins the parts of one step. */
static int64_t merge(checkpoint_entry *entry, int64_t entries) {
    qsort(entry, (size_t)entries, sizeof *entry, newest_first);
    int64_t kept = 0;
    for (int64_t i = 0; i < entries; i++) {
        if (kept > 0 && entry[kept - 1].step == entry[i].step)
            entry[kept - 1].parts |= entry[i].parts;
        else
            entry[kept++] = entry[i];
    }
    return kept;
}

static status read_folder(DIR *directory, const char *folder, checkpoint_entry **entry,
                          int64_t *entries, error *err) {
    int64_t capacity = 0;
    for (;;) {
        errno = 0;
        const struct dirent *file = readdir(directory);
        if (file == NULL)
            break;
        checkpoint_entry found = {0};
        found.parts = parse_name(file->d_name, &found.step);
        if (found.parts == 0)
            continue;
        if (*entries == capacity) {
            capacity = 2 * capacity + 64;
            checkpoint_entry *larger = realloc(*entry, (size_t)capacity * sizeof **entry);
            if (larger == NULL)
                return error_set(err, STATUS_FAILED, "no memory to list %s", folder);
            *entry = larger;
        }
        (*entry)[(*entries)++] = found;
    }
    if (errno != 0)
        return error_set(err, STATUS_FAILED, "cannot list %s: %s", folder, strerror(errno));
    return STATUS_OK;
}

status checkpoint_list(const char *folder, checkpoint_entry **entry, int64_t *entries, error *err) {
    *entry = NULL;
    *entries = 0;
    DIR *directory = opendir(folder);
    if (directory == NULL && errno == ENOENT)
        return STATUS_OK;
    if (directory == NULL)
        return error_set(err, STATUS_FAILED, "cannot list %s: %s", folder, strerror(errno));
    const status code = read_folder(directory, folder, entry, entries, err);
    closedir(directory);
    if (code == STATUS_OK && *entries > 0)
        *entries = merge(*entry, *entries);
    if (code != STATUS_OK) {
        free(*entry);
        *entry = NULL;
        *entries = 0;
    }
    return code;
}

static status remove_part(const char *folder, int64_t step, checkpoint_part part, error *err) {
    char path[CHECKPOINT_PATH];
    TRY(checkpoint_path(path, folder, step, part, err));
    if (unlink(path) != 0 && errno != ENOENT)
        return error_set(err, STATUS_FAILED, "cannot delete %s: %s", path, strerror(errno));
    return STATUS_OK;
}

static status remove_parts(const char *folder, const checkpoint_entry *entry, unsigned parts,
                           error *err) {
    /* The manifest goes first: data without one are never taken for a checkpoint. */
    static const checkpoint_part order[] = {PART_MANIFEST, PART_DATA, PART_PARTIAL_MANIFEST,
                                            PART_PARTIAL_DATA};
    for (int i = 0; i < SUFFIXES; i++) {
        if (!(entry->parts & parts & order[i]))
            continue;
        TRY(remove_part(folder, entry->step, order[i], err));
        if (order[i] == PART_MANIFEST)
            TRY(durable_fault("retain", 0, err));
    }
    return STATUS_OK;
}

bool checkpoint_is_unfinished(const checkpoint_entry *entry) {
    const unsigned between = PART_DATA | PART_PARTIAL_MANIFEST;
    return (entry->parts & (between | PART_PARTIAL_DATA)) == between;
}

status checkpoint_remove_partial(const char *folder, error *err) {
    checkpoint_entry *entry = NULL;
    int64_t entries = 0;
    TRY(checkpoint_list(folder, &entry, &entries, err));
    status code = STATUS_OK;
    for (int64_t i = 0; i < entries && code == STATUS_OK; i++) {
        const unsigned text = checkpoint_is_unfinished(&entry[i]) ? 0 : PART_PARTIAL_MANIFEST;
        code = remove_parts(folder, &entry[i], PART_PARTIAL_DATA | text, err);
    }
    free(entry);
    return code;
}

/* Whatever its age. */
static bool is_kept(const checkpoint_retention *retention, int64_t step) {
    return step == retention->step || (retention->every > 0 && step % retention->every == 0);
}

status checkpoint_retain(const char *folder, checkpoint_retention retention, error *err) {
    const unsigned whole = PART_DATA | PART_MANIFEST;
    const int64_t newest = retention.newest < 2 ? 2 : retention.newest;
    checkpoint_entry *entry = NULL;
    int64_t entries = 0, kept = 0;
    TRY(checkpoint_list(folder, &entry, &entries, err));
    status code = STATUS_OK;
    for (int64_t i = 0; i < entries && code == STATUS_OK; i++) {
        if (kept >= newest && !is_kept(&retention, entry[i].step))
            code = remove_parts(folder, &entry[i], whole, err);
        kept += (entry[i].parts & whole) == whole;
    }
    free(entry);
    return code;
}
