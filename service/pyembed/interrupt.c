#include "service/pyembed/python.h"

#include "service/pyembed/interrupt.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "service/base/clock.h"

/* The first nudge, and how many, each after twice the time: 10 s in all. */
#define NUDGE_FIRST_NS (10 * NS_PER_MS)
#define NUDGES_MAX 10

static volatile sig_atomic_t interrupts;
static struct sigaction chained; /* what our counting handler calls: Python's */
static bool user_blocks;

static PyObject *original_signal;
static PyMethodDef signal_def;

/* Nudges. Python's C handler only sets a flag, which the interpreter looks at between instructions.
 * A SIGINT that comes after that look and before the system call in which the next instruction
 * waits would be noticed when the wait is over, perhaps in an hour. So after a SIGINT a timer sends
 * SIGURG a few times: its handler does nothing, but the system call ends with EINTR, whereupon Python
 * looks at its flag (PEP 475), and goes on waiting where there is none. */
static struct {
    timer_t timer;
    pid_t owner; /* of the timer: it is not inherited by a forked child */
    volatile sig_atomic_t left;
    int64_t delay_ns; /* of the next one; the handlers of one thread alone touch it */
} nudge;

static void nudge_in(int64_t ns)
{
    const struct itimerspec when = {.it_value = {ns / NS_PER_SEC, ns % NS_PER_SEC}};
    if (nudge.owner == getpid()) {
        (void)timer_settime(nudge.timer, 0, &when, NULL);
    }
}

static void on_nudge(int number)
{
    int saved = errno;
    (void)number;
    if (nudge.left > 0) {
        nudge.left--;
        nudge.delay_ns *= 2;
        nudge_in(nudge.delay_ns);
    }
    errno = saved;
}

static void nudge_start(void)
{
    nudge.left = NUDGES_MAX - 1;
    nudge.delay_ns = NUDGE_FIRST_NS;
    nudge_in(nudge.delay_ns);
}

static void nudge_stop(void)
{
    nudge.left = 0;
    nudge_in(0);
}

/* Without the timer an interrupt still works, but for that gap. */
static void nudge_open(void)
{
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGURG};
    event._sigev_un._tid = gettid();
    nudge.owner = timer_create(CLOCK_MONOTONIC, &event, &nudge.timer) == 0 ? getpid() : 0;
    struct sigaction now;
    if (sigaction(SIGURG, NULL, &now) == 0 && (now.sa_flags & SA_SIGINFO) == 0 &&
        now.sa_handler == SIG_DFL) {
        /* Without SA_RESTART: ending the system call is all that it is for. */
        (void)sigaction(SIGURG, &(struct sigaction){.sa_handler = on_nudge}, NULL);
    }
}

static void count_and_chain(int number, siginfo_t *info, void *context)
{
    int saved = errno;
    interrupts = 1;
    nudge_start();
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
    nudge_open();
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

static sigset_t only_interrupt(void)
{
    sigset_t only;
    sigemptyset(&only);
    sigaddset(&only, SIGINT);
    return only;
}

void interrupt_begin(void)
{
    const sigset_t only = only_interrupt();
    const struct timespec now = {0, 0};
    while (sigtimedwait(&only, NULL, &now) == SIGINT) {
    }
    interrupts = 0;
    chain_handler(); /* user code may have set a handler without our seeing it */
}

void interrupt_allow(void)
{
    const sigset_t only = only_interrupt();
    if (!user_blocks) {
        pthread_sigmask(SIG_UNBLOCK, &only, NULL);
    }
}

void interrupt_hold(void)
{
    const sigset_t only = only_interrupt();
    sigset_t before;
    if (pthread_sigmask(SIG_BLOCK, &only, &before) == 0) {
        user_blocks = sigismember(&before, SIGINT) == 1;
    }
    nudge_stop();
}

bool interrupt_came(void)
{
    return interrupts != 0;
}
