#include "src/base/error.h"

#include "src/base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

status error_set(error *err, status code, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    err->code = code;
    return code;
}

status error_prefix(error *err, const char *format, ...) {
    char context[ERROR_TEXT / 2];
    va_list args;
    va_start(args, format);
    vsnprintf(context, sizeof context, format, args);
    va_end(args);
    const size_t added = strlen(context) + 2;
    memmove(err->text + added, err->text, sizeof err->text - added);
    err->text[sizeof err->text - 1] = '\0';
    memcpy(err->text, context, added - 2);
    memcpy(err->text + added - 2, ": ", 2);
    return err->code;
}

status error_append(error *err, status code, const char *format, ...) {
    static const char more[] = "\n… and more";
    size_t used = err->code == STATUS_OK ? 0 : strlen(err->text);
    if (used > 0 && used + 1 < sizeof err->text)
        err->text[used++] = '\n';
    va_list args;
    va_start(args, format);
    const int bytes = vsnprintf(err->text + used, sizeof err->text - used, format, args);
    va_end(args);
    if (bytes >= (int)(sizeof err->text - used))
        memcpy(err->text + sizeof err->text - sizeof more, more, sizeof more);
    if (code > err->code)
        err->code = code;
    return err->code;
}

void check_failed(const char *file, int line, const char *condition, const char *format, ...) {
    char text[ERROR_TEXT];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    fprintf(stderr, "sepit: rank %d: bug at %s:%d: %s does not hold.%s\n", log_rank(), file, line,
            condition, text);
    fflush(NULL);
    abort();
}
