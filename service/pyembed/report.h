/* report.h: an uncaught exception as the result shows it.
 *
 * The exception is user code's object: it may raise, print, loop (the daemon times the report and
 * interrupts it) or lie in every method. What its methods refuse is taken from C or left out. */
#ifndef PYEXEC_PYEMBED_REPORT_H
#define PYEXEC_PYEMBED_REPORT_H

#include "service/pyembed/python.h"

#include <stdbool.h>

#include "service/pyembed/result.h"

struct report_source {
    PyObject *filename; /* str: the name in tracebacks */
    PyObject *path;     /* str: the same file in the working directory */
    bool ipython;       /* the client wants IPython's layout */
};

/* Fills exc_type, exc_message, traceback, frames and exc_info. `value` is borrowed. GIL held; no
 * exception is left set. */
void report_exception(struct result *r, PyObject *value, const struct report_source *source);

/* The exit status that Python would give this SystemExit; a message is printed to sys.stderr. */
int report_exit_status(PyObject *value);

#endif
