/* transport.h: calls over gRPC C core: one unary call, one server stream. The only part of the
 * client that sees <grpc/...>. Any thread; a stream belongs to one thread at a time. */
#ifndef PYEXEC_CLIENTS_C_TRANSPORT_H
#define PYEXEC_CLIENTS_C_TRANSPORT_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stdint.h>

#include "clients/c/pyexec.h"

#define TRANSPORT_MAX_RECEIVE (128 * 1024 * 1024)
#define TRANSPORT_MAX_SESSION_ID 256

struct method {
    const char *path; /* "/pyexec.v1.SessionService/GetSession" */
    const ProtobufCMessageDescriptor *response;
};

/* `session_id` goes into the header x-pyexec-session when it is not empty. `timeout_ms` 0: the
 * client's default; < 0: none. The response is freed with protobuf_c_message_free_unpacked. */
int transport_unary(struct pyexec_client *client, const struct method *method,
                    const char *session_id, const ProtobufCMessage *request, int64_t timeout_ms,
                    ProtobufCMessage **ret_response, struct pyexec_error *err);

struct stream;
int transport_open(struct pyexec_client *client, const struct method *method,
                   const char *session_id, const ProtobufCMessage *request,
                   struct stream **ret_stream, struct pyexec_error *err);
/* 1 and a message; 0 when the server ended the stream with OK; -1 and the error. A stream that is
 * silent for `silence_ms` is given up as UNAVAILABLE. */
int transport_next(struct stream *stream, int64_t silence_ms, ProtobufCMessage **ret_message,
                   struct pyexec_error *err);
void transport_close(struct stream *stream); /* cancels what is still going on; NULL is fine */

/* Waits; -1 with CANCELLED when pyexec_cancel came meanwhile. */
int transport_pause(struct pyexec_client *client, int64_t ms, struct pyexec_error *err);

/* True once the server answered anything. */
bool transport_was_connected(struct pyexec_client *client);

/* Fills `err` (no reason) and returns -1. */
int transport_fail(struct pyexec_error *err, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
