/* launcher.h: the process that starts zygotes and takes everything along when the daemon dies. */
#ifndef PYEXEC_ZYGOTE_LAUNCHER_H
#define PYEXEC_ZYGOTE_LAUNCHER_H

#include <sys/types.h>

#include "service/base/err.h"

/* Forks the launcher. First thing in the daemon's main: no thread, no libuv loop, no gRPC yet, all
 * signals blocked. *ret_fd is the daemon's end of the socket (CLOEXEC, non-blocking); the child never
 * returns. 0 or -1. */
int launcher_start(int *ret_fd, pid_t *ret_pid, struct err *err);

#endif
