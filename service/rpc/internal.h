/* internal.h: struct rpc_server, as the files of this folder share it. */
#ifndef PYEXEC_RPC_INTERNAL_H
#define PYEXEC_RPC_INTERNAL_H

#include <grpc/grpc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <uv.h>

#include "service/base/buf.h"
#include "service/base/id.h"
#include "service/base/list.h"
#include "service/rpc/call.h"
#include "service/rpc/listen.h"
#include "service/session/engine.h"

#define COMPLETION_THREADS_MAX 16

/* A pending request for the next call of one method (or of any other path). It is posted again as
 * soon as it fires, so that exactly one is always outstanding. */
struct slot {
    struct tag tag;
    struct rpc_server *server;
    const struct rpc_method *method; /* NULL: every path that isn't registered */
    void *registered;
    grpc_call *handle;
    grpc_call_details details;
    gpr_timespec deadline;
    grpc_metadata_array metadata;
    grpc_byte_buffer *payload;
};

enum server_state {
    SERVER_RUNNING,
    SERVER_FLUSHING,
    SERVER_GOING_AWAY,
    SERVER_CUT,
    SERVER_CLOSING,
    SERVER_CLOSED,
};

struct rpc_server {
    /* Constant after rpc_server_new. */
    struct engine *engine;
    uv_loop_t *loop;
    grpc_server *grpc;
    grpc_completion_queue *queue;
    char node_id[ID_NODE_MAX + 1];
    uint32_t max_calls;
    int64_t heartbeat_ns;
    int64_t flush_ns;
    struct slot *slots;
    size_t slots_len;
    pthread_t threads[COMPLETION_THREADS_MAX];
    unsigned threads_len;
    struct buf addresses;

    /* Any thread. */
    atomic_uint calls;            /* struct calls that exist */
    _Atomic int64_t last_call_ns; /* monotonic: when the last of them went */
    atomic_uint pending;          /* slots posted */
    atomic_bool serving;
    atomic_bool stopping; /* refuse calls that arrive */

    /* Loop thread. */
    enum server_state state;
    struct listeners listeners;
    struct list watchers; /* health watches and session watches: ended by a shutdown */
    struct list pings;    /* waiting for their delay */
    uv_timer_t timer;
    struct tag down; /* of grpc_server_shutdown_and_notify */
    struct engine_task down_task;
    bool down_done;
    bool listeners_closed;
    bool timer_closed;
    struct engine_task idle_task; /* while stopping: the last call, or pending request, is gone */
    atomic_bool idle_posted;      /* any thread */
    void (*closed)(void *ctx);
    void *closed_ctx;
};

/* Any thread: a struct call was freed; a posted slot fired. */
void server_call_gone(struct rpc_server *server);
void server_slot_done(struct rpc_server *server);

/* Loop thread. Ends every watch and delayed Ping with `err` after what it has queued (shutdown). */
void watch_end_all(struct rpc_server *server, const struct err *err);
void ping_end_all(struct rpc_server *server);
/* Loop thread: tells every Health.Watch. */
void health_changed(struct rpc_server *server);

#endif
