/* ping.c: Ping: answered without the engine, on the completion thread unless a delay is asked for. */
#include <stdlib.h>
#include <string.h>

#include "proto/pyexec_v1.h"
#include "service/base/clock.h"
#include "service/rpc/internal.h"
#include "service/rpc/method.h"

#define DELAY_MAX_SECONDS 60
#define PING_BYTES_MAX (RPC_SEND_MAX - 1024) /* leaves room for the other fields */

struct ping {
    struct call call;
    uv_timer_t timer; /* a delayed one's */
    struct list node; /* in server->pings */
};

static void set_time(Google__Protobuf__Timestamp *t, int64_t ns)
{
    google__protobuf__timestamp__init(t);
    t->seconds = ns / NS_PER_SEC;
    t->nanos = (int32_t)(ns % NS_PER_SEC);
}

static void answer(struct ping *ping)
{
    const Pyexec__V1__PingRequest *request = (const void *)ping->call.request;
    Pyexec__V1__PingResponse response = PYEXEC__V1__PING_RESPONSE__INIT;
    Google__Protobuf__Timestamp received;
    Google__Protobuf__Timestamp sent;
    uint8_t *filler = NULL;
    response.payload = request->payload;
    if (request->response_bytes > 0) {
        filler = calloc(1, request->response_bytes);
        if (filler == NULL) {
            struct err err = {0};
            (void)err_set(&err, ERR_NO_MEMORY, "no memory for response_bytes");
            call_reply_err(&ping->call, &err);
            return;
        }
        response.payload.data = filler;
        response.payload.len = request->response_bytes;
    }
    response.node_id = ping->call.server->node_id;
    set_time(&received, ping->call.receive_real_ns);
    set_time(&sent, clock_real_ns());
    response.receive_time = &received;
    response.send_time = &sent;
    call_reply(&ping->call, &response.base);
    free(filler);
}

static void on_timer_closed(uv_handle_t *handle)
{
    call_unref(&LIST_CONTAINER(handle, struct ping, timer)->call);
}

static void finish(struct ping *ping)
{
    list_remove(&ping->node);
    answer(ping);
    uv_close((uv_handle_t *)&ping->timer, on_timer_closed);
}

static void on_timer(uv_timer_t *timer)
{
    finish(LIST_CONTAINER(timer, struct ping, timer));
}

static uint64_t delay_ms(const Google__Protobuf__Duration *delay)
{
    return (uint64_t)delay->seconds * 1000 + (uint64_t)delay->nanos / 1000000;
}

static void on_loop(struct engine_task *task)
{
    struct ping *ping = LIST_CONTAINER(task, struct ping, call.task);
    struct rpc_server *server = ping->call.server;
    const Pyexec__V1__PingRequest *request = (const void *)ping->call.request;
    uint64_t ms = delay_ms(request->delay);
    (void)uv_timer_init(server->loop, &ping->timer);
    list_push_back(&server->pings, &ping->node);
    uv_update_time(server->loop);
    (void)uv_timer_start(&ping->timer, on_timer, server->state == SERVER_RUNNING ? ms : 0, 0);
}

void ping_end_all(struct rpc_server *server)
{
    LIST_FOREACH (it, &server->pings) {
        finish(LIST_CONTAINER(it, struct ping, node));
    }
}

static int check(const Pyexec__V1__PingRequest *request, struct err *err)
{
    if (request->response_bytes > PING_BYTES_MAX || request->payload.len > PING_BYTES_MAX) {
        return err_field(err,
                         request->response_bytes > PING_BYTES_MAX ? "response_bytes" : "payload",
                         "a Ping carries at most %u bytes", PING_BYTES_MAX);
    }
    const Google__Protobuf__Duration *d = request->delay;
    if (d != NULL &&
        (d->seconds < 0 || d->nanos < 0 || d->nanos >= NS_PER_SEC ||
         d->seconds > DELAY_MAX_SECONDS || (d->seconds == DELAY_MAX_SECONDS && d->nanos > 0))) {
        return err_field(err, "delay", "delay: from 0 to %d s", DELAY_MAX_SECONDS);
    }
    return 0;
}

static void arrived(struct call *call)
{
    struct ping *ping = LIST_CONTAINER(call, struct ping, call);
    const Pyexec__V1__PingRequest *request = (const void *)call->request;
    struct err err = {0};
    if (check(request, &err) < 0) {
        call_reply_err(call, &err);
    } else if (request->delay == NULL || delay_ms(request->delay) == 0) {
        answer(ping);
    } else {
        call_ref(call); /* the timer's */
        call_post(call, on_loop);
    }
}

const struct call_type call_type_ping = {
    .size = sizeof(struct ping),
    .arrived = arrived,
};
