/* Configuration: one table of keys validates, documents and holds every setting.
 *
 * A value comes from the table's default, then the config file (JSON, nested objects: "train":
 * {"steps": 10} is the key train.steps), then `key.path=value` words of the command line. All
 * mistakes are reported at once, each with its place; an unknown key names its nearest match.
 * The table of the program's keys is in src/cli/keys.c.
 */
#ifndef SEPIT_BASE_CONFIG_H
#define SEPIT_BASE_CONFIG_H

#include "src/base/error.h"

#include <stdbool.h>
#include <stdint.h>

typedef enum config_type {
    CONFIG_INT,
    CONFIG_REAL,
    CONFIG_BOOL, /* true|false, on|off */
    CONFIG_TEXT,
    CONFIG_CHOICE, /* one of `choices` */
    CONFIG_PATH,   /* relative paths count from the config's folder ("." and "x/.." taken out by
                      name), or from the current folder when given on the command line */
    CONFIG_PATHS   /* list of paths: a JSON array, or words separated by commas */
} config_type;

/* What another value means for a run that continues in its run folder. */
typedef enum config_change {
    CHANGE_BREAKS,   /* refused: what was saved means nothing with it (model, vocabulary, seed) */
    CHANGE_ALTERS,   /* the run goes on, but no longer as it would have, be it in the last bits */
    CHANGE_LATE,     /* without effect: it is read when a run begins */
    CHANGE_HARMLESS, /* no result depends on it: places, layout, how often to save */
    CHANGE_UNREAD    /* training does not read it */
} config_change;

typedef struct config_key {
    const char *name; /* "train.steps" */
    config_type type;
    const char *fallback; /* default as text; NULL: no value unless given */
    double low, high;     /* range of numbers, both included; 0, 0: any */
    const char *choices;  /* "bf16|fp32" */
    unsigned commands;    /* who reads it: bits of src/cli/command.h */
    config_change change; /* between two runs in one run folder */
    const char *help;     /* one sentence, with the unit */
} config_key;

typedef struct config config;

/* keys ends with a NULL name; keys and path are borrowed until config_destroy. path may be NULL
 * (defaults only). overrides: "key.path=value" words. A null in the file leaves the default.
 * STATUS_INPUT with one line per mistake. */
status config_load(config **loaded, const config_key *keys, const char *path, int count,
                   char *const *overrides, error *err);
void config_destroy(config *c);

/* Typed look-up; asking for a key that is not in the table, or not of this type, is a bug. */
int64_t config_int(const config *c, const char *name);
double config_real(const config *c, const char *name);
bool config_bool(const config *c, const char *name);
/* Text, choice or path (already resolved); NULL when it has no value. Borrowed. */
const char *config_text(const config *c, const char *name);
/* Number of paths of the list, and the paths; borrowed. */
int64_t config_paths(const config *c, const char *name, const char *const **paths);

/* STATUS_INPUT naming the key and what it is for, when it has no value. */
status config_require(const config *c, const char *name, error *err);

/* Every key with its value as JSON, for the run folder; paths are absolute, so that as a config it
 * says the same wherever it lies. The caller frees it. */
char *config_to_json(const config *c);

/* A key with another value than before. */
typedef struct config_difference {
    const char *name;
    const config_key *key;  /* NULL: it is in the text, but not in the table */
    const char *then, *now; /* as JSON, "null" for none; borrowed during the call */
} config_difference;

/* Compares with `json`, the text that config_to_json gave for another run: calls report(context, …)
 * for each key that another value was in force for and that training reads, in the table's order,
 * after the keys that are not in the table any more. A key that the text lacks had its default.
 * STATUS_INPUT when it is no JSON object. */
typedef void config_report(void *context, const config_difference *difference);
status config_compare(const config *c, const char *json, config_report *report, void *context,
                      error *err);

/* Prints the keys read by any command in the bit set `commands`: type, range, default, meaning. */
void config_print_keys(const config_key *keys, unsigned commands);

#endif
