#include "service/pyembed/python.h"

#include "service/pyembed/interrupt.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>

static volatile sig_atomic_t interrupts;
static struct sigaction chained; /* what our counting handler calls: Python's */
static bool user_blocks;

static PyObject *original_signal;
static PyMethodDef signal_def;

static void count_and_chain(int number, siginfo_t *info, void *context)
{
    int saved = errno;
    interrupts = 1;
    if ((chained.sa_flags & SA_SIGINFO) != 0) {
        chained.sa_sigaction(number, info, context);
    } else {
        chained.sa_handler(number);
    }
    errno = saved;
}

/* Puts our handler before the one in force; ignored and default dispositions stay. */
static void chain_handler(void)
{
    struct sigaction now;
    if (sigaction(SIGINT, NULL, &now) < 0) {
        return;
    }
    if ((now.sa_flags & SA_SIGINFO) != 0) {
        if (now.sa_sigaction == count_and_chain) {
            return;
        }
    } else if (now.sa_handler == SIG_DFL || now.sa_handler == SIG_IGN) {
        return;
    }
    chained = now;
    now.sa_flags |= SA_SIGINFO;
    now.sa_sigaction = count_and_chain;
    (void)sigaction(SIGINT, &now, NULL);
}

static PyObject *wrapped_signal(PyObject *module, PyObject *args)
{
    (void)module;
    PyObject *result = PyObject_CallObject(original_signal, args);
    if (result != NULL) {
        chain_handler();
    }
    return result;
}

int interrupt_prepare(void)
{
    PyObject *module = PyImport_ImportModule("_signal");
    if (module == NULL) {
        return -1;
    }
    int r = -1;
    original_signal = PyObject_GetAttrString(module, "signal");
    if (original_signal != NULL && PyCFunction_Check(original_signal)) {
        const PyMethodDef *def = ((PyCFunctionObject *)original_signal)->m_ml;
        signal_def = (PyMethodDef){def->ml_name, wrapped_signal, METH_VARARGS, def->ml_doc};
        PyObject *wrapper = pyembed_wrap_function(&signal_def, module);
        r = wrapper == NULL ? -1 : PyObject_SetAttrString(module, "signal", wrapper);
        Py_XDECREF(wrapper);
    }
    Py_DECREF(module);
    return r;
}

static int set_handler(PyObject *module, int number, const char *handler)
{
    PyObject *h = PyObject_GetAttrString(module, handler);
    PyObject *r = h == NULL ? NULL : PyObject_CallFunction(original_signal, "iO", number, h);
    Py_XDECREF(h);
    Py_XDECREF(r);
    return r == NULL ? -1 : 0;
}

int interrupt_start(bool branch)
{
    if (branch) {
        return 0; /* its parent was between two runs: the mask is right */
    }
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGINT);
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
    user_blocks = false;
    PyObject *module = PyImport_ImportModule("_signal");
    if (module == NULL) {
        return -1;
    }
    int r = set_handler(module, SIGINT, "default_int_handler") < 0 ||
                    set_handler(module, SIGPIPE, "SIG_IGN") < 0 ||
                    set_handler(module, SIGXFSZ, "SIG_IGN") < 0
                ? -1
                : 0;
    Py_DECREF(module);
    chain_handler();
    return r;
}

void interrupt_allow(void)
{
    sigset_t only;
    sigemptyset(&only);
    sigaddset(&only, SIGINT);
    const struct timespec now = {0, 0};
    while (sigtimedwait(&only, NULL, &now) == SIGINT) {
    }
    interrupts = 0;
    chain_handler(); /* user code may have set a handler without our seeing it */
    if (!user_blocks) {
        pthread_sigmask(SIG_UNBLOCK, &only, NULL);
    }
}

void interrupt_hold(void)
{
    sigset_t only;
    sigset_t before;
    sigemptyset(&only);
    sigaddset(&only, SIGINT);
    if (pthread_sigmask(SIG_BLOCK, &only, &before) == 0) {
        user_blocks = sigismember(&before, SIGINT) == 1;
    }
}

bool interrupt_came(void)
{
    return interrupts != 0;
}
