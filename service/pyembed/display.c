#include "service/pyembed/python.h"

#include "service/pyembed/display.h"

#include <errno.h>
#include <string.h>

#include "service/pyembed/channel.h"
#include "service/pyembed/text.h"

#define PARTS_MAX 32
#define METADATA_MAX 16
#define NAME_MAX_BYTES 1024
/* Of one display; its parts are bounded together, so that a message of the stream stays small. */
#define DISPLAY_MAX ((1u << 20) - (64u << 10))

static int add_metadata(Pyexec__V1__MimePart *part, PyObject *facts, struct arena *arena)
{
    typedef Pyexec__V1__MimePart__MetadataEntry entry;
    if (!PyDict_Check(facts) || PyDict_GET_SIZE(facts) == 0) {
        return 0;
    }
    part->metadata = arena_alloc(arena, METADATA_MAX * sizeof *part->metadata);
    Py_ssize_t at = 0;
    PyObject *key;
    PyObject *value;
    while (part->metadata != NULL && part->n_metadata < METADATA_MAX &&
           PyDict_Next(facts, &at, &key, &value)) {
        entry *e = arena_alloc(arena, sizeof *e);
        if (e == NULL) {
            return -1;
        }
        pyexec__v1__mime_part__metadata_entry__init(e);
        e->key = text_of(key, NAME_MAX_BYTES, arena);
        e->value = text_of(value, NAME_MAX_BYTES, arena);
        if (e->key == NULL || e->value == NULL) {
            return -1;
        }
        part->metadata[part->n_metadata++] = e;
    }
    return part->metadata == NULL ? -1 : 0;
}

/* A tuple (mime type, bytes, {str: str}) as support.py makes it; NULL when it is not, or too big. */
static Pyexec__V1__MimePart *part_of(PyObject *tuple, struct arena *arena)
{
    if (!PyTuple_Check(tuple) || PyTuple_GET_SIZE(tuple) != 3 ||
        !PyBytes_Check(PyTuple_GET_ITEM(tuple, 1))) {
        return NULL;
    }
    PyObject *content = PyTuple_GET_ITEM(tuple, 1);
    size_t size = (size_t)PyBytes_GET_SIZE(content);
    Pyexec__V1__MimePart *part = arena_alloc(arena, sizeof *part);
    char *data = part == NULL ? NULL : arena_copy(arena, PyBytes_AS_STRING(content), size);
    if (data == NULL) {
        return NULL;
    }
    pyexec__v1__mime_part__init(part);
    part->mime_type = text_of(PyTuple_GET_ITEM(tuple, 0), NAME_MAX_BYTES, arena);
    part->content_case = PYEXEC__V1__MIME_PART__CONTENT_DATA;
    part->data.len = size;
    part->data.data = (uint8_t *)data;
    if (part->mime_type == NULL || add_metadata(part, PyTuple_GET_ITEM(tuple, 2), arena) < 0) {
        return NULL;
    }
    return part;
}

static size_t part_size(PyObject *tuple)
{
    PyObject *content =
        PyTuple_Check(tuple) && PyTuple_GET_SIZE(tuple) == 3 ? PyTuple_GET_ITEM(tuple, 1) : NULL;
    return content != NULL && PyBytes_Check(content) ? (size_t)PyBytes_GET_SIZE(content) : 0;
}

/* Parts come richest first and the plain text last: it has its place before the others are taken. */
static Pyexec__V1__MimeBundle *bundle_of(PyObject *parts, size_t max, struct arena *arena)
{
    if (!PyList_Check(parts) || PyList_GET_SIZE(parts) == 0) {
        return NULL;
    }
    Pyexec__V1__MimeBundle *bundle = arena_alloc(arena, sizeof *bundle);
    if (bundle == NULL) {
        return NULL;
    }
    pyexec__v1__mime_bundle__init(bundle);
    bundle->parts = arena_alloc(arena, PARTS_MAX * sizeof *bundle->parts);
    Py_ssize_t n = PyList_GET_SIZE(parts);
    size_t used = part_size(PyList_GET_ITEM(parts, n - 1));
    for (Py_ssize_t i = 0; bundle->parts != NULL && i < n; i++) {
        PyObject *tuple = PyList_GET_ITEM(parts, i);
        size_t size = i == n - 1 ? 0 : part_size(tuple);
        Pyexec__V1__MimePart *part = NULL;
        if (bundle->n_parts < PARTS_MAX - (i < n - 1) && used + size <= max) {
            part = part_of(tuple, arena);
        }
        if (part == NULL) {
            result_warn(result_current, "a part of a display was left out: %zu bytes", size);
            continue;
        }
        used += size;
        bundle->parts[bundle->n_parts++] = part;
    }
    return bundle->n_parts == 0 ? NULL : bundle;
}

int display_value(struct result *r, PyObject *value)
{
    PyObject *parts = pyembed_support("bundle", "O", value);
    if (parts == NULL) {
        return -1;
    }
    r->done.value = bundle_of(parts, RESULT_VALUE_MAX, &r->arena);
    Py_DECREF(parts);
    return 0;
}

int display_figures(void)
{
    PyObject *r = pyembed_support("show_figures", "");
    Py_XDECREF(r);
    return r == NULL ? -1 : 0;
}

static uint64_t current_run(void)
{
    return result_current == NULL ? 0 : result_current->done.run;
}

static PyObject *sent(int r)
{
    /* -EPIPE: a process that user code forked; its displays have nowhere to go. */
    if (r < 0 && r != -EPIPE) {
        errno = -r;
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    Py_RETURN_NONE;
}

PyObject *display_emit(PyObject *module, PyObject *args)
{
    (void)module;
    PyObject *parts;
    PyObject *id;
    int update;
    if (!PyArg_ParseTuple(args, "O!Up", &PyList_Type, &parts, &id, &update)) {
        return NULL;
    }
    struct arena arena;
    arena_init(&arena, RESULT_ARENA_MAX);
    Pyexec__V1__DisplayData data = PYEXEC__V1__DISPLAY_DATA__INIT;
    Pyexec__Internal__SessionDisplay m = PYEXEC__INTERNAL__SESSION_DISPLAY__INIT;
    m.run = current_run();
    m.display = &data;
    data.bundle = bundle_of(parts, DISPLAY_MAX, &arena);
    data.display_id = text_of(id, NAME_MAX_BYTES, &arena);
    data.update = update != 0;
    int r = 0;
    if (data.bundle != NULL && data.display_id != NULL) {
        Py_BEGIN_ALLOW_THREADS r = channel_send_message(SESSION_FRAME_DISPLAY, &m.base);
        Py_END_ALLOW_THREADS
    }
    arena_release(&arena);
    return sent(r);
}

PyObject *display_clear(PyObject *module, PyObject *args)
{
    (void)module;
    int wait;
    if (!PyArg_ParseTuple(args, "p", &wait)) {
        return NULL;
    }
    Pyexec__Internal__SessionClearOutput m = PYEXEC__INTERNAL__SESSION_CLEAR_OUTPUT__INIT;
    m.run = current_run();
    m.wait = wait != 0;
    return sent(channel_send_message(SESSION_FRAME_CLEAR_OUTPUT, &m.base));
}

PyObject *display_warn(PyObject *module, PyObject *args)
{
    (void)module;
    PyObject *text;
    if (!PyArg_ParseTuple(args, "U", &text)) {
        return NULL;
    }
    if (result_current != NULL) {
        char *s = text_of(text, RESULT_WARNING_BYTES - 128, &result_current->arena);
        if (s != NULL) {
            result_warn(result_current, "%s", s);
        }
    }
    Py_RETURN_NONE;
}
