/* fixture.h: one session at a time for the tests of this folder, and what they say about its runs. */
#ifndef PYEXEC_TESTS_UNIT_CHILD_FIXTURE_H
#define PYEXEC_TESTS_UNIT_CHILD_FIXTURE_H

#include <stdbool.h>

#include "tests/unit/child/driver.h"

#define OK PYEXEC__INTERNAL__SESSION_DONE__OUTCOME__OUTCOME_OK
#define ERROR PYEXEC__INTERNAL__SESSION_DONE__OUTCOME__OUTCOME_ERROR
#define EXITED PYEXEC__INTERNAL__SESSION_DONE__OUTCOME__OUTCOME_EXITED
#define INTERRUPTED PYEXEC__INTERNAL__SESSION_DONE__OUTCOME__OUTCOME_INTERRUPTED

extern struct driver session;
extern struct driver_result result; /* of the last run */

/* Interpreter and working directory. 0, or -1; the second gives the exit status of main. */
int fixture_begin(void);
int fixture_end(int status);

bool session_opened(void);
void close_session(void);

#define open_session() CHECK(session_opened())

/* One more run: its outcome, or -1 when the session is gone. */
int run_spec(const struct driver_spec *spec);
int run(const char *code);

#define CHECK_PRINTED(code, want)            \
    do {                                     \
        CHECK_EQ_INT(run(code), OK);         \
        CHECK_STR(text(&result.both), want); \
    } while (0)

const char *text(const struct buf *b);
bool contains(const char *s, const char *part);
const char *value_text(void);  /* the value's last part, or "" */
bool warned(const char *part); /* by the last run */

#endif
