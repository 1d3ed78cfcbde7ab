#include "service/pyembed/python.h"

#include "service/pyembed/threads.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>

#include "service/pyembed/channel.h"

/* A write that began before the end of its run blocks only while the daemon does not read; user
 * code can put something else onto descriptor 1, so the wait has an end all the same. */
#define END_WAIT_SECONDS 2

static _Thread_local uint64_t thread_run;
static _Thread_local bool thread_is_main;

static struct {
    pthread_mutex_t lock;
    pthread_cond_t idle;
    uint64_t run;
    bool active;
    unsigned writing;
    _Atomic unsigned alive;
} state = {.lock = PTHREAD_MUTEX_INITIALIZER, .idle = PTHREAD_COND_INITIALIZER};

static PyObject *original_start;
static PyMethodDef start_def;
static PyTypeObject *bootstrap_type;

/* What a new thread calls first: it knows the run, then calls the user's function. */
struct bootstrap {
    PyObject_HEAD PyObject *function;
    uint64_t run;
};

static PyObject *bootstrap_call(PyObject *self, PyObject *args, PyObject *kwargs)
{
    struct bootstrap *b = (struct bootstrap *)self;
    thread_run = b->run;
    atomic_fetch_add(&state.alive, 1);
    PyObject *result = PyObject_Call(b->function, args, kwargs);
    atomic_fetch_sub(&state.alive, 1);
    return result;
}

/* "Exception ignored in thread started by: …" names the user's function. */
static PyObject *bootstrap_repr(PyObject *self)
{
    return PyObject_Repr(((struct bootstrap *)self)->function);
}

static void bootstrap_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    Py_XDECREF(((struct bootstrap *)self)->function);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyType_Slot bootstrap_slots[] = {
    {Py_tp_call, bootstrap_call},
    {Py_tp_repr, bootstrap_repr},
    {Py_tp_dealloc, bootstrap_dealloc},
    {0, NULL},
};

static PyType_Spec bootstrap_spec = {
    .name = "_thread.function",
    .basicsize = sizeof(struct bootstrap),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = bootstrap_slots,
};

/* SIGINT is for the main thread: new threads are born with it blocked, so that an interrupt wakes
 * the main thread's system call and one that comes between two runs waits for nobody. */
static PyObject *start_with_mask(PyObject *args)
{
    sigset_t interrupt;
    sigset_t before;
    sigemptyset(&interrupt);
    sigaddset(&interrupt, SIGINT);
    pthread_sigmask(SIG_BLOCK, &interrupt, &before);
    PyObject *result = PyObject_CallObject(original_start, args);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return result;
}

static PyObject *start_new_thread(PyObject *module, PyObject *args)
{
    (void)module;
    if (PyTuple_GET_SIZE(args) < 1 || !PyCallable_Check(PyTuple_GET_ITEM(args, 0))) {
        return PyObject_CallObject(original_start, args); /* raises what Python raises */
    }
    struct bootstrap *b = PyObject_New(struct bootstrap, bootstrap_type);
    if (b == NULL) {
        return NULL;
    }
    b->function = Py_NewRef(PyTuple_GET_ITEM(args, 0));
    b->run = thread_is_main ? state.run : thread_run;
    Py_ssize_t n = PyTuple_GET_SIZE(args);
    PyObject *with_run = PyTuple_New(n);
    if (with_run == NULL) {
        Py_DECREF(b);
        return NULL;
    }
    PyTuple_SET_ITEM(with_run, 0, (PyObject *)b);
    for (Py_ssize_t i = 1; i < n; i++) {
        PyTuple_SET_ITEM(with_run, i, Py_NewRef(PyTuple_GET_ITEM(args, i)));
    }
    PyObject *result = start_with_mask(with_run);
    Py_DECREF(with_run);
    return result;
}

int threads_install(void)
{
    PyObject *module = PyImport_ImportModule("_thread");
    if (module == NULL) {
        return -1;
    }
    int r = -1;
    PyObject *wrapper = NULL;
    bootstrap_type = (PyTypeObject *)PyType_FromSpec(&bootstrap_spec);
    original_start = PyObject_GetAttrString(module, "start_new_thread");
    if (bootstrap_type != NULL && original_start != NULL && PyCFunction_Check(original_start)) {
        const PyMethodDef *def = ((PyCFunctionObject *)original_start)->m_ml;
        start_def = (PyMethodDef){def->ml_name, start_new_thread, METH_VARARGS, def->ml_doc};
        wrapper = pyembed_wrap_function(&start_def, module);
    }
    if (wrapper != NULL && PyObject_SetAttrString(module, "start_new_thread", wrapper) == 0 &&
        PyObject_SetAttrString(module, "start_new", wrapper) == 0) {
        r = 0;
    }
    Py_XDECREF(wrapper);
    Py_DECREF(module);
    return r;
}

void threads_reset(void)
{
    pthread_mutex_init(&state.lock, NULL);
    pthread_cond_init(&state.idle, NULL);
    state.run = 0;
    state.active = false;
    state.writing = 0;
    atomic_store(&state.alive, 0);
    thread_is_main = true;
}

void threads_run_begin(uint64_t run)
{
    pthread_mutex_lock(&state.lock);
    state.run = run;
    state.active = true;
    pthread_mutex_unlock(&state.lock);
}

void threads_run_end(void)
{
    Py_BEGIN_ALLOW_THREADS struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += END_WAIT_SECONDS;
    pthread_mutex_lock(&state.lock);
    state.active = false;
    while (state.writing > 0 && pthread_cond_timedwait(&state.idle, &state.lock, &end) == 0) {
    }
    pthread_mutex_unlock(&state.lock);
    Py_END_ALLOW_THREADS
}

bool threads_write_begin(void)
{
    if (thread_is_main || !channel_is_ours()) {
        return true;
    }
    pthread_mutex_lock(&state.lock);
    /* A thread that C code made has no run: it counts for the current one. */
    bool here = state.active && (thread_run == 0 || thread_run == state.run);
    state.writing += here;
    pthread_mutex_unlock(&state.lock);
    return here;
}

void threads_write_end(void)
{
    if (thread_is_main || !channel_is_ours()) {
        return;
    }
    pthread_mutex_lock(&state.lock);
    if (--state.writing == 0) {
        pthread_cond_signal(&state.idle);
    }
    pthread_mutex_unlock(&state.lock);
}

bool threads_is_main(void)
{
    return thread_is_main;
}

unsigned threads_alive(void)
{
    return atomic_load(&state.alive);
}
