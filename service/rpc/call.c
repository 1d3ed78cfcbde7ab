#include "service/rpc/call.h"

#include <assert.h>
#include <grpc/byte_buffer.h>
#include <grpc/slice.h>
#include <stdlib.h>
#include <string.h>

#include "service/base/buf.h"
#include "service/base/log.h"
#include "service/rpc/internal.h"
#include "service/rpc/method.h"
#include "service/rpc/status.h"

#define DETAILS_KEY "grpc-status-details-bin"

void tag_arm(struct tag *tag, void (*fn)(struct tag *tag, bool ok))
{
    tag->fn = fn;
    bool was = atomic_exchange_explicit(&tag->armed, true, memory_order_release);
    assert(!was);
    (void)was;
}

void tag_complete(struct tag *tag, bool ok)
{
    bool was = atomic_exchange_explicit(&tag->armed, false, memory_order_acquire);
    assert(was);
    (void)was;
    tag->fn(tag, ok);
}

struct call *call_new(struct rpc_server *server, const struct rpc_method *method,
                      grpc_call *take_handle)
{
    struct call *call = calloc(1, method != NULL ? method->type->size : sizeof *call);
    if (call == NULL) {
        return NULL;
    }
    call->server = server;
    call->method = method;
    call->handle = take_handle;
    atomic_init(&call->refs, 1);
    (void)atomic_fetch_add(&server->calls, 1);
    return call;
}

void call_ref(struct call *call)
{
    (void)atomic_fetch_add_explicit(&call->refs, 1, memory_order_relaxed);
}

void call_drop_request(struct call *call)
{
    if (call->request != NULL) {
        protobuf_c_message_free_unpacked(call->request, NULL);
        call->request = NULL;
    }
}

void call_unref(struct call *call)
{
    if (atomic_fetch_sub_explicit(&call->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    struct rpc_server *server = call->server;
    if (call->method != NULL && call->method->type->release != NULL) {
        call->method->type->release(call);
    }
    call_drop_request(call);
    grpc_call_unref(call->handle);
    free(call);
    server_call_gone(server);
}

void call_post(struct call *call, void (*run)(struct engine_task *task))
{
    call->task.run = run;
    engine_post(call->server->engine, &call->task);
}

static void on_sent_unref(struct tag *tag, bool ok)
{
    (void)ok;
    call_unref(LIST_CONTAINER(tag, struct call, sent));
}

/* The tag fires exactly once if the batch started; otherwise the call is cancelled instead. */
static int start(struct call *call, const grpc_op *ops, size_t n, struct tag *tag,
                 void (*fn)(struct tag *tag, bool ok))
{
    call_ref(call);
    tag_arm(tag, fn);
    grpc_call_error e = grpc_call_start_batch(call->handle, ops, n, tag, NULL);
    if (e == GRPC_CALL_OK) {
        return 0;
    }
    log_event(LOG_ERROR, "rpc.batch", "error", grpc_call_error_to_string(e), (char *)NULL);
    (void)grpc_call_cancel_with_status(call->handle, GRPC_STATUS_INTERNAL, "internal error", NULL);
    atomic_store_explicit(&tag->armed, false, memory_order_release);
    call_unref(call);
    return -1;
}

int call_watch_close(struct call *call, void (*fn)(struct tag *tag, bool ok))
{
    grpc_op op = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER};
    op.data.recv_close_on_server.cancelled = &call->cancelled;
    call->close_armed = true;
    return start(call, &op, 1, &call->closed, fn);
}

/* Trailers of a status that isn't OK; all three live until the batch has started. */
struct trailers {
    grpc_slice text;
    grpc_slice details;
    grpc_metadata entry;
};

static void trailers_init(struct trailers *t, const struct err *err)
{
    char text[ERR_TEXT_MAX];
    struct buf packed;
    status_message(err, text, sizeof text);
    t->text = grpc_slice_from_copied_string(text);
    buf_init(&packed, STATUS_DETAILS_MAX);
    /* Without memory for them the status goes alone. */
    t->details = status_details(err, &packed) == 0
                     ? grpc_slice_from_copied_buffer((const char *)packed.data, packed.len)
                     : grpc_empty_slice();
    buf_release(&packed);
    t->entry =
        (grpc_metadata){.key = grpc_slice_from_static_string(DETAILS_KEY), .value = t->details};
}

static void trailers_release(struct trailers *t)
{
    grpc_slice_unref(t->text);
    grpc_slice_unref(t->details);
}

int call_send(struct call *call, const struct call_send *send, void (*fn)(struct tag *tag, bool ok))
{
    grpc_op ops[4] = {{0}};
    size_t n = 0;
    grpc_byte_buffer *message = NULL;
    struct trailers trailers;
    grpc_slice plain;
    if (!call->metadata_sent) {
        ops[n++].op = GRPC_OP_SEND_INITIAL_METADATA;
    }
    if (send->message != NULL) {
        message = grpc_raw_byte_buffer_create(send->message, 1);
        grpc_slice_unref(*send->message);
        ops[n].op = GRPC_OP_SEND_MESSAGE;
        /* A hinted message in the first batch would never complete. */
        ops[n].flags = send->hint && call->metadata_sent ? GRPC_WRITE_BUFFER_HINT : 0;
        ops[n++].data.send_message.send_message = message;
    }
    call->metadata_sent = true;
    if (send->end) {
        ops[n].op = GRPC_OP_SEND_STATUS_FROM_SERVER;
        if (send->err != NULL) {
            trailers_init(&trailers, send->err);
            ops[n].data.send_status_from_server.status = err_grpc_status(send->err->code);
            ops[n].data.send_status_from_server.status_details = &trailers.text;
            ops[n].data.send_status_from_server.trailing_metadata = &trailers.entry;
            ops[n].data.send_status_from_server.trailing_metadata_count =
                GRPC_SLICE_LENGTH(trailers.details) > 0;
        } else if (send->plain_text != NULL) {
            plain = grpc_slice_from_static_string(send->plain_text);
            ops[n].data.send_status_from_server.status = (grpc_status_code)send->plain_status;
            ops[n].data.send_status_from_server.status_details = &plain;
        }
        n++;
    }
    if (send->end && !call->close_armed) {
        call->close_armed = true;
        ops[n].op = GRPC_OP_RECV_CLOSE_ON_SERVER;
        ops[n++].data.recv_close_on_server.cancelled = &call->cancelled;
    }
    int r = start(call, ops, n, &call->sent, fn != NULL ? fn : on_sent_unref);
    if (message != NULL) {
        grpc_byte_buffer_destroy(message);
    }
    if (send->end && send->err != NULL) {
        trailers_release(&trailers);
    }
    return r;
}

int call_receive(struct call *call, grpc_byte_buffer **ret_message,
                 void (*fn)(struct tag *tag, bool ok))
{
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};
    op.data.recv_message.recv_message = ret_message;
    return start(call, &op, 1, &call->sent, fn);
}

int call_bounce(struct call *call, void (*fn)(struct tag *tag, bool ok))
{
    return start(call, NULL, 0, &call->sent, fn);
}

void call_reply_err(struct call *call, const struct err *err)
{
    if (err->code == ERR_INTERNAL) {
        log_err(LOG_ERROR, "rpc.internal", NULL, err);
    }
    engine_count(call->server->engine, ENGINE_COUNT_CALLS_REFUSED, 1);
    (void)call_send(call, &(struct call_send){.end = true, .err = err}, NULL);
}

bool call_pack(const ProtobufCMessage *message, size_t max, grpc_slice *ret_slice)
{
    size_t n = protobuf_c_message_get_packed_size(message);
    if (n > max) {
        return false;
    }
    *ret_slice = grpc_slice_malloc(n);
    protobuf_c_message_pack(message, GRPC_SLICE_START_PTR(*ret_slice));
    return true;
}

void call_reply(struct call *call, const ProtobufCMessage *message)
{
    grpc_slice slice;
    if (!call_pack(message, RPC_SEND_MAX, &slice)) {
        struct err err = {0};
        (void)err_set(&err, ERR_QUOTA_EXCEEDED, "the answer is too large: ask for less of it");
        call_reply_err(call, &err);
        return;
    }
    engine_count(call->server->engine, ENGINE_COUNT_BYTES_SENT, GRPC_SLICE_LENGTH(slice));
    (void)call_send(call, &(struct call_send){.message = &slice, .end = true}, NULL);
}
