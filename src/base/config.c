#include "src/base/config.h"

#include "src/base/setting.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct config {
    const config_key *keys;
    int64_t count;
    setting *settings; /* [count] */
    bool *in_file;     /* [count] the config file has this key */
    char *folder;      /* of the config file; "" for the current folder */
    const char *name;  /* path of the config file, "" for none; borrowed, for messages */
};

/* ---- keys ------------------------------------------------------------------------------------ */

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
    const char *nearest = c->keys[0].name;
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

static void refuse_key(const config *c, const char *place, const char *name, error *err) {
    error_append(err, STATUS_INPUT, "%s: there is no key %s; did you mean %s?", place, name,
                 nearest_key(c, name));
}

/* ---- the JSON file --------------------------------------------------------------------------- */

static void take_list(const config *c, const config_key *key, setting *s, const cJSON *list,
                      error *err) {
    setting_clear(s);
    for (const cJSON *item = list->child; item != NULL; item = item->next) {
        if (!cJSON_IsString(item))
            error_append(err, STATUS_INPUT, "%s: %s must be a list of paths", c->name, key->name);
        else if (setting_check(key, c->name, item->valuestring, err) == STATUS_OK)
            setting_add_path(s, item->valuestring, c->folder);
    }
}

static void take_value(const config *c, const config_key *key, setting *s, const cJSON *item,
                       error *err) {
    char number[64];
    const char *text = number;
    if (cJSON_IsNull(item)) /* as if the key were not there: the default holds */
        return;
    if (cJSON_IsArray(item) && key->type == CONFIG_PATHS) {
        take_list(c, key, s, item, err);
        return;
    }
    if (cJSON_IsBool(item))
        text = cJSON_IsTrue(item) ? "true" : "false";
    else if (cJSON_IsNumber(item))
        setting_print_real(item->valuedouble, number, sizeof number);
    else if (cJSON_IsString(item))
        text = item->valuestring;
    else {
        error_append(err, STATUS_INPUT, "%s: %s must be a single value, not a list", c->name,
                     key->name);
        return;
    }
    if (setting_check(key, c->name, text, err) == STATUS_OK)
        setting_store(key, s, text, c->folder);
}

static void take_item(config *c, const char *name, const cJSON *item, error *err) {
    const int64_t i = find_key(c, name);
    if (i < 0) {
        refuse_key(c, c->name, name, err);
        return;
    }
    if (c->in_file[i])
        error_append(err, STATUS_INPUT, "%s: %s is given twice", c->name, name);
    c->in_file[i] = true;
    take_value(c, &c->keys[i], &c->settings[i], item, err);
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
        if (cJSON_IsObject(item))
            take_object(c, name, item, err);
        else
            take_item(c, name, item, err);
    }
}

/* The whole file, NUL-terminated; the caller frees it. */
static status read_text(const char *path, char **text, error *err) {
    enum { LARGEST = 16 << 20 }; /* bytes; no config comes near it */
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return error_set(err, STATUS_INPUT, "cannot open the config %s: %s", path, strerror(errno));
    char *buffer = malloc(LARGEST + 2);
    CHECK(buffer != NULL, "No memory for a config file.");
    const size_t size = fread(buffer, 1, LARGEST + 1, file);
    const int failure = ferror(file) ? errno : 0;
    fclose(file);
    buffer[size] = '\0';
    if (failure != 0)
        error_set(err, STATUS_INPUT, "cannot read the config %s: %s", path, strerror(failure));
    else if (size > LARGEST || strlen(buffer) != size)
        error_set(err, STATUS_INPUT, "the config %s is not a text file of at most %d MiB", path,
                  LARGEST >> 20);
    else
        *text = buffer;
    if (err->code != STATUS_OK)
        free(buffer);
    return err->code;
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
        refuse_key(c, "command line", name, err);
        return;
    }
    if (setting_check(&c->keys[i], "command line", equals + 1, err) == STATUS_OK)
        setting_store(&c->keys[i], &c->settings[i], equals + 1, "");
}

static config *config_create(const config_key *keys, const char *path) {
    config *c = calloc(1, sizeof *c);
    CHECK(c != NULL, "No memory for the config.");
    c->keys = keys;
    while (keys[c->count].name != NULL)
        c->count++;
    c->settings = calloc((size_t)c->count + 1, sizeof *c->settings);
    c->in_file = calloc((size_t)c->count + 1, sizeof *c->in_file);
    c->name = path != NULL ? path : "";
    const char *slash = strrchr(c->name, '/');
    c->folder = strndup(c->name, slash == NULL ? 0 : (size_t)(slash - c->name) + 1);
    CHECK(c->settings != NULL && c->in_file != NULL && c->folder != NULL,
          "No memory for the config.");
    return c;
}

status config_load(config **loaded, const config_key *keys, const char *path, int count,
                   char *const *overrides, error *err) {
    config *c = config_create(keys, path);
    for (int64_t i = 0; i < c->count; i++)
        if (keys[i].fallback != NULL)
            setting_store(&keys[i], &c->settings[i], keys[i].fallback, "");
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
        setting_clear(&c->settings[i]);
    free(c->settings);
    free(c->in_file);
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
    CHECK(s->text != NULL && setting_parse_int(s->text, &value), "%s has no value.", name);
    return value;
}

double config_real(const config *c, const char *name) {
    const setting *s = look_up(c, name, CONFIG_REAL);
    double value = 0;
    CHECK(s->text != NULL && setting_parse_real(s->text, &value), "%s has no value.", name);
    return value;
}

bool config_bool(const config *c, const char *name) {
    const setting *s = look_up(c, name, CONFIG_BOOL);
    bool value = false;
    CHECK(s->text != NULL && setting_parse_bool(s->text, &value), "%s has no value.", name);
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

static cJSON *path_to_json(const char *folder, const char *path) {
    char *absolute = setting_join_path(folder, path);
    cJSON *text = cJSON_CreateString(absolute);
    free(absolute);
    return text;
}

/* `folder`: where relative paths start. */
static cJSON *setting_to_json(const config_key *key, const setting *s, const char *folder) {
    bool truth = false;
    double value = 0;
    int64_t whole = 0;
    char number[64] = "null";
    cJSON *list = NULL;
    if (key->type != CONFIG_PATHS && s->text == NULL)
        return cJSON_CreateNull();
    switch (key->type) {
    case CONFIG_PATHS:
        list = cJSON_CreateArray();
        for (int64_t i = 0; i < s->count; i++)
            cJSON_AddItemToArray(list, path_to_json(folder, s->paths[i]));
        return list;
    case CONFIG_PATH:
        return path_to_json(folder, s->text);
    case CONFIG_INT:
        if (setting_parse_int(s->text, &whole))
            snprintf(number, sizeof number, "%lld", (long long)whole);
        return cJSON_CreateRaw(number);
    case CONFIG_REAL:
        if (setting_parse_real(s->text, &value))
            setting_print_real(value, number, sizeof number);
        return cJSON_CreateRaw(number);
    case CONFIG_BOOL:
        return cJSON_CreateBool(setting_parse_bool(s->text, &truth) && truth);
    case CONFIG_TEXT:
    case CONFIG_CHOICE:
        break;
    }
    return cJSON_CreateString(s->text);
}

char *config_to_json(const config *c) {
    cJSON *root = cJSON_CreateObject();
    char *folder = getcwd(NULL, 0);
    for (int64_t i = 0; i < c->count; i++) {
        const char *leaf = NULL;
        cJSON *object = descend(root, c->keys[i].name, &leaf);
        cJSON_AddItemToObject(
            object, leaf,
            setting_to_json(&c->keys[i], &c->settings[i], folder != NULL ? folder : ""));
    }
    char *text = cJSON_Print(root);
    cJSON_Delete(root);
    free(folder);
    CHECK(text != NULL, "No memory for the resolved config.");
    return text;
}

/* ---- against another run's ------------------------------------------------------------------- */

/* The value of a dotted name; NULL when there is none. */
static const cJSON *find_item(const cJSON *root, const char *name) {
    const cJSON *at = root;
    for (const char *part = name; at != NULL;) {
        const char *dot = strchr(part, '.');
        char word[128];
        snprintf(word, sizeof word, "%.*s", dot != NULL ? (int)(dot - part) : (int)strlen(part),
                 part);
        at = cJSON_GetObjectItemCaseSensitive(at, word);
        if (dot == NULL)
            return at;
        part = dot + 1;
    }
    return NULL;
}

static char *print_json(cJSON *value) {
    char *text = cJSON_PrintUnformatted(value);
    CHECK(text != NULL, "No memory for a config value.");
    return text;
}

static char *print_setting(const config_key *key, const setting *s, const char *folder) {
    cJSON *value = setting_to_json(key, s, folder);
    char *text = print_json(value);
    cJSON_Delete(value);
    return text;
}

/* What was in force for the key, written as this program would write it; as it stands there when
 * it is no value of the key. */
static char *print_stored(const config *c, const config_key *key, const cJSON *root,
                          const char *folder) {
    cJSON *item = (cJSON *)find_item(root, key->name);
    setting s = {0};
    error unfit = {0};
    if (key->fallback != NULL)
        setting_store(key, &s, key->fallback, "");
    if (item != NULL)
        take_value(c, key, &s, item, &unfit);
    char *text = unfit.code == STATUS_OK ? print_setting(key, &s, folder) : print_json(item);
    setting_clear(&s);
    return text;
}

/* The names in the object that the table does not have. */
static void report_unknown(const config *c, const char *prefix, const cJSON *object,
                           config_report *report, void *context) {
    for (cJSON *item = object->child; item != NULL; item = item->next) {
        char name[256];
        snprintf(name, sizeof name, "%s%s%s", prefix, prefix[0] ? "." : "", item->string);
        if (cJSON_IsObject(item)) {
            report_unknown(c, name, item, report, context);
        } else if (find_key(c, name) < 0) {
            char *then = print_json(item);
            report(context, &(config_difference){name, NULL, then, "null"});
            free(then);
        }
    }
}

status config_compare(const config *c, const char *json, config_report *report, void *context,
                      error *err) {
    cJSON *root = cJSON_ParseWithOpts(json, NULL, true);
    if (root == NULL || !cJSON_IsObject(root)) {
        cJSON_Delete(root);
        return error_set(err, STATUS_INPUT, "the config that was saved with the run is not JSON");
    }
    char *folder = getcwd(NULL, 0);
    report_unknown(c, "", root, report, context);
    for (int64_t i = 0; i < c->count; i++) {
        const config_key *key = &c->keys[i];
        if (key->change == CHANGE_UNREAD)
            continue;
        char *then = print_stored(c, key, root, folder != NULL ? folder : "");
        char *now = print_setting(key, &c->settings[i], folder != NULL ? folder : "");
        if (strcmp(then, now) != 0)
            report(context, &(config_difference){key->name, key, then, now});
        free(then);
        free(now);
    }
    free(folder);
    cJSON_Delete(root);
    return STATUS_OK;
}

/* ---- help ------------------------------------------------------------------------------------ */

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
