/* view.h: generated messages → the structs of pyexec.h. A view points into its message; the heap
 * objects own both. */
#ifndef PYEXEC_CLIENTS_C_VIEW_H
#define PYEXEC_CLIENTS_C_VIEW_H

#include "clients/c/pyexec.h"
#include "proto/pyexec_v1.h"

int64_t view_duration_ns(const Google__Protobuf__Duration *d); /* NULL: 0; saturates */
int64_t view_time_ns(const Google__Protobuf__Timestamp *t);
/* Milliseconds into `out`; returns `out`, or NULL when `ms` is not positive: not set. */
Google__Protobuf__Duration *view_duration(Google__Protobuf__Duration *out, int64_t ms);

/* The result of `message`; `owner` (the message that it lies in) is freed with it by
 * pyexec_result_free, unless NULL. On failure (out of memory) `owner` is left alone. */
struct pyexec_result *view_result(const Pyexec__V1__ExecutionResult *message,
                                  ProtobufCMessage *owner);

/* A bundle's parts are allocated: free((void *)bundle.parts). 0, or -1 when out of memory. */
int view_bundle(const Pyexec__V1__MimeBundle *message, struct pyexec_bundle *ret_bundle);

/* Every kind but the result, whose union member is left NULL. view_event_release frees what a
 * display allocated. 0 or -1. */
int view_event(const Pyexec__V1__ExecutionEvent *message, struct pyexec_event *ret_event);
void view_event_release(struct pyexec_event *event);

void view_session(const Pyexec__V1__Session *message, struct pyexec_session *ret_session);

#endif
