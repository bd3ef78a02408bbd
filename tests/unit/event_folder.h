/* Folders with event files, for the tests of io/event_file. */
#ifndef SEPIT_TESTS_EVENT_FOLDER_H
#define SEPIT_TESTS_EVENT_FOLDER_H

#include "tests/test.h"

#include <ftw.h>
#include <glob.h>
#include <stdint.h>
#include <unistd.h>

/* A new temporary folder; room for 512 bytes of path. */
static inline void event_folder_create(char *folder) {
    strcpy(folder, "/tmp/event_file.XXXXXX");
    EXPECT(mkdtemp(folder) != NULL);
}

static inline int event_folder_unlink(const char *path, const struct stat *info, int kind,
                                      struct FTW *where) {
    (void)info, (void)kind, (void)where;
    return remove(path);
}

/* Removes what event_folder_create made, given that folder or one in it. */
static inline void event_folder_remove(const char *folder) {
    char top[512];
    snprintf(top, sizeof top, "%.*s", (int)strlen("/tmp/event_file.XXXXXX"), folder);
    EXPECT(nftw(top, event_folder_unlink, 8, FTW_DEPTH | FTW_PHYS) == 0);
}

/* Path of the i-th event file in the order of names, which is TensorBoard's; empty: there is none.
 * Returns how many there are. */
static inline int64_t event_folder_path(const char *folder, size_t i, char path[1024]) {
    char pattern[1024];
    glob_t names;
    snprintf(pattern, sizeof pattern, "%s/events.out.tfevents.*", folder);
    path[0] = '\0';
    if (glob(pattern, 0, NULL, &names) != 0)
        return 0;
    if (i < names.gl_pathc)
        snprintf(path, 1024, "%s", names.gl_pathv[i]);
    const int64_t count = (int64_t)names.gl_pathc;
    globfree(&names);
    return count;
}

/* Bytes of the i-th file, or −1. */
static inline int64_t event_folder_read(const char *folder, size_t i, void *bytes, size_t room) {
    char path[1024];
    event_folder_path(folder, i, path);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return -1;
    const size_t count = fread(bytes, 1, room, file);
    fclose(file);
    return (int64_t)count;
}

#endif
