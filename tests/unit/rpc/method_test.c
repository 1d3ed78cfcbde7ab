/* The method table against the descriptors: what the contract has, the table has, and nothing else. */
#include "proto/descriptors.h"
#include "service/rpc/method.h"
#include "service/rpc/request.h"
#include "tests/support/check.h"

/* "pkg.Service.Method" → "/pkg.Service/Method" */
static void path_of(const char *name, char *out, size_t size)
{
    (void)snprintf(out, size, "/%s", name);
    *strrchr(out, '.') = '/';
}

static bool streams_responses(const struct call_type *type)
{
    return type == &call_type_execute || type == &call_type_attach ||
           type == &call_type_read_file || type == &call_type_watch_sessions ||
           type == &call_type_health_watch || type == &call_type_reflection;
}

static void test_every_method_has_its_row(void)
{
    size_t methods = 0;
    for (size_t i = 0; i < descriptors_symbols_len; i++) {
        const struct descriptors_symbol *s = &descriptors_symbols[i];
        char path[256];
        if (s->kind != DESCRIPTORS_METHOD) {
            continue;
        }
        methods++;
        path_of(s->name, path, sizeof path);
        const struct rpc_method *m = rpc_method_find(path, strlen(path));
        CHECK(m != NULL);
        if (m == NULL) {
            (void)fprintf(stderr, "no row for %s\n", path);
            continue;
        }
        CHECK_STR(m->request->name, s->input);
        CHECK_STR(m->response->name, s->output);
        CHECK_EQ_INT(m->type->streams_requests, s->client_streaming);
        CHECK_EQ_INT(streams_responses(m->type), s->server_streaming);
        CHECK_EQ_INT(m->unary != NULL, m->type == &call_type_unary);
    }
    CHECK_EQ_INT(methods, rpc_methods_len);
}

static void test_services_known(void)
{
    CHECK(rpc_service_known("pyexec.v1.ExecutionService"));
    CHECK(rpc_service_known("grpc.health.v1.Health"));
    CHECK(rpc_service_known("pyexec.v1.FileService"));
    CHECK(!rpc_service_known("pyexec.v1.Execution"));
    CHECK(!rpc_service_known("pyexec.v1.ExecutionService/Execute"));
    CHECK(!rpc_service_known(""));
    CHECK(rpc_method_find("/pyexec.v1.ServerService/Pin", 28) == NULL);
    CHECK(rpc_method_find("/pyexec.v1.ServerService/PingX", 30) == NULL);
    CHECK(rpc_method_find("/pyexec.v1.ServerService/PingX", 29) != NULL);
    CHECK(rpc_method_find("", 0) == NULL);
}

/* Rule 2 of the contract: a request that is about a session has session_id as field 1. */
static void test_session_id_is_found(void)
{
    for (size_t i = 0; i < rpc_methods_len; i++) {
        const ProtobufCMessageDescriptor *type = rpc_methods[i].request;
        const ProtobufCFieldDescriptor *field =
            protobuf_c_message_descriptor_get_field_by_name(type, "session_id");
        ProtobufCMessage *m = protobuf_c_message_unpack(type, NULL, 0, NULL);
        CHECK_EQ_INT(request_session_id(m) != NULL, field != NULL);
        CHECK(field == NULL || field->id == 1);
        protobuf_c_message_free_unpacked(m, NULL);
    }
}

int main(void)
{
    RUN(test_every_method_has_its_row);
    RUN(test_services_known);
    RUN(test_session_id_is_found);
    return check_done();
}
