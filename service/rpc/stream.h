/* stream.h: a call that lasts: Execute, AttachExecution, Run and the watches.
 *
 * The sending side has one owner at a time (`busy`): the loop thread when something new is there and
 * nobody sends, else the completion thread on which the last send completed. The owner asks the source
 * for the next message and sends it; when there is none it gives the side up. So one message is in
 * memory, output that arrives while it is sent merges into the next, and no thread is handed
 * anything per message. */
#ifndef PYEXEC_RPC_STREAM_H
#define PYEXEC_RPC_STREAM_H

#include <grpc/grpc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <uv.h>

#include "service/rpc/call.h"

struct stream;

enum stream_next {
    STREAM_MESSAGE,   /* *ret_slice is to be sent */
    STREAM_LAST,      /* the same, and then the status */
    STREAM_END,       /* the status only: that of stream->err when it has a code, else OK */
    STREAM_EMPTY,     /* nothing now; stream_wake will be called */
    STREAM_ELSEWHERE, /* ask again on a completion thread: the answer takes long */
};

/* What a stream sends. */
struct stream_source {
    /* Owner of the sending side, any thread. *ret_more: another message could be had at once. */
    enum stream_next (*next)(struct stream *stream, grpc_slice *ret_slice, bool *ret_more);
    /* Loop thread, once, if stream_attached was called without an err: the call is over, nobody
     * sends. `gone`: the client has not got the last message. */
    void (*detach)(struct stream *stream, bool gone);
    /* Loop thread, owner of the sending side: a message that says that nothing is new. NULL, or false:
     * none is sent. */
    bool (*heartbeat)(struct stream *stream, grpc_slice *ret_slice);
};

struct stream {
    struct call call;
    const struct stream_source *source;

    pthread_mutex_t lock; /* busy, again, closed, ended */
    bool busy;            /* the sending side has an owner */
    bool again;           /* something came while it had */
    bool closed;          /* the call is over: nobody may become owner */
    bool ended;           /* the status went out, or sending failed */

    /* Owner of the sending side. */
    bool ending;   /* the batch in flight has the status */
    bool complete; /* ... and went out whole */
    struct err err;

    _Atomic int64_t sent_ns; /* of the last message */

    /* Loop thread. */
    bool answered; /* stream_attached was called */
    bool attached; /* ... without an err */
    bool over;     /* `closed` has reached the loop thread */
    bool timer_open;
    int64_t heartbeat_ns;
    uv_timer_t timer;
    struct engine_task over_task;
};

/* Completion thread, from `arrived`: watches for the end, then runs `run` on the loop thread, which
 * must call stream_attached once, then or later. */
void stream_begin(struct stream *stream, const struct stream_source *source,
                  void (*run)(struct engine_task *task));
struct stream *stream_of(struct engine_task *task);

/* Whether the client went before anything was started (loop thread): then nothing should be. */
bool stream_over(const struct stream *stream);

/* Loop thread, exactly once: the source is attached (err NULL; heartbeat_ns 0: no heartbeats), or
 * the call is to be ended with `err`. The stream may be freed when this returns. */
void stream_attached(struct stream *stream, const struct err *err, int64_t heartbeat_ns);

/* Loop thread: the source may have a message. */
void stream_wake(struct stream *stream);

/* For call_type.release. */
void stream_release(struct call *call);

#endif
