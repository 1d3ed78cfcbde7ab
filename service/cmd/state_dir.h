/* state_dir.h: the daemon's own directory, held by one daemon at a time. */
#ifndef PYEXEC_CMD_STATE_DIR_H
#define PYEXEC_CMD_STATE_DIR_H

#include "service/base/err.h"

/* Makes `path` and its parents (mode 0700), takes its lock, which lasts until *ret_lock_fd is closed
 * or the process ends. 0, or -1: taken by a living daemon, or not usable (not a directory,
 * not ours, open to others). Single thread, at start. */
int state_dir_open(const char *path, int *ret_lock_fd, struct err *err);

/* Makes the parent directory of a Unix socket's path (mode 0700) when it is missing. 0 or -1. */
int state_dir_parent(const char *path, struct err *err);

#endif
