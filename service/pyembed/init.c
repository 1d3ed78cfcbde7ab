/* The interpreter of a zygote: configuration, what is kept and wrapped before any other code sees
 * it, imports, and the last steps before the first fork. */
#include "service/pyembed/python.h"

#include <dirent.h>
#include <limits.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "service/pyembed/display.h"
#include "service/pyembed/input.h"
#include "service/pyembed/interrupt.h"
#include "service/pyembed/oswrap.h"
#include "service/pyembed/pyembed.h"
#include "service/pyembed/streams.h"
#include "service/pyembed/support_text.h"
#include "service/pyembed/text.h"
#include "service/pyembed/threads.h"

#define TEXT2(x) #x
#define TEXT(x) TEXT2(x)
#define VERSION TEXT(PY_MAJOR_VERSION) "." TEXT(PY_MINOR_VERSION)
#ifndef PYEMBED_PYTHON
#define PYEMBED_PYTHON "/usr/bin/python" VERSION
#endif

struct pyembed_kept pyembed_kept;

/* --- helpers ----------------------------------------------------------------------------------- */

PyObject *pyembed_wrap_function(PyMethodDef *def, PyObject *module)
{
    PyObject *name = PyModule_GetNameObject(module);
    PyObject *function = name == NULL ? NULL : PyCFunction_NewEx(def, module, name);
    Py_XDECREF(name);
    return function;
}

PyObject *pyembed_support(const char *function, const char *format, ...)
{
    PyObject *f = PyDict_GetItemString(pyembed_kept.support, function);
    if (f == NULL) {
        PyErr_Format(PyExc_RuntimeError, "support function %s is missing", function);
        return NULL;
    }
    char as_tuple[32];
    snprintf(as_tuple, sizeof as_tuple, "(%s)", format);
    va_list ap;
    va_start(ap, format);
    PyObject *args = Py_VaBuildValue(as_tuple, ap);
    va_end(ap);
    PyObject *result = args == NULL ? NULL : PyObject_CallObject(f, args);
    Py_XDECREF(args);
    return result;
}

static int python_error(struct err *err, const char *what)
{
    struct arena arena;
    arena_init(&arena, 8192);
    char *text = text_of_error(&arena);
    int r = err_set(err, ERR_INTERNAL, "%s: %s", what, text == NULL ? "unknown error" : text);
    arena_release(&arena);
    return r;
}

/* --- configuration ----------------------------------------------------------------------------- */

/* An installation or a virtual environment has its library beside its programs. */
static int check_python(const char *python, struct err *err)
{
    char path[PATH_MAX];
    const char *slash = strrchr(python, '/');
    if (python[0] != '/' || access(python, X_OK) < 0) {
        return err_set(err, ERR_INVALID_FIELD, "python \"%s\" is not a program with a full path",
                       python);
    }
    int n =
        snprintf(path, sizeof path, "%.*s/../lib/python" VERSION, (int)(slash - python), python);
    struct stat st;
    if (n < 0 || (size_t)n >= sizeof path || stat(path, &st) < 0 || !S_ISDIR(st.st_mode)) {
        return err_set(err, ERR_INVALID_FIELD,
                       "python \"%s\" is not a Python " VERSION
                       ", which is the one that this service embeds",
                       python);
    }
    return 0;
}

/* Nothing of the daemon's environment steers the interpreter; ignoring it by a flag instead would
 * be handed on to every Python that user code starts. */
static void drop_python_environment(void)
{
    for (char **e = environ; e != NULL && *e != NULL;) {
        const char *end = strchr(*e, '=');
        char name[128];
        size_t n = end == NULL ? sizeof name : (size_t)(end - *e);
        if (strncmp(*e, "PYTHON", 6) == 0 && n < sizeof name) {
            memcpy(name, *e, n);
            name[n] = '\0';
            (void)unsetenv(name); /* moves the rest down */
        } else {
            e++;
        }
    }
}

static PyStatus initialize(const char *python)
{
    PyPreConfig pre;
    PyPreConfig_InitPythonConfig(&pre);
    pre.parse_argv = 0;
    pre.utf8_mode = 1;
    PyStatus status = Py_PreInitialize(&pre);
    if (PyStatus_Exception(status)) {
        return status;
    }
    PyConfig config;
    PyConfig_InitPythonConfig(&config);
    config.parse_argv = 0;
    config.install_signal_handlers = 0;
    config.user_site_directory = 0;
    status = PyConfig_SetBytesString(&config, &config.executable, python);
    if (!PyStatus_Exception(status)) {
        status = PyConfig_SetBytesString(&config, &config.program_name, python);
    }
    if (!PyStatus_Exception(status)) {
        status = Py_InitializeFromConfig(&config);
    }
    PyConfig_Clear(&config);
    return status;
}

/* --- what is kept ------------------------------------------------------------------------------ */

static PyObject *attribute_of(const char *module, const char *name)
{
    PyObject *m = PyImport_ImportModule(module);
    PyObject *value = m == NULL ? NULL : PyObject_GetAttrString(m, name);
    Py_XDECREF(m);
    return value;
}

static int keep(void)
{
    struct pyembed_kept *k = &pyembed_kept;
    k->builtins = PyImport_ImportModule("builtins");
    k->sys = PyImport_ImportModule("sys");
    k->main = PyImport_ImportModule("__main__");
    k->environ = attribute_of("os", "environ");
    k->compile = attribute_of("builtins", "compile");
    k->ast_expr = attribute_of("_ast", "Expr");
    k->ast_expression = attribute_of("_ast", "Expression");
    k->no_name = PyUnicode_FromString("<code>");
    if (k->no_name == NULL || k->ast_expr == NULL || k->ast_expression == NULL ||
        k->builtins == NULL || k->sys == NULL || k->main == NULL || k->environ == NULL ||
        k->compile == NULL) {
        return -1;
    }
    k->globals = PyModule_GetDict(k->main);
    return PyDict_SetItemString(k->globals, "__builtins__", k->builtins);
}

static PyMethodDef host_methods[] = {
    {"display", display_emit, METH_VARARGS, NULL},
    {"clear_output", display_clear, METH_VARARGS, NULL},
    {"warn", display_warn, METH_VARARGS, NULL},
    {"set_prompt", input_set_prompt, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef host_module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "host",
    .m_size = -1,
    .m_methods = host_methods,
};

static int load_support(void)
{
    PyObject *space = PyDict_New();
    PyObject *host = PyModule_Create(&host_module);
    PyObject *name = PyUnicode_FromString("pyexec");
    PyObject *builtins = PyDict_Copy(PyModule_GetDict(pyembed_kept.builtins));
    PyObject *code = Py_CompileString(support_text, "<pyexec>", Py_file_input);
    PyObject *result = NULL;
    if (space != NULL && host != NULL && name != NULL && builtins != NULL && code != NULL &&
        PyDict_SetItemString(space, "host", host) == 0 &&
        PyDict_SetItemString(space, "__name__", name) == 0 &&
        PyDict_SetItemString(space, "__builtins__", builtins) == 0) {
        result = PyEval_EvalCode(code, space, space);
        pyembed_kept.support = Py_NewRef(space);
    }
    Py_XDECREF(code);
    Py_XDECREF(builtins);
    Py_XDECREF(name);
    Py_XDECREF(host);
    Py_XDECREF(space);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

int pyembed_init(const char *python, struct err *err)
{
    if (python[0] == '\0') {
        python = PYEMBED_PYTHON;
    }
    if (check_python(python, err) < 0) {
        return -1;
    }
    drop_python_environment();
    PyStatus status = initialize(python);
    if (PyStatus_Exception(status)) {
        return err_set(err, ERR_INTERNAL, "Python did not start: %s",
                       status.err_msg == NULL ? "no reason given" : status.err_msg);
    }
    if (keep() < 0 || oswrap_install() < 0 || threads_install() < 0 || interrupt_prepare() < 0 ||
        streams_prepare() < 0 || input_install() < 0 || load_support() < 0) {
        return python_error(err, "the interpreter could not be set up");
    }
    return 0;
}

int pyembed_import(const char *module, char *text, size_t text_size)
{
    PyObject *m = PyImport_ImportModule(module);
    if (m != NULL) {
        Py_DECREF(m);
        return 0;
    }
    struct arena arena;
    arena_init(&arena, 8192);
    char *why = text_of_error(&arena);
    snprintf(text, text_size, "%s", why == NULL ? "unknown error" : why);
    arena_release(&arena);
    return -1;
}

static int count_threads(void)
{
    DIR *d = opendir("/proc/self/task");
    int n = 0;
    for (struct dirent *e = d == NULL ? NULL : readdir(d); e != NULL; e = readdir(d)) {
        n += e->d_name[0] != '.';
    }
    if (d != NULL) {
        closedir(d);
    }
    return n;
}

int pyembed_settle(struct err *err)
{
    int threads = count_threads();
    if (threads > 1) {
        return err_set(err, ERR_INTERNAL,
                       "preloaded modules left %d threads running: sessions can't be forked",
                       threads - 1);
    }
    PyGC_Collect();
    PyObject *gc = PyImport_ImportModule("gc");
    PyObject *r = gc == NULL ? NULL : PyObject_CallMethod(gc, "freeze", NULL);
    Py_XDECREF(gc);
    if (r == NULL) {
        return python_error(err, "gc.freeze");
    }
    Py_DECREF(r);
    (void)malloc_trim(0);
    return 0;
}

const char *pyembed_version(void)
{
    static char version[32];
    if (version[0] == '\0') {
        const char *v = Py_GetVersion(); /* "3.11.2 (main, …" */
        snprintf(version, sizeof version, "%.*s", (int)strcspn(v, " "), v);
    }
    return version;
}

bool pyembed_available(const char *module)
{
    PyObject *found = pyembed_support("available", "s", module);
    bool r = found == Py_True;
    Py_XDECREF(found);
    PyErr_Clear();
    return r;
}
