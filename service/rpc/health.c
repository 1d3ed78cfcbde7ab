/* health.c: grpc.health.v1.Health: "" and every service that is implemented share one state. */
#include "grpc/health/v1/health.pb-c.h"
#include "service/rpc/internal.h"
#include "service/rpc/method.h"
#include "service/rpc/watch.h"

#define STATUS(name) GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__##name

struct health_watch {
    struct watch watch;
    bool known;
};

static bool known(const struct call *call)
{
    const Grpc__Health__V1__HealthCheckRequest *request = (const void *)call->request;
    return request->service[0] == '\0' || rpc_service_known(request->service);
}

static void fill(Grpc__Health__V1__HealthCheckResponse *response, const struct rpc_server *server)
{
    grpc__health__v1__health_check_response__init(response);
    response->status = atomic_load(&server->serving) ? STATUS(SERVING) : STATUS(NOT_SERVING);
}

static void check_arrived(struct call *call)
{
    Grpc__Health__V1__HealthCheckResponse response;
    if (!known(call)) {
        /* The protocol's own answer; no reason of ours belongs to it. */
        (void)call_send(call,
                        &(struct call_send){.end = true,
                                            .plain_status = GRPC_STATUS_NOT_FOUND,
                                            .plain_text = "unknown service"},
                        NULL);
        return;
    }
    fill(&response, call->server);
    call_reply(call, &response.base);
}

const struct call_type call_type_health_check = {
    .size = sizeof(struct call),
    .arrived = check_arrived,
};

/* --- Watch ---------------------------------------------------------------------------------------- */

static void detach(struct stream *s, bool gone)
{
    (void)gone;
    list_remove(&LIST_CONTAINER(s, struct watch, stream)->node);
}

static const struct stream_source source = {
    .next = watch_next,
    .detach = detach,
};

static void push_status(struct health_watch *w)
{
    Grpc__Health__V1__HealthCheckResponse response;
    fill(&response, w->watch.stream.call.server);
    if (!w->known) {
        response.status = STATUS(SERVICE_UNKNOWN);
    }
    (void)watch_push(&w->watch, &response.base);
}

void health_changed(struct rpc_server *server)
{
    LIST_FOREACH (it, &server->watchers) {
        struct watch *watch = LIST_CONTAINER(it, struct watch, node);
        struct health_watch *w = LIST_CONTAINER(watch, struct health_watch, watch);
        if (watch->stream.source == &source && w->known) {
            push_status(w);
        }
    }
}

static void start(struct engine_task *task)
{
    struct stream *s = stream_of(task);
    struct watch *watch = LIST_CONTAINER(s, struct watch, stream);
    struct health_watch *w = LIST_CONTAINER(watch, struct health_watch, watch);
    struct rpc_server *server = s->call.server;
    w->known = known(&s->call);
    call_drop_request(&s->call);
    push_status(w);
    if (server->state != SERVER_RUNNING) {
        struct err err = {0};
        (void)err_set(&err, ERR_SERVER_DRAINING, "the server is stopping");
        watch_finish(watch, &err);
    }
    list_push_back(&server->watchers, &watch->node);
    stream_attached(s, NULL, 0);
}

static void watch_arrived(struct call *call)
{
    watch_init(LIST_CONTAINER(call, struct watch, stream.call));
    stream_begin(LIST_CONTAINER(call, struct stream, call), &source, start);
}

const struct call_type call_type_health_watch = {
    .size = sizeof(struct health_watch),
    .arrived = watch_arrived,
    .release = watch_release,
};
