#include "src/base/progress.h"

#include "src/base/clock.h"
#include "src/base/log.h"

#include <stdio.h>
#include <unistd.h>

void progress_begin(progress *p, const char *what, int64_t total) {
    *p = (progress){.what = what,
                    .total = total,
                    .terminal = isatty(STDERR_FILENO) != 0,
                    .started = clock_seconds()};
}

static void print_left(double seconds, char *text, size_t size) {
    const long long s = (long long)(seconds + 0.5);
    if (s >= 3600)
        snprintf(text, size, "%lldh%02lldm", s / 3600, s % 3600 / 60);
    else if (s >= 60)
        snprintf(text, size, "%lldm%02llds", s / 60, s % 60);
    else
        snprintf(text, size, "%llds", s);
}

void progress_show(progress *p, int64_t done, const char *detail) {
    const double now = clock_seconds(), pause = p->terminal ? 0.1 : 10;
    const bool edge = done >= p->total || p->last_shown == 0;
    if (log_rank() != 0 || (!edge && now - p->last_shown < pause))
        return;
    p->last_shown = now;
    char left[32] = "", line[256];
    const double rate = (now - p->started) / (double)(done > 0 ? done : 1);
    print_left(rate * (double)(p->total - done), left, sizeof left);
    snprintf(line, sizeof line, "%s %lld/%lld  %s  %s left", p->what, (long long)done,
             (long long)p->total, detail, left);
    if (p->terminal) {
        fprintf(stderr, "\r\033[K%.110s", line);
        fflush(stderr);
        p->line_open = true;
    } else {
        log_info("%s", line);
    }
}

void progress_end(progress *p) {
    if (p->line_open)
        fputc('\n', stderr);
    p->line_open = false;
}
