#include "service/pyembed/python.h"

#include "service/pyembed/text.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define NOTE_MAX 64
#define TYPE_NAME_MAX 1024
#define ERROR_MESSAGE_MAX 1024

/* Bytes that a code point takes here. */
static size_t width(Py_UCS4 c)
{
    if (c == 0) {
        return 4; /* \x00 */
    }
    if (c >= 0xD800 && c <= 0xDFFF) {
        return 6; /* \udXXX */
    }
    return c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
}

static char *put(char *p, Py_UCS4 c)
{
    if (c == 0) {
        memcpy(p, "\\x00", 4);
        return p + 4;
    }
    if (c >= 0xD800 && c <= 0xDFFF) {
        char escape[8];
        snprintf(escape, sizeof escape, "\\u%04x", (unsigned)c & 0xFFFF);
        memcpy(p, escape, 6);
        return p + 6;
    }
    if (c < 0x80) {
        *p++ = (char)c;
    } else if (c < 0x800) {
        *p++ = (char)(0xC0 | (c >> 6));
        *p++ = (char)(0x80 | (c & 0x3F));
    } else if (c < 0x10000) {
        *p++ = (char)(0xE0 | (c >> 12));
        *p++ = (char)(0x80 | ((c >> 6) & 0x3F));
        *p++ = (char)(0x80 | (c & 0x3F));
    } else {
        *p++ = (char)(0xF0 | (c >> 18));
        *p++ = (char)(0x80 | ((c >> 12) & 0x3F));
        *p++ = (char)(0x80 | ((c >> 6) & 0x3F));
        *p++ = (char)(0x80 | (c & 0x3F));
    }
    return p;
}

char *text_of(PyObject *s, size_t max, struct arena *arena)
{
    if (!PyUnicode_Check(s) || PyUnicode_READY(s) < 0) {
        PyErr_Clear();
        return NULL;
    }
    const int kind = (int)PyUnicode_KIND(s);
    const void *data = PyUnicode_DATA(s);
    const Py_ssize_t n = PyUnicode_GET_LENGTH(s);
    size_t need = 0;
    Py_ssize_t head = 0;
    while (head < n && need <= max) {
        need += width(PyUnicode_READ(kind, data, head++));
    }
    Py_ssize_t tail = n; /* first code point after the cut */
    bool cut = need > max;
    if (cut) {
        const size_t half = max / 2;
        need = 0;
        for (head = 0; need + 6 <= half; head++) {
            need += width(PyUnicode_READ(kind, data, head));
        }
        for (size_t back = 0; tail > head && back + 6 <= half; tail--) {
            size_t w = width(PyUnicode_READ(kind, data, tail - 1));
            back += w;
            need += w;
        }
    }
    char *out = arena_alloc(arena, need + NOTE_MAX + 1);
    if (out == NULL) {
        return NULL;
    }
    char *p = out;
    for (Py_ssize_t i = 0; i < head; i++) {
        p = put(p, PyUnicode_READ(kind, data, i));
    }
    if (cut) {
        p += snprintf(p, NOTE_MAX, "\n... [%zd characters cut] ...\n", tail - head);
        for (Py_ssize_t i = tail; i < n; i++) {
            p = put(p, PyUnicode_READ(kind, data, i));
        }
    }
    *p = '\0';
    return out;
}

char *text_failed(const char *kind, const char *function, struct arena *arena)
{
    char note[NOTE_MAX];
    int n = snprintf(note, sizeof note, "<%s %s() failed>", kind, function);
    return arena_copy(arena, note, (size_t)n);
}

char *text_of_type(PyTypeObject *type, struct arena *arena)
{
    PyObject *name = PyType_GetName(type);
    char *text = name == NULL ? NULL : text_of(name, TYPE_NAME_MAX, arena);
    Py_XDECREF(name);
    if (text == NULL) {
        PyErr_Clear();
        text = arena_copy(arena, "exception", strlen("exception"));
    }
    return text;
}

char *text_of_error(struct arena *arena)
{
    PyObject *type;
    PyObject *value;
    PyObject *trace;
    PyErr_Fetch(&type, &value, &trace);
    PyErr_NormalizeException(&type, &value, &trace);
    char *out = NULL;
    if (value != NULL) {
        char *name = text_of_type(Py_TYPE(value), arena);
        PyObject *str = PyObject_Str(value);
        char *message = str == NULL ? text_failed("exception", "str", arena)
                                    : text_of(str, ERROR_MESSAGE_MAX, arena);
        Py_XDECREF(str);
        if (name != NULL && message != NULL) {
            size_t n = strlen(name) + strlen(message) + 3;
            out = arena_alloc(arena, n);
            if (out != NULL) {
                snprintf(out, n, "%s%s%s", name, message[0] == '\0' ? "" : ": ", message);
            }
        }
    }
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(trace);
    PyErr_Clear();
    return out;
}
