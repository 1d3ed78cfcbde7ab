/* json.h: any generated message → JSON on one line.
 *
 * Names as in the .proto files; numbers as numbers; enums by name; Timestamps in RFC 3339;
 * Durations in seconds; map<string, string> as an object. bytes: text under the field's own name
 * when they are UTF-8, else base64 under NAME_base64. Left out: empty texts, bytes, lists and maps,
 * messages that are not set, members of a oneof that are not the chosen one. Pure. */
#ifndef PYEXEC_CLIENTS_C_CMD_JSON_H
#define PYEXEC_CLIENTS_C_CMD_JSON_H

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>

#include "service/base/buf.h"

/* Appends; without a newline. 0, or -1 when `out` is full. */
int json_message(struct buf *out, const ProtobufCMessage *message);

/* A string in quotes. Invalid UTF-8 becomes U+FFFD, one a byte. */
int json_string(struct buf *out, const char *text, size_t n);
int json_base64(struct buf *out, const void *data, size_t n); /* in quotes */

#endif
