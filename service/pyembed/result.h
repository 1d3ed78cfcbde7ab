/* result.h: what one run leads to: the DONE message in the making, with its memory. */
#ifndef PYEXEC_PYEMBED_RESULT_H
#define PYEXEC_PYEMBED_RESULT_H

#include <stddef.h>
#include <stdint.h>

#include "internal/session.pb-c.h"
#include "service/pyembed/arena.h"

#define RESULT_WARNINGS_MAX 64
#define RESULT_WARNING_BYTES 1024

/* Bounds of single texts (UTF-8 bytes). Their sum, with frames and a value, stays below
 * WIRE_FROM_SESSION_MAX. */
#define RESULT_TRACEBACK_MAX (1u << 20)
#define RESULT_MESSAGE_MAX (256u << 10)
#define RESULT_EXC_INFO_MAX (256u << 10)
#define RESULT_FRAMES_MAX 1000
#define RESULT_FRAMES_BYTES (1u << 20)
#define RESULT_VALUE_MAX ((1u << 20) - (64u << 10))
#define RESULT_ARENA_MAX (8u << 20)

struct result {
    struct arena arena;
    Pyexec__Internal__SessionDone done;
    Pyexec__V1__ExceptionInfo exc_info;
    char *warnings[RESULT_WARNINGS_MAX];
};

void result_init(struct result *r, uint64_t run, uint64_t execution_count);
void result_release(struct result *r);

/* Adds a line to the warnings of the result; past the maximum it is dropped. */
void result_warn(struct result *r, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The result of the run that is under way, or NULL between runs. */
extern struct result *result_current;

#endif
