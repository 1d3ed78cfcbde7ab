#include "service/pyembed/python.h"

#include "service/pyembed/streams.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <unistd.h>

#include "service/pyembed/channel.h"
#include "service/pyembed/input.h"
#include "service/pyembed/threads.h"

/* One write(2): a thread's is small, so that the end of its run never waits long for it. */
#define MAIN_CHUNK (1u << 20)

static PyTypeObject *output_type;
static PyTypeObject *input_type;
static Py_ssize_t output_offset; /* of struct output in its object */
static PyObject *text[2];        /* the text streams made last; owned */
static PyObject *base_readinto;  /* FileIO.readinto */
static PyObject *text_type;      /* io.TextIOWrapper */
static PyObject *reader_type;    /* io.BufferedReader */

struct output {
    unsigned which;
    bool closed;
};

static struct output *output_of(PyObject *self)
{
    return (struct output *)((char *)self + output_offset);
}

/* Without the GIL. Bytes written (0: try again), or -1 with errno. */
static ssize_t write_piece(unsigned which, const char *data, size_t n)
{
    if (!threads_write_begin()) {
        size_t piece = n < CHANNEL_BACKGROUND_MAX ? n : CHANNEL_BACKGROUND_MAX;
        int r = channel_send_background(which + 1, data, piece);
        errno = -r;
        return r < 0 ? -1 : (ssize_t)piece;
    }
    size_t most = threads_is_main() ? MAIN_CHUNK : CHANNEL_BACKGROUND_MAX;
    channel_fence((enum channel_user)which);
    ssize_t w = write((int)which + 1, data, n < most ? n : most);
    int error = errno;
    threads_write_end();
    if (w < 0 && error == EAGAIN) {
        /* User code made the pipe non-blocking: wait for room, lose nothing. */
        struct pollfd p = {.fd = (int)which + 1, .events = POLLOUT};
        if (poll(&p, 1, -1) >= 0) {
            return 0;
        }
        error = errno;
    }
    errno = error;
    return w;
}

int streams_write(unsigned which, const char *data, size_t n)
{
    while (n > 0) {
        ssize_t w;
        int error;
        Py_BEGIN_ALLOW_THREADS w = write_piece(which, data, n);
        error = errno;
        Py_END_ALLOW_THREADS if (w < 0 && error != EINTR)
        {
            errno = error;
            PyErr_SetFromErrno(PyExc_OSError);
            return -1;
        }
        if (w > 0) {
            data += w;
            n -= (size_t)w;
        }
        if (n > 0 && PyErr_CheckSignals() < 0) {
            return -1;
        }
    }
    return 0;
}

/* --- the binary stream under the text stream ------------------------------------------------- */

static int check_open(PyObject *self)
{
    if (output_of(self)->closed) {
        PyErr_SetString(PyExc_ValueError, "I/O operation on closed file.");
        return -1;
    }
    return 0;
}

static PyObject *output_write(PyObject *self, PyObject *data)
{
    if (PyUnicode_Check(data)) {
        PyErr_SetString(PyExc_TypeError, "a bytes-like object is required, not 'str'");
        return NULL;
    }
    Py_buffer view;
    if (check_open(self) < 0 || PyObject_GetBuffer(data, &view, PyBUF_CONTIG_RO) < 0) {
        return NULL;
    }
    Py_ssize_t n = view.len;
    int r = streams_write(output_of(self)->which, view.buf, (size_t)n);
    PyBuffer_Release(&view);
    return r < 0 ? NULL : PyLong_FromSsize_t(n);
}

static PyObject *output_nothing(PyObject *self, PyObject *unused)
{
    (void)unused;
    return check_open(self) < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *output_fileno(PyObject *self, PyObject *unused)
{
    (void)unused;
    return check_open(self) < 0 ? NULL : PyLong_FromLong((long)output_of(self)->which + 1);
}

static PyObject *output_isatty(PyObject *self, PyObject *unused)
{
    (void)unused;
    return check_open(self) < 0 ? NULL : PyBool_FromLong(isatty((int)output_of(self)->which + 1));
}

static PyObject *output_true(PyObject *self, PyObject *unused)
{
    (void)unused;
    return check_open(self) < 0 ? NULL : Py_NewRef(Py_True);
}

static PyObject *output_false(PyObject *self, PyObject *unused)
{
    (void)unused;
    return check_open(self) < 0 ? NULL : Py_NewRef(Py_False);
}

/* The descriptor stays: it is the session's, as Python's own streams never close it. */
static PyObject *output_close(PyObject *self, PyObject *unused)
{
    (void)unused;
    output_of(self)->closed = true;
    Py_RETURN_NONE;
}

static PyObject *get_closed(PyObject *self, void *unused)
{
    (void)unused;
    return PyBool_FromLong(output_of(self)->closed);
}

static PyObject *get_name(PyObject *self, void *unused)
{
    (void)unused;
    return PyUnicode_FromString(output_of(self)->which == 0 ? "<stdout>" : "<stderr>");
}

static PyObject *get_mode(PyObject *self, void *unused)
{
    (void)self;
    (void)unused;
    return PyUnicode_FromString("wb");
}

static PyObject *get_raw(PyObject *self, void *unused)
{
    (void)unused;
    return Py_NewRef(self);
}

static PyMethodDef output_methods[] = {
    {"write", output_write, METH_O, "Writes all bytes at once."},
    {"flush", output_nothing, METH_NOARGS, "Does nothing: nothing is buffered."},
    {"fileno", output_fileno, METH_NOARGS, NULL},
    {"isatty", output_isatty, METH_NOARGS, NULL},
    {"readable", output_false, METH_NOARGS, NULL},
    {"writable", output_true, METH_NOARGS, NULL},
    {"seekable", output_false, METH_NOARGS, NULL},
    {"close", output_close, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef output_getset[] = {
    {"closed", get_closed, NULL, NULL, NULL}, {"name", get_name, NULL, NULL, NULL},
    {"mode", get_mode, NULL, NULL, NULL},     {"raw", get_raw, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot output_slots[] = {
    {Py_tp_methods, output_methods},
    {Py_tp_getset, output_getset},
    {0, NULL},
};

/* --- standard input --------------------------------------------------------------------------- */

static PyObject *input_readinto(PyObject *self, PyObject *buffer)
{
    if (input_wait() < 0) {
        return NULL;
    }
    return PyObject_CallFunctionObjArgs(base_readinto, self, buffer, NULL);
}

static PyMethodDef input_methods[] = {
    {"readinto", input_readinto, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot input_slots[] = {
    {Py_tp_methods, input_methods},
    {0, NULL},
};

/* --- print ------------------------------------------------------------------------------------ */

static PyObject *original_print;
static PyMethodDef print_def;

struct print_call {
    PyObject *sep; /* borrowed; NULL is " " */
    PyObject *end; /* borrowed; NULL is "\n" */
    PyObject *file;
    int flush;
};

static bool is_text(PyObject *value)
{
    return value == NULL || PyUnicode_CheckExact(value);
}

/* True when the call is one that we write ourselves: to one of our streams, with plain options. */
static bool understand_print(PyObject *const *values, PyObject *names, struct print_call *call)
{
    Py_ssize_t count = names == NULL ? 0 : PyTuple_GET_SIZE(names);
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *name = PyTuple_GET_ITEM(names, i);
        PyObject *value = values[i] == Py_None ? NULL : values[i];
        if (PyUnicode_CompareWithASCIIString(name, "sep") == 0) {
            call->sep = value;
        } else if (PyUnicode_CompareWithASCIIString(name, "end") == 0) {
            call->end = value;
        } else if (PyUnicode_CompareWithASCIIString(name, "file") == 0) {
            call->file = value;
        } else if (PyUnicode_CompareWithASCIIString(name, "flush") == 0) {
            if (value != NULL && !PyBool_Check(value)) {
                return false;
            }
            call->flush = value == Py_True;
        } else {
            return false;
        }
    }
    if (call->file == NULL) {
        call->file = PySys_GetObject("stdout");
    }
    return call->file != NULL && (call->file == text[0] || call->file == text[1]) &&
           is_text(call->sep) && is_text(call->end);
}

static int write_parts(PyObject *file, PyObject *parts)
{
    if (PyList_GET_SIZE(parts) == 0) {
        return 0;
    }
    PyObject *empty = PyUnicode_New(0, 0);
    PyObject *all = empty == NULL ? NULL : PyUnicode_Join(empty, parts);
    Py_XDECREF(empty);
    if (all == NULL || PyList_SetSlice(parts, 0, PyList_GET_SIZE(parts), NULL) < 0) {
        Py_XDECREF(all);
        return -1;
    }
    PyObject *r = PyObject_CallMethod(file, "write", "O", all);
    Py_DECREF(all);
    Py_XDECREF(r);
    return r == NULL ? -1 : 0;
}

static int add_text(PyObject *parts, PyObject *value, const char *otherwise)
{
    if (value != NULL) {
        return PyList_Append(parts, value);
    }
    PyObject *s = PyUnicode_FromString(otherwise);
    int r = s == NULL ? -1 : PyList_Append(parts, s);
    Py_XDECREF(s);
    return r;
}

/* What comes before a value whose str() may print or fail is written first, as Python's print. */
static int add_value(PyObject *file, PyObject *parts, PyObject *value)
{
    bool plain = PyUnicode_CheckExact(value) || PyLong_CheckExact(value) ||
                 PyFloat_CheckExact(value) || PyBool_Check(value) || value == Py_None;
    if (!plain && write_parts(file, parts) < 0) {
        return -1;
    }
    PyObject *s = PyObject_Str(value);
    int r = s == NULL ? -1 : PyList_Append(parts, s);
    Py_XDECREF(s);
    return r;
}

/* As builtins.print, but one write for a line: Python's makes two system calls or more when its
 * stream is not buffered. */
static PyObject *print(PyObject *module, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    (void)module;
    struct print_call call = {0};
    if (!understand_print(args + count, names, &call)) {
        return PyObject_Vectorcall(original_print, args, (size_t)count, names);
    }
    PyObject *file = Py_NewRef(call.file);
    PyObject *parts = PyList_New(0);
    int r = parts == NULL ? -1 : 0;
    for (Py_ssize_t i = 0; r == 0 && i < count; i++) {
        if (i > 0) {
            r = add_text(parts, call.sep, " ");
        }
        if (r == 0) {
            r = add_value(file, parts, args[i]);
        }
    }
    if (r == 0) {
        r = add_text(parts, call.end, "\n");
        r = r < 0 ? r : write_parts(file, parts);
    } else if (parts != NULL) {
        PyObject *type;
        PyObject *value;
        PyObject *trace;
        PyErr_Fetch(&type, &value, &trace);
        if (write_parts(file, parts) < 0) {
            PyErr_Clear();
        }
        PyErr_Restore(type, value, trace);
    }
    Py_XDECREF(parts);
    PyObject *flushed = r == 0 && call.flush ? PyObject_CallMethod(file, "flush", NULL) : NULL;
    Py_DECREF(file);
    if (r < 0 || (call.flush && flushed == NULL)) {
        return NULL;
    }
    Py_XDECREF(flushed);
    Py_RETURN_NONE;
}

static int wrap_print(void)
{
    original_print = PyObject_GetAttrString(pyembed_kept.builtins, "print");
    if (original_print == NULL || !PyCFunction_Check(original_print)) {
        return -1;
    }
    const PyMethodDef *def = ((PyCFunctionObject *)original_print)->m_ml;
    print_def = (PyMethodDef){def->ml_name, (PyCFunction)(void (*)(void))print,
                              METH_FASTCALL | METH_KEYWORDS, def->ml_doc};
    PyObject *wrapper = pyembed_wrap_function(&print_def, pyembed_kept.builtins);
    int r = wrapper == NULL ? -1 : PyObject_SetAttrString(pyembed_kept.builtins, "print", wrapper);
    Py_XDECREF(wrapper);
    return r;
}

/* --- making and replacing the streams --------------------------------------------------------- */

static PyTypeObject *subclass(PyObject *base, const char *name, size_t extra, PyType_Slot *slots)
{
    Py_ssize_t size = ((PyTypeObject *)base)->tp_basicsize;
    PyType_Spec spec = {
        .name = name,
        .basicsize = (int)(size + (Py_ssize_t)extra),
        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
        .slots = slots,
    };
    PyObject *bases = PyTuple_Pack(1, base);
    PyObject *type = bases == NULL ? NULL : PyType_FromSpecWithBases(&spec, bases);
    Py_XDECREF(bases);
    return (PyTypeObject *)type;
}

int streams_prepare(void)
{
    PyObject *io = PyImport_ImportModule("io");
    PyObject *core = PyImport_ImportModule("_io");
    PyObject *base = core == NULL ? NULL : PyObject_GetAttrString(core, "_BufferedIOBase");
    PyObject *file = core == NULL ? NULL : PyObject_GetAttrString(core, "FileIO");
    PyObject *registered = NULL;
    if (io != NULL && base != NULL && file != NULL) {
        output_offset = ((PyTypeObject *)base)->tp_basicsize;
        output_type = subclass(base, "io.SessionOutput", sizeof(struct output), output_slots);
        input_type = subclass(file, "io.SessionInput", 0, input_slots);
        base_readinto = PyObject_GetAttrString(file, "readinto");
        text_type = PyObject_GetAttrString(core, "TextIOWrapper");
        reader_type = PyObject_GetAttrString(core, "BufferedReader");
    }
    if (output_type != NULL && input_type != NULL && base_readinto != NULL && text_type != NULL &&
        reader_type != NULL) {
        PyObject *abc = PyObject_GetAttrString(io, "BufferedIOBase");
        registered = abc == NULL ? NULL : PyObject_CallMethod(abc, "register", "O", output_type);
        Py_XDECREF(abc);
    }
    int r = registered == NULL ? -1 : wrap_print();
    Py_XDECREF(registered);
    Py_XDECREF(file);
    Py_XDECREF(base);
    Py_XDECREF(core);
    Py_XDECREF(io);
    return r;
}

static PyObject *new_text(PyObject *take_binary, const char *mode, const char *errors)
{
    bool writes = mode[0] == 'w';
    /* newline: none is translated on output, all are on input, as in Python's own streams. */
    PyObject *stream =
        PyObject_CallFunction(text_type, "OsszOO", take_binary, "utf-8", errors,
                              writes ? "\n" : NULL, Py_False, writes ? Py_True : Py_False);
    Py_DECREF(take_binary);
    PyObject *name = stream == NULL ? NULL : PyUnicode_FromString(mode);
    if (name == NULL || PyObject_SetAttrString(stream, "mode", name) < 0) {
        Py_CLEAR(stream);
    }
    Py_XDECREF(name);
    return stream;
}

static int new_output(unsigned which)
{
    PyObject *binary = output_type->tp_alloc(output_type, 0);
    if (binary == NULL) {
        return -1;
    }
    *output_of(binary) = (struct output){.which = which};
    PyObject *stream = new_text(binary, "w", "backslashreplace");
    if (stream == NULL) {
        return -1;
    }
    Py_XSETREF(text[which], stream);
    return 0;
}

static int set_output(unsigned which)
{
    static const char *const names[2][2] = {{"stdout", "__stdout__"}, {"stderr", "__stderr__"}};
    return PySys_SetObject(names[which][0], text[which]) < 0 ||
                   PySys_SetObject(names[which][1], text[which]) < 0
               ? -1
               : 0;
}

int streams_install(void)
{
    for (unsigned i = 0; i < 2; i++) {
        if (new_output(i) < 0 || set_output(i) < 0) {
            return -1;
        }
    }
    return 0;
}

/* Closed, detached, None or missing. */
static bool is_dead(PyObject *stream)
{
    if (stream == NULL || stream == Py_None) {
        return true;
    }
    PyObject *closed = PyObject_GetAttrString(stream, "closed");
    if (closed == NULL) {
        bool value_error = PyErr_ExceptionMatches(PyExc_ValueError); /* detached */
        PyErr_Clear();
        return value_error;
    }
    int r = PyObject_IsTrue(closed);
    Py_DECREF(closed);
    if (r < 0) {
        PyErr_Clear();
    }
    return r > 0;
}

int streams_repair(void)
{
    static const char *const names[2] = {"stdout", "stderr"};
    for (unsigned i = 0; i < 2; i++) {
        PyObject *now = PySys_GetObject(names[i]);
        Py_XINCREF(now);
        bool dead = is_dead(now);
        Py_XDECREF(now);
        if (!dead) {
            continue;
        }
        if ((is_dead(text[i]) && new_output(i) < 0) || set_output(i) < 0) {
            return -1;
        }
    }
    return 0;
}

int streams_new_stdin(void)
{
    PyObject *raw = PyObject_CallFunction((PyObject *)input_type, "isO", 0, "rb", Py_False);
    PyObject *name = raw == NULL ? NULL : PyUnicode_FromString("<stdin>");
    PyObject *buffered = NULL;
    if (name != NULL && PyObject_SetAttrString(raw, "name", name) == 0) {
        buffered = PyObject_CallFunctionObjArgs(reader_type, raw, NULL);
    }
    Py_XDECREF(name);
    Py_XDECREF(raw);
    if (buffered == NULL) {
        return -1;
    }
    PyObject *stream = new_text(buffered, "r", "surrogateescape");
    if (stream == NULL) {
        return -1;
    }
    int r =
        PySys_SetObject("stdin", stream) < 0 || PySys_SetObject("__stdin__", stream) < 0 ? -1 : 0;
    Py_DECREF(stream);
    return r;
}

void streams_print_to_stderr(PyObject *object)
{
    PyObject *file = PySys_GetObject("stderr");
    if (file == NULL || file == Py_None) {
        file = text[1];
    }
    Py_XINCREF(file);
    if (file == NULL || PyFile_WriteObject(object, file, Py_PRINT_RAW) < 0 ||
        PyFile_WriteString("\n", file) < 0) {
        PyErr_Clear();
    }
    Py_XDECREF(file);
}
