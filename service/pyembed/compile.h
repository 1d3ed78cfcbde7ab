/* compile.h: source bytes to code objects. GIL held. */
#ifndef PYEXEC_PYEMBED_COMPILE_H
#define PYEXEC_PYEMBED_COMPILE_H

#include "service/pyembed/python.h"

#include <stdbool.h>
#include <stddef.h>

struct compiled {
    PyObject *body;
    PyObject *last; /* the last expression, when there is one and its value is asked for */
};

/* UTF-8, with or without a byte order mark; coding cookies mean nothing. 0, or -1 with the
 * exception that the user gets to see: SyntaxError, or what the compiler ran into. */
int compile_source(const void *source, size_t n, PyObject *filename, bool want_value,
                   struct compiled *ret);
void compile_release(struct compiled *code);

#endif
