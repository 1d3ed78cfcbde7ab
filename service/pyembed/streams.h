/* streams.h: sys.stdin, sys.stdout and sys.stderr of a session, and print().
 *
 * Output goes to descriptors 1 and 2 at once, each write between fences; input reads descriptor 0
 * and tells the daemon before it blocks. GIL held; 0, or -1 with an exception. */
#ifndef PYEXEC_PYEMBED_STREAMS_H
#define PYEXEC_PYEMBED_STREAMS_H

#include "service/pyembed/python.h"

/* In the zygote: makes the types, and wraps builtins.print. */
int streams_prepare(void);

/* Sets sys.stdout, sys.stderr and their dunder names to new streams. */
int streams_install(void);

/* Before a run: replaces those that user code closed, detached or set to None; what works stays. */
int streams_repair(void);

/* A new sys.stdin over descriptor 0. */
int streams_new_stdin(void);

/* Writes to stream 0 (stdout) or 1 (stderr), as print does. */
int streams_write(unsigned which, const char *data, size_t n);

/* Writes str(object) and a newline to sys.stderr, whatever that is now. Never fails. */
void streams_print_to_stderr(PyObject *object);

#endif
