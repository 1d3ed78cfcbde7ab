#include "clients/c/cmd/signals.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "clients/c/cmd/cli.h"
#include "service/base/fd.h"

#define ID_MAX 256
#define WAKE SIGUSR1 /* ends the thread; sent by signals_stop alone */

static struct {
    pthread_mutex_t lock;
    pthread_t thread;
    bool has_thread;
    bool stop_thread;
    struct pyexec_client *client;
    bool running;
    bool started; /* the ids below are the server's */
    char session_id[ID_MAX];
    char execution_id[ID_MAX];
    unsigned interrupts; /* of the running execution */
    bool ignore_idle;
    int stop_signal; /* 0: none */
    int stop_fd;     /* eventfd: readable from then on */
} state = {.lock = PTHREAD_MUTEX_INITIALIZER, .stop_fd = -1};

static void lock(void)
{
    (void)pthread_mutex_lock(&state.lock);
}

static void unlock(void)
{
    (void)pthread_mutex_unlock(&state.lock);
}

static void fill_set(sigset_t *set)
{
    (void)sigemptyset(set);
    (void)sigaddset(set, SIGINT);
    (void)sigaddset(set, SIGTERM);
    (void)sigaddset(set, SIGHUP);
    (void)sigaddset(set, WAKE);
}

void signals_block(void)
{
    sigset_t set;
    fill_set(&set);
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
}

void signals_unblock(void)
{
    sigset_t none;
    (void)sigemptyset(&none);
    (void)signal(SIGPIPE, SIG_DFL);
    (void)pthread_sigmask(SIG_SETMASK, &none, NULL);
}

static void stop(int signal_number)
{
    lock();
    state.stop_signal = signal_number;
    unlock();
    const uint64_t one = 1;
    ssize_t n = write(state.stop_fd, &one, sizeof one);
    (void)n; /* a full counter is readable, too */
    pyexec_cancel(state.client);
}

/* Interrupts or kills the running execution. */
static void send_interrupt(const char *session_id, const char *execution_id, unsigned count)
{
    struct pyexec_error err;
    enum pyexec_interrupt_mode mode = count > 1 ? PYEXEC_KILL : PYEXEC_INTERRUPT;
    if (pyexec_interrupt(state.client, session_id, execution_id, mode, &err) < 0 &&
        err.code != PYEXEC_CODE_NOT_FOUND && err.code != PYEXEC_CODE_CANCELLED) {
        cli_say("can't %s: %s", mode == PYEXEC_KILL ? "kill" : "interrupt", err.message);
    }
}

static void on_interrupt(void)
{
    char session_id[ID_MAX];
    char execution_id[ID_MAX];
    lock();
    bool running = state.running;
    bool known = state.session_id[0] != '\0';
    bool ignore = state.ignore_idle;
    unsigned count = running ? ++state.interrupts : 0;
    memcpy(session_id, state.session_id, sizeof session_id);
    memcpy(execution_id, state.execution_id, sizeof execution_id);
    unlock();
    if (!running) {
        if (!ignore) {
            stop(SIGINT);
        }
    } else if (count > 2 || (count == 2 && !known)) {
        /* Whoever asks so often wants to leave, whatever the server does. */
        stop(SIGINT);
    } else if (known) {
        send_interrupt(session_id, execution_id, count);
    }
}

static void *wait_for_signals(void *unused)
{
    sigset_t set;
    (void)unused;
    fill_set(&set);
    for (;;) {
        int n = 0;
        (void)sigwait(&set, &n);
        lock();
        bool over = state.stop_thread;
        unlock();
        if (over) {
            return NULL;
        }
        if (n == SIGINT) {
            on_interrupt();
        } else if (n == SIGTERM || n == SIGHUP) {
            stop(n);
        }
    }
}

int signals_start(struct pyexec_client *client)
{
    state.client = client;
    state.stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (state.stop_fd < 0) {
        cli_say("can't watch for signals: %s", strerror(errno));
        return -1;
    }
    int error = pthread_create(&state.thread, NULL, wait_for_signals, NULL);
    if (error != 0) {
        cli_say("can't start a thread: %s", strerror(error));
        return -1;
    }
    state.has_thread = true;
    return 0;
}

void signals_stop(void)
{
    if (!state.has_thread) {
        return;
    }
    lock();
    state.stop_thread = true;
    unlock();
    (void)pthread_kill(state.thread, WAKE);
    (void)pthread_join(state.thread, NULL);
    state.has_thread = false;
    fd_close(&state.stop_fd);
}

static void copy_id(char out[ID_MAX], const char *id)
{
    (void)snprintf(out, ID_MAX, "%s", id);
}

void signals_running(const char *session_id, const char *execution_id)
{
    lock();
    state.running = true;
    state.started = false;
    state.interrupts = 0;
    copy_id(state.session_id, session_id);
    copy_id(state.execution_id, execution_id);
    unlock();
}

void signals_started(const char *session_id, const char *execution_id)
{
    lock();
    bool first = !state.started;
    unsigned count = state.interrupts;
    state.started = true;
    copy_id(state.session_id, session_id);
    copy_id(state.execution_id, execution_id);
    unlock();
    /* A Ctrl-C that came before the server knew the execution found nothing to interrupt. */
    if (first && count > 0) {
        send_interrupt(session_id, execution_id, count);
    }
}

void signals_idle(void)
{
    lock();
    state.running = false;
    unlock();
}

void signals_ignore_idle_interrupt(void)
{
    lock();
    state.ignore_idle = true;
    unlock();
}

bool signals_stopping(void)
{
    lock();
    bool stopping = state.stop_signal != 0;
    unlock();
    return stopping;
}

bool signals_wait_input(int fd)
{
    struct pollfd fds[] = {{.fd = fd, .events = POLLIN}, {.fd = state.stop_fd, .events = POLLIN}};
    while (poll(fds, 2, -1) < 0 && errno == EINTR) {
    }
    return fds[1].revents == 0;
}

int signals_exit_code(int code)
{
    lock();
    int n = state.stop_signal;
    unlock();
    return n != 0 ? EXIT_SIGNAL_BASE + n : code;
}
