/* fd.h: file descriptors: close-on-exec at birth, -1 when empty, closed once. */
#ifndef PYEXEC_BASE_FD_H
#define PYEXEC_BASE_FD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Closes *fd if it is >= 0 and sets it to -1; keeps errno. */
void fd_close(int *fd);

/* `FD_AUTO int fd = ...;` closes at the end of the scope; leave with FD_STEAL(fd). */
#define FD_AUTO __attribute__((cleanup(fd_close)))
#define FD_STEAL(fd) fd_steal(&(fd))
static inline int fd_steal(int *fd)
{
    int r = *fd;
    *fd = -1;
    return r;
}

/* 0, or a negative errno. */
int fd_pipe(int ret_fds[2]);       /* [0] reads, [1] writes; both CLOEXEC, blocking */
int fd_socketpair(int ret_fds[2]); /* AF_UNIX SOCK_STREAM, CLOEXEC, blocking */
int fd_set_nonblock(int fd, bool on);
int fd_set_cloexec(int fd, bool on);

/* Closes every descriptor that is not in `keep` (any order, at most 64, all >= 0); no allocation,
 * async-signal-safe. For a forked child. */
void fd_close_all_but(const int *keep, size_t n);

/* Whole-buffer write on a blocking descriptor, retrying EINTR. 0, or a negative errno. */
int fd_write_all(int fd, const void *data, size_t n);

/* Number of open descriptors of this process, or a negative errno. */
int fd_count_open(void);

#endif
