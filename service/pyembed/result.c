#include "service/pyembed/result.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "service/base/utf8.h"

struct result *result_current;

void result_init(struct result *r, uint64_t run, uint64_t execution_count)
{
    memset(r, 0, sizeof *r);
    arena_init(&r->arena, RESULT_ARENA_MAX);
    pyexec__internal__session_done__init(&r->done);
    pyexec__v1__exception_info__init(&r->exc_info);
    r->done.run = run;
    r->done.execution_count = execution_count;
    r->done.warnings = r->warnings;
}

void result_release(struct result *r)
{
    arena_release(&r->arena);
}

void result_warn(struct result *r, const char *format, ...)
{
    if (r == NULL || r->done.n_warnings == RESULT_WARNINGS_MAX) {
        return;
    }
    char line[RESULT_WARNING_BYTES];
    va_list ap;
    va_start(ap, format);
    int n = vsnprintf(line, sizeof line, format, ap);
    va_end(ap);
    if (n < 0) {
        return;
    }
    size_t len = (size_t)n < sizeof line ? (size_t)n : utf8_boundary(line, sizeof line - 1);
    char *copy = utf8_valid(line, len) ? arena_copy(&r->arena, line, len) : NULL;
    if (copy != NULL) {
        r->warnings[r->done.n_warnings++] = copy;
    }
}
