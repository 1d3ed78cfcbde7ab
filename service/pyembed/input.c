#include "service/pyembed/python.h"

#include "service/pyembed/input.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>

#include "internal/session.pb-c.h"
#include "service/pyembed/arena.h"
#include "service/pyembed/channel.h"
#include "service/pyembed/text.h"
#include "service/pyembed/threads.h"

#define PROMPT_MAX 65536

static struct {
    uint64_t run;
    bool asks;
    PyObject *prompt; /* owned str, or NULL */
    bool password;
} input;

static PyObject *original_input;
static PyMethodDef input_def;

static void set_prompt(PyObject *prompt, bool password)
{
    Py_XINCREF(prompt);
    Py_XSETREF(input.prompt, prompt);
    input.password = password;
}

static PyObject *wrapped_input(PyObject *module, PyObject *args)
{
    (void)module;
    if (PyTuple_GET_SIZE(args) != 1) {
        return PyObject_CallObject(original_input, args);
    }
    PyObject *prompt = PyObject_Str(PyTuple_GET_ITEM(args, 0));
    if (prompt == NULL) {
        return NULL;
    }
    set_prompt(prompt, false);
    PyObject *line = PyObject_CallFunctionObjArgs(original_input, prompt, NULL);
    set_prompt(NULL, false);
    Py_DECREF(prompt);
    return line;
}

int input_install(void)
{
    original_input = PyObject_GetAttrString(pyembed_kept.builtins, "input");
    if (original_input == NULL || !PyCFunction_Check(original_input)) {
        return -1;
    }
    const PyMethodDef *def = ((PyCFunctionObject *)original_input)->m_ml;
    input_def = (PyMethodDef){def->ml_name, wrapped_input, METH_VARARGS, def->ml_doc};
    PyObject *wrapper = pyembed_wrap_function(&input_def, pyembed_kept.builtins);
    int r = wrapper == NULL ? -1 : PyObject_SetAttrString(pyembed_kept.builtins, "input", wrapper);
    Py_XDECREF(wrapper);
    return r;
}

void input_run_begin(uint64_t run, bool asks)
{
    input.run = run;
    input.asks = asks;
    set_prompt(NULL, false);
}

PyObject *input_set_prompt(PyObject *module, PyObject *args)
{
    (void)module;
    PyObject *prompt;
    int password;
    if (!PyArg_ParseTuple(args, "Up", &prompt, &password)) {
        return NULL;
    }
    set_prompt(prompt, password != 0);
    Py_RETURN_NONE;
}

static void send_request(void)
{
    struct arena arena;
    arena_init(&arena, (size_t)PROMPT_MAX * 2);
    char *prompt = input.prompt == NULL ? NULL : text_of(input.prompt, PROMPT_MAX, &arena);
    Pyexec__Internal__SessionInputRequest m = PYEXEC__INTERNAL__SESSION_INPUT_REQUEST__INIT;
    m.run = input.run;
    m.prompt = prompt == NULL ? (char *)(uintptr_t) "" : prompt;
    m.password = input.password;
    (void)channel_send_message(SESSION_FRAME_INPUT_REQUEST, &m.base);
    arena_release(&arena);
}

/* All signals are held back from before Python's check until ppoll lets them through in one step
 * with its wait: one that comes between the two ends the wait at once. */
static int wait_for_input(void)
{
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    for (;;) {
        pthread_sigmask(SIG_SETMASK, &all, &before);
        if (PyErr_CheckSignals() < 0) {
            pthread_sigmask(SIG_SETMASK, &before, NULL);
            return -1;
        }
        struct pollfd p = {.fd = 0, .events = POLLIN};
        int r;
        int error;
        Py_BEGIN_ALLOW_THREADS r = ppoll(&p, 1, NULL, &before);
        error = errno;
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        Py_END_ALLOW_THREADS if (r >= 0 || error != EINTR)
        {
            return 0; /* data, end of file, or an error that read() will name */
        }
    }
}

int input_wait(void)
{
    struct pollfd p = {.fd = 0, .events = POLLIN};
    if (poll(&p, 1, 0) != 0) {
        return 0;
    }
    if (input.asks) {
        send_request();
    }
    return threads_is_main() ? wait_for_input() : 0;
}
