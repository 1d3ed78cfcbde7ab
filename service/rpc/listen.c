#include "service/rpc/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "service/base/fd.h"

#define BACKLOG 1024
#define LOCK_SUFFIX ".lock"

static int fail(struct err *err, const struct address *a, const char *stage, int sys_errno)
{
    char text[ADDRESS_TEXT_MAX];
    address_format(a, text, sizeof text);
    return err_sys(err, ERR_INTERNAL, sys_errno, stage, "can't listen on %s: %s: %s", text, stage,
                   strerror(sys_errno));
}

static void lock_path(const struct address *a, char *out, size_t size)
{
    (void)snprintf(out, size, "%s" LOCK_SUFFIX, address_path(a));
}

/* Takes the lock that says that this daemon owns the socket file. The file may be unlinked by its
 * former owner between open and flock: then it is not the one that others would find. */
static int take_lock(const struct address *a, int *ret_fd, struct err *err)
{
    char path[ADDRESS_TEXT_MAX];
    lock_path(a, path, sizeof path);
    for (;;) {
        struct stat mine;
        struct stat there;
        FD_AUTO int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0) {
            return fail(err, a, "open the lock file", errno);
        }
        if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
            if (errno != EWOULDBLOCK) {
                return fail(err, a, "lock", errno);
            }
            return err_set(err, ERR_INTERNAL,
                           "can't listen on unix:%s: another pyexecd does; stop it, or choose "
                           "another --listen",
                           address_path(a));
        }
        if (fstat(fd, &mine) == 0 && lstat(path, &there) == 0 && mine.st_ino == there.st_ino &&
            mine.st_dev == there.st_dev) {
            *ret_fd = FD_STEAL(fd);
            return 0;
        }
    }
}

/* With the lock held: removes what a daemon that was killed left behind, nothing else. */
static int remove_stale(const struct address *a, struct err *err)
{
    const char *path = address_path(a);
    struct stat st;
    if (lstat(path, &st) < 0) {
        return errno == ENOENT ? 0 : fail(err, a, "look at the path", errno);
    }
    if (!S_ISSOCK(st.st_mode)) {
        return err_set(err, ERR_INTERNAL,
                       "can't listen on unix:%s: there is a file that isn't a socket", path);
    }
    FD_AUTO int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (probe < 0) {
        return fail(err, a, "socket", errno);
    }
    if (connect(probe, (const struct sockaddr *)&a->sockaddr, a->len) == 0 || errno == EAGAIN) {
        return err_set(err, ERR_INTERNAL,
                       "can't listen on unix:%s: another program does; stop it, or choose another "
                       "--listen",
                       path);
    }
    if (errno != ECONNREFUSED) {
        return fail(err, a, "connect to the socket that is there", errno);
    }
    return unlink(path) == 0 ? 0 : fail(err, a, "remove the stale socket", errno);
}

static void remove_files(struct listener *l)
{
    char path[ADDRESS_TEXT_MAX];
    struct stat st;
    if (l->lock_fd < 0) {
        return;
    }
    if (l->ino != 0 && lstat(address_path(&l->address), &st) == 0 && st.st_ino == l->ino &&
        st.st_dev == l->dev) {
        (void)unlink(address_path(&l->address));
    }
    lock_path(&l->address, path, sizeof path);
    (void)unlink(path);
    fd_close(&l->lock_fd);
}

static int bind_one(struct listener *l, const char *text, struct err *err)
{
    struct address *a = &l->address;
    struct stat st;
    const int on = 1;
    if (address_parse(text, a, err) < 0) {
        return -1;
    }
    if (a->kind == ADDRESS_UNIX &&
        (take_lock(a, &l->lock_fd, err) < 0 || remove_stale(a, err) < 0)) {
        return -1;
    }
    l->fd = socket(a->sockaddr.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (l->fd < 0) {
        return fail(err, a, "socket", errno);
    }
    /* The socket's mode becomes the file's when it is bound: never wider, not for a moment. */
    if (a->kind == ADDRESS_UNIX && fchmod(l->fd, 0600) < 0) {
        return fail(err, a, "fchmod", errno);
    }
    if (a->kind == ADDRESS_TCP) {
        (void)setsockopt(l->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    }
    if (bind(l->fd, (const struct sockaddr *)&a->sockaddr, a->len) < 0) {
        return fail(err, a, "bind", errno);
    }
    if (a->kind == ADDRESS_UNIX && lstat(address_path(a), &st) == 0) {
        l->dev = st.st_dev;
        l->ino = st.st_ino;
    }
    if (listen(l->fd, BACKLOG) < 0) {
        return fail(err, a, "listen", errno);
    }
    if (a->kind == ADDRESS_TCP) {
        (void)getsockname(l->fd, (struct sockaddr *)&a->sockaddr, &(socklen_t){sizeof a->sockaddr});
    }
    return 0;
}

void listeners_release(struct listeners *set)
{
    for (unsigned i = 0; i < set->n; i++) {
        fd_close(&set->items[i].fd);
        remove_files(&set->items[i]);
    }
    set->n = 0;
    fd_close(&set->reserve_fd);
    free(set->connections);
    set->connections = NULL;
}

int listeners_bind(struct listeners *set, const char *const *addresses, uint32_t max_connections,
                   struct buf *names, struct err *err)
{
    set->n = 0;
    set->connections_max = max_connections;
    set->connections = calloc(max_connections, sizeof *set->connections);
    set->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (set->connections == NULL || set->reserve_fd < 0) {
        (void)err_set(err, ERR_NO_MEMORY, "no memory or no descriptor for the listeners");
        listeners_release(set);
        return -1;
    }
    for (; addresses[set->n] != NULL; set->n++) {
        char text[ADDRESS_TEXT_MAX];
        struct listener *l = &set->items[set->n];
        if (set->n == LISTENERS_MAX) {
            (void)err_set(err, ERR_INVALID_FIELD, "--listen: at most %d addresses", LISTENERS_MAX);
            listeners_release(set);
            return -1;
        }
        *l = (struct listener){.set = set, .fd = -1, .lock_fd = -1};
        if (bind_one(l, addresses[set->n], err) < 0) {
            set->n++;
            listeners_release(set);
            return -1;
        }
        address_format(&l->address, text, sizeof text);
        if (buf_append_str(names, names->len ? " " : "") < 0 || buf_append_str(names, text) < 0) {
            (void)err_set(err, ERR_NO_MEMORY, "no memory for the addresses");
            set->n++;
            listeners_release(set);
            return -1;
        }
    }
    return 0;
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct listeners *set = handle->data;
    if (--set->open_handles > 0) {
        return;
    }
    /* A descriptor may be closed only after libuv has let go of it. */
    listeners_release(set);
    set->closed(set->ctx);
}

void listeners_close(struct listeners *set, void (*closed)(void *ctx))
{
    set->closed = closed;
    for (unsigned i = 0; i < set->n; i++) {
        uv_close((uv_handle_t *)&set->items[i].poll, on_handle_closed);
    }
    uv_close((uv_handle_t *)&set->resume, on_handle_closed);
}
