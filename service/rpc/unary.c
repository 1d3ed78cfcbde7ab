/* unary.c: methods that the engine answers once.
 *
 * completion thread: arrived → loop thread: the engine's function → (later) its answer → one batch that
 * sends everything and waits for the end of the call. A client that goes meanwhile changes nothing: the
 * engine answers all the same, and the batch then completes without sending. */
#include "service/rpc/internal.h"
#include "service/rpc/method.h"

static void on_done(void *ctx, const ProtobufCMessage *response, const struct err *err)
{
    struct call *call = ctx;
    if (err != NULL) {
        call_reply_err(call, err);
    } else {
        call_reply(call, response);
    }
    call_unref(call);
}

static void on_loop(struct engine_task *task)
{
    struct call *call = LIST_CONTAINER(task, struct call, task);
    call_ref(call);
    call->method->unary(call->server->engine, NULL, call->request, on_done, call);
    call_drop_request(call);
    call_unref(call);
}

static void arrived(struct call *call)
{
    call_ref(call); /* on_done's */
    call_post(call, on_loop);
}

const struct call_type call_type_unary = {
    .size = sizeof(struct call),
    .arrived = arrived,
};
