/* A session's interpreter between its runs: start after the fork, INIT, waiting. */
#include "service/pyembed/python.h"

#include <string.h>

#include "service/pyembed/children.h"
#include "service/pyembed/environ.h"
#include "service/pyembed/interrupt.h"
#include "service/pyembed/session_python.h"
#include "service/pyembed/streams.h"
#include "service/pyembed/text.h"
#include "service/pyembed/threads.h"
#include "service/pyembed/workdir.h"

static PyThreadState *released;

static int failed(struct err *err, const char *what)
{
    struct arena arena;
    arena_init(&arena, 8192);
    char *text = text_of_error(&arena);
    int r = err_set(err, ERR_INTERNAL, "%s: %s", what, text == NULL ? "unknown error" : text);
    arena_release(&arena);
    return r;
}

int session_python_start(bool branch, struct err *err)
{
    threads_reset();
    PyOS_AfterFork_Child();
    children_forget();
    if (interrupt_start(branch) < 0) {
        return failed(err, "signal handlers");
    }
    PyObject *r = NULL;
    if (!branch) {
        if (streams_install() < 0) {
            return failed(err, "streams");
        }
        r = pyembed_support("start", "O", pyembed_kept.environ);
        if (r == NULL) {
            return failed(err, "start");
        }
        Py_DECREF(r);
    }
    r = pyembed_support("reseed", "");
    if (r == NULL) {
        PyErr_Clear(); /* user code of a branch's parent changed the generators' modules */
    }
    Py_XDECREF(r);
    return 0;
}

void session_python_warm_up(const char *code)
{
    PyObject *space = PyDict_New();
    if (space != NULL && PyDict_SetItemString(space, "__builtins__", pyembed_kept.builtins) == 0) {
        Py_XDECREF(PyRun_String(code, Py_file_input, space, space));
    }
    Py_XDECREF(space);
    PyErr_Clear();
}

/* The new directory takes the place of the one that a branch had from its parent. */
static int set_path_entry(const char *old, const char *new)
{
    PyObject *path = PySys_GetObject("path");
    PyObject *before = PyUnicode_DecodeFSDefault(old);
    PyObject *entry = PyUnicode_DecodeFSDefault(new);
    int r = -1;
    if (path != NULL && PyList_Check(path) && before != NULL && entry != NULL) {
        Py_ssize_t at = old[0] == '\0' ? -1 : PySequence_Index(path, before);
        PyErr_Clear();
        r = at >= 0 ? PySequence_SetItem(path, at, entry) : PyList_Append(path, entry);
    }
    Py_XDECREF(before);
    Py_XDECREF(entry);
    return r;
}

int session_python_init(const Pyexec__Internal__SessionInit *init, struct err *err)
{
    const char *directory = init->working_directory;
    if (directory[0] != '\0' && strcmp(directory, workdir_path()) != 0) {
        if (set_path_entry(workdir_path(), directory) < 0) {
            PyErr_Clear();
            return err_set(err, ERR_INTERNAL, "sys.path could not be set");
        }
        if (workdir_set(directory) < 0) {
            return err_set(err, ERR_NO_MEMORY, "out of memory");
        }
    }
    workdir_enter(NULL);
    for (size_t i = 0; i < init->n_env; i++) {
        environ_set(init->env[i]->key, init->env[i]->value, NULL);
    }
    if (init->mute_warnings) {
        PyObject *r = pyembed_support("mute_warnings", "");
        if (r == NULL) {
            return failed(err, "warnings");
        }
        Py_DECREF(r);
    }
    return 0;
}

void session_python_allow_threads(void)
{
    released = PyEval_SaveThread();
}

void session_python_resume(void)
{
    PyEval_RestoreThread(released);
}

void session_python_pending(void)
{
    if (PyErr_CheckSignals() < 0) {
        PyErr_WriteUnraisable(NULL);
    }
}
