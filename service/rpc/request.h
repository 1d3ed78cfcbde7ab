/* request.h: bytes of a client → a checked request message. Any thread.
 *
 * protobuf-c checks no UTF-8, hides what follows a NUL in a string, and spends many times the size
 * of a message made of tiny fields. So the wire bytes are checked along the descriptor first, and memory is
 * counted while unpacking. */
#ifndef PYEXEC_RPC_REQUEST_H
#define PYEXEC_RPC_REQUEST_H

#include <grpc/grpc.h>
#include <protobuf-c/protobuf-c.h>

#include "service/base/err.h"

/* Memory that a request of n bytes may become: enough for any that keeps api.md's limits. */
#define REQUEST_BUDGET(n) (2 * (n) + (1u << 20))

/* INVALID_FIELD, naming the field ("spec.env.key"), when a string isn't UTF-8 or has a NUL in it.
 * Bytes that aren't the message pass: unpacking says so. */
int request_check_strings(const ProtobufCMessageDescriptor *type, const uint8_t *data, size_t n,
                          struct err *err);

/* Checks and unpacks; free with protobuf_c_message_free_unpacked(m, NULL). 0 or -1. */
int request_decode(const ProtobufCMessageDescriptor *type, const uint8_t *data, size_t n,
                   ProtobufCMessage **ret_message, struct err *err);

/* The same from what gRPC received (NULL: no message came), borrowed. */
int request_decode_payload(const ProtobufCMessageDescriptor *type, grpc_byte_buffer *payload,
                           ProtobufCMessage **ret_message, struct err *err);

/* The session that the request is about; NULL when its type has no session_id. */
const char *request_session_id(const ProtobufCMessage *request);

/* Proxies route on the header x-pyexec-session: when it came it must be the request's session.
 * `type` has a session_id or nothing is checked. */
int request_check_header(const ProtobufCMessage *request, const grpc_metadata_array *metadata,
                         struct err *err);

#endif
