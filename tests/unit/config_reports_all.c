// TEST timeout=20
/* config: all mistakes in one message, each with its place; nearest key; paths; overrides win. */
#include "src/base/config.h"
#include "tests/test.h"

#include <unistd.h>

static const config_key keys[] = {
    {"train.steps", CONFIG_INT, "10", 1, 100, NULL, 1, CHANGE_ALTERS, "steps"},
    {"train.lr", CONFIG_REAL, "1e-4", 0, 1, NULL, 1, CHANGE_ALTERS, "rate"},
    {"model.structure", CONFIG_BOOL, "on", 0, 0, NULL, 1, CHANGE_ALTERS, "structure"},
    {"compute.dtype", CONFIG_CHOICE, "bf16", 0, 0, "bf16|fp32", 1, CHANGE_ALTERS, "type"},
    {"data.path", CONFIG_PATH, NULL, 0, 0, NULL, 1, CHANGE_ALTERS, "dataset"},
    {"build.entries", CONFIG_PATHS, NULL, 0, 0, NULL, 1, CHANGE_ALTERS, "entries"},
    {NULL, CONFIG_INT, NULL, 0, 0, NULL, 0, CHANGE_UNREAD, NULL},
};

static char folder[] = "/tmp/sepit-config-XXXXXX";

static const char *write_config(const char *text) {
    static char path[64];
    snprintf(path, sizeof path, "%s/c.json", folder);
    FILE *file = fopen(path, "w");
    fputs(text, file);
    fclose(file);
    return path;
}

static status load(config **c, const char *text, int count, char **words, error *err) {
    return config_load(c, keys, text == NULL ? NULL : write_config(text), count, words, err);
}

static void check_values(void) {
    error err = {0};
    config *c = NULL;
    char *words[] = {(char[]){"train.steps=1e2"}, (char[]){"data.path=here.h5"}};
    EXPECT(load(&c,
                "{\"train\": {\"steps\": 20, \"lr\": 0.1}, \"model\": {\"structure\": \"off\"},\n"
                "\"data.path\": \"x.h5\", \"build\": {\"entries\": [\"a.dat\", \"/b.dat\"]}}",
                2, words, &err) == STATUS_OK,
           "%s", err.text);
    EXPECT(config_int(c, "train.steps") == 100);
    EXPECT_CLOSE(config_real(c, "train.lr"), 0.1, 0);
    EXPECT(!config_bool(c, "model.structure"));
    EXPECT_TEXT(config_text(c, "compute.dtype"), "bf16");
    EXPECT_TEXT(config_text(c, "data.path"), "here.h5"); /* from the current folder */
    const char *const *paths = NULL;
    EXPECT(config_paths(c, "build.entries", &paths) == 2);
    char want[64];
    snprintf(want, sizeof want, "%s/a.dat", folder); /* from the config's folder */
    EXPECT_TEXT(paths[0], want);
    EXPECT_TEXT(paths[1], "/b.dat");
    char *json = config_to_json(c);
    EXPECT(strstr(json, "\"lr\":\t0.1\n") != NULL, "%s", json);
    EXPECT(strstr(json, "\"steps\":\t100") != NULL, "%s", json);
    free(json);
    config_destroy(c);
}

static void check_all_mistakes(void) {
    error err = {0};
    config *c = NULL;
    char *words[] = {(char[]){"compute.dtype=fp8"}, (char[]){"train.lr=2"}};
    const status code =
        load(&c, "{\"trian\": {\"steps\": 20}, \"train\": {\"steps\": 2.5}}", 2, words, &err);
    EXPECT(code == STATUS_INPUT);
    EXPECT(strstr(err.text, "no key trian.steps; did you mean train.steps?") != NULL, "%s",
           err.text);
    EXPECT(strstr(err.text, "c.json: train.steps is \"2.5\", but must be a whole number") != NULL,
           "%s", err.text);
    EXPECT(strstr(err.text, "command line: compute.dtype is \"fp8\"") != NULL, "%s", err.text);
    EXPECT(strstr(err.text, "train.lr is 2, but must lie between 0 and 1") != NULL, "%s", err.text);
}

static void check_bad_files(void) {
    const char *const bad[] = {"{\"train\": {\"steps\": 20,}}",
                               "[1]",
                               "",
                               "{} x",
                               "{\"train.lr\": 0.1, \"train.lr\": 0.2}",
                               "{\"train.lr\": 0.1, \"train\": {\"lr\": 0.2}}",
                               "{\"train\": 3}",
                               "{\"train.steps\": [1]}",
                               "{\"train.steps\": \"0x10\"}",
                               "{\"data.path\": \"\"}",
                               "{\"train.steps\": true}"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        error err = {0};
        config *c = NULL;
        EXPECT(load(&c, bad[i], 0, NULL, &err) == STATUS_INPUT, "for %s", bad[i]);
        EXPECT(err.text[0] != '\0', "no sentence for %s", bad[i]);
    }
    error err = {0};
    config *c = NULL;
    EXPECT(load(&c, "{\n\n\"train\": }", 0, NULL, &err) == STATUS_INPUT);
    EXPECT(strstr(err.text, "c.json:3:") != NULL, "%s", err.text);
    EXPECT(config_load(&c, keys, "/nowhere/c.json", 0, NULL, &err) == STATUS_INPUT);
    EXPECT(strstr(err.text, "/nowhere/c.json") != NULL, "%s", err.text);
}

/* A null is no value: the default stays. */
static void check_null(void) {
    error err = {0};
    config *c = NULL;
    EXPECT(load(&c, "{\"train\": {\"steps\": null}, \"data.path\": null}", 0, NULL, &err) ==
           STATUS_OK);
    EXPECT(config_int(c, "train.steps") == 10);
    EXPECT(config_text(c, "data.path") == NULL);
    config_destroy(c);
}

/* More mistakes than there is room for, and a file that is no config for its size alone. */
static void check_too_much(void) {
    error err = {0};
    config *c = NULL;
    enum { KEYS = 400, BYTES = 20 << 20 };
    char *text = malloc(BYTES + 1);
    size_t used = 1;
    strcpy(text, "{");
    for (int i = 0; i < KEYS; i++)
        used += (size_t)sprintf(text + used, "%s\"key%d\": 1", i > 0 ? "," : "", i);
    strcpy(text + used, "}");
    EXPECT(load(&c, text, 0, NULL, &err) == STATUS_INPUT);
    EXPECT(strstr(err.text, "no key key0;") != NULL);
    EXPECT(strcmp(err.text + strlen(err.text) - strlen("and more"), "and more") == 0, "%s",
           err.text);
    memset(text, ' ', BYTES);
    text[BYTES] = '\0';
    EXPECT(load(&c, text, 0, NULL, &err) == STATUS_INPUT);
    EXPECT(strstr(err.text, "text file of at most 16 MiB") != NULL, "%s", err.text);
    free(text);
}

int main(void) {
    EXPECT(mkdtemp(folder) != NULL);
    check_values();
    check_all_mistakes();
    check_bad_files();
    check_null();
    check_too_much();
    unlink(write_config(""));
    rmdir(folder);
    return test_end();
}
