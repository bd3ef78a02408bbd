// TEST timeout=20
/* config: relative paths count from the config's folder and carry no "x/.."; the resolved config,
 * read back from any other folder, says the same. */
#include "src/base/setting.h"
#include "tests/test.h"

#include <sys/stat.h>
#include <unistd.h>

static const config_key keys[] = {
    {"run.dir", CONFIG_PATH, "run", 0, 0, NULL, 1, CHANGE_ALTERS, "run folder"},
    {"data.path", CONFIG_PATH, NULL, 0, 0, NULL, 1, CHANGE_ALTERS, "dataset"},
    {"data.tokenizer", CONFIG_PATH, NULL, 0, 0, NULL, 1, CHANGE_ALTERS, "tokenizer"},
    {"build.entries", CONFIG_PATHS, NULL, 0, 0, NULL, 1, CHANGE_ALTERS, "entries"},
    {"train.lr", CONFIG_REAL, "1e-4", 0, 1, NULL, 1, CHANGE_ALTERS, "rate"},
    {NULL, CONFIG_INT, NULL, 0, 0, NULL, 0, CHANGE_UNREAD, NULL},
};

static void write_file(const char *path, const char *text) {
    FILE *file = fopen(path, "w");
    fputs(text, file);
    fclose(file);
}

static void check_names(void) {
    static const char *const cases[][3] = {
        {"configs/demo/", "../../runs/demo", "runs/demo"},
        {"configs/demo", "x.h5", "configs/demo/x.h5"},
        {"configs/demo", "../x.h5", "configs/x.h5"},
        {"demo", "..", "."},
        {"demo", "../../x", "../x"},
        {"demo", "../../../x/../y", "../../y"},
        {"..", "../x", "../../x"},
        {"../a", "../../b", "../../b"},
        {".", "x", "x"},
        {"./a/.", ".//b/./c/", "a/b/c"},
        {"/", "../x", "/x"},
        {"/a/b", "../../..", "/"},
        {"/a", "..x/...", "/a/..x/..."},
        {"", "a/../b", "a/../b"}, /* the command line's: as it was typed */
        {"demo", "/a/../b", "/a/../b"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *joined = setting_join_path(cases[i][0], cases[i][1]);
        EXPECT(strcmp(joined, cases[i][2]) == 0, "\"%s\" and \"%s\": \"%s\", want \"%s\"",
               cases[i][0], cases[i][1], joined, cases[i][2]);
        free(joined);
    }
}

static void check_values(const config *c, const char *folder) {
    const char *const *entries = NULL;
    char want[128];
    snprintf(want, sizeof want, "%s/run", folder);
    EXPECT_TEXT(config_text(c, "run.dir"), want);
    snprintf(want, sizeof want, "%s/d,1.h5", folder);
    EXPECT_TEXT(config_text(c, "data.path"), want);
    EXPECT(config_text(c, "data.tokenizer") == NULL);
    EXPECT(config_paths(c, "build.entries", &entries) == 2);
    snprintf(want, sizeof want, "%s/a/e,f.dat", folder);
    EXPECT_TEXT(entries[0], want);
    EXPECT_TEXT(entries[1], "/g.dat");
    EXPECT_CLOSE(config_real(c, "train.lr"), 0.25, 0);
}

/* The current folder is `folder`. */
static void check_round_trip(const char *folder) {
    error err = {0};
    config *c = NULL, *again = NULL;
    write_file("a/c.json", "{\"data\": {\"path\": \"../d,1.h5\", \"tokenizer\": null},\n"
                           " \"build\": {\"entries\": [\"e,f.dat\", \"/g.dat\"]}}");
    char *words[] = {(char[]){"train.lr=0.25"}};
    EXPECT(config_load(&c, keys, "a/c.json", 1, words, &err) == STATUS_OK, "%s", err.text);
    EXPECT_TEXT(config_text(c, "data.path"), "d,1.h5");
    char *json = config_to_json(c);
    write_file("b/config.json", json);
    EXPECT(config_load(&again, keys, "b/config.json", 0, NULL, &err) == STATUS_OK, "%s", err.text);
    check_values(again, folder);
    free(json);
    config_destroy(c);
    config_destroy(again);
}

int main(void) {
    char folder[] = "/tmp/sepit-paths-XXXXXX";
    EXPECT(mkdtemp(folder) != NULL && chdir(folder) == 0);
    EXPECT(mkdir("a", 0700) == 0 && mkdir("b", 0700) == 0);
    check_names();
    check_round_trip(folder);
    unlink("a/c.json");
    unlink("b/config.json");
    rmdir("a");
    rmdir("b");
    rmdir(folder);
    return test_end();
}
