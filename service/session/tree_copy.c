#include "service/session/tree_copy.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "service/base/fd.h"

#define CHUNK (1u << 20)

static int copy_directory(int from, int to, unsigned depth, struct tree_copied *c);

/* The part after a reflink that was not possible: the file may grow while it is copied, so the
 * bound is looked at as it goes. */
static int copy_content(int in, int out, struct tree_copied *c)
{
    if (ioctl(out, FICLONE, in) == 0) {
        struct stat st;
        c->bytes += fstat(out, &st) == 0 ? (uint64_t)st.st_size : 0;
        return c->bytes > TREE_COPY_BYTES_MAX ? -EFBIG : 0;
    }
    for (;;) {
        ssize_t n = copy_file_range(in, NULL, out, NULL, CHUNK, 0);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return n < 0 ? -errno : 0;
        }
        c->bytes += (uint64_t)n;
        if (c->bytes > TREE_COPY_BYTES_MAX) {
            return -EFBIG;
        }
    }
}

static int copy_file(int from, int to, const char *name, mode_t mode, struct tree_copied *c)
{
    FD_AUTO int in = openat(from, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    struct stat st;
    if (in < 0 || fstat(in, &st) < 0) {
        return errno == ENOENT ? 0 : -errno;
    }
    if (!S_ISREG(st.st_mode)) {
        c->skipped++; /* it has become something else since */
        return 0;
    }
    FD_AUTO int out = openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (out < 0) {
        return -errno;
    }
    int r = copy_content(in, out, c);
    return r == 0 && fchmod(out, mode & 0777) < 0 ? -errno : r;
}

static int copy_link(int from, int to, const char *name)
{
    char target[PATH_MAX];
    ssize_t n = readlinkat(from, name, target, sizeof target - 1);
    if (n < 0) {
        return errno == ENOENT || errno == EINVAL ? 0 : -errno;
    }
    target[n] = '\0';
    return symlinkat(target, to, name) < 0 ? -errno : 0;
}

static int copy_subdirectory(int from, int to, const char *name, mode_t mode, unsigned depth,
                             struct tree_copied *c)
{
    const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    if (depth >= TREE_COPY_DEPTH_MAX) {
        return -EFBIG;
    }
    FD_AUTO int in = openat(from, name, flags);
    if (in < 0) {
        return errno == ENOENT ? 0 : -errno;
    }
    if (mkdirat(to, name, 0700) < 0) {
        return -errno;
    }
    FD_AUTO int out = openat(to, name, flags);
    if (out < 0) {
        return -errno;
    }
    int r = copy_directory(in, out, depth + 1, c);
    return r == 0 && fchmod(out, mode & 0777) < 0 ? -errno : r;
}

static int copy_entry(int from, int to, const char *name, unsigned depth, struct tree_copied *c)
{
    struct stat st;
    if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
        return errno == ENOENT ? 0 : -errno;
    }
    if (++c->entries > TREE_COPY_ENTRIES_MAX) {
        return -EFBIG;
    }
    if (S_ISREG(st.st_mode)) {
        return copy_file(from, to, name, st.st_mode, c);
    }
    if (S_ISDIR(st.st_mode)) {
        return copy_subdirectory(from, to, name, st.st_mode, depth, c);
    }
    if (S_ISLNK(st.st_mode)) {
        return copy_link(from, to, name);
    }
    c->skipped++;
    return 0;
}

static int copy_directory(int from, int to, unsigned depth, struct tree_copied *c)
{
    int fd = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = fd >= 0 ? fdopendir(fd) : NULL;
    if (stream == NULL) {
        int e = -errno;
        fd_close(&fd);
        return e;
    }
    int r = 0;
    for (struct dirent *e; r == 0 && (e = readdir(stream)) != NULL;) {
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) {
            r = copy_entry(from, to, e->d_name, depth, c);
        }
    }
    (void)closedir(stream);
    return r;
}

int tree_copy(int from, int to, struct tree_copied *ret_copied)
{
    *ret_copied = (struct tree_copied){0};
    return copy_directory(from, to, 0, ret_copied);
}
