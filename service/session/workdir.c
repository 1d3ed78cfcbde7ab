/* workdir.c: working directories: private ones made and removed, chosen ones checked. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "service/session/internal.h"
#include "service/session/tree.h"

struct removal {
    uv_work_t work;
    struct engine *engine;
    char *name;
    ino_t inode; /* of what was made; 0: not known */
    bool moved;  /* something else, or nothing, was in its place */
    int result;
    void (*done)(void *ctx);
    void *ctx;
};

static void dir_free(struct workdir *d)
{
    if (d != NULL) {
        free(d->path);
        free(d->name);
        free(d);
    }
}

int workdir_make(struct engine *e, const char *name, struct workdir **ret_dir, struct err *err)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/work/%s", e->state_dir, name) >= (int)sizeof path) {
        return err_set(err, ERR_INTERNAL, "the state directory's path is too long");
    }
    struct workdir *d = calloc(1, sizeof *d);
    if (d == NULL || (d->path = strdup(path)) == NULL || (d->name = strdup(name)) == NULL) {
        dir_free(d);
        return err_set(err, ERR_NO_MEMORY, "out of memory");
    }
    if (strmap_put(&e->workdirs, name, d) < 0) {
        dir_free(d);
        return err_set(err, ERR_NO_MEMORY, "out of memory");
    }
    if (mkdirat(e->work_fd, name, 0700) < 0) {
        int at = errno;
        (void)strmap_remove(&e->workdirs, name);
        bool full = at == ENOSPC || at == EDQUOT;
        dir_free(d);
        return err_sys(err, full ? ERR_DISK_QUOTA : ERR_INTERNAL, at, "mkdir",
                       "the session's working directory can't be made: %s", strerror(at));
    }
    struct stat st;
    d->inode = fstatat(e->work_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 ? st.st_ino : 0;
    d->refs = 1;
    *ret_dir = d;
    return 0;
}

/* The root that `path` lies below; *ret_rest is the part below it. */
static const char *root_of(const struct engine *e, const char *path, const char **ret_rest)
{
    for (char **root = e->work_roots; *root != NULL; root++) {
        size_t n = strlen(*root);
        while (n > 1 && (*root)[n - 1] == '/') {
            n--;
        }
        if (strncmp(path, *root, n) == 0 && (path[n] == '/' || path[n] == '\0' || n == 1)) {
            const char *rest = path + n;
            while (*rest == '/') {
                rest++;
            }
            *ret_rest = *rest != '\0' ? rest : ".";
            return *root;
        }
    }
    return NULL;
}

static int open_beneath(const char *root, const char *rest, struct err *err)
{
    FD_AUTO int base = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (base < 0) {
        return err_sys(err, ERR_INTERNAL, errno, "open", "a work root can't be opened: %s",
                       strerror(errno));
    }
    struct open_how how = {
        .flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
    };
    int fd = (int)syscall(SYS_openat2, base, rest, &how, sizeof how);
    if (fd >= 0) {
        return fd;
    }
    if (errno == EXDEV || errno == ELOOP) {
        return err_set(err, ERR_PATH_OUTSIDE_ROOT,
                       "working_directory leads out of the server's work roots");
    }
    return err_sys(err, errno == EACCES ? ERR_FILE_DENIED : ERR_FILE_NOT_FOUND, errno, "open",
                   "working_directory can't be opened: %s", strerror(errno));
}

int workdir_choose(struct engine *e, const char *path, struct workdir **ret_dir, struct err *err)
{
    const char *rest;
    char link[64];
    char real[PATH_MAX];
    const char *root = path[0] == '/' ? root_of(e, path, &rest) : NULL;
    if (root == NULL) {
        return err_set(err, ERR_PATH_OUTSIDE_ROOT,
                       "working_directory is not an absolute path below one of the server's %s",
                       e->work_roots[0] != NULL ? "work roots" : "work roots (it has none)");
    }
    FD_AUTO int fd = open_beneath(root, rest, err);
    if (fd < 0) {
        return -1;
    }
    /* The kernel's name for what was opened: the session shall not go through links again. */
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, real, sizeof real - 1);
    if (n < 0) {
        return err_sys(err, ERR_INTERNAL, errno, "readlink", "working_directory: %s",
                       strerror(errno));
    }
    real[n] = '\0';
    struct workdir *d = calloc(1, sizeof *d);
    if (d == NULL || (d->path = strdup(real)) == NULL) {
        dir_free(d);
        return err_set(err, ERR_NO_MEMORY, "out of memory");
    }
    d->refs = 1;
    *ret_dir = d;
    return 0;
}

static void remove_tree(uv_work_t *work)
{
    struct removal *r = work->data;
    struct stat st;
    int dir = r->engine->work_fd;
    r->moved = r->inode != 0 &&
               (fstatat(dir, r->name, &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_ino != r->inode);
    r->result = tree_remove_at(dir, r->name);
}

static void removed(uv_work_t *work, int status);

static int queue_removal(struct engine *e, struct removal *r)
{
    r->work.data = r;
    r->engine = e;
    int rc = uv_queue_work(e->loop, &r->work, remove_tree, removed);
    e->jobs += rc == 0;
    return rc;
}

/* Code may move its directory away, or make others beside it. */
void workdir_sweep(struct engine *e)
{
    int fd = openat(e->work_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (dir == NULL) {
        fd_close(&fd);
        return;
    }
    struct dirent *entry;
    while ((entry = readdir(dir)) != NULL) {
        const char *name = entry->d_name;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 ||
            strmap_get(&e->workdirs, name) != NULL) {
            continue;
        }
        struct removal *r = calloc(1, sizeof *r);
        if (r == NULL || (r->name = strdup(name)) == NULL || queue_removal(e, r) < 0) {
            if (r != NULL) {
                free(r->name);
            }
            free(r);
            break;
        }
    }
    (void)closedir(dir);
}

static void removed(uv_work_t *work, int status)
{
    struct removal *r = work->data;
    struct engine *e = r->engine;
    if (status < 0 || r->result < 0) {
        log_event(LOG_ERROR, "workdir.remove", "session", r->name, "error",
                  strerror(status < 0 ? ECANCELED : -r->result), (char *)NULL);
    }
    if (r->moved) {
        log_event(LOG_WARN, "workdir.moved", "session", r->name, (char *)NULL);
        workdir_sweep(e);
    }
    if (r->done != NULL) {
        r->done(r->ctx);
    }
    free(r->name);
    free(r);
    e->jobs--;
    engine_check(e);
}

void workdir_release(struct engine *e, struct workdir *d, void (*done)(void *ctx), void *ctx)
{
    bool remove = d != NULL && --d->refs == 0 && d->name != NULL;
    struct removal *r = remove ? calloc(1, sizeof *r) : NULL;
    if (remove) {
        (void)strmap_remove(&e->workdirs, d->name);
    }
    if (r != NULL) {
        r->name = d->name;
        r->inode = d->inode;
        r->done = done;
        r->ctx = ctx;
        d->name = NULL;
        if (queue_removal(e, r) == 0) {
            done = NULL;
        } else {
            (void)tree_remove_at(e->work_fd, r->name);
            free(r->name);
            free(r);
        }
    } else if (remove) {
        (void)tree_remove_at(e->work_fd, d->name);
    }
    if (d != NULL && d->refs == 0) {
        dir_free(d);
    }
    if (done != NULL) {
        done(ctx);
    }
}
