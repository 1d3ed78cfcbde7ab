#include "service/pyembed/python.h"

#include "service/pyembed/report.h"

#include <stdio.h>
#include <string.h>

#include "service/pyembed/streams.h"
#include "service/pyembed/text.h"

#define FILE_MAX 1024
#define FUNCTION_MAX 256
#define SOURCE_LINE_MAX 512
#define ARGS_MAX 64

static char none[] = "";

static char *or_empty(char *text)
{
    return text == NULL ? none : text;
}

/* --- frames ------------------------------------------------------------------------------------ */

static size_t depth_of(PyObject *trace)
{
    size_t n = 0;
    for (PyTracebackObject *t = (PyTracebackObject *)trace; t != NULL; t = t->tb_next) {
        n++;
    }
    return n;
}

/* An interrupt ends the report: what runs user code is left out from there on. */
static bool interrupted;

/* Clears the exception that a step of the report left. */
static void step_done(void)
{
    if (PyErr_Occurred() != NULL) {
        interrupted = interrupted || PyErr_ExceptionMatches(PyExc_KeyboardInterrupt);
        PyErr_Clear();
    }
}

/* str() of user code's object, or a note that it failed. */
static char *user_text(PyObject *object, const char *kind, size_t max, struct arena *arena)
{
    PyObject *s = interrupted ? NULL : PyObject_Str(object);
    char *text = NULL;
    if (s != NULL) {
        text = text_of(s, max, arena);
        Py_DECREF(s);
    } else {
        step_done();
        text = text_failed(kind, "str", arena);
    }
    return text;
}

static char *line_text(PyObject *file, int line, struct arena *arena)
{
    PyObject *text = interrupted ? NULL : pyembed_support("line_of", "Oi", file, line);
    char *s = text == NULL ? NULL : text_of(text, SOURCE_LINE_MAX, arena);
    Py_XDECREF(text);
    step_done();
    return or_empty(s);
}

static Pyexec__V1__TracebackFrame *frame_of(PyTracebackObject *t,
                                            const struct report_source *source, struct arena *arena)
{
    Pyexec__V1__TracebackFrame *f = arena_alloc(arena, sizeof *f);
    if (f == NULL) {
        return NULL;
    }
    pyexec__v1__traceback_frame__init(f);
    PyCodeObject *code = PyFrame_GetCode(t->tb_frame);
    PyObject *file = code->co_filename;
    bool ours = PyUnicode_Check(file) && PyUnicode_Compare(file, source->path) == 0;
    f->file = or_empty(text_of(ours ? source->filename : file, FILE_MAX, arena));
    f->function = or_empty(text_of(code->co_name, FUNCTION_MAX, arena));
    f->line = t->tb_lineno > 0 ? (uint32_t)t->tb_lineno : 0;
    f->source_line = line_text(file, t->tb_lineno, arena);
    Py_DECREF(code);
    return f;
}

static void add_frames(struct result *r, PyObject *trace, const struct report_source *source)
{
    size_t depth = depth_of(trace);
    size_t shown = depth < RESULT_FRAMES_MAX ? depth : RESULT_FRAMES_MAX;
    Pyexec__V1__TracebackFrame **frames = arena_alloc(&r->arena, shown * sizeof *frames);
    if (frames == NULL) {
        return;
    }
    size_t head = depth == shown ? depth : shown / 2;
    size_t limit = r->arena.used + RESULT_FRAMES_BYTES;
    size_t n = 0;
    size_t i = 0;
    for (PyTracebackObject *t = (PyTracebackObject *)trace; t != NULL; t = t->tb_next, i++) {
        if (i >= head && i < depth - (shown - head)) {
            continue;
        }
        frames[n] = r->arena.used < limit ? frame_of(t, source, &r->arena) : NULL;
        if (frames[n] == NULL) {
            break;
        }
        n++;
    }
    r->done.frames = frames;
    r->done.n_frames = n;
    if (n < depth) {
        result_warn(r, "%zu of %zu traceback frames are not shown", depth - n, depth);
    }
}

/* --- attributes -------------------------------------------------------------------------------- */

static void add_args(struct result *r, PyObject *value)
{
    PyObject *args = ((PyBaseExceptionObject *)value)->args;
    if (args == NULL || !PyTuple_Check(args)) {
        return;
    }
    Py_INCREF(args);
    size_t n = (size_t)PyTuple_GET_SIZE(args);
    if (n > ARGS_MAX) {
        result_warn(r, "%zu of %zu exception arguments are not shown", n - ARGS_MAX, n);
        n = ARGS_MAX;
    }
    char **texts = arena_alloc(&r->arena, n * sizeof *texts + 1);
    for (size_t i = 0; texts != NULL && i < n; i++) {
        texts[i] = or_empty(user_text(PyTuple_GET_ITEM(args, (Py_ssize_t)i), "argument",
                                      RESULT_EXC_INFO_MAX / n, &r->arena));
    }
    if (texts != NULL) {
        r->exc_info.args = texts;
        r->exc_info.n_args = n;
    }
    Py_DECREF(args);
}

static void add_attributes(struct result *r, PyObject *value)
{
    static const char *const names[] = {"name", "msg", "obj"};
    typedef Pyexec__V1__ExceptionInfo__AttributesEntry entry;
    entry **entries = arena_alloc(&r->arena, 3 * sizeof *entries);
    if (entries == NULL) {
        return;
    }
    size_t n = 0;
    for (unsigned i = 0; i < 3; i++) {
        PyObject *attribute = interrupted ? NULL : PyObject_GetAttrString(value, names[i]);
        entry *e = attribute == NULL ? NULL : arena_alloc(&r->arena, sizeof *e);
        if (e != NULL) {
            pyexec__v1__exception_info__attributes_entry__init(e);
            e->key = (char *)(uintptr_t)names[i];
            e->value =
                or_empty(user_text(attribute, "attribute", RESULT_EXC_INFO_MAX / 4, &r->arena));
            entries[n++] = e;
        }
        Py_XDECREF(attribute);
        step_done();
    }
    r->exc_info.attributes = entries;
    r->exc_info.n_attributes = n;
}

/* --- text -------------------------------------------------------------------------------------- */

/* Without any Python: when user code broke what the private traceback module stands on. */
static char *plain_traceback(struct result *r)
{
    static const char head[] = "Traceback (most recent call last):\n";
    const Pyexec__Internal__SessionDone *d = &r->done;
    size_t room = sizeof head + strlen(d->exc_type) + strlen(d->exc_message) + 8;
    for (size_t i = 0; i < d->n_frames; i++) {
        const Pyexec__V1__TracebackFrame *f = d->frames[i];
        room += strlen(f->file) + strlen(f->function) + strlen(f->source_line) + 64;
    }
    char *text = arena_alloc(&r->arena, room);
    if (text == NULL) {
        return NULL;
    }
    size_t n = 0;
    if (d->n_frames > 0) {
        n = (size_t)snprintf(text, room, "%s", head);
    }
    for (size_t i = 0; i < d->n_frames; i++) {
        const Pyexec__V1__TracebackFrame *f = d->frames[i];
        n += (size_t)snprintf(text + n, room - n, "  File \"%s\", line %u, in %s\n", f->file,
                              (unsigned)f->line, f->function);
        if (f->source_line[0] != '\0') {
            n += (size_t)snprintf(text + n, room - n, "    %s\n", f->source_line);
        }
    }
    (void)snprintf(text + n, room - n, "%s%s%s\n", d->exc_type,
                   d->exc_message[0] == '\0' ? "" : ": ", d->exc_message);
    return text;
}

static char *ipython_traceback(struct result *r, PyObject *value, PyObject *trace)
{
    PyObject *text = pyembed_support("report_ipython", "OO", value, trace);
    char *s = NULL;
    if (text != NULL) {
        s = text_of(text, RESULT_TRACEBACK_MAX, &r->arena);
        Py_DECREF(text);
    }
    if (s == NULL && PyErr_ExceptionMatches(PyExc_KeyboardInterrupt)) {
        step_done();
    } else if (s == NULL) {
        char *why = text_of_error(&r->arena);
        result_warn(r,
                    "traceback_style IPYTHON is not available here, the traceback is Python's: %s",
                    why == NULL ? "no memory" : why);
    }
    return s;
}

static char *traceback_text(struct result *r, PyObject *value, PyObject *trace,
                            const struct report_source *source)
{
    PyObject *shown = trace == NULL ? Py_None : trace;
    char *s = NULL;
    if (source->ipython && !interrupted) {
        s = ipython_traceback(r, value, shown);
    }
    if (s == NULL && !interrupted) {
        PyObject *text =
            pyembed_support("report", "OOnOO", value, shown, (Py_ssize_t)depth_of(trace),
                            source->filename, source->path);
        s = text == NULL ? NULL : text_of(text, RESULT_TRACEBACK_MAX, &r->arena);
        Py_XDECREF(text);
        step_done();
    }
    if (interrupted) {
        result_warn(r, "the report of the exception was interrupted and is not complete");
    }
    return s == NULL ? plain_traceback(r) : s;
}

void report_exception(struct result *r, PyObject *value, const struct report_source *source)
{
    PyObject *trace = PyException_GetTraceback(value);
    interrupted = false;
    r->done.exc_type = or_empty(text_of_type(Py_TYPE(value), &r->arena));
    add_frames(r, trace, source); /* runs no user code: before what may be interrupted */
    r->done.exc_message = or_empty(user_text(value, "exception", RESULT_MESSAGE_MAX, &r->arena));
    add_args(r, value);
    add_attributes(r, value);
    r->done.exc_info = &r->exc_info;
    r->done.traceback = or_empty(traceback_text(r, value, trace, source));
    Py_XDECREF(trace);
}

int report_exit_status(PyObject *value)
{
    PyObject *code = PyObject_GetAttrString(value, "code");
    if (code == NULL) {
        PyErr_Clear();
        return 1;
    }
    int status = 1;
    if (code == Py_None) {
        status = 0;
    } else if (PyLong_Check(code)) {
        status = (int)(PyLong_AsLong(code) & 0xFF); /* too large is -1, as in Python: 255 */
        PyErr_Clear();
    } else {
        streams_print_to_stderr(code);
    }
    Py_DECREF(code);
    return status;
}
