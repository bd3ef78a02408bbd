/* Errors: a status code plus one sentence.
 *
 * A function that can fail for an expected reason (a file, a config key, memory, a full disk)
 * returns a status and writes a sentence into the `error` its caller passed. The sentence names
 * the thing (file, line, record, key), what was expected, what was found, and what to do. A bug
 * is a CHECK: it prints where and ends the process. Across ranks, see parallel/agree.h.
 * Read next: src/base/log.h.
 */
#ifndef SEPIT_BASE_ERROR_H
#define SEPIT_BASE_ERROR_H

/* The values are the exit codes of the program. */
typedef enum status {
    STATUS_OK = 0,
    STATUS_FAILED = 1,   /* the machine said no: disk, memory, a library */
    STATUS_INPUT = 2,    /* the user can mend it: usage, config, a file's content */
    STATUS_STOPPED = 75, /* a signal asked to stop; a checkpoint was written */
    STATUS_HUNG = 76     /* some rank no longer moves; the watchdog ended the job */
} status;

enum { ERROR_TEXT = 4096 };

/* The text is empty exactly while code is STATUS_OK. */
typedef struct error {
    status code;
    char text[ERROR_TEXT];
} error;

/* Sets code and sentence, replacing what was there. Returns `code`, so that one can write
 * `return error_set(err, STATUS_INPUT, "…")`. `err` may not be NULL. */
status error_set(error *err, status code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "context: " in front of the sentence. Returns the code already set. */
status error_prefix(error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Adds one more sentence on a line of its own: for checks that report everything wrong at once.
 * What no longer fits ends in "… and more". */
status error_append(error *err, status code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Leaves the function with the failure of `expression`, if it failed. */
#define TRY(expression)                                                                            \
    do {                                                                                           \
        status try_status_ = (expression);                                                         \
        if (try_status_ != STATUS_OK)                                                              \
            return try_status_;                                                                    \
    } while (0)

/* A condition that only a bug can break. Prints rank, file and line, then aborts the process
 * (under mpirun and srun: the job). Never give it a side effect. */
#define CHECK(condition, ...)                                                                      \
    do {                                                                                           \
        if (__builtin_expect(!(condition), 0))                                                     \
            check_failed(__FILE__, __LINE__, #condition, " " __VA_ARGS__);                         \
    } while (0)

_Noreturn void check_failed(const char *file, int line, const char *condition, const char *format,
                            ...) __attribute__((format(printf, 4, 5)));

#endif
