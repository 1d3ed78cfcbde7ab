/* server.h: the gRPC server: listeners, connections, calls, health and reflection.
 *
 * A thin layer over session/engine.h: it decodes and checks requests, posts them to the loop, and
 * writes what the engine answers. Every function here is called on the loop thread (which is the
 * main thread before the loop runs). Errors say what to do; they are for the person who starts
 * the daemon. */
#ifndef PYEXEC_RPC_SERVER_H
#define PYEXEC_RPC_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "service/base/err.h"

struct engine;
struct rpc_server;

/* Zero means the default behind the field. Everything is copied. */
struct rpc_config {
    /* unix:/path, unix-abstract:name, 127.0.0.1:PORT, [::1]:PORT; NULL-terminated, at least one.
     * Other addresses are refused: there is no encryption yet. */
    const char *const *listen;
    const char *node_id;         /* told by Ping */
    unsigned completion_threads; /* 2 */
    size_t max_receive_bytes;    /* of one request: 20 MiB */
    size_t max_metadata_bytes;   /* 16 KiB */
    size_t max_transport_bytes;  /* held by gRPC for all connections, else calls are cut: 512 MiB */
    uint32_t max_connections;    /* 4096 */
    uint32_t max_calls;          /* in progress, all connections: 20,000 */
    uint32_t max_streams;        /* in progress on one connection: 1000 */
    int64_t heartbeat_ns;        /* of WatchSessions: 15 s */
    int64_t keepalive_ns;        /* between pings of a connection that has calls: 30 s */
    int64_t keepalive_timeout_ns; /* without an answer to one: 10 s */
    int64_t flush_ns; /* how long a shutdown waits for clients to take their results: 3 s */
};

/* Binds the listeners, starts gRPC and its threads; calls are answered from now on, as soon as the
 * loop runs. Health says NOT_SERVING. A Unix socket that a living daemon owns is never taken over.
 * Signals that the process handles elsewhere must be blocked already: threads inherit the mask. */
int rpc_server_new(const struct rpc_config *config, struct engine *engine, uv_loop_t *loop,
                   struct rpc_server **ret_server, struct err *err);

/* The addresses in use, separated by spaces, port 0 replaced by the real port. */
const char *rpc_server_addresses(const struct rpc_server *server);

/* What Health.Check says, and Health.Watch tells its watchers. */
void rpc_server_set_serving(struct rpc_server *server, bool serving);

/* After the engine drained: health NOT_SERVING, listeners closed (and their files removed), new calls
 * UNAVAILABLE; streams go on until their clients have what is there, at most flush_ns, then are
 * cut. `done` is called on the loop when no call, thread or handle of the server is left; the engine
 * must answer what is still open until then. */
void rpc_server_shutdown(struct rpc_server *server, void (*done)(void *ctx), void *ctx);

/* After `done`. NULL is fine. */
void rpc_server_free(struct rpc_server *server);

#endif
