#include "tests/unit/zygote/stub_session.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "service/base/fd.h"
#include "service/child/child.h"
#include "service/pyembed/pyembed.h"
#include "service/wire/session_frames.h"

/* --- pyembed ---------------------------------------------------------------------------------- */

int pyembed_init(const char *python, struct err *err)
{
    return strcmp(python, "missing") == 0 ? err_set(err, ERR_INTERNAL, "no such python") : 0;
}

int pyembed_import(const char *module, char *text, size_t text_size)
{
    if (strcmp(module, "bad") == 0) {
        (void)snprintf(text, text_size, "ModuleNotFoundError: No module named 'bad'");
        return -1;
    }
    return 0;
}

int pyembed_settle(struct err *err)
{
    (void)err;
    return 0;
}

const char *pyembed_version(void)
{
    return "3.11.2";
}

bool pyembed_available(const char *module)
{
    return strcmp(module, "IPython") == 0;
}

pid_t pyembed_fork(void)
{
    return fork();
}

/* A pipe that fails leaves the test without its answer, which it notices. */
static void put(int fd, const void *data, size_t n)
{
    (void)!write(fd, data, n);
}

static void get(int fd, void *data, size_t n)
{
    (void)!read(fd, data, n);
}

/* --- what a session leaves behind ---------------------------------------------------------------- */

__attribute__((noreturn)) static void live_for_ever(void)
{
    put(STDOUT_FILENO, "D", 1);
    for (;;) {
        (void)pause();
    }
}

static void leave_daemon(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        if (fork() == 0) {
            sigset_t all;
            (void)setsid();
            (void)sigfillset(&all);
            (void)sigprocmask(SIG_SETMASK, &all, NULL);
            live_for_ever();
        }
        _exit(0);
    }
    (void)waitpid(pid, NULL, 0);
}

static void leave_stopped(void)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        (void)raise(SIGSTOP);
        live_for_ever();
    }
    (void)waitpid(pid, &status, WUNTRACED);
}

/* Grows while it is being killed, up to a size that the machine can bear. */
static void leave_bomb(void)
{
    _Atomic int *forks =
        mmap(NULL, sizeof *forks, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (forks == MAP_FAILED) {
        return;
    }
    if (fork() == 0) {
        while (atomic_fetch_add(forks, 1) < STUB_BOMB_FORKS) {
            (void)setsid();
            (void)fork();
        }
        live_for_ever();
    }
    while (atomic_load(forks) < STUB_BOMB_FORKS / 4) {
        (void)sched_yield();
    }
}

static void leave_respawner(void)
{
    int turns[2];
    char turn;
    if (pipe(turns) < 0) {
        return;
    }
    if (fork() == 0) {
        for (long left = 1000000; left > 0; left--) {
            if (left % 16 == 0) {
                (void)setsid();
            }
            pid_t pid = fork();
            if (pid > 0) {
                _exit(0);
            }
            if (left == 1000000 - 20) {
                put(turns[1], "t", 1);
            }
        }
        _exit(0);
    }
    get(turns[0], &turn, 1);
    (void)close(turns[0]);
    (void)close(turns[1]);
}

static void branch(int control, bool dies)
{
    int answer[2];
    pid_t pid = 0;
    if (pipe(answer) < 0) {
        return;
    }
    (void)prctl(PR_SET_CHILD_SUBREAPER, 0);
    pid_t between = fork();
    if (between == 0) {
        pid = fork();
        if (pid == 0) {
            (void)setsid();
            if (dies) {
                _exit(9);
            }
            (void)close(control);
            live_for_ever();
        }
        put(answer[1], &pid, sizeof pid);
        _exit(0);
    }
    get(answer[0], &pid, sizeof pid);
    (void)waitpid(between, NULL, 0);
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
    (void)close(answer[0]);
    (void)close(answer[1]);
    (void)send(control, &pid, sizeof pid, MSG_NOSIGNAL);
}

/* --- the session ------------------------------------------------------------------------------ */

static long number_in(const char *path, const char *after, int base)
{
    char text[8192];
    FD_AUTO int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (n < 0) {
        return -1;
    }
    text[n] = '\0';
    const char *at = strstr(text, after);
    return at == NULL ? -1 : strtol(at + strlen(after), NULL, base);
}

static void tell_facts(int control, bool warm_up)
{
    sigset_t mask;
    struct sigaction pipe_action;
    struct sigaction interrupt_action;
    (void)sigprocmask(SIG_SETMASK, NULL, &mask);
    (void)sigaction(SIGPIPE, NULL, &pipe_action);
    (void)sigaction(SIGINT, NULL, &interrupt_action);
    struct stub_facts f = {
        .interrupt_blocked = (char)sigismember(&mask, SIGINT),
        .terminate_blocked = (char)sigismember(&mask, SIGTERM),
        .pipe_ignored = pipe_action.sa_handler == SIG_IGN,
        .interrupt_default = interrupt_action.sa_handler == SIG_DFL,
        .descriptors = (char)fd_count_open(),
        .capabilities = number_in("/proc/self/status", "CapPrm:", 16) != 0,
        .no_new_privs = number_in("/proc/self/status", "NoNewPrivs:", 10) == 1,
        .oom_score_raised = number_in("/proc/self/oom_score_adj", "", 10) >= 500,
        .warm_up = warm_up,
        .secret_seen = getenv("PYEXEC_TEST_SECRET") != NULL,
    };
    (void)send(control, &f, sizeof f, MSG_NOSIGNAL);
}

static void obey(char command, int control, bool warm_up)
{
    switch (command) {
    case STUB_EXIT:
        _exit(7);
    case STUB_KILL:
        (void)raise(SIGKILL);
        break;
    case STUB_ESCAPE:
        (void)prctl(PR_SET_CHILD_SUBREAPER, 0);
        leave_daemon();
        break;
    case STUB_DAEMON:
        leave_daemon();
        break;
    case STUB_STOPPED:
        leave_stopped();
        break;
    case STUB_BOMB:
        leave_bomb();
        break;
    case STUB_RESPAWN:
        leave_respawner();
        break;
    case STUB_BRANCH:
    case STUB_BRANCH_DIES:
        branch(control, command == STUB_BRANCH_DIES);
        return;
    case STUB_FACTS:
        tell_facts(control, warm_up);
        return;
    default:
        break;
    }
    (void)send(control, &(char){STUB_DONE}, 1, MSG_NOSIGNAL);
}

void child_run(const struct child_start *start)
{
    char command;
    int control = fcntl(start->control, F_DUPFD_CLOEXEC, 64);
    int out = fcntl(start->out, F_DUPFD_CLOEXEC, 64);
    int err = fcntl(start->err, F_DUPFD_CLOEXEC, 64);
    (void)dup2(out, STDOUT_FILENO);
    (void)dup2(err, STDERR_FILENO);
    (void)dup2(control, SESSION_FD_CONTROL);
    fd_close_all_but((int[]){0, 1, 2, SESSION_FD_CONTROL}, 4);
    (void)setsid();
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
    if (start->confine(start->confine_ctx) != NULL) {
        _exit(97);
    }
    (void)send(SESSION_FD_CONTROL, &(char){STUB_READY}, 1, MSG_NOSIGNAL);
    while (read(SESSION_FD_CONTROL, &command, 1) == 1) {
        obey(command, SESSION_FD_CONTROL, start->warm_up);
    }
    _exit(0);
}
