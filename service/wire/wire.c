#include "service/wire/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "service/base/fd.h"

#define READ_CHUNK 65536

struct header {
    uint32_t length;
    uint16_t type;
    uint16_t fd_count;
};
_Static_assert(sizeof(struct header) == WIRE_HEADER_SIZE, "header layout");

union control {
    char space[CMSG_SPACE(sizeof(int) * WIRE_FDS_MAX)];
    struct cmsghdr align;
};

/* One sendmsg of up to two pieces; descriptors go with the first byte. */
static ssize_t send_pieces(int fd, struct iovec *iov, size_t iov_count, const int *fds,
                           size_t fd_count)
{
    union control control;
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = iov_count};
    if (fd_count > 0) {
        memset(&control, 0, sizeof control);
        msg.msg_control = control.space;
        msg.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
        memcpy(CMSG_DATA(c), fds, sizeof(int) * fd_count);
    }
    ssize_t n = sendmsg(fd, &msg, MSG_NOSIGNAL);
    return n < 0 ? -errno : n;
}

static size_t advance(struct iovec *iov, size_t count, size_t n)
{
    size_t first = 0;
    while (first < count && n >= iov[first].iov_len) {
        n -= iov[first].iov_len;
        first++;
    }
    if (first < count) {
        iov[first].iov_base = (char *)iov[first].iov_base + n;
        iov[first].iov_len -= n;
    }
    return first;
}

int wire_send(int fd, uint16_t type, const void *payload, size_t length, const int *fds,
              size_t fd_count)
{
    if (length > UINT32_MAX || fd_count > WIRE_FDS_MAX) {
        return -EMSGSIZE;
    }
    struct header h = {(uint32_t)length, type, (uint16_t)fd_count};
    struct iovec iov[2] = {{&h, sizeof h}, {(void *)(uintptr_t)payload, length}};
    size_t count = length > 0 ? 2 : 1;
    size_t first = 0;
    while (first < count) {
        ssize_t n = send_pieces(fd, iov + first, count - first, fds, fd_count);
        if (n == -EINTR) {
            continue;
        }
        if (n < 0) {
            return (int)n;
        }
        fd_count = 0;
        first += advance(iov + first, count - first, (size_t)n);
    }
    return 0;
}

void wire_reader_init(struct wire_reader *r, int fd, uint32_t max_payload, unsigned max_fds)
{
    *r = (struct wire_reader){.fd = fd, .max_payload = max_payload, .max_fds = max_fds};
    buf_init(&r->in, (size_t)max_payload + WIRE_HEADER_SIZE + READ_CHUNK);
}

void wire_reader_release(struct wire_reader *r)
{
    for (unsigned i = 0; i < r->fd_count; i++) {
        fd_close(&r->fds[i]);
    }
    r->fd_count = 0;
    buf_release(&r->in);
    r->consumed = 0;
}

int wire_reader_next(struct wire_reader *r, struct wire_frame *ret_frame)
{
    if (r->in.len - r->consumed < WIRE_HEADER_SIZE) {
        return 0;
    }
    struct header h;
    memcpy(&h, r->in.data + r->consumed, sizeof h);
    if (h.length > r->max_payload || h.fd_count > r->max_fds || h.fd_count > WIRE_FDS_MAX) {
        return -EPROTO;
    }
    if (r->in.len - r->consumed - WIRE_HEADER_SIZE < h.length) {
        return 0;
    }
    if (h.fd_count > r->fd_count) {
        return -EPROTO;
    }
    ret_frame->type = h.type;
    ret_frame->fd_count = h.fd_count;
    ret_frame->length = h.length;
    ret_frame->payload = r->in.data + r->consumed + WIRE_HEADER_SIZE;
    for (unsigned i = 0; i < h.fd_count; i++) {
        ret_frame->fds[i] = r->fds[i];
    }
    r->fd_count -= h.fd_count;
    memmove(r->fds, r->fds + h.fd_count, sizeof(int) * r->fd_count);
    r->consumed += WIRE_HEADER_SIZE + h.length;
    return 1;
}

static int take_fds(struct wire_reader *r, struct msghdr *msg)
{
    int result = (msg->msg_flags & MSG_CTRUNC) != 0 && r->max_fds > 0 ? -EPROTO : 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c != NULL; c = CMSG_NXTHDR(msg, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof fd);
            if (r->fd_count >= sizeof r->fds / sizeof *r->fds) {
                fd_close(&fd);
                result = -EPROTO;
            } else {
                r->fds[r->fd_count++] = fd;
            }
        }
    }
    return result;
}

int wire_reader_fill(struct wire_reader *r)
{
    if (r->consumed > 0) {
        buf_consume(&r->in, r->consumed);
        r->consumed = 0;
        if (r->in.len == 0 && r->in.cap > (1u << 20)) {
            buf_release(&r->in); /* one large frame must not pin its memory */
        }
    }
    size_t want = READ_CHUNK;
    if (r->in.len >= WIRE_HEADER_SIZE) {
        struct header h;
        memcpy(&h, r->in.data, sizeof h);
        size_t need = (size_t)h.length + WIRE_HEADER_SIZE;
        if (h.length <= r->max_payload && need > r->in.len && need - r->in.len > want) {
            want = need - r->in.len;
        }
    }
    uint8_t *room = buf_reserve(&r->in, want);
    if (room == NULL) {
        return -ENOMEM;
    }
    union control control;
    struct iovec iov = {room, want};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    if (r->max_fds > 0) {
        msg.msg_control = control.space;
        msg.msg_controllen = sizeof control.space;
    }
    ssize_t n = recvmsg(r->fd, &msg, MSG_CMSG_CLOEXEC);
    if (n < 0) {
        return -errno;
    }
    r->in.len += (size_t)n;
    if (r->max_fds > 0) {
        int e = take_fds(r, &msg);
        if (e < 0) {
            return e;
        }
    }
    return (int)n;
}

int wire_reader_wait(struct wire_reader *r, struct wire_frame *ret_frame)
{
    for (;;) {
        int got = wire_reader_next(r, ret_frame);
        if (got != 0) {
            return got;
        }
        int n = wire_reader_fill(r);
        if (n <= 0) {
            return n;
        }
    }
}

void wire_frame_close_fds(struct wire_frame *frame)
{
    for (unsigned i = 0; i < frame->fd_count; i++) {
        fd_close(&frame->fds[i]);
    }
    frame->fd_count = 0;
}

void wire_writer_init(struct wire_writer *w, int fd)
{
    *w = (struct wire_writer){.fd = fd};
    buf_init(&w->out, WIRE_OUT_QUEUE_MAX);
}

void wire_writer_release(struct wire_writer *w)
{
    for (unsigned i = 0; i < w->pending_len; i++) {
        fd_close(&w->pending[i].fd);
    }
    free(w->pending);
    w->pending = NULL;
    w->pending_len = w->pending_cap = 0;
    buf_release(&w->out);
    w->sent = 0;
}

static int queue_fds(struct wire_writer *w, const int *fds, size_t fd_count)
{
    if (w->pending_len + fd_count > w->pending_cap) {
        unsigned cap = w->pending_cap * 2 + WIRE_FDS_MAX;
        void *p = realloc(w->pending, cap * sizeof *w->pending);
        if (p == NULL) {
            return -ENOMEM;
        }
        w->pending = p;
        w->pending_cap = cap;
    }
    for (size_t i = 0; i < fd_count; i++) {
        int copy = fcntl(fds[i], F_DUPFD_CLOEXEC, 3);
        if (copy < 0) {
            int e = -errno;
            while (i-- > 0) {
                fd_close(&w->pending[--w->pending_len].fd);
            }
            return e;
        }
        w->pending[w->pending_len].at = w->out.len;
        w->pending[w->pending_len].fd = copy;
        w->pending_len++;
    }
    return 0;
}

int wire_writer_flush(struct wire_writer *w)
{
    while (w->sent < w->out.len) {
        int fds[WIRE_FDS_MAX];
        size_t fd_count = 0;
        size_t stop = w->out.len;
        /* Descriptors of the frame that starts here go now; stop before the next such frame. */
        for (unsigned i = 0; i < w->pending_len; i++) {
            if (w->pending[i].at == w->sent && fd_count < WIRE_FDS_MAX) {
                fds[fd_count++] = w->pending[i].fd;
            } else {
                stop = w->pending[i].at;
                break;
            }
        }
        struct iovec iov = {w->out.data + w->sent, stop - w->sent};
        ssize_t n = send_pieces(w->fd, &iov, 1, fds, fd_count);
        if (n == -EINTR) {
            continue;
        }
        if (n == -EAGAIN) {
            return 1;
        }
        if (n < 0) {
            return (int)n;
        }
        for (size_t i = 0; i < fd_count; i++) {
            fd_close(&w->pending[i].fd);
        }
        if (fd_count > 0) {
            w->pending_len -= (unsigned)fd_count;
            memmove(w->pending, w->pending + fd_count, w->pending_len * sizeof *w->pending);
        }
        w->sent += (size_t)n;
    }
    if (w->out.cap > (1u << 20)) {
        buf_release(&w->out);
    }
    buf_clear(&w->out);
    w->sent = 0;
    return 0;
}

static int enqueue(struct wire_writer *w, const struct header *h, const void *payload,
                   const int *fds)
{
    if (buf_reserve(&w->out, sizeof *h + h->length) == NULL) {
        return -ENOBUFS;
    }
    int e = queue_fds(w, fds, h->fd_count);
    if (e < 0) {
        return e;
    }
    (void)buf_append(&w->out, h, sizeof *h);
    (void)buf_append(&w->out, payload, h->length);
    return 0;
}

int wire_writer_send(struct wire_writer *w, uint16_t type, const void *payload, size_t length,
                     const int *fds, size_t fd_count)
{
    if (length > UINT32_MAX || fd_count > WIRE_FDS_MAX) {
        return -EMSGSIZE;
    }
    struct header h = {(uint32_t)length, type, (uint16_t)fd_count};
    if (w->out.len == 0) {
        struct iovec iov[2] = {{&h, sizeof h}, {(void *)(uintptr_t)payload, length}};
        ssize_t n;
        do {
            n = send_pieces(w->fd, iov, length > 0 ? 2 : 1, fds, fd_count);
        } while (n == -EINTR);
        if (n == (ssize_t)(sizeof h + length)) {
            return 0;
        }
        if (n < 0 && n != -EAGAIN) {
            return (int)n;
        }
        if (n > 0) {
            /* Partly out, descriptors included: queue the rest as bare bytes. */
            size_t done = (size_t)n;
            if (buf_reserve(&w->out, sizeof h + length - done) == NULL) {
                return -ENOBUFS;
            }
            if (done < sizeof h) {
                (void)buf_append(&w->out, (char *)&h + done, sizeof h - done);
                done = sizeof h;
            }
            (void)buf_append(&w->out, (const char *)payload + (done - sizeof h),
                             length - (done - sizeof h));
            return 1;
        }
    }
    int e = enqueue(w, &h, payload, fds);
    return e < 0 ? e : wire_writer_flush(w);
}
