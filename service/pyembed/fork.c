/* fork() of a live interpreter, the way CPython wants it. */
#include "service/pyembed/python.h"

#include <errno.h>
#include <unistd.h>

#include "service/pyembed/pyembed.h"
#include "service/pyembed/session_python.h"

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

int session_python_branch(pid_t *ret_pid, char *unsafe, size_t unsafe_size, char *lost_threads,
                          size_t lost_size, struct err *err)
{
    (void)ret_pid; (void)unsafe; (void)unsafe_size; (void)lost_threads; (void)lost_size;
    return err_sys(err, ERR_FORK_FAILED, ENOSYS, "branch", "not built");
}
