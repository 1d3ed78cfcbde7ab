/* fork() of a live interpreter, the way CPython wants it: sessions from the zygote, branches from a
 * session.
 *
 * A branch must be a child of the session's parent, at once and for good: user code that waits for
 * any child must not see it, and it has to outlive the session. So a helper that shares our memory
 * (as vfork does) makes the real fork(), with every handler that libraries registered for it, and
 * ends; the kernel gives the orphan to the nearest subreaper, which for that moment is not us. */
#include "service/pyembed/python.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include "service/pyembed/children.h"
#include "service/pyembed/pyembed.h"
#include "service/pyembed/session_python.h"
#include "service/pyembed/text.h"
#include "service/pyembed/threads.h"

#define HELPER_STACK (256u << 10) /* fork handlers of libraries run on it */

pid_t pyembed_fork(void)
{
    PyOS_BeforeFork();
    pid_t pid = fork();
    if (pid != 0) {
        int saved = errno;
        PyOS_AfterFork_Parent();
        errno = saved;
    }
    return pid;
}

/* --- branches ----------------------------------------------------------------------------------- */

struct branch_fork {
    ucontext_t resume; /* where the branch goes on: on the main stack, which it has a copy of */
    volatile bool is_branch;
    volatile pid_t pid;
    volatile int error;
};

static int helper(void *arg)
{
    struct branch_fork *f = arg;
    pid_t pid = fork();
    if (pid == 0) {
        f->is_branch = true;
        (void)setcontext(&f->resume);
        return 127;
    }
    f->pid = pid;
    f->error = errno;
    return 0; /* of clone's function: the helper ends, and nothing else does */
}

/* 0 in the parent with *ret_pid, 1 in the branch, or a negative errno. Signals are blocked. */
static int fork_through_helper(pid_t *ret_pid)
{
    static struct branch_fork f; /* not on a stack that two contexts use */
    f.is_branch = false;
    f.pid = -1;
    f.error = 0;
    char *stack = mmap(NULL, HELPER_STACK, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (stack == MAP_FAILED) {
        return -errno;
    }
    (void)getcontext(&f.resume);
    if (f.is_branch) {
        (void)munmap(stack, HELPER_STACK);
        return 1;
    }
    /* No exit signal: neither SIGCHLD nor os.wait() notices the helper. */
    pid_t pid = clone(helper, stack + HELPER_STACK, CLONE_VM | CLONE_VFORK, &f);
    int r = pid < 0 ? -errno : 0;
    if (pid >= 0) {
        while (waitpid(pid, NULL, __WCLONE) < 0 && errno == EINTR) {
        }
        r = f.pid < 0 ? -f.error : 0;
        *ret_pid = f.pid;
    }
    (void)munmap(stack, HELPER_STACK);
    return r;
}

static int count_tasks(void)
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

/* Names of the threads that stay behind, and whether processes do, for a person. */
static void describe_lost(char *text, size_t size)
{
    size_t n = 0;
    text[0] = '\0';
    PyObject *names = threads_alive() == 0 ? NULL : pyembed_support("lost_threads", "");
    if (names != NULL) {
        struct arena arena;
        arena_init(&arena, 4096);
        char *s = text_of(names, size / 2, &arena);
        n = (size_t)snprintf(text, size, "threads that the branch does not have: %s",
                             s == NULL ? "?" : s);
        arena_release(&arena);
        Py_DECREF(names);
    }
    PyErr_Clear();
    if (n < size && children_exist()) {
        (void)snprintf(text + n, size - n, "%schild processes stay with the parent session",
                       n > 0 ? "; " : "");
    }
}

int session_python_branch(pid_t *ret_pid, char *unsafe, size_t unsafe_size, char *lost,
                          size_t lost_size, struct err *err)
{
    int native = count_tasks() - 1 - (int)threads_alive();
    if (native > 0) {
        (void)snprintf(unsafe, unsafe_size,
                       "%d threads run that Python did not start, and what they hold locked would "
                       "stay locked in a branch",
                       native);
        return err_set(err, ERR_FORK_UNSAFE, "%s", unsafe);
    }
    describe_lost(lost, lost_size);
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    PyOS_BeforeFork();
    pthread_sigmask(SIG_SETMASK, &all, &before);
    (void)prctl(PR_SET_CHILD_SUBREAPER, 0);
    int r = fork_through_helper(ret_pid);
    if (r != 1) {
        (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (r != 1) {
        PyOS_AfterFork_Parent();
    }
    if (r < 0) {
        return err_sys(err, ERR_FORK_FAILED, -r, "fork", "the session could not be forked");
    }
    return r;
}
