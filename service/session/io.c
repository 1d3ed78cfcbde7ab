/* io.c: the three descriptors of a session process: read, put in order, attribute.
 *
 * One turn (io_pump): what is in both pipes, then the control socket, so that a mark that was sent
 * before a byte was written is there when the byte is. Frames give everything below their fence to
 * whoever runs then; what is left came after the last mark. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "service/session/internal.h"

#define TURN_BYTES (256u << 10) /* of one stream, before other sessions get their turn */
#define TURN_FILLS 16
#define DRAIN_TURNS 64 /* a pipe holds 1 MiB at most; who holds it from outside waits for nothing */

enum { CONTROL = 0, OUT = 1, ERR = 2 };

int io_make_pipes(int ret_read[2], int ret_write[2])
{
    int a[2];
    int b[2];
    int r = fd_pipe(a);
    if (r < 0) {
        return r;
    }
    r = fd_pipe(b);
    if (r < 0) {
        fd_close(&a[0]);
        fd_close(&a[1]);
        return r;
    }
    (void)fd_set_nonblock(a[0], true);
    (void)fd_set_nonblock(b[0], true);
    ret_read[0] = a[0];
    ret_read[1] = b[0];
    ret_write[0] = a[1];
    ret_write[1] = b[1];
    return 0;
}

/* --- handles ------------------------------------------------------------------------------------ */

static void on_readable(uv_poll_t *poll, int status, int events);

static void process_free_maybe(struct process *p)
{
    if (p->state != PROCESS_ENDED || p->open_handles > 0 || p->pumping) {
        return;
    }
    struct engine *e = p->engine;
    order_release(&p->order);
    wire_reader_release(&p->reader);
    wire_writer_release(&p->writer);
    if (p->page != NULL) {
        (void)munmap(p->page, SESSION_PAGE_SIZE);
    }
    free(p);
    e->process_count--;
    engine_check(e);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct process *p = handle->data;
    free(handle);
    p->open_handles--;
    process_free_maybe(p);
}

static int *fd_of(struct process *p, unsigned i)
{
    return i == CONTROL ? &p->control : &p->pipe[i - 1];
}

static int poll_open(struct process *p, unsigned i)
{
    uv_poll_t *poll = calloc(1, sizeof *poll);
    int r = poll == NULL ? -ENOMEM : uv_poll_init(p->engine->loop, poll, *fd_of(p, i));
    if (r < 0) {
        free(poll);
        return r;
    }
    poll->data = p;
    p->polls[i] = poll;
    p->poll_events[i] = 0;
    p->open_handles++;
    return 0;
}

static void watch(struct process *p, unsigned i, int events)
{
    if (p->polls[i] == NULL || p->poll_events[i] == events) {
        return;
    }
    p->poll_events[i] = events;
    if (events == 0) {
        (void)uv_poll_stop(p->polls[i]);
    } else {
        (void)uv_poll_start(p->polls[i], events, on_readable);
    }
}

void io_watch_control(struct process *p)
{
    int events = p->paused ? 0 : UV_READABLE;
    watch(p, CONTROL, p->writer.out.len > 0 ? events | UV_WRITABLE : events);
}

static void watch_all(struct process *p)
{
    int events = p->paused ? 0 : UV_READABLE;
    io_watch_control(p);
    watch(p, OUT, events);
    watch(p, ERR, events);
}

/* A poll is bound to its descriptor: fresh pipes get fresh ones while the old ones close. */
static void close_poll(struct process *p, unsigned i)
{
    if (p->polls[i] != NULL) {
        uv_close((uv_handle_t *)p->polls[i], on_handle_closed);
        p->polls[i] = NULL;
    }
}

static void close_one(struct process *p, unsigned i)
{
    close_poll(p, i);
    fd_close(fd_of(p, i));
}

int io_open(struct process *p)
{
    p->reader.fd = p->control;
    p->writer.fd = p->control;
    for (unsigned i = 0; i < 3; i++) {
        int r = poll_open(p, i);
        if (r < 0) {
            return r;
        }
    }
    watch_all(p);
    return 0;
}

/* --- pipes of earlier runs ---------------------------------------------------------------------- */

static void on_old_closed(uv_handle_t *handle)
{
    struct old_pipe *old = handle->data;
    struct process *p = old->process;
    free(old);
    p->open_handles--;
    process_free_maybe(p);
}

static void old_close(struct old_pipe *old)
{
    list_remove(&old->node);
    old->process->old_count--;
    uv_close((uv_handle_t *)&old->poll, on_old_closed);
    fd_close(&old->fd);
}

static void background(struct process *p, enum log_stream stream, const void *data, size_t n)
{
    if (p->session == NULL || n == 0) {
        return;
    }
    struct execution *x = execution_background(p->session);
    if (x != NULL) {
        execlog_append_output(x->log, stream, data, n);
    }
}

/* Reads one old pipe dry; true when it is at its end. */
static bool old_read(struct old_pipe *old)
{
    uint8_t chunk[16384];
    for (unsigned i = 0; i < TURN_FILLS; i++) {
        ssize_t n = read(old->fd, chunk, sizeof chunk);
        if (n <= 0) {
            return n == 0 || (errno != EAGAIN && errno != EINTR);
        }
        background(old->process, old->stream, chunk, (size_t)n);
    }
    return false;
}

static void on_old(uv_poll_t *poll, int status, int events)
{
    struct old_pipe *old = poll->data;
    (void)events;
    if (status < 0 || old_read(old)) {
        old_close(old);
    }
}

/* Keeps a pipe that descendants may hold; when there is no memory it is read once and closed. */
static void keep_old(struct process *p, unsigned i)
{
    struct old_pipe *old = calloc(1, sizeof *old);
    int *fd = fd_of(p, i);
    if (old == NULL || *fd < 0) {
        free(old);
        close_one(p, i);
        return;
    }
    old->process = p;
    old->stream = (enum log_stream)(i - 1);
    close_poll(p, i);
    old->fd = FD_STEAL(*fd);
    if (uv_poll_init(p->engine->loop, &old->poll, old->fd) < 0) {
        fd_close(&old->fd);
        free(old);
        return;
    }
    old->poll.data = old;
    p->open_handles++;
    p->old_count++;
    list_push_back(&p->old_pipes, &old->node);
    (void)uv_poll_start(&old->poll, UV_READABLE, on_old);
    while (p->old_count > p->engine->limits.max_old_pipes * 2) {
        struct old_pipe *oldest = LIST_CONTAINER(p->old_pipes.next, struct old_pipe, node);
        (void)old_read(oldest);
        old_close(oldest);
    }
}

/* --- reading ------------------------------------------------------------------------------------ */

static size_t read_pipe(void *ctx, unsigned stream, void *data, size_t n)
{
    struct process *p = ctx;
    struct session_page_stream *page = &p->page->stream[stream];
    int *fd = &p->pipe[stream];
    if (*fd < 0) {
        return 0;
    }
    ssize_t got;
    if (p->publishing) {
        uint64_t before = atomic_load(&page->read_bytes);
        atomic_fetch_add(&page->sequence, 1);
        got = read(*fd, data, n);
        atomic_store(&page->read_bytes, before + (got > 0 ? (uint64_t)got : 0));
        atomic_fetch_add(&page->sequence, 1);
    } else {
        got = read(*fd, data, n);
    }
    if (got > 0) {
        return (size_t)got;
    }
    if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
        close_one(p, stream == 0 ? OUT : ERR);
    }
    return 0;
}

static void give(void *ctx, unsigned stream, const void *data, size_t n)
{
    struct process *p = ctx;
    struct execution *x = p->started ? p->execution : NULL;
    if (x == NULL) {
        background(p, (enum log_stream)stream, data, n);
        return;
    }
    if (x->first_output_ns == 0) {
        x->first_output_ns = clock_mono_ns();
        engine_observe(p->engine, ENGINE_HIST_FIRST_OUTPUT, x->first_output_ns - x->receive_ns);
    }
    x->waiting_for_input = false;
    execlog_append_output(x->log, (enum log_stream)stream, data, n);
}

const struct order_ends *io_ends(struct process *p, struct order_ends *space)
{
    *space = (struct order_ends){.read = read_pipe, .give = give, .ctx = p};
    return space;
}

static size_t room(const struct process *p)
{
    return p->execution != NULL ? execlog_room(p->execution->log) : SIZE_MAX;
}

static void pause_maybe(struct process *p)
{
    if (room(p) == 0) {
        p->paused = true;
        watch_all(p);
    }
}

/* All frames that are there. True when the socket was read dry (or is at its end). */
static bool read_control(struct process *p, bool heed_room)
{
    unsigned fills = 0;
    while (p->control >= 0 && p->state != PROCESS_ENDED) {
        struct wire_frame f;
        int got = wire_reader_next(&p->reader, &f);
        if (got > 0) {
            frames_handle(p, &f);
            if (heed_room && room(p) == 0) {
                return false;
            }
            continue;
        }
        if (got < 0) {
            frames_broken(p, "sent a malformed frame");
            close_one(p, CONTROL);
            return true;
        }
        if (fills++ >= TURN_FILLS && heed_room) {
            return false;
        }
        int n = wire_reader_fill(&p->reader);
        if (n == -EAGAIN) {
            if (p->execution == NULL && p->reader.consumed == p->reader.in.len) {
                buf_release(&p->reader.in); /* thousands of idle sessions hold nothing */
                p->reader.consumed = 0;
            }
            return true;
        }
        if (n == -ENOMEM) {
            process_kill(p);
            return true;
        }
        if (n == 0 || (n < 0 && n != -EINTR)) {
            /* Ending, or alive and out of reach: in both cases the kill is right. */
            close_one(p, CONTROL);
            process_kill(p);
            return true;
        }
    }
    return true;
}

static void turn(struct process *p)
{
    struct order_ends space;
    const struct order_ends *ends = io_ends(p, &space);
    size_t most = room(p);
    if (most > 0) {
        (void)order_read(&p->order, ends, most < TURN_BYTES ? most : TURN_BYTES);
        if (read_control(p, true) && p->state != PROCESS_ENDED) {
            order_flush(&p->order, ends);
        }
    }
    if (p->state != PROCESS_ENDED) {
        pause_maybe(p);
        io_watch_control(p);
    }
}

void io_pump(struct process *p)
{
    if (p->pumping || p->paused || p->state == PROCESS_ENDED) {
        return;
    }
    p->pumping = true;
    turn(p);
    p->pumping = false;
    process_free_maybe(p);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct process *p = poll->data;
    (void)status; /* an error shows in the read that follows */
    if ((events & UV_WRITABLE) != 0 && p->control >= 0 && wire_writer_flush(&p->writer) < 0) {
        process_kill(p);
    }
    io_pump(p);
}

void process_resume(struct process *p)
{
    if (p->paused && p->state != PROCESS_ENDED && room(p) > 0) {
        p->paused = false;
        watch_all(p);
        io_pump(p);
    }
}

void io_drain(struct process *p)
{
    struct order_ends space;
    const struct order_ends *ends = io_ends(p, &space);
    p->pumping = true;
    for (unsigned i = 0; i < DRAIN_TURNS; i++) {
        size_t n = order_read(&p->order, ends, TURN_BYTES);
        (void)read_control(p, false);
        order_flush(&p->order, ends);
        if (n == 0) {
            break;
        }
    }
    LIST_FOREACH (it, &p->old_pipes) {
        (void)old_read(LIST_CONTAINER(it, struct old_pipe, node));
    }
    p->pumping = false;
}

/* --- fresh pipes -------------------------------------------------------------------------------- */

void io_reset_page(struct process *p)
{
    p->publishing = false;
    for (unsigned s = 0; s < 2; s++) {
        atomic_store(&p->page->stream[s].read_bytes, 0);
    }
}

/* What is in the old pipes came before; what comes there later is background output. */
void io_use_fresh(struct process *p)
{
    struct order_ends space;
    if (p->fresh[0] < 0) {
        return;
    }
    order_flush(&p->order, io_ends(p, &space));
    order_reset(&p->order);
    for (unsigned i = 0; i < 2; i++) {
        keep_old(p, OUT + i);
        p->pipe[i] = FD_STEAL(p->fresh[i]);
        if (poll_open(p, OUT + i) < 0) {
            process_kill(p);
        }
    }
    p->publishing = true;
    watch_all(p);
}

void io_close(struct process *p)
{
    for (unsigned i = 0; i < 3; i++) {
        close_one(p, i);
    }
    fd_close(&p->fresh[0]);
    fd_close(&p->fresh[1]);
    while (!list_empty(&p->old_pipes)) {
        old_close(LIST_CONTAINER(p->old_pipes.next, struct old_pipe, node));
    }
    process_free_maybe(p);
}
