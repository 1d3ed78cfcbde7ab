/* server.c: theory of operation, start and stop.
 *
 * Threads. The loop thread accepts connections (accept.c) and runs the engine; completion threads poll one
 * gRPC queue, and with that do gRPC's input and output. A call, by file:
 *
 *   arrival.c   completion thread: a pending request fires; the call is admitted, its request is decoded
 *               and checked (request.c), the row of the method table (method.c) says what it is
 *   unary.c     loop: the engine's function; its answer leaves in one batch
 *   execute.c   loop: the engine attaches a reader to an execution's log;
 *   stream.c    then whoever owns the sending side reads events and sends them, one in flight
 *   watch.c, health.c, reflection.c, ping.c   what their names say
 *   call.c      references, batches, statuses (status.c)
 *
 * Rules that gRPC 1.51 forces on us (each cost somebody a day):
 *   - one request_call is always outstanding, else an unknown method hangs and calls pile up;
 *   - a status without initial metadata is never sent; a hinted first message neither;
 *   - waiting for the end of a call is a batch of its own, before any other, for calls that last;
 *   - a batch that gRPC rejects can't be repeated: the call is cancelled instead;
 *   - its compression inflates 400 KB to 448 MB before a limit counts: identity only.
 *
 * Stop:
 *   RUNNING → FLUSHING     no new connections; new calls are refused; watches end; executions' streams go on
 *                          until their clients have taken the result
 *           → GOING_AWAY   no call is left: gRPC sends GOAWAY and a ping, which a client answers only after
 *                          it has read what was sent before (GOAWAY sent earlier lets gRPC close connections
 *                          whose client has not read all yet), and closes each connection that answers
 *           → CUT          flush_ns have passed, or no call has been for LINGER_NS: all connections are
 *                          closed, calls or not
 *           → CLOSING      no call, pending request or connection is left; threads are joined
 *           → CLOSED       the handles are closed */
#include "service/rpc/server.h"

#include <grpc/grpc_posix.h>
#include <grpc/grpc_security.h>
#include <grpc/support/log.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "service/base/clock.h"
#include "service/base/log.h"
#include "service/rpc/arrival.h"
#include "service/rpc/internal.h"

#define LINGER_NS (500 * NS_PER_MS) /* after the last call, before connections are cut */
#define ADDRESSES_MAX (LISTENERS_MAX * (ADDRESS_TEXT_MAX + 1))

static void step(struct rpc_server *server);

/* --- completion threads -------------------------------------------------------------------------- */

static void *completion_thread(void *arg)
{
    struct rpc_server *server = arg;
    for (;;) {
        grpc_event e =
            grpc_completion_queue_next(server->queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
        if (e.type == GRPC_QUEUE_SHUTDOWN) {
            return NULL;
        }
        if (e.type == GRPC_OP_COMPLETE) {
            tag_complete(e.tag, e.success != 0);
        }
    }
}

static int start_threads(struct rpc_server *server, unsigned n, struct err *err)
{
    for (; server->threads_len < n; server->threads_len++) {
        int e =
            pthread_create(&server->threads[server->threads_len], NULL, completion_thread, server);
        if (e != 0) {
            return err_sys(err, ERR_INTERNAL, e, "pthread_create", "can't start a thread: %s",
                           strerror(e));
        }
    }
    return 0;
}

/* --- start ---------------------------------------------------------------------------------------- */

static void on_grpc_log(gpr_log_func_args *args)
{
    log_event(args->severity == GPR_LOG_SEVERITY_ERROR ? LOG_WARN : LOG_DEBUG, "grpc", "text",
              args->message, (char *)NULL);
}

static int or_default(int64_t value, int64_t fallback)
{
    int64_t v = value > 0 ? value : fallback;
    return v < INT32_MAX ? (int)v : INT32_MAX;
}

static grpc_server *create_grpc(const struct rpc_config *c)
{
    const struct {
        const char *key;
        int value;
    } settings[] = {
        {GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, or_default((int64_t)c->max_receive_bytes, 20 << 20)},
        {GRPC_ARG_MAX_METADATA_SIZE, or_default((int64_t)c->max_metadata_bytes, 16 << 10)},
        {GRPC_ARG_MAX_CONCURRENT_STREAMS, or_default(c->max_streams, 1000)},
        {GRPC_ARG_KEEPALIVE_TIME_MS, or_default(c->keepalive_ns / NS_PER_MS, 30000)},
        {GRPC_ARG_KEEPALIVE_TIMEOUT_MS, or_default(c->keepalive_timeout_ns / NS_PER_MS, 10000)},
        {GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1},
        /* Clients may ping during a silent execution; the default would cut them off. */
        {GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 10000},
        {GRPC_ARG_HTTP2_MAX_PING_STRIKES, 2},
        {GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET, 1},
        {GRPC_ARG_ALLOW_REUSEPORT, 0},
        {GRPC_ARG_ENABLE_CHANNELZ, 0},
        /* The way to clients is short: no probing, and a window that takes most requests whole. */
        {GRPC_ARG_HTTP2_BDP_PROBE, 0},
        {GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, 256 << 10},
    };
    enum { N = sizeof settings / sizeof *settings };
    grpc_arg args[N + 1];
    for (unsigned i = 0; i < N; i++) {
        args[i] = (grpc_arg){.type = GRPC_ARG_INTEGER, .key = (char *)settings[i].key};
        args[i].value.integer = settings[i].value;
    }
    grpc_resource_quota *quota = grpc_resource_quota_create("server");
    grpc_resource_quota_resize(quota, c->max_transport_bytes ? c->max_transport_bytes : 512u << 20);
    args[N] = (grpc_arg){.type = GRPC_ARG_POINTER, .key = (char *)GRPC_ARG_RESOURCE_QUOTA};
    args[N].value.pointer.p = quota;
    args[N].value.pointer.vtable = grpc_resource_quota_arg_vtable();
    grpc_server *server = grpc_server_create(&(grpc_channel_args){N + 1, args}, NULL);
    grpc_resource_quota_unref(quota);
    return server;
}

static void on_accepted(void *ctx, int take_fd)
{
    struct rpc_server *server = ctx;
    grpc_server_credentials *insecure = grpc_insecure_server_credentials_create();
    grpc_server_add_channel_from_fd(server->grpc, take_fd, insecure);
    grpc_server_credentials_release(insecure);
}

static struct rpc_server *server_alloc(const struct rpc_config *c, struct engine *engine,
                                       uv_loop_t *loop)
{
    struct rpc_server *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return NULL;
    }
    s->engine = engine;
    s->loop = loop;
    s->max_calls = (uint32_t)or_default(c->max_calls, 20000);
    s->heartbeat_ns = c->heartbeat_ns > 0 ? c->heartbeat_ns : 15 * NS_PER_SEC;
    s->flush_ns = c->flush_ns > 0 ? c->flush_ns : 3 * NS_PER_SEC;
    (void)snprintf(s->node_id, sizeof s->node_id, "%s", c->node_id ? c->node_id : "");
    buf_init(&s->addresses, ADDRESSES_MAX);
    list_init(&s->watchers);
    list_init(&s->pings);
    return s;
}

int rpc_server_new(const struct rpc_config *c, struct engine *engine, uv_loop_t *loop,
                   struct rpc_server **ret_server, struct err *err)
{
    unsigned threads = c->completion_threads ? c->completion_threads : 2;
    struct rpc_server *s = server_alloc(c, engine, loop);
    if (s == NULL) {
        return err_set(err, ERR_NO_MEMORY, "no memory for the server");
    }
    if (listeners_bind(&s->listeners, c->listen, (uint32_t)or_default(c->max_connections, 4096),
                       &s->addresses, err) < 0) {
        buf_release(&s->addresses);
        free(s);
        return -1;
    }
    if (buf_append(&s->addresses, "", 1) < 0) {
        (void)err_set(err, ERR_NO_MEMORY, "no memory for the addresses");
        goto fail;
    }
    gpr_set_log_function(on_grpc_log);
    grpc_init();
    s->queue = grpc_completion_queue_create_for_next(NULL);
    s->grpc = create_grpc(c);
    grpc_server_register_completion_queue(s->grpc, s->queue, NULL);
    if (arrival_register(s, err) < 0) {
        goto fail;
    }
    grpc_server_start(s->grpc);
    arrival_start(s);
    (void)uv_timer_init(loop, &s->timer);
    if (start_threads(s, threads < COMPLETION_THREADS_MAX ? threads : COMPLETION_THREADS_MAX, err) <
            0 ||
        listeners_start(&s->listeners, loop, on_accepted, s, err) < 0) {
        goto fail;
    }
    *ret_server = s;
    return 0;
fail:
    /* Threads may run and calls be pending: what is left goes with the process, which ends now. The
     * socket files must not stay. */
    listeners_release(&s->listeners);
    return -1;
}

const char *rpc_server_addresses(const struct rpc_server *server)
{
    return (const char *)server->addresses.data;
}

void rpc_server_set_serving(struct rpc_server *server, bool serving)
{
    if (atomic_exchange(&server->serving, serving) != serving) {
        health_changed(server);
    }
}

/* --- stop ----------------------------------------------------------------------------------------- */

static void on_idle(struct engine_task *task)
{
    struct rpc_server *server = LIST_CONTAINER(task, struct rpc_server, idle_task);
    atomic_store(&server->idle_posted, false);
    step(server);
}

/* The last of calls and pending requests tells the loop. */
static void maybe_idle(struct rpc_server *server)
{
    if (atomic_load(&server->stopping) && atomic_load(&server->calls) == 0 &&
        !atomic_exchange(&server->idle_posted, true)) {
        server->idle_task.run = on_idle;
        engine_post(server->engine, &server->idle_task);
    }
}

void server_call_gone(struct rpc_server *server)
{
    atomic_store_explicit(&server->last_call_ns, clock_mono_ns(), memory_order_relaxed);
    (void)atomic_fetch_sub(&server->calls, 1);
    maybe_idle(server);
}

void server_slot_done(struct rpc_server *server)
{
    (void)atomic_fetch_sub(&server->pending, 1);
    maybe_idle(server);
}

static void on_down_loop(struct engine_task *task)
{
    struct rpc_server *server = LIST_CONTAINER(task, struct rpc_server, down_task);
    server->down_done = true;
    step(server);
}

static void on_down(struct tag *tag, bool ok)
{
    struct rpc_server *server = LIST_CONTAINER(tag, struct rpc_server, down);
    (void)ok;
    server->down_task.run = on_down_loop;
    engine_post(server->engine, &server->down_task);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct rpc_server *server = LIST_CONTAINER(handle, struct rpc_server, timer);
    server->timer_closed = true;
    step(server);
}

static void on_listeners_closed(void *ctx)
{
    struct rpc_server *server = ctx;
    server->listeners_closed = true;
    step(server);
}

/* A client that makes no call may not even look at its connection, and never answers the ping. It has
 * read all when its last call is some time ago; after a call that has just ended it gets some. */
static uint64_t linger_ms(struct rpc_server *server)
{
    int64_t since =
        clock_mono_ns() - atomic_load_explicit(&server->last_call_ns, memory_order_relaxed);
    int64_t left = LINGER_NS - since;
    left = left < server->flush_ns ? left : server->flush_ns;
    return left > 0 ? (uint64_t)(left / NS_PER_MS) : 0;
}

static void on_flush_over(uv_timer_t *timer);

static void go_away(struct rpc_server *server)
{
    server->state = SERVER_GOING_AWAY;
    (void)uv_timer_start(&server->timer, on_flush_over, linger_ms(server), 0);
    tag_arm(&server->down, on_down);
    grpc_server_shutdown_and_notify(server->grpc, server->queue, &server->down);
}

static void on_flush_over(uv_timer_t *timer)
{
    struct rpc_server *server = LIST_CONTAINER(timer, struct rpc_server, timer);
    if (server->state == SERVER_FLUSHING) {
        go_away(server);
    }
    if (server->state == SERVER_GOING_AWAY) {
        server->state = SERVER_CUT;
        grpc_server_cancel_all_calls(server->grpc);
    }
}

static void close_grpc(struct rpc_server *server)
{
    grpc_server_destroy(server->grpc);
    grpc_completion_queue_shutdown(server->queue);
    for (unsigned i = 0; i < server->threads_len; i++) {
        (void)pthread_join(server->threads[i], NULL);
    }
    grpc_completion_queue_destroy(server->queue);
    /* No grpc_shutdown: it joins a thread of the library that sits in epoll_wait for up to 10 s after
     * any write that had to wait for its client. The process ends next, and that thread with it. */
}

/* Goes on with the stop as far as it can; called after each thing it waits for. */
static void step(struct rpc_server *server)
{
    bool idle = atomic_load(&server->calls) == 0;
    switch (server->state) {
    case SERVER_RUNNING:
    case SERVER_CLOSED:
        break;
    case SERVER_FLUSHING:
        if (idle) {
            go_away(server);
        }
        break;
    case SERVER_GOING_AWAY:
    case SERVER_CUT:
        if (idle && server->down_done && atomic_load(&server->pending) == 0 &&
            server->listeners_closed) {
            close_grpc(server);
            server->state = SERVER_CLOSING;
            uv_close((uv_handle_t *)&server->timer, on_handle_closed);
        }
        break;
    case SERVER_CLOSING:
        /* A thread that is gone now may have posted this once more. */
        if (server->timer_closed && !atomic_load(&server->idle_posted)) {
            server->state = SERVER_CLOSED;
            server->closed(server->closed_ctx);
        }
        break;
    }
}

void rpc_server_shutdown(struct rpc_server *server, void (*done)(void *ctx), void *ctx)
{
    struct err err = {0};
    if (server->state != SERVER_RUNNING) {
        return;
    }
    server->state = SERVER_FLUSHING;
    server->closed = done;
    server->closed_ctx = ctx;
    rpc_server_set_serving(server, false);
    atomic_store(&server->stopping, true);
    (void)err_set(&err, ERR_SERVER_DRAINING, "the server is stopping");
    watch_end_all(server, &err);
    ping_end_all(server);
    listeners_close(&server->listeners, on_listeners_closed);
    uv_update_time(server->loop);
    (void)uv_timer_start(&server->timer, on_flush_over, (uint64_t)(server->flush_ns / NS_PER_MS),
                         0);
    maybe_idle(server);
}

#if defined(__SANITIZE_THREAD__)
/* libgrpc isn't instrumented: ThreadSanitizer sees its reads and writes (through memcpy, free, recvmsg)
 * but not its locks. What happens inside it is left out; all of our own code is checked. */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "ignore_noninstrumented_modules=1";
}
#endif

void rpc_server_free(struct rpc_server *server)
{
    if (server == NULL) {
        return;
    }
    free(server->slots);
    buf_release(&server->addresses);
    free(server);
}
