/* accept.c: the accept loop of listen.h. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "service/base/clock.h"
#include "service/base/fd.h"
#include "service/base/list.h"
#include "service/base/log.h"
#include "service/rpc/listen.h"

#define ACCEPTS_A_TURN 64 /* other handles of the loop get their turn, too */
#define SWEEP_INTERVAL (100 * NS_PER_MS)
#define TELL_INTERVAL NS_PER_SEC
#define RESUME_MS 100

static void on_readable(uv_poll_t *poll, int status, int events);

static void tell_refused(struct listeners *set, const char *why)
{
    int64_t now = clock_mono_ns();
    if (set->told_ns == 0 || now - set->told_ns >= TELL_INTERVAL) {
        set->told_ns = now;
        log_event(LOG_WARN, "connection.refused", "because", why, (char *)NULL);
    }
}

static bool is_open(const struct connection *c)
{
    struct stat st;
    return fstat(c->fd, &st) == 0 && S_ISSOCK(st.st_mode) && st.st_ino == c->ino;
}

static void sweep(struct listeners *set)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < set->connections_len; i++) {
        if (is_open(&set->connections[i])) {
            set->connections[n++] = set->connections[i];
        }
    }
    set->connections_len = n;
    set->swept_ns = clock_mono_ns();
}

/* Counts the connection; false when there are too many. */
static bool count(struct listeners *set, int fd)
{
    struct stat st;
    if (fstat(fd, &st) < 0) {
        return false;
    }
    struct connection c = {.fd = fd, .ino = st.st_ino};
    for (uint32_t i = 0; i < set->connections_len; i++) {
        if (set->connections[i].fd == fd) { /* the number was free again */
            set->connections[i] = c;
            return true;
        }
    }
    if (set->connections_len == set->connections_max &&
        clock_mono_ns() - set->swept_ns >= SWEEP_INTERVAL) {
        sweep(set);
    }
    if (set->connections_len == set->connections_max) {
        return false;
    }
    set->connections[set->connections_len++] = c;
    return true;
}

/* A file's mode guards its socket; nothing guards an abstract name, so it is done here. */
static bool allowed(const struct listener *l, int fd)
{
    struct ucred peer;
    socklen_t n = sizeof peer;
    if (l->address.kind != ADDRESS_ABSTRACT) {
        return true;
    }
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) == 0 &&
           (peer.uid == 0 || peer.uid == geteuid());
}

static void take(struct listener *l, int fd)
{
    const int on = 1;
    if (!allowed(l, fd)) {
        tell_refused(l->set, "of another user");
        fd_close(&fd);
        return;
    }
    if (!count(l->set, fd)) {
        tell_refused(l->set, "too many connections (--max-connections)");
        fd_close(&fd);
        return;
    }
    if (l->address.kind == ADDRESS_TCP) {
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    }
    l->set->accepted(l->set->ctx, fd);
}

static void watch(struct listeners *set, bool on)
{
    for (unsigned i = 0; i < set->n; i++) {
        if (on) {
            (void)uv_poll_start(&set->items[i].poll, UV_READABLE, on_readable);
        } else {
            (void)uv_poll_stop(&set->items[i].poll);
        }
    }
}

static void on_resume(uv_timer_t *timer)
{
    struct listeners *set = timer->data;
    set->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (set->reserve_fd < 0) {
        (void)uv_timer_start(&set->resume, on_resume, RESUME_MS, 0);
        return;
    }
    set->paused = false;
    watch(set, true);
}

/* No descriptor is left: the connection is taken with the reserved one and refused, or it would make
 * the loop spin. False when another thread took that one first: no accepting for a while. */
static bool refuse_one(struct listener *l)
{
    struct listeners *set = l->set;
    tell_refused(set, "no file descriptor left");
    fd_close(&set->reserve_fd);
    int fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC);
    fd_close(&fd);
    set->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (set->reserve_fd >= 0) {
        return true;
    }
    set->paused = true;
    watch(set, false);
    (void)uv_timer_start(&set->resume, on_resume, RESUME_MS, 0);
    return false;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct listener *l = LIST_CONTAINER(poll, struct listener, poll);
    (void)status;
    (void)events;
    for (int i = 0; i < ACCEPTS_A_TURN; i++) {
        int fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            take(l, fd);
        } else if (errno == EMFILE || errno == ENFILE) {
            if (!refuse_one(l)) {
                return;
            }
        } else if (errno == EAGAIN) {
            return;
        }
        /* What else accept4 reports is about that one connection. */
    }
}

int listeners_start(struct listeners *set, uv_loop_t *loop,
                    void (*accepted)(void *ctx, int take_fd), void *ctx, struct err *err)
{
    set->accepted = accepted;
    set->ctx = ctx;
    for (unsigned i = 0; i < set->n; i++) {
        int e = uv_poll_init(loop, &set->items[i].poll, set->items[i].fd);
        if (e < 0) {
            /* The handles before it stay with the loop: the caller ends the process. */
            return err_set(err, ERR_INTERNAL, "can't watch a listening socket: %s", uv_strerror(e));
        }
        set->items[i].poll.data = set;
        set->open_handles++;
    }
    (void)uv_timer_init(loop, &set->resume);
    set->resume.data = set;
    set->open_handles++;
    watch(set, true);
    return 0;
}
