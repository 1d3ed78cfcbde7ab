/* stream.c: the life of a call that lasts.
 *
 * Two sides, each with its own small state; where they meet is `lock`.
 *
 * The sending side (busy, again, ended; any thread):
 *
 *   state \ event | wake (loop)      | send completed, ok        | send completed, not ok | closed
 *   --------------|------------------|---------------------------|------------------------|----------------
 *   idle          | own it: pump     | -                         | -                      | post `over`
 *   busy          | again = true     | pump: next message, or    | ended; post `over`     | the owner posts
 *                 |                  | idle (post `over` if      | if closed              | `over` when it
 *                 |                  | closed), or the status    |                        | gives the side up
 *   busy, ending  | again = true     | ended, complete           | ended                  | the same
 *   ended         | nothing          | -                         | -                      | post `over`
 *
 * `closed` comes exactly once for every call (gRPC's RECV_CLOSE, armed before anything else), also after
 * a status was sent, so `over` is posted exactly once.
 *
 * The loop side (answered, attached, over):
 *
 *   state \ event        | attached, ok    | attached, err    | over
 *   ---------------------|-----------------|------------------|---------------------------
 *   waiting for the engine | wake          | send the status  | wait for the answer
 *   waiting, over        | detach, finish  | finish           | -
 *   attached             | -               | -                | detach, finish
 *   refused              | -               | -                | finish
 *
 * finish: close the timer, drop the loop's reference. */
#include "service/rpc/stream.h"

#include <assert.h>

#include "service/base/clock.h"
#include "service/rpc/internal.h"

static void pump(struct stream *s);

struct stream *stream_of(struct engine_task *task)
{
    return LIST_CONTAINER(task, struct stream, call.task);
}

bool stream_over(const struct stream *s)
{
    return s->over;
}

void stream_release(struct call *call)
{
    struct stream *s = LIST_CONTAINER(call, struct stream, call);
    if (s->source != NULL) {
        (void)pthread_mutex_destroy(&s->lock);
    }
}

/* --- the loop side ----------------------------------------------------------------------------- */

static void on_timer_closed(uv_handle_t *handle)
{
    call_unref(&LIST_CONTAINER(handle, struct stream, timer)->call);
}

static void finish(struct stream *s)
{
    if (s->attached) {
        s->source->detach(s, !s->complete);
    }
    if (s->timer_open) {
        uv_close((uv_handle_t *)&s->timer, on_timer_closed);
    } else {
        call_unref(&s->call);
    }
}

static void on_over(struct engine_task *task)
{
    struct stream *s = LIST_CONTAINER(task, struct stream, over_task);
    s->over = true;
    if (s->answered) {
        finish(s);
    }
}

/* The sending side is idle for ever now. */
static void post_over(struct stream *s)
{
    s->over_task.run = on_over;
    engine_post(s->call.server->engine, &s->over_task);
}

static void on_closed(struct tag *tag, bool ok)
{
    struct stream *s = LIST_CONTAINER(tag, struct stream, call.closed);
    (void)ok;
    (void)pthread_mutex_lock(&s->lock);
    s->closed = true;
    bool idle = !s->busy;
    (void)pthread_mutex_unlock(&s->lock);
    if (idle) {
        post_over(s);
    }
    call_unref(&s->call);
}

static bool own(struct stream *s, bool note)
{
    (void)pthread_mutex_lock(&s->lock);
    bool got = !s->busy && !s->closed && !s->ended;
    if (got) {
        s->busy = true;
    } else if (note) {
        s->again = true;
    }
    (void)pthread_mutex_unlock(&s->lock);
    return got;
}

void stream_wake(struct stream *s)
{
    if (own(s, true)) {
        pump(s);
    }
}

static void on_heartbeat(uv_timer_t *timer);

/* Due one interval after the last message. */
static void start_timer(struct stream *s)
{
    int64_t left = s->heartbeat_ns - (clock_mono_ns() - atomic_load(&s->sent_ns));
    uint64_t ms = left > 0 ? (uint64_t)((left + NS_PER_MS - 1) / NS_PER_MS) : 1;
    (void)uv_timer_start(&s->timer, on_heartbeat, ms, 0);
}

static void transmit(struct stream *s, const struct call_send *send);

static void on_heartbeat(uv_timer_t *timer)
{
    struct stream *s = LIST_CONTAINER(timer, struct stream, timer);
    grpc_slice slice;
    if (clock_mono_ns() - atomic_load(&s->sent_ns) < s->heartbeat_ns) {
        start_timer(s);
        return;
    }
    /* A send that still waits for the client needs no heartbeat behind it; try an interval later. */
    atomic_store(&s->sent_ns, clock_mono_ns());
    if (own(s, false)) {
        if (s->source->heartbeat(s, &slice)) {
            transmit(s, &(struct call_send){.message = &slice});
        } else {
            pump(s);
        }
    }
    start_timer(s);
}

void stream_begin(struct stream *s, const struct stream_source *source,
                  void (*run)(struct engine_task *task))
{
    (void)pthread_mutex_init(&s->lock, NULL);
    s->source = source;
    if (call_watch_close(&s->call, on_closed) < 0) {
        return;
    }
    call_ref(&s->call); /* the loop's */
    call_post(&s->call, run);
}

void stream_attached(struct stream *s, const struct err *err, int64_t heartbeat_ns)
{
    assert(!s->answered);
    s->answered = true;
    s->attached = err == NULL;
    if (s->over) {
        finish(s);
        return;
    }
    if (err != NULL) {
        engine_count(s->call.server->engine, ENGINE_COUNT_CALLS_REFUSED, 1);
        if (own(s, false)) {
            s->err = *err;
            transmit(s, &(struct call_send){.end = true, .err = &s->err});
        }
        return;
    }
    if (heartbeat_ns > 0 && s->source->heartbeat != NULL) {
        s->heartbeat_ns = heartbeat_ns;
        atomic_store(&s->sent_ns, clock_mono_ns());
        (void)uv_timer_init(s->call.server->loop, &s->timer);
        s->timer_open = true;
        uv_update_time(s->call.server->loop);
        start_timer(s);
    }
    stream_wake(s);
}

/* --- the sending side --------------------------------------------------------------------------- */

/* Gives the side up for good. */
static void end_side(struct stream *s, bool complete)
{
    s->complete = complete;
    (void)pthread_mutex_lock(&s->lock);
    s->ended = true;
    s->busy = false;
    bool over = s->closed;
    (void)pthread_mutex_unlock(&s->lock);
    if (over) {
        post_over(s);
    }
}

/* Gives the side up until the next wake; false: something came meanwhile, go on. */
static bool rest_side(struct stream *s)
{
    (void)pthread_mutex_lock(&s->lock);
    bool over = s->closed;
    bool go_on = s->again && !over;
    s->again = false;
    s->busy = go_on;
    (void)pthread_mutex_unlock(&s->lock);
    if (over) {
        post_over(s);
    }
    return !go_on;
}

static void on_sent(struct tag *tag, bool ok)
{
    struct stream *s = LIST_CONTAINER(tag, struct stream, call.sent);
    if (ok && !s->ending) {
        pump(s);
    } else {
        end_side(s, ok);
    }
    call_unref(&s->call);
}

static void transmit(struct stream *s, const struct call_send *what)
{
    if (what->message != NULL) {
        engine_count(s->call.server->engine, ENGINE_COUNT_BYTES_SENT,
                     GRPC_SLICE_LENGTH(*what->message));
        atomic_store_explicit(&s->sent_ns, clock_mono_ns(), memory_order_relaxed);
    }
    s->ending = what->end;
    if (call_send(&s->call, what, on_sent) < 0) {
        end_side(s, false);
    }
}

static void on_elsewhere(struct tag *tag, bool ok)
{
    struct stream *s = LIST_CONTAINER(tag, struct stream, call.sent);
    (void)ok;
    pump(s);
    call_unref(&s->call);
}

static void pump(struct stream *s)
{
    grpc_slice slice;
    bool more = false;
    enum stream_next next;
    do {
        next = s->source->next(s, &slice, &more);
    } while (next == STREAM_EMPTY && !rest_side(s));
    switch (next) {
    case STREAM_EMPTY:
        return;
    case STREAM_ELSEWHERE:
        if (call_bounce(&s->call, on_elsewhere) < 0) {
            end_side(s, false);
        }
        return;
    case STREAM_END:
        transmit(s, &(struct call_send){.end = true, .err = s->err.code ? &s->err : NULL});
        return;
    case STREAM_MESSAGE:
    case STREAM_LAST:
        transmit(s,
                 &(struct call_send){.message = &slice, .hint = more, .end = next == STREAM_LAST});
        return;
    }
}
