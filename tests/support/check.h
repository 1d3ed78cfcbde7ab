/* check.h: the whole unit-test framework. A test binary is one main:
 *
 *     static void test_buf_grows(void) { CHECK(buf_append(&b, "x", 1) == 0); }
 *     int main(void) { RUN(test_buf_grows); return check_done(); }
 *
 * Each RUN prints `ok NAME` or `not ok NAME`; a failed CHECK prints its place and goes on, so one
 * run shows all of them. check_done gives the exit status: 1 when any test failed, or none ran. */
#ifndef PYEXEC_TESTS_SUPPORT_CHECK_H
#define PYEXEC_TESTS_SUPPORT_CHECK_H

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static unsigned check_failures; /* in the running test */
static unsigned check_failed_tests;
static unsigned check_run_tests;

#define CHECK(cond)                                                                        \
    do {                                                                                   \
        if (!(cond)) {                                                                     \
            (void)fprintf(stderr, "%s:%d: CHECK(%s) failed\n", __FILE__, __LINE__, #cond); \
            check_failures++;                                                              \
        }                                                                                  \
    } while (0)

#define CHECK_EQ_INT(got, want)                                                              \
    do {                                                                                     \
        long long check_got = (long long)(got);                                              \
        long long check_want = (long long)(want);                                            \
        if (check_got != check_want) {                                                       \
            (void)fprintf(stderr, "%s:%d: %s is %lld, not %lld\n", __FILE__, __LINE__, #got, \
                          check_got, check_want);                                            \
            check_failures++;                                                                \
        }                                                                                    \
    } while (0)

#define CHECK_STR(got, want)                                                                     \
    do {                                                                                         \
        const char *check_got = (got);                                                           \
        const char *check_want = (want);                                                         \
        if (check_got == NULL || check_want == NULL || strcmp(check_got, check_want) != 0) {     \
            (void)fprintf(stderr, "%s:%d: %s is \"%s\", not \"%s\"\n", __FILE__, __LINE__, #got, \
                          check_got ? check_got : "(null)", check_want ? check_want : "(null)"); \
            check_failures++;                                                                    \
        }                                                                                        \
    } while (0)

#define RUN(test)                                                         \
    do {                                                                  \
        check_failures = 0;                                               \
        check_run_tests++;                                                \
        test();                                                           \
        (void)printf("%s %s\n", check_failures ? "not ok" : "ok", #test); \
        (void)fflush(stdout);                                             \
        check_failed_tests += check_failures != 0;                        \
    } while (0)

static inline int check_done(void)
{
    (void)printf("%u passed, %u failed\n", check_run_tests - check_failed_tests,
                 check_failed_tests);
    return check_failed_tests != 0 || check_run_tests == 0;
}

#endif
