// TEST timeout=60
/* metrics.jsonl cut at any byte by a kill, then continued after any checkpoint: the lines of the
 * steps that count stay, each once, and nothing of the others. */
#include "src/train/metrics.h"
#include "tests/unit/event_folder.h"

enum { STEPS = 4, ROOM = 1 << 14 };

typedef struct lines {
    char text[ROOM];
    size_t count, end[STEPS + 1]; /* of the line of step i: end[i] */
} lines;

static void write_step(metrics *to, const char *folder, int64_t step) {
    static const experts none;
    error err = {0};
    const step_metrics m = {.step = step,
                            .loss = step == 2 ? NAN : 1.0 / (double)step,
                            .loss_answer = 3,
                            .skipped = step == 2,
                            .tokens = 100,
                            .step_s = 0.5,
                            .experts = &none};
    EXPECT(metrics_write(to, folder, &m, &err) == STATUS_OK, "%s", err.text);
}

static void read_lines(const char *path, lines *l) {
    FILE *file = fopen(path, "r");
    EXPECT(file != NULL, "%s", path);
    l->count = fread(l->text, 1, sizeof l->text, file);
    fclose(file);
}

static void put_text(const char *path, const void *text, size_t count) {
    FILE *file = fopen(path, "w");
    EXPECT(file != NULL && fwrite(text, 1, count, file) == count && fclose(file) == 0, "%s", path);
}

/* Continues after `steps` steps with one more, and leaves no event file. */
static void continue_after(const char *folder, int64_t steps) {
    metrics *m = NULL;
    error err = {0};
    char events[600], event_path[1024];
    EXPECT(metrics_open(&m, folder, steps, &err) == STATUS_OK, "%s", err.text);
    write_step(m, folder, steps + 1);
    metrics_close(m);
    snprintf(events, sizeof events, "%s/tensorboard", folder);
    EXPECT(event_folder_path(events, 0, event_path) == 1 && unlink(event_path) == 0);
}

/* The file now: the lines of steps 1 … kept, then that of step `next`. */
static void check(const lines *whole, const char *path, int64_t kept, int64_t next,
                  const char *what) {
    static lines now;
    read_lines(path, &now);
    const size_t head = whole->end[kept], tail = whole->end[next] - whole->end[next - 1];
    EXPECT(now.count == head + tail, "%s, step %d: %zu bytes, want %zu", what, (int)next, now.count,
           head + tail);
    EXPECT(memcmp(now.text, whole->text, head) == 0, "%s", what);
    EXPECT(memcmp(now.text + head, whole->text + whole->end[next - 1], tail) == 0, "%s", what);
}

static void check_cuts(const lines *whole, const char *folder, const char *path) {
    char what[64];
    for (size_t cut = 0; cut <= whole->count; cut++) {
        int64_t left = 0; /* lines that are whole */
        while (left < STEPS && whole->end[left + 1] <= cut)
            left++;
        snprintf(what, sizeof what, "cut at byte %zu", cut);
        const int64_t steps = (int64_t)cut % STEPS;
        put_text(path, whole->text, cut);
        continue_after(folder, steps);
        check(whole, path, left < steps ? left : steps, steps + 1, what);
    }
}

/* What no kill leaves, but a crashed machine may: blocks of zeros; and a line twice. */
static void check_damage(const lines *whole, const char *folder, const char *path) {
    static char text[3 * ROOM];
    memcpy(text, whole->text, whole->end[2]);
    memset(text + whole->end[2], 0, 5000);
    put_text(path, text, whole->end[2] + 5000);
    continue_after(folder, 3);
    check(whole, path, 2, 4, "zeros");
    memcpy(text + whole->end[2], whole->text + whole->end[1], whole->count - whole->end[1]);
    put_text(path, text, whole->end[2] + whole->count - whole->end[1]);
    continue_after(folder, 3);
    check(whole, path, 2, 4, "step 2 twice");
}

int main(void) {
    static lines whole;
    char folder[512], path[600];
    event_folder_create(folder);
    snprintf(path, sizeof path, "%s/metrics.jsonl", folder);
    for (int64_t i = 0; i < STEPS; i++) {
        continue_after(folder, i);
        read_lines(path, &whole);
        whole.end[i + 1] = whole.count;
        EXPECT(whole.count > 0 && whole.text[whole.count - 1] == '\n' &&
               whole.count > whole.end[i]);
    }
    check_cuts(&whole, folder, path);
    check_damage(&whole, folder, path);
    event_folder_remove(folder);
    return test_end();
}
