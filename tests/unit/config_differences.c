// TEST timeout=20
/* config: against the JSON of another run, each key whose value differs is reported once, however
 * the number is written; the program's table says of each key what its change means. */
#include "src/cli/command.h"
#include "src/cli/keys.h"
#include "tests/test.h"

static const config_key keys[] = {
    {"run.dir", CONFIG_PATH, "run", 0, 0, NULL, 1, CHANGE_HARMLESS, "folder"},
    {"train.steps", CONFIG_INT, "10", 1, 100, NULL, 1, CHANGE_ALTERS, "steps"},
    {"train.lr", CONFIG_REAL, "1e-4", 0, 1, NULL, 1, CHANGE_ALTERS, "rate"},
    {"model.llm.tied", CONFIG_BOOL, "off", 0, 0, NULL, 1, CHANGE_BREAKS, "tied"},
    {"model.kind", CONFIG_CHOICE, "a", 0, 0, "a|b", 1, CHANGE_BREAKS, "kind"},
    {"init.all", CONFIG_PATH, NULL, 0, 0, NULL, 1, CHANGE_LATE, "start"},
    {"build.entries", CONFIG_PATHS, NULL, 0, 0, NULL, 1, CHANGE_HARMLESS, "entries"},
    {"bench.n", CONFIG_INT, "1", 0, 0, NULL, 1, CHANGE_UNREAD, "n"},
    {NULL, CONFIG_INT, NULL, 0, 0, NULL, 0, CHANGE_UNREAD, NULL},
};

/* "name: then → now; " for each call. */
static void note(void *context, const config_difference *d) {
    char *text = context;
    sprintf(text + strlen(text), "%s%s: %s to %s; ", d->key == NULL ? "?" : "", d->name, d->then,
            d->now);
}

/* What is reported for a run with this JSON, now that the words are given. */
static void expect(const char *json, int count, char **words, const char *want) {
    error err = {0};
    config *c = NULL;
    char got[4096] = "";
    EXPECT(config_load(&c, keys, NULL, count, words, &err) == STATUS_OK, "%s", err.text);
    EXPECT(config_compare(c, json, note, got, &err) == STATUS_OK, "%s", err.text);
    EXPECT(strcmp(got, want) == 0, "%s: \"%s\", want \"%s\"", json, got, want);
    config_destroy(c);
}

static void check_values(void) {
    char *words[] = {(char[]){"train.lr=0.25"}, (char[]){"model.llm.tied=on"},
                     (char[]){"bench.n=3"}, (char[]){"init.all=/x/y"}};
    expect("{}", 0, words, "");
    expect(
        "{\"train\": {\"steps\": 1e1, \"lr\": 0.00010}, \"model\": {\"llm\": {\"tied\": false}}}",
        0, words, "");
    expect("{}", 4, words,
           "train.lr: 0.0001 to 0.25; model.llm.tied: false to true; init.all: null to \"/x/y\"; ");
    expect("{\"train\": {\"lr\": 0.25, \"steps\": 11}, \"bench\": {\"n\": 9}}", 1, words,
           "train.steps: 11 to 10; ");
    /* Neither a value of today nor a key of today. */
    expect("{\"model\": {\"kind\": \"c\", \"old\": 3}, \"train\": {\"lr\": [1]}}", 0, words,
           "?model.old: 3 to null; train.lr: [1] to 0.0001; model.kind: \"c\" to \"a\"; ");
    expect("{\"build\": {\"entries\": [\"/a\", \"/b\"]}}", 0, words,
           "build.entries: [\"/a\",\"/b\"] to []; ");
}

/* What a run writes about itself differs in nothing from itself. */
static void check_self(void) {
    error err = {0};
    config *c = NULL;
    char got[4096] = "";
    char *words[] = {(char[]){"run.dir=läufe/a b"}, (char[]){"data.tokenizer=t.model"},
                     (char[]){"train.lr=3e-3"}};
    EXPECT(config_load(&c, sepit_keys, NULL, 3, words, &err) == STATUS_OK, "%s", err.text);
    char *json = config_to_json(c);
    EXPECT(config_compare(c, json, note, got, &err) == STATUS_OK, "%s", err.text);
    EXPECT_TEXT(got, "");
    EXPECT(config_compare(c, "[1]", note, got, &err) == STATUS_INPUT);
    EXPECT(config_compare(c, "{\"a\": ", note, got, &err) == STATUS_INPUT);
    free(json);
    config_destroy(c);
}

static config_change change_of(const char *name) {
    for (const config_key *key = sepit_keys; key->name != NULL; key++)
        if (strcmp(key->name, name) == 0)
            return key->change;
    EXPECT(0, "no key %s", name);
    return CHANGE_UNREAD;
}

static void check_table(void) {
    for (const config_key *key = sepit_keys; key->name != NULL; key++) {
        EXPECT((key->change == CHANGE_UNREAD) == ((key->commands & COMMAND_TRAIN) == 0), "%s",
               key->name);
        if (strncmp(key->name, "model.", 6) == 0)
            EXPECT(key->change == CHANGE_BREAKS, "%s", key->name);
    }
    static const char *const breaks[] = {"run.seed",  "data.group", "moe.experts",
                                         "moe.top_k", "moe.layers", "train.global_batch"};
    static const char *const harmless[] = {"run.dir", "data.path", "parallel.ep",
                                           "checkpoint.every"};
    static const char *const alters[] = {"train.steps", "train.lr", "compute.dtype",
                                         "train.chunks"};
    for (size_t i = 0; i < sizeof breaks / sizeof *breaks; i++)
        EXPECT(change_of(breaks[i]) == CHANGE_BREAKS, "%s", breaks[i]);
    for (size_t i = 0; i < sizeof harmless / sizeof *harmless; i++)
        EXPECT(change_of(harmless[i]) == CHANGE_HARMLESS, "%s", harmless[i]);
    for (size_t i = 0; i < sizeof alters / sizeof *alters; i++)
        EXPECT(change_of(alters[i]) == CHANGE_ALTERS, "%s", alters[i]);
    EXPECT(change_of("init.all") == CHANGE_LATE);
}

int main(void) {
    check_values();
    check_self();
    check_table();
    return test_end();
}
