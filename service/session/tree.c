#include "service/session/tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "service/base/fd.h"

/* Passes over the top directory; each takes what renames have brought up since the last. Somebody
 * who creates files faster than we remove them must not keep us for ever. */
#define PASSES_MAX 1000000

struct removal {
    int top;
    unsigned next_name;
    bool moved; /* a subdirectory was brought up: another pass is due */
    int error;  /* the first */
};

static void note(struct removal *r, int negative_errno)
{
    if (r->error == 0) {
        r->error = negative_errno;
    }
}

/* O_PATH never needs permission on the directory itself; chmod through /proc reaches just it. */
static int open_directory(int dir, const char *name)
{
    int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0 || errno != EACCES) {
        return fd < 0 ? -errno : fd;
    }
    FD_AUTO int path = openat(dir, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    char link[64];
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", path);
    if (path < 0 || chmod(link, 0700) < 0) {
        return -errno;
    }
    fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

/* A directory may lack write permission for removing what is in it. */
static void make_writable(int fd)
{
    struct stat st;
    if (fstat(fd, &st) == 0 && (st.st_mode & 0700) != 0700) {
        (void)fchmod(fd, 0700);
    }
}

/* Moves a directory to the top under a name that is free. */
static int bring_up(struct removal *r, int dir, const char *name)
{
    char unique[32];
    for (int tries = 0; tries < 1000; tries++) {
        (void)snprintf(unique, sizeof unique, ".removing-%u", r->next_name++);
        if (renameat2(dir, name, r->top, unique, RENAME_NOREPLACE) == 0) {
            r->moved = true;
            return 0;
        }
        if (errno == EACCES && tries == 0) {
            /* Its `..` changes: the directory itself must be writable. */
            FD_AUTO int fd = open_directory(dir, name);
            if (fd < 0) {
                return fd;
            }
            make_writable(fd);
        } else if (errno != EEXIST) {
            break;
        }
    }
    return -errno;
}

static bool dots(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* Unlinks every file of the directory and calls `sub` for every subdirectory. Takes `fd`. */
static void empty(struct removal *r, int take_fd,
                  int (*sub)(struct removal *r, int dir, const char *name))
{
    DIR *stream = fdopendir(take_fd);
    if (stream == NULL) {
        note(r, -errno);
        fd_close(&take_fd);
        return;
    }
    make_writable(take_fd);
    for (struct dirent *e; (e = readdir(stream)) != NULL;) {
        if (dots(e->d_name) || unlinkat(take_fd, e->d_name, 0) == 0 || errno == ENOENT) {
            continue;
        }
        int result = errno == EISDIR || errno == EPERM ? sub(r, take_fd, e->d_name) : -errno;
        if (result < 0 && result != -ENOENT) {
            note(r, result);
        }
    }
    (void)closedir(stream);
}

/* A subdirectory of the top: its own subdirectories come up, then it goes. */
static int remove_second(struct removal *r, int dir, const char *name)
{
    if (unlinkat(dir, name, AT_REMOVEDIR) == 0) {
        return 0;
    }
    int fd = open_directory(dir, name);
    if (fd < 0) {
        return fd;
    }
    empty(r, fd, bring_up);
    return unlinkat(dir, name, AT_REMOVEDIR) == 0 ? 0 : -errno;
}

int tree_remove_at(int dir, const char *name)
{
    struct removal r = {.top = open_directory(dir, name)};
    if (r.top < 0) {
        return r.top == -ENOENT ? 0 : r.top;
    }
    for (unsigned pass = 0; pass < PASSES_MAX; pass++) {
        int again = openat(r.top, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (again < 0) {
            note(&r, -errno);
            break;
        }
        r.moved = false;
        empty(&r, again, remove_second);
        if (!r.moved) {
            break;
        }
    }
    fd_close(&r.top);
    if (unlinkat(dir, name, AT_REMOVEDIR) < 0 && errno != ENOENT) {
        note(&r, -errno);
        return r.error;
    }
    return 0;
}
