#include "src/base/setting.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- numbers and words ----------------------------------------------------------------------- */

bool setting_parse_bool(const char *text, bool *value) {
    *value = strcmp(text, "true") == 0 || strcmp(text, "on") == 0;
    return *value || strcmp(text, "false") == 0 || strcmp(text, "off") == 0;
}

bool setting_parse_real(const char *text, double *value) {
    char *end = NULL;
    errno = 0;
    if (strpbrk(text, "xX") != NULL) /* strtod would read hexadecimal */
        return false;
    *value = strtod(text, &end);
    return end != text && *end == '\0' && errno == 0 && isfinite(*value);
}

void setting_print_real(double value, char *text, size_t size) {
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, size, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            return;
    }
}

bool setting_parse_int(const char *text, int64_t *value) {
    char *end = NULL;
    errno = 0;
    const long long whole = strtoll(text, &end, 10);
    *value = whole;
    if (end != text && *end == '\0' && errno == 0)
        return true;
    double number = 0;
    if (!setting_parse_real(text, &number) || fabs(number) > 9e15 || number != floor(number))
        return false;
    *value = (int64_t)number;
    return true;
}

/* Whether `word` is one of "a|b|c". */
static bool is_choice(const char *choices, const char *word) {
    const size_t length = strlen(word);
    for (const char *at = choices; length > 0; at++) {
        const size_t option = strcspn(at, "|");
        if (option == length && memcmp(at, word, length) == 0)
            return true;
        at += option;
        if (*at == '\0')
            break;
    }
    return false;
}

/* ---- against the table ----------------------------------------------------------------------- */

static status check_range(const config_key *key, const char *place, double value, error *err) {
    if ((key->low == 0 && key->high == 0) || (value >= key->low && value <= key->high))
        return STATUS_OK;
    return error_append(err, STATUS_INPUT, "%s: %s is %g, but must lie between %g and %g", place,
                        key->name, value, key->low, key->high);
}

status setting_check(const config_key *key, const char *place, const char *text, error *err) {
    double number = 0;
    int64_t whole = 0;
    bool truth = false;
    switch (key->type) {
    case CONFIG_INT:
        if (!setting_parse_int(text, &whole))
            return error_append(err, STATUS_INPUT, "%s: %s is \"%s\", but must be a whole number",
                                place, key->name, text);
        return check_range(key, place, (double)whole, err);
    case CONFIG_REAL:
        if (!setting_parse_real(text, &number))
            return error_append(err, STATUS_INPUT, "%s: %s is \"%s\", but must be a number", place,
                                key->name, text);
        return check_range(key, place, number, err);
    case CONFIG_BOOL:
        if (!setting_parse_bool(text, &truth))
            return error_append(err, STATUS_INPUT, "%s: %s is \"%s\", but must be on or off", place,
                                key->name, text);
        return STATUS_OK;
    case CONFIG_CHOICE:
        if (!is_choice(key->choices, text))
            return error_append(err, STATUS_INPUT, "%s: %s is \"%s\", but must be one of %s", place,
                                key->name, text, key->choices);
        return STATUS_OK;
    case CONFIG_PATH:
    case CONFIG_PATHS:
        if (text[0] == '\0')
            return error_append(err, STATUS_INPUT, "%s: %s is an empty path", place, key->name);
        return STATUS_OK;
    case CONFIG_TEXT:
        return STATUS_OK;
    }
    return STATUS_OK;
}

/* ---- paths ----------------------------------------------------------------------------------- */

/* Takes out "." and "x/..", going by the names alone: after a symbolic link, ".." is the folder
 * that the link is in. */
static void collapse_path(char *path) {
    char *const start = path + (path[0] == '/');
    char *end = start, *floor = start; /* of what stays; of what ".." can take back */
    for (const char *at = start, *next; *at != '\0'; at = next) {
        const size_t length = strcspn(at, "/");
        const bool up = length == 2 && memcmp(at, "..", 2) == 0;
        next = at + length + (at[length] == '/');
        if (length == 0 || (length == 1 && at[0] == '.'))
            continue;
        if (up && end > floor) {
            do
                end--;
            while (end > floor && *end != '/');
            continue;
        }
        if (up && start > path) /* above the root is the root */
            continue;
        if (end > start)
            *end++ = '/';
        memmove(end, at, length);
        end += length;
        if (up)
            floor = end;
    }
    if (end == path)
        *end++ = '.';
    *end = '\0';
}

static char *copy_text(const char *text, size_t length) {
    char *copy = strndup(text, length);
    CHECK(copy != NULL, "No memory for a config value.");
    return copy;
}

char *setting_join_path(const char *folder, const char *path) {
    if (path[0] == '/' || folder[0] == '\0')
        return copy_text(path, strlen(path));
    const size_t size = strlen(folder) + strlen(path) + 2;
    char *joined = malloc(size);
    CHECK(joined != NULL, "No memory for a path.");
    snprintf(joined, size, "%s/%s", folder, path);
    collapse_path(joined);
    return joined;
}

/* ---- storing --------------------------------------------------------------------------------- */

void setting_clear(setting *s) {
    free(s->text);
    for (int64_t i = 0; i < s->count; i++)
        free(s->paths[i]);
    free(s->paths);
    *s = (setting){0};
}

void setting_add_path(setting *s, const char *path, const char *folder) {
    s->paths = realloc(s->paths, (size_t)(s->count + 1) * sizeof *s->paths);
    CHECK(s->paths != NULL, "No memory for a list of paths.");
    s->paths[s->count++] = setting_join_path(folder, path);
}

void setting_store(const config_key *key, setting *s, const char *text, const char *folder) {
    setting_clear(s);
    if (key->type == CONFIG_PATHS) {
        for (const char *at = text; *at != '\0';) {
            const size_t length = strcspn(at, ",");
            char *word = copy_text(at, length);
            if (length > 0)
                setting_add_path(s, word, folder);
            free(word);
            at += length + (at[length] == ',');
        }
    } else {
        s->text = key->type == CONFIG_PATH ? setting_join_path(folder, text)
                                           : copy_text(text, strlen(text));
    }
}
