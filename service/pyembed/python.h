/* python.h: <Python.h>, included first by every file of this folder, and small helpers.
 * All of them: GIL held. */
#ifndef PYEXEC_PYEMBED_PYTHON_H
#define PYEXEC_PYEMBED_PYTHON_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* A built-in function that looks like one of `module`: its name, its pickle, its documentation.
 * `def` must live for ever. New reference, or NULL with an exception. */
PyObject *pyembed_wrap_function(PyMethodDef *def, PyObject *module);

/* Modules and objects taken before user code could change them; borrowed, live for ever. */
struct pyembed_kept {
    PyObject *builtins; /* the module */
    PyObject *sys;
    PyObject *main;           /* the module __main__ */
    PyObject *globals;        /* its dict */
    PyObject *environ;        /* os.environ */
    PyObject *compile;        /* builtins.compile */
    PyObject *ast_expr;       /* types of the ast module: Expr */
    PyObject *ast_expression; /* and Expression */
    PyObject *no_name;        /* "<code>": stands for the file name when memory is out */
    PyObject *support;        /* dict of support.py */
};
extern struct pyembed_kept pyembed_kept;

/* Calls a function of support.py; steals nothing. New reference, or NULL with an exception. */
PyObject *pyembed_support(const char *function, const char *format, ...);

#endif
