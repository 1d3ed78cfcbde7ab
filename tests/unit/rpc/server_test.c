/* The whole server on a stub engine, by a client on gRPC's C core. */
#include <stdlib.h>
#include <sys/resource.h>

#include "grpc/health/v1/health.pb-c.h"
#include "grpc/reflection/v1/reflection.pb-c.h"
#include "proto/pyexec_v1.h"
#include "service/base/clock.h"
#include "service/rpc/call.h"
#include "tests/support/check.h"
#include "tests/unit/rpc/client.h"

#define EXECUTE "/pyexec.v1.ExecutionService/Execute"
#define ATTACH "/pyexec.v1.ExecutionService/AttachExecution"
#define RUN_CALL "/pyexec.v1.ExecutionService/Run"
#define GET_SESSION "/pyexec.v1.SessionService/GetSession"
#define WATCH_SESSIONS "/pyexec.v1.SessionService/WatchSessions"
#define PING "/pyexec.v1.ServerService/Ping"
#define CHECK_HEALTH "/grpc.health.v1.Health/Check"
#define WATCH_HEALTH "/grpc.health.v1.Health/Watch"
#define REFLECTION "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
#define REFLECTION_OLD "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"

static struct fixture *fixture;
static grpc_channel *channel;

static void set_up(struct rpc_config config)
{
    static struct rpc_config kept;
    kept = config;
    grpc_init();
    fixture = fixture_new(&kept);
    channel = client_connect(fixture_address(fixture));
}

static void tear_down(void)
{
    fixture_shutdown(fixture);
    grpc_channel_destroy(channel);
    CHECK(fixture_free(fixture));
    grpc_shutdown();
}

static void tear_down_after_shutdown(struct client_call *c)
{
    client_end(c);
    grpc_channel_destroy(channel);
    CHECK(fixture_free(fixture));
    grpc_shutdown();
}

static void start_execute(struct client_call *c, const char *session_id, const char *execution_id,
                          const char *code, int timeout_ms)
{
    Pyexec__V1__ExecuteRequest request = PYEXEC__V1__EXECUTE_REQUEST__INIT;
    Pyexec__V1__ExecutionSpec spec = PYEXEC__V1__EXECUTION_SPEC__INIT;
    spec.code = (char *)code;
    request.session_id = (char *)session_id;
    request.execution_id = (char *)execution_id;
    request.spec = &spec;
    client_start(c, channel, EXECUTE, &request.base, NULL, timeout_ms);
}

/* What a stream brought, to its end. */
struct seen {
    unsigned messages;
    unsigned heartbeats;
    unsigned results;
    uint64_t last_seq;
    uint64_t bytes[3]; /* by OutputStream */
    Pyexec__V1__ExecutionResult__Status status;
};

static bool see(struct client_call *c, struct seen *seen)
{
    Pyexec__V1__ExecuteResponse *r =
        (void *)client_next(c, &pyexec__v1__execute_response__descriptor);
    if (r == NULL) {
        return false;
    }
    const Pyexec__V1__ExecutionEvent *e = r->event;
    seen->messages++;
    seen->last_seq = e->seq;
    if (e->event_case == PYEXEC__V1__EXECUTION_EVENT__EVENT_OUTPUT) {
        CHECK_EQ_INT(e->output->offset, seen->bytes[e->output->stream]);
        seen->bytes[e->output->stream] += e->output->data.len;
    } else if (e->event_case == PYEXEC__V1__EXECUTION_EVENT__EVENT_HEARTBEAT) {
        seen->heartbeats++;
    } else if (e->event_case == PYEXEC__V1__EXECUTION_EVENT__EVENT_RESULT) {
        seen->results++;
        seen->status = e->result->status;
    }
    pyexec__v1__execute_response__free_unpacked(r, NULL);
    return true;
}

static struct seen see_all(struct client_call *c)
{
    struct seen seen = {0};
    while (see(c, &seen)) {
    }
    return seen;
}

static struct seen execute(const char *code)
{
    struct client_call c;
    start_execute(&c, "", "", code, 0);
    struct seen seen = see_all(&c);
    CHECK_EQ_INT(c.status, GRPC_STATUS_OK);
    CHECK_EQ_INT(seen.results, 1);
    client_end(&c);
    return seen;
}

static void read_attached(struct fixture *f, void *ctx)
{
    *(unsigned *)ctx = stub_engine_attached(fixture_engine(f));
}

/* Waits until the engine has `n` attachments: the server learns of a lost client by an event. */
static void await_attached(unsigned n)
{
    int64_t end = clock_mono_ns() + CLIENT_TIMEOUT_S * NS_PER_SEC;
    unsigned now;
    do {
        fixture_on_loop(fixture, read_attached, &now);
    } while (now != n && clock_mono_ns() < end);
    CHECK_EQ_INT(now, n);
}

static void test_output_is_whole(void)
{
    set_up((struct rpc_config){0});
    struct seen s = execute("out hello;err worlds");
    CHECK_EQ_INT(s.bytes[1], 5);
    CHECK_EQ_INT(s.bytes[2], 6);
    CHECK_EQ_INT(s.status, PYEXEC__V1__EXECUTION_RESULT__STATUS__STATUS_OK);
    s = execute("lines 30000");
    CHECK_EQ_INT(s.bytes[1], 318890);
    CHECK(s.messages < 30000); /* merged while a message was under way */
    s = execute("bytes 20000000");
    CHECK_EQ_INT(s.bytes[1], 20000000);
    s = execute("alternate 2000");
    CHECK_EQ_INT(s.bytes[1], 2000);
    CHECK_EQ_INT(s.bytes[2], 2000);
    await_attached(0);
    tear_down();
}

static void test_heartbeats_only_in_silence(void)
{
    set_up((struct rpc_config){0});
    int64_t start = clock_mono_ns();
    struct seen s = execute("sleep 400;out x");
    CHECK(s.heartbeats >= 1);
    CHECK(s.heartbeats <= (clock_mono_ns() - start) / STUB_HEARTBEAT_NS);
    start = clock_mono_ns();
    s = execute("lines 2000");
    CHECK(s.heartbeats <= (clock_mono_ns() - start) / STUB_HEARTBEAT_NS);
    tear_down();
}

static void test_attach_replays(void)
{
    struct client_call c;
    Pyexec__V1__AttachExecutionRequest request = PYEXEC__V1__ATTACH_EXECUTION_REQUEST__INIT;
    set_up((struct rpc_config){0});
    start_execute(&c, "", "one", "out a;err b", 0);
    (void)see_all(&c);
    client_end(&c);
    request.execution_id = (char *)"one";
    client_start(&c, channel, ATTACH, &request.base, NULL, 0);
    struct seen s = see_all(&c);
    CHECK_EQ_INT(s.messages, 4);
    CHECK_EQ_INT(s.results, 1);
    client_end(&c);
    request.after_seq = s.last_seq; /* the result itself: nothing is left, and that is fine */
    client_start(&c, channel, ATTACH, &request.base, NULL, 0);
    CHECK_EQ_INT(see_all(&c).messages, 0);
    CHECK_EQ_INT(c.status, GRPC_STATUS_OK);
    client_end(&c);
    request.after_seq = s.last_seq + 1;
    client_start(&c, channel, ATTACH, &request.base, NULL, 0);
    (void)see_all(&c);
    CHECK_EQ_INT(c.status, GRPC_STATUS_OUT_OF_RANGE);
    CHECK_STR(client_reason(&c), "SEQ_OUT_OF_RANGE");
    client_end(&c);
    tear_down();
}

/* Cancel, deadline and a lost connection, each with the call at another point. */
static void test_lost_clients_detach(void)
{
    struct client_call c;
    struct seen seen = {0};
    set_up((struct rpc_config){0});
    start_execute(&c, "", "", "out a;wait", 0);
    CHECK(see(&c, &seen));
    client_cancel(&c);
    client_end(&c);
    start_execute(&c, "", "", "wait", 0);
    client_cancel(&c);
    client_end(&c);
    start_execute(&c, "", "", "wait", 50);
    (void)see_all(&c);
    CHECK_EQ_INT(c.status, GRPC_STATUS_DEADLINE_EXCEEDED);
    client_end(&c);
    await_attached(0);
    /* A client that reads nothing of much, and goes. */
    start_execute(&c, "", "", "bytes 30000000;wait", 0);
    CHECK(see(&c, &seen));
    grpc_channel_destroy(channel);
    client_cancel(&c);
    client_end(&c);
    channel = client_connect(fixture_address(fixture));
    await_attached(0);
    (void)execute("out still here");
    tear_down();
}

static void test_run(void)
{
    grpc_status_code status;
    const char *reason;
    Pyexec__V1__RunRequest request = PYEXEC__V1__RUN_REQUEST__INIT;
    Pyexec__V1__ExecutionSpec spec = PYEXEC__V1__EXECUTION_SPEC__INIT;
    static const struct {
        const char *code;
        size_t bytes;
    } cases[] = {{"out abc", 3}, {"lines 30000", 318890}, {"sleep 30;bytes 3000000", 3000000}};
    set_up((struct rpc_config){0});
    request.spec = &spec;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        spec.code = (char *)cases[i].code;
        Pyexec__V1__RunResponse *r =
            (void *)client_unary(channel, RUN_CALL, &request.base,
                                 &pyexec__v1__run_response__descriptor, &status, &reason);
        CHECK_EQ_INT(status, GRPC_STATUS_OK);
        CHECK(r != NULL && r->result != NULL);
        CHECK_EQ_INT(r ? r->stdout.len : 0, cases[i].bytes);
        if (r != NULL) {
            pyexec__v1__run_response__free_unpacked(r, NULL);
        }
    }
    spec.code = (char *)"bytes 3670016"; /* RPC_SEND_MAX, without what is around it */
    CHECK(client_unary(channel, RUN_CALL, &request.base, &pyexec__v1__run_response__descriptor,
                       &status, &reason) == NULL);
    CHECK_EQ_INT(status, GRPC_STATUS_RESOURCE_EXHAUSTED);
    await_attached(0);
    tear_down();
}

static void expect_fault(const char *path, const ProtobufCMessage *request, const char *header,
                         grpc_status_code status, const char *reason)
{
    struct client_call c;
    client_start(&c, channel, path, request, header, 0);
    CHECK(client_next(&c, &pyexec__v1__get_session_response__descriptor) == NULL);
    CHECK_EQ_INT(c.status, status);
    CHECK_STR(client_reason(&c), reason);
    client_end(&c);
}

static void test_faults(void)
{
    Pyexec__V1__GetSessionRequest get = PYEXEC__V1__GET_SESSION_REQUEST__INIT;
    Pyexec__V1__ExecuteRequest execute_request = PYEXEC__V1__EXECUTE_REQUEST__INIT;
    struct client_call c;
    set_up((struct rpc_config){0});
    for (int code = ERR_NONE + 1; code < ERR_COUNT; code++) {
        const char *reason = err_reason((enum err_code)code);
        get.session_id = (char *)reason;
        expect_fault(GET_SESSION, &get.base, NULL,
                     (grpc_status_code)err_grpc_status((enum err_code)code), reason);
        start_execute(&c, reason, "", "out x", 0);
        CHECK_EQ_INT(see_all(&c).messages, 0);
        CHECK_EQ_INT(c.status, err_grpc_status((enum err_code)code));
        CHECK_STR(client_reason(&c), reason);
        client_end(&c);
    }
    get.session_id = (char *)"node-1";
    expect_fault(GET_SESSION, &get.base, "node-2", GRPC_STATUS_INVALID_ARGUMENT, "INVALID_FIELD");
    expect_fault(EXECUTE, &execute_request.base, NULL, GRPC_STATUS_INVALID_ARGUMENT,
                 "INVALID_FIELD");
    expect_fault("/pyexec.v1.SessionService/Nothing", &get.base, NULL, GRPC_STATUS_UNIMPLEMENTED,
                 "UNIMPLEMENTED");
    expect_fault("/no.Such/Thing", &get.base, NULL, GRPC_STATUS_UNIMPLEMENTED, "UNIMPLEMENTED");
    await_attached(0);
    tear_down();
}

static void ping_fails(uint32_t response_bytes, int64_t seconds, int32_t nanos, bool fails)
{
    grpc_status_code status;
    const char *reason;
    Pyexec__V1__PingRequest request = PYEXEC__V1__PING_REQUEST__INIT;
    Google__Protobuf__Duration delay = GOOGLE__PROTOBUF__DURATION__INIT;
    request.response_bytes = response_bytes;
    delay.seconds = seconds;
    delay.nanos = nanos;
    request.delay = &delay;
    Pyexec__V1__PingResponse *r = (void *)client_unary(
        channel, PING, &request.base, &pyexec__v1__ping_response__descriptor, &status, &reason);
    CHECK_EQ_INT(status, fails ? GRPC_STATUS_INVALID_ARGUMENT : GRPC_STATUS_OK);
    CHECK_EQ_INT(r != NULL, !fails);
    if (r != NULL) {
        CHECK_STR(r->node_id, "here");
        CHECK_EQ_INT(r->payload.len, response_bytes);
        pyexec__v1__ping_response__free_unpacked(r, NULL);
    }
}

static void test_ping_bounds(void)
{
    set_up((struct rpc_config){.node_id = "here"});
    ping_fails(0, 0, 0, false);
    ping_fails(RPC_SEND_MAX - 1024, 0, 0, false);
    ping_fails(RPC_SEND_MAX - 1023, 0, 0, true);
    ping_fails(7, 0, 20000000, false);
    ping_fails(0, 60, 1, true);
    ping_fails(0, -1, 0, true);
    ping_fails(0, 0, 1000000000, true);
    ping_fails(0, INT64_MAX, 0, true);
    tear_down();
}

static int health(const char *service, grpc_status_code *ret_status)
{
    const char *reason;
    Grpc__Health__V1__HealthCheckRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    request.service = (char *)service;
    Grpc__Health__V1__HealthCheckResponse *r = (void *)client_unary(
        channel, CHECK_HEALTH, &request.base, &grpc__health__v1__health_check_response__descriptor,
        ret_status, &reason);
    int status = r ? (int)r->status : -1;
    if (r != NULL) {
        grpc__health__v1__health_check_response__free_unpacked(r, NULL);
    }
    return status;
}

static int next_health(struct client_call *c)
{
    Grpc__Health__V1__HealthCheckResponse *r =
        (void *)client_next(c, &grpc__health__v1__health_check_response__descriptor);
    int status = r ? (int)r->status : -1;
    if (r != NULL) {
        grpc__health__v1__health_check_response__free_unpacked(r, NULL);
    }
    return status;
}

static void set_serving(struct fixture *f, void *ctx)
{
    rpc_server_set_serving(fixture_server(f), *(bool *)ctx);
}

static void test_health(void)
{
    struct client_call known;
    struct client_call unknown;
    grpc_status_code status;
    bool serving = false;
    Grpc__Health__V1__HealthCheckRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    set_up((struct rpc_config){0});
    CHECK_EQ_INT(health("", &status), 1);
    CHECK_EQ_INT(health("pyexec.v1.SessionService", &status), 1);
    CHECK_EQ_INT(health("pyexec.v1.Session", &status), -1);
    CHECK_EQ_INT(status, GRPC_STATUS_NOT_FOUND);
    client_start(&known, channel, WATCH_HEALTH, &request.base, NULL, 0);
    request.service = (char *)"nobody";
    client_start(&unknown, channel, WATCH_HEALTH, &request.base, NULL, 0);
    CHECK_EQ_INT(next_health(&known), 1);
    CHECK_EQ_INT(next_health(&unknown), 3);
    fixture_on_loop(fixture, set_serving, &serving);
    CHECK_EQ_INT(next_health(&known), 2);
    CHECK_EQ_INT(health("", &status), 2);
    serving = true;
    fixture_on_loop(fixture, set_serving, &serving);
    CHECK_EQ_INT(next_health(&known), 1);
    fixture_shutdown(fixture);
    CHECK_EQ_INT(next_health(&known), 2);
    CHECK_EQ_INT(next_health(&known), -1);
    CHECK_EQ_INT(known.status, GRPC_STATUS_UNAVAILABLE);
    CHECK_STR(client_reason(&known), "SERVER_DRAINING");
    client_end(&known);
    CHECK_EQ_INT(next_health(&unknown), -1);
    tear_down_after_shutdown(&unknown);
}

static Grpc__Reflection__V1__ServerReflectionResponse *
reflect(const char *path, const Grpc__Reflection__V1__ServerReflectionRequest *question)
{
    struct client_call c;
    client_start(&c, channel, path, &question->base, NULL, 0);
    Grpc__Reflection__V1__ServerReflectionResponse *r =
        (void *)client_next(&c, &grpc__reflection__v1__server_reflection_response__descriptor);
    CHECK(client_next(&c, &grpc__reflection__v1__server_reflection_response__descriptor) == NULL);
    CHECK_EQ_INT(c.status, GRPC_STATUS_OK); /* ends by itself after the half-close */
    client_end(&c);
    return r;
}

static void test_reflection(void)
{
    static const char *const paths[] = {REFLECTION, REFLECTION_OLD};
    set_up((struct rpc_config){0});
    for (size_t i = 0; i < 2; i++) {
        Grpc__Reflection__V1__ServerReflectionRequest q =
            GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__INIT;
        q.message_request_case =
            GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_LIST_SERVICES;
        q.list_services = (char *)"*";
        Grpc__Reflection__V1__ServerReflectionResponse *r = reflect(paths[i], &q);
        CHECK_EQ_INT(r->list_services_response->n_service, 7);
        grpc__reflection__v1__server_reflection_response__free_unpacked(r, NULL);
        q.message_request_case =
            GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_SYMBOL;
        q.file_containing_symbol = (char *)"pyexec.v1.ExecutionService";
        r = reflect(paths[i], &q);
        CHECK_EQ_INT(r->file_descriptor_response->n_file_descriptor_proto, 4);
        CHECK_STR(r->original_request->file_containing_symbol, "pyexec.v1.ExecutionService");
        grpc__reflection__v1__server_reflection_response__free_unpacked(r, NULL);
        q.file_containing_symbol = (char *)"pyexec.v1.Nothing";
        r = reflect(paths[i], &q);
        CHECK_EQ_INT(r->error_response->error_code, GRPC_STATUS_NOT_FOUND);
        grpc__reflection__v1__server_reflection_response__free_unpacked(r, NULL);
    }
    tear_down();
}

static void change(struct fixture *f, void *ctx)
{
    unsigned *taken = ctx;
    while (*taken < 40000 && stub_engine_change(fixture_engine(f), "node-1")) {
        ++*taken;
    }
}

static void read_watchers(struct fixture *f, void *ctx)
{
    *(unsigned *)ctx = stub_engine_watchers(fixture_engine(f));
}

static unsigned count_changes(struct client_call *c)
{
    unsigned n = 0;
    for (ProtobufCMessage *m;
         (m = client_next(c, &pyexec__v1__watch_sessions_response__descriptor)) != NULL;) {
        const Pyexec__V1__WatchSessionsResponse *r = (const void *)m;
        n += r->change_case == PYEXEC__V1__WATCH_SESSIONS_RESPONSE__CHANGE_UPSERTED;
        protobuf_c_message_free_unpacked(m, NULL);
    }
    return n;
}

/* More changes in one turn of the loop than the queue holds: all that were taken arrive, then the
 * watch says that it lost some. */
static void test_watch_sessions(void)
{
    struct client_call c;
    unsigned taken = 0;
    unsigned watchers = 0;
    Pyexec__V1__WatchSessionsRequest request = PYEXEC__V1__WATCH_SESSIONS_REQUEST__INIT;
    set_up((struct rpc_config){.heartbeat_ns = 20 * NS_PER_MS});
    client_start(&c, channel, WATCH_SESSIONS, &request.base, NULL, 0);
    ProtobufCMessage *m = client_next(&c, &pyexec__v1__watch_sessions_response__descriptor);
    CHECK(m != NULL && ((const Pyexec__V1__WatchSessionsResponse *)(const void *)m)->synced);
    protobuf_c_message_free_unpacked(m, NULL);
    m = client_next(&c, &pyexec__v1__watch_sessions_response__descriptor);
    CHECK_EQ_INT(((const Pyexec__V1__WatchSessionsResponse *)(const void *)m)->change_case,
                 PYEXEC__V1__WATCH_SESSIONS_RESPONSE__CHANGE_HEARTBEAT);
    protobuf_c_message_free_unpacked(m, NULL);
    fixture_on_loop(fixture, change, &taken);
    CHECK(taken >= 16384);
    if (taken < 40000) {
        CHECK_EQ_INT(count_changes(&c), taken);
        CHECK_EQ_INT(c.status, GRPC_STATUS_RESOURCE_EXHAUSTED);
        CHECK_STR(client_reason(&c), "QUOTA_EXCEEDED");
    }
    client_end(&c);
    fixture_on_loop(fixture, read_watchers, &watchers);
    CHECK_EQ_INT(watchers, 0);
    tear_down();
}

/* Requests that together pass what gRPC may hold are cut, and the server goes on. */
static void test_transport_memory_is_bounded(void)
{
    enum { CALLS = 8, BYTES = 12 << 20 };
    struct client_call c[CALLS];
    unsigned refused = 0;
    char *code = malloc(BYTES + 1);
    memset(code, ' ', BYTES);
    memcpy(code, "out x;", 6);
    code[BYTES] = '\0';
    set_up((struct rpc_config){.max_transport_bytes = 4 << 20});
    for (int i = 0; i < CALLS; i++) {
        start_execute(&c[i], "", "", code, 0);
    }
    for (int i = 0; i < CALLS; i++) {
        (void)see_all(&c[i]);
        refused += c[i].status == GRPC_STATUS_RESOURCE_EXHAUSTED;
        client_end(&c[i]);
    }
    CHECK(refused > 0);
    free(code);
    (void)execute("out still here");
    tear_down();
}

static void test_call_cap(void)
{
    struct client_call c[2];
    struct seen seen = {0};
    grpc_status_code status;
    const char *reason;
    Pyexec__V1__PingRequest request = PYEXEC__V1__PING_REQUEST__INIT;
    set_up((struct rpc_config){.max_calls = 2});
    for (int i = 0; i < 2; i++) {
        start_execute(&c[i], "", "", "out a;wait", 0);
        CHECK(see(&c[i], &seen));
    }
    (void)client_unary(channel, PING, &request.base, &pyexec__v1__ping_response__descriptor,
                       &status, &reason);
    CHECK_EQ_INT(status, GRPC_STATUS_UNAVAILABLE);
    CHECK_STR(reason, "NODE_AT_CAPACITY");
    client_cancel(&c[0]);
    client_end(&c[0]);
    await_attached(1);
    client_cancel(&c[1]);
    client_end(&c[1]);
    await_attached(0);
    (void)execute("out room again");
    tear_down();
}

/* Results that are there are delivered, and the shutdown waits for that. */
static void test_shutdown_flushes(void)
{
    struct client_call c;
    struct seen seen = {0};
    set_up((struct rpc_config){.flush_ns = CLIENT_TIMEOUT_S * NS_PER_SEC});
    start_execute(&c, "", "", "bytes 8000000", 0);
    CHECK(see(&c, &seen));
    fixture_shutdown(fixture);
    while (see(&c, &seen)) {
    }
    CHECK_EQ_INT(c.status, GRPC_STATUS_OK);
    CHECK_EQ_INT(seen.results, 1);
    CHECK_EQ_INT(seen.bytes[1], 8000000);
    tear_down_after_shutdown(&c);
}

/* A stream that does not end is cut. */
static void test_shutdown_cuts(void)
{
    struct client_call c;
    set_up((struct rpc_config){.flush_ns = 100 * NS_PER_MS});
    start_execute(&c, "", "", "out a;wait", 0);
    CHECK(see(&c, &(struct seen){0}));
    fixture_shutdown(fixture);
    CHECK_EQ_INT(see_all(&c).results, 0);
    CHECK_EQ_INT(c.status, GRPC_STATUS_UNAVAILABLE);
    tear_down_after_shutdown(&c);
}

/* A client that does not read: the server holds a message or two of it, not its output. */
static void test_slow_client_costs_no_memory(void)
{
    struct client_call c;
    struct seen seen = {0};
    struct rusage before;
    struct rusage after;
    set_up((struct rpc_config){0});
    start_execute(&c, "", "", "bytes 60000000", 0); /* in the log, whatever the client does */
    CHECK(see(&c, &seen));
    (void)getrusage(RUSAGE_SELF, &before);
    (void)execute("sleep 300;out x");
    (void)getrusage(RUSAGE_SELF, &after);
    CHECK(after.ru_maxrss - before.ru_maxrss < 20000);
    while (see(&c, &seen)) {
    }
    CHECK_EQ_INT(seen.bytes[1], 60000000);
    client_end(&c);
    tear_down();
}

int main(void)
{
    RUN(test_output_is_whole);
    RUN(test_heartbeats_only_in_silence);
    RUN(test_attach_replays);
    RUN(test_lost_clients_detach);
    RUN(test_run);
    RUN(test_faults);
    RUN(test_ping_bounds);
    RUN(test_health);
    RUN(test_reflection);
    RUN(test_watch_sessions);
    RUN(test_transport_memory_is_bounded);
    RUN(test_call_cap);
    RUN(test_shutdown_flushes);
    RUN(test_shutdown_cuts);
    RUN(test_slow_client_costs_no_memory);
    return check_done();
}
