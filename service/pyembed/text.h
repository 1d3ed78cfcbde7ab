/* text.h: text from Python objects for messages: valid UTF-8 without NUL, bounded, made without
 * running a codec that user code could have replaced. GIL held; no exception is left set. */
#ifndef PYEXEC_PYEMBED_TEXT_H
#define PYEXEC_PYEMBED_TEXT_H

#include "service/pyembed/python.h"

#include "service/pyembed/arena.h"

/* UTF-8 of a str; surrogates and NUL become escapes. Past `max` bytes the middle is cut and a note
 * says how much. NULL when memory is out or `s` is not a str. */
char *text_of(PyObject *s, size_t max, struct arena *arena);

/* "<KIND FUNCTION() failed>": what stands for a text that an object refused. */
char *text_failed(const char *kind, const char *function, struct arena *arena);

/* Name of a type as C has it: no user code runs. */
char *text_of_type(PyTypeObject *type, struct arena *arena);

/* The pending exception as "Type: message", cleared. For reports about our own steps. */
char *text_of_error(struct arena *arena);

#endif
