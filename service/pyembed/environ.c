#include "service/pyembed/python.h"

#include "service/pyembed/environ.h"

#include <string.h>

static PyObject *text(const char *s)
{
    return PyUnicode_DecodeUTF8(s, (Py_ssize_t)strlen(s), "surrogateescape");
}

void environ_set(const char *key, const char *value, struct result *r)
{
    PyObject *k = text(key);
    PyObject *v = text(value);
    if (k == NULL || v == NULL || PyObject_SetItem(pyembed_kept.environ, k, v) < 0) {
        PyErr_Clear();
        result_warn(r, "the environment variable \"%.200s\" could not be set", key);
    }
    Py_XDECREF(k);
    Py_XDECREF(v);
}

/* Appends what `key` is now. */
static int save(struct environ_saved *saved, const char *key)
{
    PyObject *k = text(key);
    PyObject *now = k == NULL ? NULL : PyObject_GetItem(pyembed_kept.environ, k);
    if (now == NULL && k != NULL) {
        PyErr_Clear();
        now = Py_NewRef(Py_None);
    }
    int r = now == NULL || PyList_Append(saved->names, k) < 0 ? -1 : 0;
    if (r == 0 && PyList_Append(saved->values, now) < 0) {
        r = -1;
    }
    Py_XDECREF(k);
    Py_XDECREF(now);
    return r;
}

void environ_apply(struct environ_saved *saved, Pyexec__Internal__SessionRun__EnvEntry **entries,
                   size_t n, struct result *r)
{
    if (n == 0) {
        return;
    }
    saved->names = PyList_New(0);
    saved->values = PyList_New(0);
    for (size_t i = 0; i < n; i++) {
        if (saved->names == NULL || saved->values == NULL || save(saved, entries[i]->key) < 0) {
            PyErr_Clear();
            result_warn(r, "the environment variable \"%.200s\" could not be set", entries[i]->key);
            continue;
        }
        environ_set(entries[i]->key, entries[i]->value, r);
    }
}

void environ_restore(struct environ_saved *saved)
{
    Py_ssize_t n = saved->values == NULL ? 0 : PyList_GET_SIZE(saved->values);
    for (Py_ssize_t i = n; i-- > 0;) {
        PyObject *key = PyList_GET_ITEM(saved->names, i);
        PyObject *value = PyList_GET_ITEM(saved->values, i);
        int r = value == Py_None ? PyObject_DelItem(pyembed_kept.environ, key)
                                 : PyObject_SetItem(pyembed_kept.environ, key, value);
        if (r < 0) {
            PyErr_Clear(); /* user code removed it, or broke os.environ */
        }
    }
    Py_CLEAR(saved->names);
    Py_CLEAR(saved->values);
}
