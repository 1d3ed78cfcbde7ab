/* arrival.c: from gRPC's "a call is there" to the method's own code, on a completion thread. */
#include "service/rpc/arrival.h"

#include <grpc/byte_buffer.h>
#include <grpc/slice.h>
#include <grpc/support/time.h>
#include <stdlib.h>
#include <string.h>

#include "service/base/clock.h"
#include "service/base/log.h"
#include "service/rpc/internal.h"
#include "service/rpc/method.h"
#include "service/rpc/request.h"

static void on_arrived(struct tag *tag, bool ok);

/* What a slot received, moved out of it so that it can be posted again at once. */
struct arrival {
    const struct rpc_method *method;
    grpc_call *handle;
    grpc_call_details details; /* its slices are held when there is no method */
    gpr_timespec deadline;
    grpc_metadata_array metadata; /* keys and values belong to the call */
    grpc_byte_buffer *payload;
};

static void post(struct slot *slot)
{
    struct rpc_server *server = slot->server;
    grpc_call_error e;
    slot->handle = NULL;
    slot->payload = NULL;
    grpc_metadata_array_init(&slot->metadata);
    (void)atomic_fetch_add(&server->pending, 1);
    tag_arm(&slot->tag, on_arrived);
    if (slot->registered == NULL) {
        grpc_call_details_init(&slot->details);
        e = grpc_server_request_call(server->grpc, &slot->handle, &slot->details, &slot->metadata,
                                     server->queue, server->queue, &slot->tag);
    } else {
        e = grpc_server_request_registered_call(
            server->grpc, slot->registered, &slot->handle, &slot->deadline, &slot->metadata,
            slot->method->type->streams_requests ? NULL : &slot->payload, server->queue,
            server->queue, &slot->tag);
    }
    if (e != GRPC_CALL_OK) {
        log_event(LOG_ERROR, "rpc.request", "path", slot->method ? slot->method->path : "*",
                  "error", grpc_call_error_to_string(e), (char *)NULL);
        abort(); /* only wrong arguments get here; going on would leave a method that never answers */
    }
}

static int64_t deadline_ns(gpr_timespec deadline)
{
    if (gpr_time_cmp(deadline, gpr_inf_future(deadline.clock_type)) == 0) {
        return CLOCK_NEVER;
    }
    gpr_timespec left = gpr_time_sub(deadline, gpr_now(deadline.clock_type));
    if (left.tv_sec >= INT64_MAX / NS_PER_SEC / 2) {
        return CLOCK_NEVER;
    }
    int64_t now = clock_mono_ns();
    return left.tv_sec < 0 ? now : clock_add(now, left.tv_sec * NS_PER_SEC + left.tv_nsec);
}

static void refuse_path(struct call *call, grpc_slice path)
{
    struct err err = {0};
    const char *p = (const char *)GRPC_SLICE_START_PTR(path);
    size_t n = GRPC_SLICE_LENGTH(path);
    (void)err_set(&err, ERR_UNIMPLEMENTED,
                  "unknown method %.*s; reflection lists what this server has",
                  (int)(n < 128 ? n : 128), p);
    call_reply_err(call, &err);
}

static int admit(struct rpc_server *server, struct err *err)
{
    if (atomic_load(&server->stopping)) {
        return err_set(err, ERR_SERVER_DRAINING, "the server is stopping");
    }
    if (atomic_load(&server->calls) > server->max_calls) {
        return err_set(err, ERR_NODE_AT_CAPACITY, "too many calls in progress; try again later");
    }
    return 0;
}

static void handle(struct call *call, struct arrival *a)
{
    struct err err = {0};
    call->receive_ns = clock_mono_ns();
    call->receive_real_ns = clock_real_ns();
    call->deadline_ns = deadline_ns(a->deadline);
    if (admit(call->server, &err) < 0) {
        call_reply_err(call, &err);
    } else if (a->method == NULL) {
        refuse_path(call, a->details.method);
    } else if (!a->method->type->streams_requests &&
               (request_decode_payload(a->method->request, a->payload, &call->request, &err) < 0 ||
                request_check_header(call->request, &a->metadata, &err) < 0)) {
        call_reply_err(call, &err);
    } else {
        a->method->type->arrived(call);
    }
}

static void on_arrived(struct tag *tag, bool ok)
{
    struct slot *slot = LIST_CONTAINER(tag, struct slot, tag);
    struct rpc_server *server = slot->server;
    struct arrival a = {slot->method,   slot->handle,   slot->details,
                        slot->deadline, slot->metadata, slot->payload};
    if (slot->method == NULL) {
        a.deadline = slot->details.deadline;
    }
    if (ok) {
        post(slot);
        engine_count(server->engine, ENGINE_COUNT_CALLS, 1);
        struct call *call = call_new(server, a.method, a.handle);
        if (call != NULL) {
            handle(call, &a);
            call_unref(call);
        } else {
            (void)grpc_call_cancel_with_status(a.handle, GRPC_STATUS_RESOURCE_EXHAUSTED,
                                               "out of memory", NULL);
            grpc_call_unref(a.handle);
        }
    }
    if (a.payload != NULL) {
        grpc_byte_buffer_destroy(a.payload);
    }
    grpc_metadata_array_destroy(&a.metadata);
    if (a.method == NULL) {
        grpc_call_details_destroy(&a.details);
    }
    server_slot_done(server);
}

int arrival_register(struct rpc_server *server, struct err *err)
{
    server->slots = calloc(rpc_methods_len + 1, sizeof *server->slots);
    if (server->slots == NULL) {
        return err_set(err, ERR_NO_MEMORY, "no memory for the method table");
    }
    server->slots[server->slots_len++].server = server; /* for every path that isn't registered */
    for (size_t i = 0; i < rpc_methods_len; i++) {
        const struct rpc_method *m = &rpc_methods[i];
        struct slot *slot = &server->slots[server->slots_len++];
        slot->server = server;
        slot->method = m;
        slot->registered = grpc_server_register_method(
            server->grpc, m->path, NULL,
            m->type->streams_requests ? GRPC_SRM_PAYLOAD_NONE
                                      : GRPC_SRM_PAYLOAD_READ_INITIAL_BYTE_BUFFER,
            0);
        if (slot->registered == NULL) {
            return err_set(err, ERR_INTERNAL, "gRPC refuses the method %s", m->path);
        }
    }
    return 0;
}

void arrival_start(struct rpc_server *server)
{
    for (size_t i = 0; i < server->slots_len; i++) {
        post(&server->slots[i]);
    }
}
