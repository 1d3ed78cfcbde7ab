#include "service/pyembed/python.h"

#include "service/pyembed/oswrap.h"

#include <errno.h>
#include <stdio.h>

#include "service/pyembed/channel.h"
#include "service/pyembed/children.h"

/* How the first argument or the result matters. */
enum kind {
    WRITES, /* the first argument is the descriptor written to */
    STARTS, /* the result is a process id (or a tuple that begins with one) */
    WAITS,  /* the same, of a child that has ended */
    OTHER,
};

/* X(module, name, kind) */
#define WRAPPED(X)                   \
    X(posix, write, WRITES)          \
    X(posix, writev, WRITES)         \
    X(posix, pwrite, WRITES)         \
    X(posix, pwritev, WRITES)        \
    X(posix, sendfile, WRITES)       \
    X(posix, splice, OTHER)          \
    X(posix, copy_file_range, OTHER) \
    X(posix, system, OTHER)          \
    X(posix, fork, STARTS)           \
    X(posix, forkpty, STARTS)        \
    X(posix, posix_spawn, STARTS)    \
    X(posix, posix_spawnp, STARTS)   \
    X(posix, wait, WAITS)            \
    X(posix, wait3, WAITS)           \
    X(posix, wait4, WAITS)           \
    X(posix, waitid, OTHER)          \
    X(posix, waitpid, WAITS)         \
    X(_posixsubprocess, fork_exec, STARTS)

enum wrapped_index {
#define INDEX(module, name, kind) INDEX_##module##_##name,
    WRAPPED(INDEX)
#undef INDEX
        WRAPPED_COUNT
};

static PyObject *originals[WRAPPED_COUNT];
static PyMethodDef definitions[WRAPPED_COUNT];

static enum channel_user user_of(enum kind kind, PyObject *const *args, Py_ssize_t count)
{
    if (kind != WRITES || count == 0 || !PyLong_CheckExact(args[0])) {
        return CHANNEL_ANY;
    }
    int overflow;
    long fd = PyLong_AsLongAndOverflow(args[0], &overflow);
    return fd == 1 ? CHANNEL_STDOUT : fd == 2 ? CHANNEL_STDERR : CHANNEL_ANY;
}

static void note_child(enum kind kind, PyObject *result)
{
    PyObject *first = result;
    if (PyTuple_Check(result) && PyTuple_GET_SIZE(result) > 0) {
        first = PyTuple_GET_ITEM(result, 0);
    }
    if (!PyLong_CheckExact(first)) {
        return;
    }
    int overflow;
    long pid = PyLong_AsLongAndOverflow(first, &overflow);
    if (pid > 0 && kind == STARTS) {
        children_add((pid_t)pid);
    } else if (pid > 0 && kind == WAITS) {
        children_remove((pid_t)pid);
    }
}

static PyObject *call(enum wrapped_index i, enum kind kind, PyObject *const *args, Py_ssize_t count,
                      PyObject *names)
{
    enum channel_user user = user_of(kind, args, count);
    channel_fence(user);
    PyObject *result = PyObject_Vectorcall(originals[i], args, (size_t)count, names);
    if (user == CHANNEL_ANY) {
        int saved = errno;
        channel_fence(CHANNEL_ANY);
        errno = saved;
    }
    if (result != NULL && (kind == STARTS || kind == WAITS)) {
        note_child(kind, result);
    }
    return result;
}

#define FUNCTION(module, name, kind)                                                  \
    static PyObject *wrapped_##module##_##name(PyObject *self, PyObject *const *args, \
                                               Py_ssize_t count, PyObject *names)     \
    {                                                                                 \
        (void)self;                                                                   \
        return call(INDEX_##module##_##name, kind, args, count, names);               \
    }
WRAPPED(FUNCTION)
#undef FUNCTION

static const struct {
    const char *module;
    const char *name;
    PyObject *(*function)(PyObject *, PyObject *const *, Py_ssize_t, PyObject *);
} rows[WRAPPED_COUNT] = {
#define ROW(module, name, kind) {#module, #name, wrapped_##module##_##name},
    WRAPPED(ROW)
#undef ROW
};

/* A function that this Python lacks is skipped. */
static int wrap(enum wrapped_index i, PyObject *os)
{
    PyObject *module = PyImport_ImportModule(rows[i].module);
    if (module == NULL) {
        return -1;
    }
    int r = 0;
    PyObject *wrapper = NULL;
    PyObject *original = PyObject_GetAttrString(module, rows[i].name);
    if (original == NULL || !PyCFunction_Check(original)) {
        PyErr_Clear();
        Py_XDECREF(original);
    } else {
        originals[i] = original;
        const PyMethodDef *def = ((PyCFunctionObject *)original)->m_ml;
        definitions[i] = (PyMethodDef){def->ml_name, (PyCFunction)(void (*)(void))rows[i].function,
                                       METH_FASTCALL | METH_KEYWORDS, def->ml_doc};
        wrapper = pyembed_wrap_function(&definitions[i], module);
        r = wrapper == NULL ? -1 : PyObject_SetAttrString(module, rows[i].name, wrapper);
        if (r == 0 && PyObject_HasAttrString(os, rows[i].name)) {
            r = PyObject_SetAttrString(os, rows[i].name, wrapper);
        }
    }
    Py_XDECREF(wrapper);
    Py_DECREF(module);
    return r;
}

/* --- ctypes ------------------------------------------------------------------------------------ */

static ternaryfunc original_foreign_call;

static PyObject *foreign_call(PyObject *self, PyObject *args, PyObject *kwargs)
{
    channel_fence(CHANNEL_ANY);
    PyObject *result = original_foreign_call(self, args, kwargs);
    if (channel_is_ours()) {
        (void)fflush(stdout); /* what C code printed has its place here, not at the process's end */
        channel_fence(CHANNEL_ANY);
    }
    return result;
}

/* Types derived from the function type copy its call slot, by way of the descriptor `__call__`, when
 * they are made: so this comes before `import ctypes`. */
static int wrap_ctypes(void)
{
    PyObject *module = PyImport_ImportModule("_ctypes");
    if (module == NULL) {
        PyErr_Clear();
        return 0; /* a Python without ctypes */
    }
    PyObject *type = PyObject_GetAttrString(module, "CFuncPtr");
    Py_DECREF(module);
    if (type == NULL) {
        return -1;
    }
    PyTypeObject *t = (PyTypeObject *)type; /* the reference keeps it for ever */
    PyObject *slot = PyDict_GetItemString(t->tp_dict, "__call__");
    if (t->tp_call != NULL && slot != NULL && Py_IS_TYPE(slot, &PyWrapperDescr_Type)) {
        original_foreign_call = t->tp_call;
        t->tp_call = foreign_call;
        ((PyWrapperDescrObject *)slot)->d_wrapped = (void *)foreign_call;
    }
    return 0;
}

int oswrap_install(void)
{
    PyObject *os = PyImport_ImportModule("os");
    int r = os == NULL ? -1 : 0;
    for (unsigned i = 0; r == 0 && i < WRAPPED_COUNT; i++) {
        r = wrap((enum wrapped_index)i, os);
    }
    Py_XDECREF(os);
    return r < 0 ? r : wrap_ctypes();
}
