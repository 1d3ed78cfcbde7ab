/* start.h: how the launcher starts the pyexec-zygote program. */
#ifndef PYEXEC_ZYGOTE_START_H
#define PYEXEC_ZYGOTE_START_H

#include <sys/types.h>

/* The number of a zygote's socket to the daemon; its only descriptor besides 0, 1 and 2. */
#define ZYGOTE_FD 3

/* The environment of every zygote, and so of every session: nothing of the daemon's, whose variables
 * may hold secrets. NULL-terminated; NULL when memory is out. Free with start_free_environment. */
char **start_environment(void);
void start_free_environment(char **env);

/* fork and exec of `path` with `socket` as ZYGOTE_FD. The new process has no other descriptor but the
 * standard ones, an empty signal mask, and gets SIGTERM when this process ends. The pid, or a negative
 * errno and the static name of what failed. */
pid_t start_zygote(const char *path, char *const env[], int socket, const char **ret_stage);

#endif
