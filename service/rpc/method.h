/* method.h: one row for each method that the server knows, and the kinds of calls. Constant. */
#ifndef PYEXEC_RPC_METHOD_H
#define PYEXEC_RPC_METHOD_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>

#include "service/rpc/call.h"
#include "service/session/engine.h"

/* An engine function that answers once, with its request's type erased. */
typedef void rpc_unary_fn(struct engine *engine, const struct engine_caller *caller,
                          const ProtobufCMessage *request, engine_done_fn *done, void *ctx);

struct rpc_method {
    const char *path; /* "/pyexec.v1.SessionService/GetSession" */
    const struct call_type *type;
    const ProtobufCMessageDescriptor *request;
    const ProtobufCMessageDescriptor *response;
    rpc_unary_fn *unary; /* of call_type_unary alone */
};

extern const struct rpc_method rpc_methods[];
extern const size_t rpc_methods_len;

const struct rpc_method *rpc_method_find(const char *path, size_t len); /* NULL: unknown */

/* Whether a service of that full name has a method here. */
bool rpc_service_known(const char *service);

/* The file that has the kind has the name of the kind. */
extern const struct call_type call_type_unary;
extern const struct call_type call_type_ping;
extern const struct call_type call_type_execute;
extern const struct call_type call_type_attach;
extern const struct call_type call_type_run;
extern const struct call_type call_type_read_file;
extern const struct call_type call_type_watch_sessions;
extern const struct call_type call_type_health_check;
extern const struct call_type call_type_health_watch;
extern const struct call_type call_type_reflection;

#endif
