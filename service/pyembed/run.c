/* One run of user code.
 *
 *     prepare   working directory, environment, source text, streams (SIGINT held)
 *     STARTED   SIGINT allowed; compile, evaluate: no frame of ours is below the user's
 *     REPORTING value or exception, figures: user code may run in repr() and str()
 *     hold      SIGINT held; what came in the last moment still counts
 *     DONE      after everything that the run wrote: threads' writes waited for, objects dropped
 */
#include "service/pyembed/python.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "pyexec/v1/execution_service.pb-c.h"
#include "service/base/clock.h"
#include "service/pyembed/channel.h"
#include "service/pyembed/children.h"
#include "service/pyembed/compile.h"
#include "service/pyembed/display.h"
#include "service/pyembed/environ.h"
#include "service/pyembed/input.h"
#include "service/pyembed/interrupt.h"
#include "service/pyembed/report.h"
#include "service/pyembed/result.h"
#include "service/pyembed/session_python.h"
#include "service/pyembed/streams.h"
#include "service/pyembed/text.h"
#include "service/pyembed/threads.h"
#include "service/pyembed/workdir.h"

#define DEFAULT_FILENAME "runfile.py"
/* Reports need some depth, whatever limit user code has set, and not more than the C stack has. */
#define REPORT_RECURSION 1500

struct run {
    const Pyexec__Internal__SessionRun *message;
    struct report_source source;
    struct environ_saved saved_environ;
    struct workdir_snapshot *before;
    struct rusage usage;
    struct result result;
};

static const char *filename_of(const Pyexec__Internal__SessionRun *m)
{
    return m->filename[0] == '\0' ? DEFAULT_FILENAME : m->filename;
}

/* --- before ------------------------------------------------------------------------------------ */

static int make_source(struct run *run)
{
    const char *name = filename_of(run->message);
    /* A fresh object for each run: source lines are found by its identity (support.py). */
    run->source.filename = PyUnicode_DecodeUTF8(name, (Py_ssize_t)strlen(name), "replace");
    run->source.path = PyUnicode_FromFormat("%s/%s", workdir_path(), name);
    run->source.ipython = run->message->traceback_style ==
                          PYEXEC__V1__EXECUTION_SPEC__TRACEBACK_STYLE__TRACEBACK_STYLE_IPYTHON;
    if (run->source.filename == NULL || run->source.path == NULL) {
        Py_XSETREF(run->source.filename, Py_NewRef(pyembed_kept.no_name));
        Py_XSETREF(run->source.path, Py_NewRef(pyembed_kept.no_name));
        return -1;
    }
    const ProtobufCBinaryData *code = &run->message->code;
    PyObject *known = pyembed_support("add_source", "OOy#", run->source.filename, run->source.path,
                                      (const char *)code->data, (Py_ssize_t)code->len);
    if (known == NULL) {
        PyErr_Clear(); /* tracebacks lack their lines, no more */
    }
    Py_XDECREF(known);
    return PyDict_SetItemString(pyembed_kept.globals, "__file__", run->source.path);
}

static int set_argv_once(PyObject *filename)
{
    static bool done;
    if (done) {
        return 0;
    }
    done = true;
    PyObject *argv = PyList_New(1);
    if (argv == NULL) {
        return -1;
    }
    PyList_SET_ITEM(argv, 0, Py_NewRef(filename));
    int r = PySys_SetObject("argv", argv);
    Py_DECREF(argv);
    return r;
}

static void prepare(struct run *run)
{
    const Pyexec__Internal__SessionRun *m = run->message;
    struct result *r = &run->result;
    workdir_enter(r);
    PyObject *modules = PyImport_GetModuleDict();
    if (make_source(run) < 0 || PyDict_SetItemString(modules, "__main__", pyembed_kept.main) < 0 ||
        set_argv_once(run->source.filename) < 0 || streams_repair() < 0 ||
        streams_new_stdin() < 0) {
        char *why = text_of_error(&r->arena);
        result_warn(r, "the run could not be prepared fully: %s", why == NULL ? "" : why);
    }
    environ_apply(&run->saved_environ, m->env, m->n_env, r);
    if (m->write_source_file) {
        workdir_write_source(r, filename_of(m), m->code.data, m->code.len);
    }
    if (m->report_changed_files) {
        run->before = workdir_snapshot();
    }
    (void)getrusage(RUSAGE_SELF, &run->usage);
}

/* --- the code ---------------------------------------------------------------------------------- */

/* The value of the last expression, None, or NULL with an exception. */
static PyObject *evaluate(struct run *run)
{
    const Pyexec__Internal__SessionRun *m = run->message;
    struct compiled code = {NULL, NULL};
    int64_t start = clock_mono_ns();
    int r = compile_source(m->code.data, m->code.len, run->source.filename, !m->silent, &code);
    int64_t compiled = clock_mono_ns();
    run->result.done.compile_ns = (uint64_t)(compiled - start);
    PyObject *value = NULL;
    if (r == 0) {
        PyObject *globals = pyembed_kept.globals;
        value = PyEval_EvalCode(code.body, globals, globals);
        if (value != NULL && code.last != NULL) {
            Py_DECREF(value);
            value = PyEval_EvalCode(code.last, globals, globals);
        }
    }
    run->result.done.run_ns = (uint64_t)(clock_mono_ns() - compiled);
    compile_release(&code);
    return value;
}

/* A child that user code forked came back through us: it ends as a Python process does. */
__attribute__((noreturn)) static void end_forked_child(PyObject *value)
{
    int status = 0;
    if (value == NULL) {
        PyObject *type;
        PyObject *error;
        PyObject *trace;
        PyErr_Fetch(&type, &error, &trace);
        PyErr_NormalizeException(&type, &error, &trace);
        if (error != NULL && trace != NULL) {
            (void)PyException_SetTraceback(error, trace);
        }
        if (error != NULL && PyType_IsSubtype(Py_TYPE(error), (PyTypeObject *)PyExc_SystemExit)) {
            status = report_exit_status(error);
        } else {
            PyErr_Restore(type, error, trace);
            PyErr_Print();
            status = 1;
        }
    }
    PyObject *r = pyembed_support("finish_fork", "");
    if (r == NULL) {
        PyErr_Print();
    }
    (void)fflush(stdout);
    _exit(status);
}

/* --- the report -------------------------------------------------------------------------------- */

static void send_run(enum session_frame type, uint64_t run)
{
    (void)channel_send(type, &run, sizeof run);
}

/* Takes the pending exception; owned, with its traceback attached. */
static PyObject *take_exception(void)
{
    PyObject *type;
    PyObject *value;
    PyObject *trace;
    PyErr_Fetch(&type, &value, &trace);
    PyErr_NormalizeException(&type, &value, &trace);
    if (value != NULL && trace != NULL) {
        (void)PyException_SetTraceback(value, trace);
    }
    Py_XDECREF(type);
    Py_XDECREF(trace);
    return value;
}

static void report_failure(struct run *run, PyObject *error)
{
    struct result *r = &run->result;
    PyTypeObject *type = Py_TYPE(error);
    if (PyType_IsSubtype(type, (PyTypeObject *)PyExc_SystemExit)) {
        r->done.outcome = PYEXEC__INTERNAL__SESSION_DONE__OUTCOME__OUTCOME_EXITED;
        r->done.exit_code = report_exit_status(error);
    } else if (PyType_IsSubtype(type, (PyTypeObject *)PyExc_KeyboardInterrupt) &&
               interrupt_came()) {
        r->done.outcome = PYEXEC__INTERNAL__SESSION_DONE__OUTCOME__OUTCOME_INTERRUPTED;
    } else {
        r->done.outcome = PYEXEC__INTERNAL__SESSION_DONE__OUTCOME__OUTCOME_ERROR;
    }
    report_exception(r, error, &run->source);
}

/* `value` of the last expression: shown, and kept as `_` like in Python's own REPL. */
static int report_value(struct run *run, PyObject *value)
{
    if (run->message->silent || value == Py_None) {
        return 0;
    }
    if (display_value(&run->result, value) < 0) {
        return -1;
    }
    return PyDict_SetItemString(PyModule_GetDict(pyembed_kept.builtins), "_", value);
}

/* Everything that may run user code after its end. `take_value` NULL: an exception is pending. */
static void report(struct run *run, PyObject *take_value)
{
    struct result *r = &run->result;
    PyObject *error = take_value == NULL ? take_exception() : NULL;
    /* Hooks that user code set for its own frames. */
    PyEval_SetTrace(NULL, NULL);
    PyEval_SetProfile(NULL, NULL);
    int limit = Py_GetRecursionLimit();
    Py_SetRecursionLimit(REPORT_RECURSION);
    send_run(SESSION_FRAME_REPORTING, r->done.run);
    if (take_value != NULL && report_value(run, take_value) < 0) {
        error = take_exception();
    }
    if (error == NULL && display_figures() < 0) {
        if (PyErr_ExceptionMatches(PyExc_KeyboardInterrupt)) {
            error = take_exception();
        } else {
            char *why = text_of_error(&r->arena);
            result_warn(r, "figures could not be shown: %s", why == NULL ? "" : why);
        }
    }
    Py_XDECREF(take_value);
    if (error != NULL) {
        report_failure(run, error);
    } else {
        r->done.outcome = PYEXEC__INTERNAL__SESSION_DONE__OUTCOME__OUTCOME_OK;
    }
    interrupt_hold();
    /* An interrupt of the last moment: its handler runs now or never. */
    if (PyErr_CheckSignals() < 0) {
        PyObject *late = take_exception();
        if (error == NULL && late != NULL) {
            report_failure(run, late);
        }
        Py_XDECREF(late);
    }
    Py_XDECREF(error);
    Py_SetRecursionLimit(limit);
}

/* --- after ------------------------------------------------------------------------------------- */

static uint64_t ns_of(struct timeval t)
{
    return (uint64_t)t.tv_sec * (uint64_t)NS_PER_SEC + (uint64_t)t.tv_usec * 1000;
}

static void finish(struct run *run)
{
    struct result *r = &run->result;
    environ_restore(&run->saved_environ);
    workdir_remove_source();
    if (run->message->report_changed_files) {
        workdir_report_changes(r, run->before);
    }
    workdir_snapshot_free(run->before);
    Py_CLEAR(run->source.filename);
    Py_CLEAR(run->source.path);
    (void)fflush(stdout);
    threads_run_end();
    unsigned threads = threads_alive();
    if (threads > 0) {
        result_warn(r, "%u threads are still running", threads);
    }
    children_reap_adopted();
    r->done.descendants = children_exist();
    if (!channel_has_pipes()) {
        result_warn(r, "file descriptor 1 or 2 is not the session's output any more");
        r->done.descendants = true; /* so that the next run gets pipes again */
    }
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) == 0) {
        r->done.cpu_user_ns = ns_of(usage.ru_utime) - ns_of(run->usage.ru_utime);
        r->done.cpu_system_ns = ns_of(usage.ru_stime) - ns_of(run->usage.ru_stime);
        r->done.max_rss_bytes = (uint64_t)usage.ru_maxrss * 1024;
    }
}

/* The outcome without what makes it large. */
static int send_small(struct result *r)
{
    static char note[] = "details of the result were left out: too large or no memory";
    static char *notes[] = {note};
    r->done.traceback = (char *)(uintptr_t)protobuf_c_empty_string;
    r->done.exc_message = (char *)(uintptr_t)protobuf_c_empty_string;
    r->done.n_frames = 0;
    r->done.value = NULL;
    r->done.exc_info = NULL;
    r->done.n_changed_files = 0;
    r->done.warnings = notes;
    r->done.n_warnings = 1;
    return channel_send_message(SESSION_FRAME_DONE, &r->done.base);
}

int session_python_run(const Pyexec__Internal__SessionRun *message, bool asks_input)
{
    struct run run = {.message = message};
    result_init(&run.result, message->run, message->execution_count);
    result_current = &run.result;
    input_run_begin(message->run, asks_input);
    prepare(&run);
    threads_run_begin(message->run);
    interrupt_begin();
    send_run(SESSION_FRAME_STARTED, message->run);
    interrupt_allow();
    PyObject *value = evaluate(&run);
    if (!channel_is_ours()) {
        end_forked_child(value);
    }
    report(&run, value);
    if (!channel_is_ours()) {
        end_forked_child(Py_None); /* forked in a repr() */
    }
    finish(&run);
    int r = channel_send_message(SESSION_FRAME_DONE, &run.result.done.base);
    if (r == -EMSGSIZE || r == -ENOMEM) {
        r = send_small(&run.result);
    }
    result_current = NULL;
    result_release(&run.result);
    return r < 0 ? -1 : 0;
}
