// TEST timeout=30
/* The bytes of an event file are those that TensorBoard's own writer makes of the same events
 * (event_file_golden.txt, made by event_file_golden.py). */
#include "io/event_file.h"
#include "tests/unit/event_folder.h"

static const char golden_path[] = "tests/unit/event_file_golden.txt";

/* The golden bytes, and where each record ends. */
static size_t read_golden(uint8_t *bytes, size_t room, size_t end[8], int *records) {
    FILE *file = fopen(golden_path, "r");
    size_t count = 0;
    unsigned byte;
    *records = 0;
    EXPECT(file != NULL, "%s", golden_path);
    for (int next; file != NULL && (next = fgetc(file)) != EOF;) {
        if (next == '\n') {
            end[(*records)++] = count;
            continue;
        }
        ungetc(next, file);
        if (count == room || fscanf(file, "%2x", &byte) != 1)
            break;
        bytes[count++] = (uint8_t)byte;
    }
    if (file != NULL)
        fclose(file);
    return count;
}

int main(void) {
    static uint8_t want[4096], got[4096];
    char folder[512], long_name[201] = "";
    size_t end[8] = {0};
    int records = 0;
    const double time = 1700000000.25;
    error err = {0};
    event_file *f = NULL;
    const size_t wanted = read_golden(want, sizeof want, end, &records);
    EXPECT(records == 5);
    event_folder_create(folder);
    strcat(folder, "/deeper/tensorboard");
    memset(long_name, 'x', 200);
    EXPECT(event_file_open(&f, folder, 300, time, &err) == STATUS_OK, "%s", err.text);
    /* A file that was just opened holds its first two records already. */
    EXPECT(event_folder_read(folder, 0, got, sizeof got) == (int64_t)end[1]);
    event_file_add(f, 301, time + 1, "loss/total", 2.5);
    event_file_add(f, 301, time + 1.5, "train/lr", 1e-4);
    EXPECT(event_file_flush(f, &err) == STATUS_OK, "%s", err.text);
    EXPECT(event_folder_read(folder, 0, got, sizeof got) == (int64_t)end[2]);
    event_file_add(f, 302, time + 2, "loss/total", NAN);
    event_file_add(f, 302, time + 2, "größte Last", -0.0);
    event_file_add(f, 302, time + 2, long_name, 1e300);
    event_file_add(f, INT64_C(1) << 40, time + 3, "memory/peak_bytes", 123456789012.0);
    EXPECT(event_file_sync(f, &err) == STATUS_OK, "%s", err.text);
    EXPECT(event_file_close(f, &err) == STATUS_OK, "%s", err.text);
    const int64_t count = event_folder_read(folder, 0, got, sizeof got);
    EXPECT(count == (int64_t)wanted, "%lld bytes, want %zu", (long long)count, wanted);
    size_t same = 0;
    while (same < wanted && got[same] == want[same])
        same++;
    EXPECT(same == wanted, "byte %zu is %02x, want %02x", same, got[same], want[same]);
    event_folder_remove(folder);
    return test_end();
}
