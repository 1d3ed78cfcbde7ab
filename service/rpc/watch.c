#include "service/rpc/watch.h"

#include <stdlib.h>

#include "proto/pyexec_v1.h"
#include "service/rpc/internal.h"
#include "service/rpc/method.h"

struct queued {
    struct list node;
    grpc_slice slice;
};

void watch_init(struct watch *w)
{
    list_init(&w->node);
    list_init(&w->queue);
}

void watch_release(struct call *call)
{
    struct watch *w = LIST_CONTAINER(call, struct watch, stream.call);
    for (struct list *n; (n = list_pop_front(&w->queue)) != NULL;) {
        struct queued *q = LIST_CONTAINER(n, struct queued, node);
        grpc_slice_unref(q->slice);
        free(q);
    }
    stream_release(call);
}

enum stream_next watch_next(struct stream *s, grpc_slice *ret_slice, bool *ret_more)
{
    struct watch *w = LIST_CONTAINER(s, struct watch, stream);
    (void)pthread_mutex_lock(&s->lock);
    struct list *n = list_pop_front(&w->queue);
    bool finished = w->finished;
    struct queued *q = n != NULL ? LIST_CONTAINER(n, struct queued, node) : NULL;
    if (q != NULL) {
        w->messages--;
        w->bytes -= GRPC_SLICE_LENGTH(q->slice);
    }
    *ret_more = !list_empty(&w->queue);
    (void)pthread_mutex_unlock(&s->lock);
    if (q == NULL) {
        return finished ? STREAM_END : STREAM_EMPTY;
    }
    *ret_slice = q->slice;
    free(q);
    return STREAM_MESSAGE;
}

void watch_finish(struct watch *w, const struct err *err)
{
    (void)pthread_mutex_lock(&w->stream.lock);
    bool first = !w->finished;
    if (first) {
        w->stream.err = *err;
        w->finished = true;
    }
    (void)pthread_mutex_unlock(&w->stream.lock);
    if (first && w->stream.answered) {
        stream_wake(&w->stream);
    }
}

static bool enqueue(struct watch *w, const ProtobufCMessage *message)
{
    struct queued *q = malloc(sizeof *q);
    if (q == NULL || !call_pack(message, WATCH_QUEUE_BYTES, &q->slice)) {
        free(q);
        return false;
    }
    (void)pthread_mutex_lock(&w->stream.lock);
    bool room = !w->finished && w->messages < WATCH_QUEUE_MESSAGES &&
                w->bytes + GRPC_SLICE_LENGTH(q->slice) <= WATCH_QUEUE_BYTES;
    if (room) {
        w->messages++;
        w->bytes += GRPC_SLICE_LENGTH(q->slice);
        list_push_back(&w->queue, &q->node);
    }
    (void)pthread_mutex_unlock(&w->stream.lock);
    if (!room) {
        grpc_slice_unref(q->slice);
        free(q);
    }
    return room;
}

bool watch_push(struct watch *w, const ProtobufCMessage *message)
{
    if (!enqueue(w, message)) {
        struct err err = {0};
        (void)err_set(&err, ERR_QUOTA_EXCEEDED,
                      "the watcher does not keep up with the changes; watch again");
        watch_finish(w, &err);
        return false;
    }
    if (w->stream.answered) {
        stream_wake(&w->stream);
    }
    return true;
}

void watch_end_all(struct rpc_server *server, const struct err *err)
{
    LIST_FOREACH (it, &server->watchers) {
        watch_finish(LIST_CONTAINER(it, struct watch, node), err);
    }
}

/* --- WatchSessions ------------------------------------------------------------------------------- */

struct session_watch {
    struct watch watch;
    struct engine_watch engine;
    bool dropped; /* by the engine, because the queue was full */
};

static bool on_change(struct engine_watch *engine,
                      const Pyexec__V1__WatchSessionsResponse *response)
{
    struct session_watch *w = LIST_CONTAINER(engine, struct session_watch, engine);
    if (!watch_push(&w->watch, &response->base)) {
        w->dropped = true;
        return false;
    }
    return true;
}

static void detach(struct stream *s, bool gone)
{
    struct session_watch *w = LIST_CONTAINER(s, struct session_watch, watch.stream);
    (void)gone;
    list_remove(&w->watch.node);
    if (!w->dropped) {
        engine_unwatch(s->call.server->engine, &w->engine);
    }
}

static bool heartbeat(struct stream *s, grpc_slice *ret_slice)
{
    Pyexec__V1__WatchSessionsResponse response = PYEXEC__V1__WATCH_SESSIONS_RESPONSE__INIT;
    Pyexec__V1__Heartbeat beat = PYEXEC__V1__HEARTBEAT__INIT;
    (void)s;
    response.change_case = PYEXEC__V1__WATCH_SESSIONS_RESPONSE__CHANGE_HEARTBEAT;
    response.heartbeat = &beat;
    return call_pack(&response.base, RPC_SEND_MAX, ret_slice);
}

static const struct stream_source session_source = {
    .next = watch_next,
    .detach = detach,
    .heartbeat = heartbeat,
};

static void start(struct engine_task *task)
{
    struct stream *s = stream_of(task);
    struct session_watch *w = LIST_CONTAINER(s, struct session_watch, watch.stream);
    struct rpc_server *server = s->call.server;
    struct err err = {0};
    w->engine.on_change = on_change;
    int r = -1;
    if (server->state != SERVER_RUNNING) {
        (void)err_set(&err, ERR_SERVER_DRAINING, "the server is stopping");
    } else {
        r = engine_watch_sessions(server->engine, NULL, (const void *)s->call.request, &w->engine,
                                  &err);
    }
    call_drop_request(&s->call);
    if (r == 0) {
        list_push_back(&server->watchers, &w->watch.node);
    }
    stream_attached(s, r == 0 ? NULL : &err, server->heartbeat_ns);
}

static void arrived(struct call *call)
{
    struct session_watch *w = LIST_CONTAINER(call, struct session_watch, watch.stream.call);
    watch_init(&w->watch);
    stream_begin(&w->watch.stream, &session_source, start);
}

const struct call_type call_type_watch_sessions = {
    .size = sizeof(struct session_watch),
    .arrived = arrived,
    .release = watch_release,
};
