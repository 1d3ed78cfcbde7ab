#include "service/cmd/state_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "service/base/fd.h"

/* mkdir -p with mode 0700 for what is new. */
static int make_path(const char *path, struct err *err)
{
    char copy[PATH_MAX];
    if (path[0] != '/' || snprintf(copy, sizeof copy, "%s", path) >= (int)sizeof copy) {
        return err_set(err, ERR_INVALID_FIELD,
                       "%.128s: want an absolute path of less than %d bytes", path, PATH_MAX);
    }
    for (char *p = copy + 1;; p++) {
        if (*p != '/' && *p != '\0') {
            continue;
        }
        char saved = *p;
        *p = '\0';
        if (mkdir(copy, 0700) < 0 && errno != EEXIST) {
            return err_sys(err, ERR_INVALID_FIELD, errno, "mkdir", "%.128s: %s", copy,
                           strerror(errno));
        }
        *p = saved;
        if (saved == '\0') {
            return 0;
        }
    }
}

static int check_ours(int dir, const char *path, struct err *err)
{
    struct stat st;
    if (fstat(dir, &st) < 0) {
        return err_sys(err, ERR_INVALID_FIELD, errno, "fstat", "%.128s: %s", path, strerror(errno));
    }
    if (st.st_uid != geteuid()) {
        return err_set(err, ERR_INVALID_FIELD, "%.128s belongs to uid %u, not to this daemon's %u",
                       path, (unsigned)st.st_uid, (unsigned)geteuid());
    }
    if ((st.st_mode & 022) != 0) {
        return err_set(err, ERR_INVALID_FIELD, "%.128s may be written by others: chmod 700 it",
                       path);
    }
    return 0;
}

int state_dir_open(const char *path, int *ret_lock_fd, struct err *err)
{
    if (make_path(path, err) < 0) {
        return -1;
    }
    FD_AUTO int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (dir < 0) {
        return err_sys(err, ERR_INVALID_FIELD, errno, "open", "%.128s: %s", path, strerror(errno));
    }
    if (check_ours(dir, path, err) < 0) {
        return -1;
    }
    FD_AUTO int lock = openat(dir, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (lock < 0) {
        return err_sys(err, ERR_INVALID_FIELD, errno, "open", "%.128s/lock: %s", path,
                       strerror(errno));
    }
    if (flock(lock, LOCK_EX | LOCK_NB) < 0) {
        return errno == EWOULDBLOCK
                   ? err_set(err, ERR_INVALID_FIELD,
                             "%.128s is in use by another pyexecd: give --state-dir another one",
                             path)
                   : err_sys(err, ERR_INVALID_FIELD, errno, "flock", "%.128s/lock: %s", path,
                             strerror(errno));
    }
    *ret_lock_fd = FD_STEAL(lock);
    return 0;
}

int state_dir_parent(const char *path, struct err *err)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL || slash == path) {
        return 0;
    }
    char parent[PATH_MAX];
    if (snprintf(parent, sizeof parent, "%.*s", (int)(slash - path), path) >= (int)sizeof parent) {
        return err_set(err, ERR_INVALID_FIELD, "%.128s: the path is too long", path);
    }
    return access(parent, F_OK) == 0 ? 0 : make_path(parent, err);
}
