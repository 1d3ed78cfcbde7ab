/* client.h: a server on the stub engine, in a thread of its own, and a small blocking client on gRPC's C
 * core. One thread uses it. A call that hangs ends after CLIENT_TIMEOUT_S with DEADLINE_EXCEEDED. */
#ifndef PYEXEC_TESTS_UNIT_RPC_CLIENT_H
#define PYEXEC_TESTS_UNIT_RPC_CLIENT_H

#include <grpc/grpc.h>
#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>

#include "service/rpc/server.h"
#include "tests/unit/rpc/stub_engine.h"

#define CLIENT_TIMEOUT_S 30

struct fixture;

/* `max_calls` etc. of `config` are kept, the address is a new abstract one. Exits when it can't. */
struct fixture *fixture_new(const struct rpc_config *config);
const char *fixture_address(struct fixture *f);
struct engine *fixture_engine(struct fixture *f);
/* Runs `fn` on the loop thread and waits for it. */
void fixture_on_loop(struct fixture *f, void (*fn)(struct fixture *f, void *ctx), void *ctx);
struct rpc_server *fixture_server(struct fixture *f);
/* Starts the shutdown; fixture_free waits for its end. */
void fixture_shutdown(struct fixture *f);
/* True when every handle of the loop was closed. */
bool fixture_free(struct fixture *f);

struct client_call {
    grpc_call *call;
    grpc_completion_queue *queue;
    grpc_metadata_array initial;
    grpc_metadata_array trailing;
    grpc_status_code status;
    grpc_slice details;
    bool have_initial;
    bool done; /* the status is there */
};

grpc_channel *client_connect(const char *address);
/* Sends the one request. `header`: a value for x-pyexec-session,
 * or NULL. `timeout_ms` 0: CLIENT_TIMEOUT_S. */
void client_start(struct client_call *c, grpc_channel *channel, const char *path,
                  const ProtobufCMessage *request, const char *header, int timeout_ms);
/* The next response, or NULL at the end; then the status is there. */
ProtobufCMessage *client_next(struct client_call *c, const ProtobufCMessageDescriptor *type);
void client_cancel(struct client_call *c);
/* Frees it, cancelled if it wasn't at its end. */
void client_end(struct client_call *c);
/* The ErrorInfo.reason, "" when there is none; a static buffer. */
const char *client_reason(const struct client_call *c);

/* Start, one response, end: the response (or NULL) and the status. */
ProtobufCMessage *client_unary(grpc_channel *channel, const char *path,
                               const ProtobufCMessage *request,
                               const ProtobufCMessageDescriptor *type, grpc_status_code *ret_status,
                               const char **ret_reason);

#endif
