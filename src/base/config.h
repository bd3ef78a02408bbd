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

typedef struct config_key {
    const char *name; /* "train.steps" */
    config_type type;
    const char *fallback; /* default as text; NULL: no value unless given */
    double low, high;     /* range of numbers, both included; 0, 0: any */
    const char *choices;  /* "bf16|fp32" */
    unsigned commands;    /* who reads it: bits of src/cli/command.h */
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

/* Prints the keys read by any command in the bit set `commands`: type, range, default, meaning. */
void config_print_keys(const config_key *keys, unsigned commands);

#endif
