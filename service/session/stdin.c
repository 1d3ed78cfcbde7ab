/* stdin.c: the daemon's end of a program's standard input. Bytes wait here until the pipe takes them;
 * the loop never blocks. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "service/session/internal.h"

struct stdin_feed {
    struct engine *engine;
    struct buf pending;
    size_t sent;       /* of pending */
    uint64_t accepted; /* bytes taken from the client, ever */
    bool eof;          /* nothing follows what is pending */
    bool opened;
    int fd;          /* write end; -1 before it was opened, and once closed */
    uv_poll_t *poll; /* while the pipe is full */
};

struct stdin_feed *stdin_new(struct engine *e, const void *data, size_t size, bool eof)
{
    struct stdin_feed *f = calloc(1, sizeof *f);
    if (f == NULL) {
        return NULL;
    }
    f->engine = e;
    f->fd = -1;
    f->eof = eof;
    f->accepted = size;
    buf_init(&f->pending, e->limits.max_stdin_bytes);
    if (buf_append(&f->pending, data, size) < 0) {
        free(f);
        return NULL;
    }
    return f;
}

static void on_poll_closed(uv_handle_t *handle)
{
    struct engine *e = handle->data;
    free(handle);
    e->open_handles--;
    engine_check(e);
}

static void stop_waiting(struct stdin_feed *f)
{
    if (f->poll != NULL) {
        f->poll->data = f->engine;
        uv_close((uv_handle_t *)f->poll, on_poll_closed);
        f->poll = NULL;
    }
}

static void shut(struct stdin_feed *f)
{
    stop_waiting(f);
    fd_close(&f->fd);
    buf_release(&f->pending);
    f->sent = 0;
    f->eof = true;
}

static void flush(struct stdin_feed *f);

static void on_writable(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    flush(poll->data);
}

/* The pipe is full: a handle for as long as that lasts. */
static void wait_for_room(struct stdin_feed *f)
{
    if (f->poll != NULL) {
        return;
    }
    uv_poll_t *poll = calloc(1, sizeof *poll);
    if (poll == NULL || uv_poll_init(f->engine->loop, poll, f->fd) < 0) {
        free(poll);
        shut(f); /* the program sees an early end of file rather than waiting for ever */
        return;
    }
    poll->data = f;
    f->poll = poll;
    f->engine->open_handles++;
    (void)uv_poll_start(poll, UV_WRITABLE, on_writable);
}

static void flush(struct stdin_feed *f)
{
    if (f->fd < 0) {
        return;
    }
    while (f->sent < f->pending.len) {
        ssize_t n = write(f->fd, f->pending.data + f->sent, f->pending.len - f->sent);
        if (n > 0) {
            f->sent += (size_t)n;
        } else if (n < 0 && errno == EAGAIN) {
            buf_consume(&f->pending, f->sent);
            f->sent = 0;
            wait_for_room(f);
            return;
        } else if (n < 0 && errno != EINTR) {
            shut(f); /* nobody reads any more */
            return;
        }
    }
    buf_clear(&f->pending);
    f->sent = 0;
    stop_waiting(f);
    if (f->eof) {
        shut(f);
    }
}

int stdin_open(struct stdin_feed *f, int *ret_fd)
{
    int pair[2];
    int r = fd_pipe(pair);
    if (r < 0) {
        return r;
    }
    (void)fd_set_nonblock(pair[1], true);
    f->fd = pair[1];
    f->opened = true;
    *ret_fd = pair[0];
    flush(f);
    return 0;
}

int stdin_write(struct stdin_feed *f, const Pyexec__V1__WriteStdinRequest *q, uint64_t *ret_next,
                bool *ret_closed, struct err *err)
{
    bool closed = f->eof || (f->opened && f->fd < 0);
    if (q->offset > f->accepted) {
        (void)err_set(err, ERR_STDIN_OFFSET, "offset %llu is beyond the %llu bytes accepted so far",
                      (unsigned long long)q->offset, (unsigned long long)f->accepted);
        char next[24];
        (void)snprintf(next, sizeof next, "%llu", (unsigned long long)f->accepted);
        err_detail(err, "nextOffset", next);
        return -1;
    }
    uint64_t known = f->accepted - q->offset;
    size_t fresh = known < q->data.len ? q->data.len - (size_t)known : 0;
    if (closed && fresh > 0) {
        return err_set(err, ERR_STDIN_CLOSED, "the program's standard input is closed");
    }
    if (!closed) {
        size_t room = f->pending.max - (f->pending.len - f->sent);
        size_t take = fresh < room ? fresh : room;
        if (f->sent > 0) {
            buf_consume(&f->pending, f->sent);
            f->sent = 0;
        }
        if (take > 0 && buf_append(&f->pending, q->data.data + known, take) < 0) {
            return err_set(err, ERR_NO_MEMORY, "out of memory");
        }
        f->accepted += take;
        f->eof = q->eof && take == fresh;
        closed = f->eof;
        flush(f);
    }
    *ret_next = f->accepted;
    *ret_closed = closed;
    return 0;
}

uint64_t stdin_accepted(const struct stdin_feed *f)
{
    return f->accepted;
}

void stdin_close(struct stdin_feed *f)
{
    if (f != NULL) {
        shut(f);
        free(f);
    }
}
