/* server.c: the calls of ServerService, and the health check. */
#include <stdlib.h>
#include <time.h>

#include "clients/c/transport.h"
#include "clients/c/view.h"
#include "grpc/health/v1/health.pb-c.h"

static const struct method info_method = {"/pyexec.v1.ServerService/GetServerInfo",
                                          &pyexec__v1__get_server_info_response__descriptor};
static const struct method ping_method = {"/pyexec.v1.ServerService/Ping",
                                          &pyexec__v1__ping_response__descriptor};
static const struct method health_method = {"/grpc.health.v1.Health/Check",
                                            &grpc__health__v1__health_check_response__descriptor};

int pyexec_info(struct pyexec_client *client, struct pyexec_info **ret_info,
                struct pyexec_error *err)
{
    ProtobufCMessage *response;
    Pyexec__V1__GetServerInfoRequest request = PYEXEC__V1__GET_SERVER_INFO_REQUEST__INIT;
    if (transport_unary(client, &info_method, NULL, &request.base, 0, &response, err) < 0) {
        return -1;
    }
    const Pyexec__V1__GetServerInfoResponse *m = (Pyexec__V1__GetServerInfoResponse *)response;
    struct pyexec_info *info = calloc(1, sizeof *info);
    if (info == NULL) {
        protobuf_c_message_free_unpacked(response, NULL);
        return transport_fail(err, PYEXEC_CODE_RESOURCE_EXHAUSTED, "out of memory");
    }
    *info = (struct pyexec_info){
        .server_version = m->server_version,
        .api_version = m->api_version,
        .node_id = m->node_id,
        .boot_id = m->boot_id,
        .python_version = m->python_version,
        .start_ns = view_time_ns(m->start_time),
        .draining = m->draining,
        .message = m,
    };
    if (m->capacity != NULL) {
        info->sessions = m->capacity->sessions;
        info->max_sessions = m->capacity->max_sessions;
        info->running = m->capacity->running_executions;
        info->max_running = m->capacity->max_running_executions;
    }
    *ret_info = info;
    return 0;
}

void pyexec_info_free(struct pyexec_info *info)
{
    if (info == NULL) {
        return;
    }
    pyexec__v1__get_server_info_response__free_unpacked(
        (Pyexec__V1__GetServerInfoResponse *)info->message, NULL);
    free(info);
}

static int64_t now_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int pyexec_ping(struct pyexec_client *client, int64_t *ret_ns, struct pyexec_error *err)
{
    ProtobufCMessage *response;
    Pyexec__V1__PingRequest request = PYEXEC__V1__PING_REQUEST__INIT;
    int64_t before = now_ns();
    if (transport_unary(client, &ping_method, NULL, &request.base, 0, &response, err) < 0) {
        return -1;
    }
    *ret_ns = now_ns() - before;
    protobuf_c_message_free_unpacked(response, NULL);
    return 0;
}

int pyexec_health(struct pyexec_client *client, bool *ret_serving, struct pyexec_error *err)
{
    ProtobufCMessage *response;
    Grpc__Health__V1__HealthCheckRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    if (transport_unary(client, &health_method, NULL, &request.base, 0, &response, err) < 0) {
        return -1;
    }
    *ret_serving = ((Grpc__Health__V1__HealthCheckResponse *)response)->status ==
                   GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING;
    protobuf_c_message_free_unpacked(response, NULL);
    return 0;
}
