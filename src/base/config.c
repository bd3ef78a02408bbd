#include "src/base/config.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* One value: its text as given, or the paths of a list. */
typedef struct setting {
    char *text; /* NULL: no value */
    char **paths;
    int64_t count;
} setting;

struct config {
    const config_key *keys;
    int64_t count;
    setting *settings; /* [count] */
    char *folder;      /* of the config file; "" for the current folder */
    char name[512];    /* of the config file, for messages */
};

/* ---- text ------------------------------------------------------------------------------------ */

static char *copy_text(const char *text) {
    char *copy = strdup(text);
    CHECK(copy != NULL, "No memory for a config value.");
    return copy;
}

/* Edit distance of two key names (Levenshtein); names are short. */
static size_t edit_distance(const char *a, const char *b) {
    enum { LONGEST = 128 };
    const size_t n = strlen(a), m = strlen(b);
    if (n >= LONGEST || m >= LONGEST)
        return SIZE_MAX;
    size_t row[LONGEST + 1];
    for (size_t j = 0; j <= m; j++)
        row[j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t best = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            best = best < row[j] + 1 ? best : row[j] + 1;
            row[j] = best < row[j - 1] + 1 ? best : row[j - 1] + 1;
        }
    }
    return row[m];
}

static const char *nearest_key(const config *c, const char *name) {
    const char *nearest = "";
    size_t best = SIZE_MAX;
    for (int64_t i = 0; i < c->count; i++) {
        const size_t distance = edit_distance(name, c->keys[i].name);
        if (distance < best) {
            best = distance;
            nearest = c->keys[i].name;
        }
    }
    return nearest;
}

static int64_t find_key(const config *c, const char *name) {
    for (int64_t i = 0; i < c->count; i++)
        if (strcmp(c->keys[i].name, name) == 0)
            return i;
    return -1;
}

/* ---- values ---------------------------------------------------------------------------------- */

static bool parse_bool(const char *text, bool *value) {
    *value = strcmp(text, "true") == 0 || strcmp(text, "on") == 0;
    return *value || strcmp(text, "false") == 0 || strcmp(text, "off") == 0;
}

static bool parse_number(const char *text, double *value) {
    char *end = NULL;
    errno = 0;
    if (strpbrk(text, "xX") != NULL) /* strtod would read hexadecimal */
        return false;
    *value = strtod(text, &end);
    return end != text && *end == '\0' && errno == 0 && isfinite(*value);
}

/* The shortest text that reads back as the same number. */
static void print_number(double value, char *text, size_t size) {
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, size, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            return;
    }
}

/* A whole number, written as such (1e6 is one, too). */
static bool parse_int(const char *text, int64_t *value) {
    char *end = NULL;
    errno = 0;
    const long long whole = strtoll(text, &end, 10);
    *value = whole;
    if (end != text && *end == '\0' && errno == 0)
        return true;
    double number = 0;
    if (!parse_number(text, &number) || fabs(number) > 9e15 || number != floor(number))
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

static status check_range(const config_key *key, const char *place, double value, error *err) {
    if ((key->low == 0 && key->high == 0) || (value >= key->low && value <= key->high))
        return STATUS_OK;
    return error_append(err, STATUS_INPUT, "%s: %s is %g, but must lie between %g and %g", place,
                        key->name, value, key->low, key->high);
}

/* STATUS_OK when the text is a value of this key; else adds a line to what `err` already holds. */
static status check_value(const config_key *key, const char *place, const char *text, error *err) {
    double number = 0;
    int64_t whole = 0;
    bool truth = false;
    switch (key->type) {
    case CONFIG_INT:
        if (!parse_int(text, &whole))
            return error_append(err, STATUS_INPUT, "%s: %s is \"%s\", but must be a whole number",
                                place, key->name, text);
        return check_range(key, place, (double)whole, err);
    case CONFIG_REAL:
        if (!parse_number(text, &number))
            return error_append(err, STATUS_INPUT, "%s: %s is \"%s\", but must be a number", place,
                                key->name, text);
        return check_range(key, place, number, err);
    case CONFIG_BOOL:
        if (!parse_bool(text, &truth))
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

static char *join_path(const char *folder, const char *path) {
    if (path[0] == '/' || folder[0] == '\0')
        return copy_text(path);
    const size_t size = strlen(folder) + strlen(path) + 2;
    char *joined = malloc(size);
    CHECK(joined != NULL, "No memory for a path.");
    snprintf(joined, size, "%s/%s", folder, path);
    return joined;
}

static void clear_setting(setting *s) {
    free(s->text);
    for (int64_t i = 0; i < s->count; i++)
        free(s->paths[i]);
    free(s->paths);
    *s = (setting){0};
}

static void add_path(setting *s, char *path) {
    s->paths = realloc(s->paths, (size_t)(s->count + 1) * sizeof *s->paths);
    CHECK(s->paths != NULL, "No memory for a list of paths.");
    s->paths[s->count++] = path;
}

/* Stores a checked text value; `folder` is where relative paths start. */
static void store_value(const config_key *key, setting *s, const char *text, const char *folder) {
    clear_setting(s);
    if (key->type == CONFIG_PATHS) {
        for (const char *at = text; *at != '\0';) {
            const size_t length = strcspn(at, ",");
            char *word = strndup(at, length);
            CHECK(word != NULL, "No memory for a path.");
            if (length > 0)
                add_path(s, join_path(folder, word));
            free(word);
            at += length + (at[length] == ',');
        }
    } else {
        s->text = key->type == CONFIG_PATH ? join_path(folder, text) : copy_text(text);
    }
}

/* ---- the JSON file --------------------------------------------------------------------------- */

static void take_list(config *c, const config_key *key, setting *s, const cJSON *list, error *err) {
    clear_setting(s);
    for (const cJSON *item = list->child; item != NULL; item = item->next) {
        if (!cJSON_IsString(item))
            error_append(err, STATUS_INPUT, "%s: %s must be a list of paths", c->name, key->name);
        else if (check_value(key, c->name, item->valuestring, err) == STATUS_OK)
            add_path(s, join_path(c->folder, item->valuestring));
    }
}

static void take_item(config *c, const char *name, const cJSON *item, error *err) {
    const int64_t i = find_key(c, name);
    if (i < 0) {
        error_append(err, STATUS_INPUT, "%s: there is no key %s; did you mean %s?", c->name, name,
                     nearest_key(c, name));
        return;
    }
    const config_key *key = &c->keys[i];
    setting *s = &c->settings[i];
    char number[64];
    const char *text = number;
    if (cJSON_IsArray(item) && key->type == CONFIG_PATHS) {
        take_list(c, key, s, item, err);
        return;
    }
    if (cJSON_IsNull(item)) {
        clear_setting(s);
        return;
    }
    if (cJSON_IsBool(item))
        text = cJSON_IsTrue(item) ? "true" : "false";
    else if (cJSON_IsNumber(item))
        print_number(item->valuedouble, number, sizeof number);
    else if (cJSON_IsString(item))
        text = item->valuestring;
    else {
        error_append(err, STATUS_INPUT, "%s: %s must be a single value, not a list", c->name, name);
        return;
    }
    if (check_value(key, c->name, text, err) == STATUS_OK)
        store_value(key, s, text, c->folder);
}

static void take_object(config *c, const char *prefix, const cJSON *object, error *err) {
    for (const cJSON *item = object->child; item != NULL; item = item->next) {
        char name[256];
        const int length =
            snprintf(name, sizeof name, "%s%s%s", prefix, prefix[0] ? "." : "", item->string);
        if (length < 0 || (size_t)length >= sizeof name) {
            error_append(err, STATUS_INPUT, "%s: the key %.60s… is too long", c->name, name);
            continue;
        }
        for (const cJSON *other = item->next; other != NULL; other = other->next)
            if (strcmp(other->string, item->string) == 0)
                error_append(err, STATUS_INPUT, "%s: %s is given twice", c->name, name);
        if (cJSON_IsObject(item))
            take_object(c, name, item, err);
        else
            take_item(c, name, item, err);
    }
}

static status read_text(const char *path, char **text, error *err) {
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return error_set(err, STATUS_INPUT, "cannot open the config %s: %s", path, strerror(errno));
    size_t size = 0, capacity = 1 << 16;
    char *buffer = malloc(capacity);
    CHECK(buffer != NULL, "No memory for a config file.");
    for (size_t got = 1; got > 0; size += got) {
        if (size + 1 == capacity) {
            capacity *= 2;
            buffer = realloc(buffer, capacity);
            CHECK(buffer != NULL && capacity < (1u << 28), "The config %s is too large.", path);
        }
        errno = 0;
        got = fread(buffer + size, 1, capacity - size - 1, file);
    }
    const int failure = ferror(file) ? errno : 0;
    fclose(file);
    buffer[size] = '\0';
    *text = buffer;
    if (failure == 0 && strlen(buffer) == size)
        return STATUS_OK;
    free(buffer);
    *text = NULL;
    if (failure != 0)
        return error_set(err, STATUS_INPUT, "cannot read the config %s: %s", path,
                         strerror(failure));
    return error_set(err, STATUS_INPUT, "the config %s is not a text file", path);
}

static status read_file(config *c, const char *path, error *err) {
    char *text = NULL;
    TRY(read_text(path, &text, err));
    const char *end = NULL;
    cJSON *root = cJSON_ParseWithOpts(text, &end, true);
    if (root == NULL || !cJSON_IsObject(root)) {
        int64_t line = 1;
        for (const char *at = text; root == NULL && at < end && *at != '\0'; at++)
            line += *at == '\n';
        error_set(err, STATUS_INPUT,
                  "%s:%lld: this is not JSON; expected one object {…}, with no trailing comma and "
                  "no comment",
                  path, (long long)line);
    } else {
        take_object(c, "", root, err);
    }
    cJSON_Delete(root);
    free(text);
    return err->code;
}

/* ---- public ---------------------------------------------------------------------------------- */

static void take_override(config *c, const char *word, error *err) {
    const char *equals = strchr(word, '=');
    CHECK(equals != NULL, "%s is not key=value.", word);
    char name[256];
    snprintf(name, sizeof name, "%.*s", (int)(equals - word), word);
    if (name[0] == '\0') {
        error_append(err, STATUS_INPUT, "command line: \"%s\" has no key before its =", word);
        return;
    }
    const int64_t i = find_key(c, name);
    if (i < 0) {
        error_append(err, STATUS_INPUT, "command line: there is no key %s; did you mean %s?", name,
                     nearest_key(c, name));
        return;
    }
    if (check_value(&c->keys[i], "command line", equals + 1, err) == STATUS_OK)
        store_value(&c->keys[i], &c->settings[i], equals + 1, "");
}

static config *config_create(const config_key *keys, const char *path) {
    config *c = calloc(1, sizeof *c);
    CHECK(c != NULL, "No memory for the config.");
    c->keys = keys;
    while (keys[c->count].name != NULL)
        c->count++;
    c->settings = calloc((size_t)c->count + 1, sizeof *c->settings);
    CHECK(c->settings != NULL, "No memory for the config.");
    const char *slash = path != NULL ? strrchr(path, '/') : NULL;
    c->folder = slash == NULL ? copy_text("") : strndup(path, (size_t)(slash - path) + 1);
    CHECK(c->folder != NULL, "No memory for the config.");
    if (slash != NULL && slash != path)
        c->folder[slash - path] = '\0'; /* "/x.json" keeps its "/" */
    snprintf(c->name, sizeof c->name, "%s", path != NULL ? path : "");
    return c;
}

status config_load(config **loaded, const config_key *keys, const char *path, int count,
                   char *const *overrides, error *err) {
    config *c = config_create(keys, path);
    for (int64_t i = 0; i < c->count; i++)
        if (keys[i].fallback != NULL)
            store_value(&keys[i], &c->settings[i], keys[i].fallback, "");
    err->code = STATUS_OK;
    err->text[0] = '\0';
    if (path != NULL)
        read_file(c, path, err);
    for (int i = 0; i < count; i++)
        take_override(c, overrides[i], err);
    if (err->code != STATUS_OK) {
        config_destroy(c);
        return err->code;
    }
    *loaded = c;
    return STATUS_OK;
}

void config_destroy(config *c) {
    if (c == NULL)
        return;
    for (int64_t i = 0; i < c->count; i++)
        clear_setting(&c->settings[i]);
    free(c->settings);
    free(c->folder);
    free(c);
}

static const setting *look_up(const config *c, const char *name, config_type type) {
    const int64_t i = find_key(c, name);
    CHECK(i >= 0, "There is no config key %s.", name);
    CHECK(c->keys[i].type == type || (type == CONFIG_TEXT && c->keys[i].type != CONFIG_PATHS),
          "The config key %s has another type.", name);
    return &c->settings[i];
}

int64_t config_int(const config *c, const char *name) {
    const setting *s = look_up(c, name, CONFIG_INT);
    int64_t value = 0;
    CHECK(s->text != NULL && parse_int(s->text, &value), "%s has no value.", name);
    return value;
}

double config_real(const config *c, const char *name) {
    const setting *s = look_up(c, name, CONFIG_REAL);
    double value = 0;
    CHECK(s->text != NULL && parse_number(s->text, &value), "%s has no value.", name);
    return value;
}

bool config_bool(const config *c, const char *name) {
    const setting *s = look_up(c, name, CONFIG_BOOL);
    bool value = false;
    CHECK(s->text != NULL && parse_bool(s->text, &value), "%s has no value.", name);
    return value;
}

const char *config_text(const config *c, const char *name) {
    return look_up(c, name, CONFIG_TEXT)->text;
}

int64_t config_paths(const config *c, const char *name, const char *const **paths) {
    const setting *s = look_up(c, name, CONFIG_PATHS);
    *paths = (const char *const *)s->paths;
    return s->count;
}

status config_require(const config *c, const char *name, error *err) {
    const int64_t i = find_key(c, name);
    CHECK(i >= 0, "There is no config key %s.", name);
    if (c->settings[i].text != NULL || c->settings[i].count > 0)
        return STATUS_OK;
    return error_set(err, STATUS_INPUT,
                     "%s%s%s has no value and is needed: %s; set it in the config or as %s=…",
                     c->name, c->name[0] ? ": " : "", name, c->keys[i].help, name);
}

/* The object that holds the last part of a dotted name, created on the way; `leaf` gets that part.
 */
static cJSON *descend(cJSON *root, const char *name, const char **leaf) {
    cJSON *at = root;
    const char *dot = NULL;
    while ((dot = strchr(name, '.')) != NULL) {
        char part[128];
        snprintf(part, sizeof part, "%.*s", (int)(dot - name), name);
        cJSON *next = cJSON_GetObjectItemCaseSensitive(at, part);
        at = next != NULL ? next : cJSON_AddObjectToObject(at, part);
        name = dot + 1;
    }
    *leaf = name;
    return at;
}

static cJSON *setting_to_json(const config_key *key, const setting *s) {
    bool truth = false;
    double value = 0;
    int64_t whole = 0;
    char number[64] = "null";
    switch (key->type) {
    case CONFIG_PATHS:
        return cJSON_CreateStringArray((const char *const *)s->paths, (int)s->count);
    case CONFIG_INT:
        if (s->text != NULL && parse_int(s->text, &whole))
            snprintf(number, sizeof number, "%lld", (long long)whole);
        return cJSON_CreateRaw(number);
    case CONFIG_REAL:
        if (s->text != NULL && parse_number(s->text, &value))
            print_number(value, number, sizeof number);
        return cJSON_CreateRaw(number);
    case CONFIG_BOOL:
        return s->text == NULL ? cJSON_CreateNull()
                               : cJSON_CreateBool(parse_bool(s->text, &truth) && truth);
    case CONFIG_TEXT:
    case CONFIG_CHOICE:
    case CONFIG_PATH:
        break;
    }
    return s->text == NULL ? cJSON_CreateNull() : cJSON_CreateString(s->text);
}

char *config_to_json(const config *c) {
    cJSON *root = cJSON_CreateObject();
    for (int64_t i = 0; i < c->count; i++) {
        const char *leaf = NULL;
        cJSON *object = descend(root, c->keys[i].name, &leaf);
        cJSON_AddItemToObject(object, leaf, setting_to_json(&c->keys[i], &c->settings[i]));
    }
    char *text = cJSON_Print(root);
    cJSON_Delete(root);
    CHECK(text != NULL, "No memory for the resolved config.");
    return text;
}

static void print_kind(const config_key *key, char *text, size_t size) {
    static const char *const names[] = {"whole number", "number", "on|off", "text", "",
                                        "path",         "paths"};
    if (key->type == CONFIG_CHOICE)
        snprintf(text, size, "%s", key->choices);
    else if (key->low == 0 && key->high == 0)
        snprintf(text, size, "%s", names[key->type]);
    else if (key->high >= 1e18)
        snprintf(text, size, "%s >= %g", names[key->type], key->low);
    else
        snprintf(text, size, "%s %g to %g", names[key->type], key->low, key->high);
}

void config_print_keys(const config_key *keys, unsigned commands) {
    for (const config_key *key = keys; key->name != NULL; key++) {
        if ((key->commands & commands) == 0)
            continue;
        char kind[80];
        print_kind(key, kind, sizeof kind);
        printf("  %-22s %s\n  %-22s %s", key->name, key->help, "", kind);
        if (key->fallback != NULL)
            printf("; default %s", key->fallback);
        putchar('\n');
    }
}
