/* display.h: values and displays as MIME bundles. GIL held. */
#ifndef PYEXEC_PYEMBED_DISPLAY_H
#define PYEXEC_PYEMBED_DISPLAY_H

#include "service/pyembed/python.h"

#include "service/pyembed/result.h"

/* Puts the bundle of the last expression's value into the result. 0, or -1 with an exception (a
 * KeyboardInterrupt, or one that the report can't do without). */
int display_value(struct result *r, PyObject *value);

/* Sends the open figures of matplotlib, if it is used. 0, or -1 with an exception. */
int display_figures(void);

/* For support.py: display(parts, id, update), clear_output(wait), warn(text). */
PyObject *display_emit(PyObject *module, PyObject *args);
PyObject *display_clear(PyObject *module, PyObject *args);
PyObject *display_warn(PyObject *module, PyObject *args);

#endif
