#include "src/base/log.h"

#include <stdarg.h>

static struct {
    int rank;
    log_level level;
    FILE *file;
} state = {.rank = 0, .level = LOG_INFO, .file = NULL};

void log_set_rank(int rank) {
    state.rank = rank;
}

void log_set_level(log_level level) {
    state.level = level;
}

int log_rank(void) {
    return state.rank;
}

void log_set_file(FILE *file) {
    state.file = file;
}

static void print_line(FILE *out, const char *label, const char *format, va_list args) {
    char line[8192];
    int used = 0;
    if (label[0] != '\0' && state.rank > 0)
        used = snprintf(line, sizeof line, "%s: rank %d: ", label, state.rank);
    else if (label[0] != '\0')
        used = snprintf(line, sizeof line, "%s: ", label);
    vsnprintf(line + used, sizeof line - (size_t)used, format, args);
    fprintf(out, "%s\n", line); /* one call: lines of several ranks do not mix */
    fflush(out);
}

static void say(log_level level, const char *label, const char *format, va_list args) {
    if (level > state.level)
        return;
    va_list copy;
    va_copy(copy, args);
    print_line(stderr, label, format, args);
    if (state.file != NULL)
        print_line(state.file, label, format, copy);
    va_end(copy);
}

void log_error(const char *format, ...) {
    va_list args;
    va_start(args, format);
    say(LOG_ERROR, "error", format, args);
    va_end(args);
}

void log_warn(const char *format, ...) {
    va_list args;
    va_start(args, format);
    say(LOG_WARN, "warning", format, args);
    va_end(args);
}

void log_info(const char *format, ...) {
    if (state.rank != 0)
        return;
    va_list args;
    va_start(args, format);
    say(LOG_INFO, "", format, args);
    va_end(args);
}
