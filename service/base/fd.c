#include "service/base/fd.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

void fd_close(int *fd)
{
    if (*fd >= 0) {
        int saved = errno;
        (void)close(*fd); /* Linux releases the descriptor even on EINTR: never close again */
        errno = saved;
        *fd = -1;
    }
}

int fd_pipe(int ret_fds[2])
{
    int p[2];
    if (pipe2(p, O_CLOEXEC) < 0) {
        return -errno;
    }
    ret_fds[0] = p[0];
    ret_fds[1] = p[1];
    return 0;
}

int fd_socketpair(int ret_fds[2])
{
    int p[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, p) < 0) {
        return -errno;
    }
    ret_fds[0] = p[0];
    ret_fds[1] = p[1];
    return 0;
}

static int change_flag(int fd, int get, int set, int flag, bool on)
{
    int flags = fcntl(fd, get);
    if (flags < 0) {
        return -errno;
    }
    int want = on ? flags | flag : flags & ~flag;
    if (want != flags && fcntl(fd, set, want) < 0) {
        return -errno;
    }
    return 0;
}

int fd_set_nonblock(int fd, bool on)
{
    return change_flag(fd, F_GETFL, F_SETFL, O_NONBLOCK, on);
}

int fd_set_cloexec(int fd, bool on)
{
    return change_flag(fd, F_GETFD, F_SETFD, FD_CLOEXEC, on);
}

void fd_close_all_but(const int *keep, size_t n)
{
    assert(n <= 64);
    /* Walk the gaps between the kept ones in rising order, without sorting in place. */
    unsigned from = 0;
    for (;;) {
        unsigned next = UINT_MAX;
        for (size_t i = 0; i < n; i++) {
            unsigned k = (unsigned)keep[i];
            if (k >= from && k < next) {
                next = k;
            }
        }
        if (next == UINT_MAX) {
            (void)syscall(SYS_close_range, from, UINT_MAX, 0);
            return;
        }
        if (next > from) {
            (void)syscall(SYS_close_range, from, next - 1, 0);
        }
        from = next + 1;
    }
}

int fd_write_all(int fd, const void *data, size_t n)
{
    const char *p = data;
    while (n > 0) {
        ssize_t w = write(fd, p, n);
        if (w < 0) {
            if (errno == EINTR) {
                continue;
            }
            return -errno;
        }
        p += w;
        n -= (size_t)w;
    }
    return 0;
}

int fd_count_open(void)
{
    DIR *d = opendir("/proc/self/fd");
    if (d == NULL) {
        return -errno;
    }
    int n = 0;
    while (readdir(d) != NULL) {
        n++;
    }
    closedir(d);
    return n - 3; /* ".", "..", and the one that opendir used */
}
