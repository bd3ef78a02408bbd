/* What a test needs: EXPECT counts and goes on; the exit status of test_end() is the verdict.
 *
 * The first line of a test file is its recipe, read by tests/run:
 *     // TEST np=1,2,4 timeout=60 mode=release,asan
 * np: run under mpirun with each of these numbers of ranks (without np: plainly, no mpirun);
 * timeout: seconds, a hang is a failure; mode: the builds it is for (default release,asan).
 */
#ifndef SEPIT_TESTS_TEST_H
#define SEPIT_TESTS_TEST_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int test_failures;
static int test_checks;

enum { TEST_SKIPPED = 77 };

#define EXPECT(condition, ...)                                                                     \
    do {                                                                                           \
        test_checks++;                                                                             \
        if (!(condition)) {                                                                        \
            test_failures++;                                                                       \
            fprintf(stderr, "%s:%d: expected %s.", __FILE__, __LINE__, #condition);                \
            fprintf(stderr, " " __VA_ARGS__);                                                      \
            fputc('\n', stderr);                                                                   \
        }                                                                                          \
    } while (0)

/* |got - want| <= tolerance · max(1, |want|) */
#define EXPECT_CLOSE(got, want, tolerance)                                                         \
    do {                                                                                           \
        const double got_ = (double)(got), want_ = (double)(want);                                 \
        EXPECT(fabs(got_ - want_) <= (tolerance)*fmax(1.0, fabs(want_)), "%s = %.17g, want %.17g", \
               #got, got_, want_);                                                                 \
    } while (0)

#define EXPECT_TEXT(got, want)                                                                     \
    do {                                                                                           \
        const char *got_ = (got), *want_ = (want);                                                 \
        EXPECT(strcmp(got_, want_) == 0, "%s = \"%s\", want \"%s\"", #got, got_, want_);           \
    } while (0)

#ifdef __SANITIZE_ADDRESS__
/* MPI unloads its plug-ins at the end, and what they still hold would be reported as leaks without
 * a name that tests/leaks.txt could match: keep them loaded. */
int dlclose(void *handle);
int dlclose(void *handle) {
    (void)handle;
    return 0;
}
#endif

/* Leaves the test as skipped, with the reason. */
#define TEST_SKIP(...)                                                                             \
    do {                                                                                           \
        printf("skipped, because " __VA_ARGS__);                                                   \
        putchar('\n');                                                                             \
        exit(TEST_SKIPPED);                                                                        \
    } while (0)

/* The exit status of main. A test that checked nothing has failed. */
static inline int test_end(void) {
    if (test_checks == 0)
        fprintf(stderr, "this test checked nothing\n");
    return test_failures > 0 || test_checks == 0;
}

#endif
