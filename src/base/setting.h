/* One setting: its text, checked against its row of the table of keys. Internal to
 * src/base/config.c, which finds the row and keeps the settings.
 */
#ifndef SEPIT_BASE_SETTING_H
#define SEPIT_BASE_SETTING_H

#include "src/base/config.h"

#include <stddef.h>

/* One value: its text as given, or the paths of a list. Zeroed: none. Owns both. */
typedef struct setting {
    char *text; /* NULL: no value */
    char **paths;
    int64_t count;
} setting;

/* False when the text is no value of the type. A whole number may be written as 1e6. */
bool setting_parse_bool(const char *text, bool *value);
bool setting_parse_int(const char *text, int64_t *value);
bool setting_parse_real(const char *text, double *value);

/* The shortest text that reads back as the same number. */
void setting_print_real(double value, char *text, size_t size);

/* STATUS_OK when the text is a value of this key; else adds a line to what `err` already holds.
 * `place` names where the text stands. */
status setting_check(const config_key *key, const char *place, const char *text, error *err);

/* Stores a checked text, in place of what was there; relative paths start at `folder`, "" being the
 * current one. A list of paths is words separated by commas. */
void setting_store(const config_key *key, setting *s, const char *text, const char *folder);

/* Adds a checked path to a list of paths. */
void setting_add_path(setting *s, const char *path, const char *folder);

/* A path as seen from where the folder is: an absolute one, or any when folder is "", stays as it
 * is; else folder/path without "." and "x/..", going by the names alone (after a symbolic link,
 * ".." is the folder that the link is in). The caller frees it. */
char *setting_join_path(const char *folder, const char *path);

/* Forgets the value. */
void setting_clear(setting *s);

#endif
