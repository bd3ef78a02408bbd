#include "src/train/watchdog_report.h"

#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { FRAMES = 64, PATIENCE_S = 2 };

/* In the thread that is reported on. */
static void print_stack(int number, siginfo_t *info, void *context) {
    (void)number, (void)context;
    if (info->si_code != SI_QUEUE || info->si_pid != getpid())
        return;
    const int saved = errno;
    watchdog_report *r = info->si_value.sival_ptr;
    void *frame[FRAMES];
    backtrace_symbols_fd(frame, backtrace(frame, FRAMES), r->file);
    sem_post(&r->printed);
    errno = saved;
}

void watchdog_report_create(watchdog_report *r) {
    *r = (watchdog_report){.thread = pthread_self(), .thread_id = gettid(), .file = -1};
    CHECK(sem_init(&r->printed, 0, 0) == 0);
    void *frame[1];
    backtrace(frame, 1); /* the first call loads a library, which no handler may do */
    struct sigaction action = {.sa_sigaction = print_stack, .sa_flags = SA_SIGINFO | SA_RESTART};
    sigemptyset(&action.sa_mask);
    CHECK(sigaction(SIGURG, &action, &r->old_action) == 0);
}

void watchdog_report_destroy(watchdog_report *r) {
    sigaction(SIGURG, &r->old_action, NULL);
    sem_destroy(&r->printed);
}

/* Copies a small file of /proc, if there is one. */
static void copy_kernel_file(const watchdog_report *r, const char *name) {
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/self/task/%d/%s", (int)r->thread_id, name);
    const int from = open(path, O_RDONLY | O_CLOEXEC);
    const ssize_t bytes = from < 0 ? 0 : read(from, text, sizeof text);
    if (from >= 0)
        close(from);
    if (bytes > 0)
        dprintf(r->file, "%s: %.*s%s", name, (int)bytes, text, text[bytes - 1] == '\n' ? "" : "\n");
}

static void add_stack(watchdog_report *r) {
    char program[1024];
    const ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    dprintf(r->file,
            "stack of the main thread (`addr2line -fpe %.*s ADDRESS` explains an entry that ends "
            "in (+ADDRESS)):\n",
            length < 0 ? 0 : (int)length, program);
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += PATIENCE_S;
    const int sent = pthread_sigqueue(r->thread, SIGURG, (union sigval){.sival_ptr = r});
    int got = -1;
    do
        got = sent == 0 ? sem_clockwait(&r->printed, CLOCK_MONOTONIC, &until) : -1;
    while (got != 0 && sent == 0 && errno == EINTR);
    if (got != 0)
        dprintf(r->file, "none: it did not answer a signal in %d s\n", PATIENCE_S);
    else
        close(r->file); /* else it may still want to print there */
}

status watchdog_report_write(watchdog_report *r, const char *path, const char *head, error *err) {
    r->file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (r->file < 0 || dprintf(r->file, "%s", head) < 0) {
        error_set(err, STATUS_FAILED, "cannot write %s: %s", path, strerror(errno));
        if (r->file >= 0)
            close(r->file);
        return err->code;
    }
    copy_kernel_file(r, "wchan");
    copy_kernel_file(r, "syscall");
    add_stack(r);
    return STATUS_OK;
}
