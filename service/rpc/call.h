/* call.h: one gRPC call: its memory, its references, what it sends.
 *
 * References. A call has one for whoever handles its arrival, one for each batch in flight and one for
 * the loop thread while the engine knows the call. At zero the grpc_call is released and the
 * struct freed, on whatever thread that happens.
 *
 * A completion is a `struct tag`, embedded in what it is about, with the function to call. */
#ifndef PYEXEC_RPC_CALL_H
#define PYEXEC_RPC_CALL_H

#include <grpc/grpc.h>
#include <protobuf-c/protobuf-c.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "service/base/err.h"
#include "service/session/engine.h"

#define RPC_SEND_MAX \
    (3584u << 10) /* one unary response; below what clients take by default: 4 MiB */

struct rpc_server;
struct rpc_method;

struct tag {
    void (*fn)(struct tag *tag, bool ok); /* on a completion thread */
    /* Release before the operation starts, acquire at its end: the order that gRPC's queue gives
     * anyway, stated where a race detector can see it (the library isn't instrumented). */
    atomic_bool armed;
};

void tag_arm(struct tag *tag, void (*fn)(struct tag *tag, bool ok));
void tag_complete(struct tag *tag, bool ok); /* calls fn */

struct call {
    struct rpc_server *server;
    const struct rpc_method *method; /* NULL: a path that isn't in the table */
    grpc_call *handle;
    atomic_uint refs;
    ProtobufCMessage *request; /* freed with the call, or earlier by call_drop_request */
    int64_t receive_ns;        /* monotonic */
    int64_t receive_real_ns;
    int64_t deadline_ns; /* monotonic; CLOCK_NEVER: none */
    struct tag sent;     /* of the batch that sends; one in flight */
    struct tag closed;   /* of the batch that waits for the end of the call */
    int cancelled;       /* out-parameter of that batch */
    bool close_armed;
    bool metadata_sent;
    struct engine_task task; /* hands the call to the loop */
};

/* What a row of the method table does; a call is allocated with `size` bytes, zeroed. */
struct call_type {
    size_t size; /* of a struct that begins with struct call */
    bool streams_requests;
    /* Completion thread: the call arrived, its request is decoded and checked (not for
     * streams_requests). The arrival's reference is the caller's. */
    void (*arrived)(struct call *call);
    void (*release)(struct call *call); /* frees what `arrived` made; may be NULL */
};

/* With one reference. NULL when memory is out: the handle is then still the caller's. */
struct call *call_new(struct rpc_server *server, const struct rpc_method *method,
                      grpc_call *take_handle);
void call_ref(struct call *call);
void call_unref(struct call *call);
void call_drop_request(struct call *call);

/* Runs `run` on the loop thread with call->task. The caller holds a reference until then. */
void call_post(struct call *call, void (*run)(struct engine_task *task));

/* Waits for the end of the call (cancelled, connection lost, deadline, or our status gone out) on
 * its own, for calls that last. `fn` gets call->closed; a reference is held until it returned. */
int call_watch_close(struct call *call, void (*fn)(struct tag *tag, bool ok));

struct call_send {
    grpc_slice *message;   /* taken; NULL: none */
    bool hint;             /* another message follows at once: it may wait for that one */
    bool end;              /* send the status: that of `err`, or OK */
    const struct err *err; /* borrowed */
    int plain_status;      /* without `err`: a status with this text and no details */
    const char *plain_text;
};

/* Starts one batch; initial metadata goes with the first. `fn` (NULL: nothing to do) gets call->sent, and
 * a reference is held until it returned. One batch at a time, and none after `end`.
 * -1: nothing was started, the call was cancelled and will close. */
int call_send(struct call *call, const struct call_send *send,
              void (*fn)(struct tag *tag, bool ok));

/* Receives the next message of a call that streams requests: *ret_message is NULL at the end. `fn` gets
 * call->sent: sending and receiving take turns. */
int call_receive(struct call *call, grpc_byte_buffer **ret_message,
                 void (*fn)(struct tag *tag, bool ok));

/* Runs `fn` on a completion thread, with call->sent: as a batch that sends nothing. */
int call_bounce(struct call *call, void (*fn)(struct tag *tag, bool ok));

/* Answers a call that has sent nothing, with a status or with one packed message. */
void call_reply_err(struct call *call, const struct err *err);
void call_reply(struct call *call, const ProtobufCMessage *message);

/* Packs into a new slice; false when it is larger than `max`. */
bool call_pack(const ProtobufCMessage *message, size_t max, grpc_slice *ret_slice);

#endif
