/* transport.c: calls over gRPC C core.
 *
 * Theory of operation. Every call has a completion queue of its own, of type PLUCK: the thread
 * that makes the call is the one that polls the socket and waits for its own tags, so a client
 * needs no thread of ours and any number of calls run side by side. What another thread does to a
 * call is grpc_call_cancel, which is thread-safe: the calls in progress are listed in the client
 * for it. A tag is the address of a field of the call.
 *
 * A unary call is one batch of six operations. A stream is three: `start` (request out, metadata
 * in), `status`, and one `message` at a time. RECV_STATUS completes only when every message was
 * read, so a stream that is given up is cancelled and read to its end. */
#include "clients/c/transport.h"

#include <errno.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/slice.h>
#include <grpc/support/alloc.h>
#include <grpc/support/time.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "clients/c/status_details.h"

#define DEFAULT_TIMEOUT_MS 30000
#define RECONNECT_MIN_MS 100
#define RECONNECT_MAX_MS 2000
#define ADDRESS_MAX 512

struct call {
    struct call *next;
    struct call **link; /* what points here; NULL when not listed */
    struct pyexec_client *client;
    grpc_call *call;
    grpc_completion_queue *cq;
    grpc_metadata session_header;
    grpc_metadata_array initial;
    grpc_metadata_array trailing;
    grpc_status_code code;
    grpc_slice details;
    grpc_byte_buffer *received;
};

struct stream {
    struct call c;
    const ProtobufCMessageDescriptor *response;
    bool reading; /* a message operation is outstanding */
    bool ended;   /* no further message will come */
    bool closed;  /* the status came */
    char tag_start, tag_message, tag_status;
};

struct pyexec_client {
    grpc_channel *channel;
    int64_t timeout_ms;
    pthread_mutex_t lock;
    pthread_cond_t changed; /* `cancelled` */
    struct call *calls;
    bool cancelled;
    bool connected; /* some call was answered */
};

int transport_fail(struct pyexec_error *err, int code, const char *fmt, ...)
{
    va_list ap;
    *err = (struct pyexec_error){.code = code, .retry_ms = -1};
    va_start(ap, fmt);
    (void)vsnprintf(err->message, sizeof err->message, fmt, ap);
    va_end(ap);
    return -1;
}

static int no_memory(struct pyexec_error *err)
{
    return transport_fail(err, PYEXEC_CODE_RESOURCE_EXHAUSTED, "out of memory");
}

/* host:port without a scheme would first be tried as a URI. */
static int target_of(const char *address, char *out, size_t size, struct pyexec_error *err)
{
    bool local = strncmp(address, "unix:/", 6) == 0 || strncmp(address, "unix-abstract:", 14) == 0;
    const char *colon = strrchr(address, ':');
    if (!local && (strncmp(address, "unix:", 5) == 0 || colon == NULL || colon == address ||
                   colon[1] == '\0' || strspn(colon + 1, "0123456789") != strlen(colon + 1))) {
        return transport_fail(err, PYEXEC_CODE_INVALID_ARGUMENT,
                              "\"%.200s\" is no address: unix:/path, unix-abstract:name or "
                              "host:port",
                              address);
    }
    int n = snprintf(out, size, "%s%s", local ? "" : "dns:///", address);
    return n > 0 && (size_t)n < size
               ? 0
               : transport_fail(err, PYEXEC_CODE_INVALID_ARGUMENT, "the address is too long");
}

static grpc_channel *open_channel(const char *target)
{
    grpc_arg args[] = {
        {.type = GRPC_ARG_INTEGER,
         .key = GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH,
         .value.integer = TRANSPORT_MAX_RECEIVE},
        {.type = GRPC_ARG_INTEGER,
         .key = GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS,
         .value.integer = RECONNECT_MIN_MS},
        {.type = GRPC_ARG_INTEGER,
         .key = GRPC_ARG_MIN_RECONNECT_BACKOFF_MS,
         .value.integer = RECONNECT_MAX_MS},
        {.type = GRPC_ARG_INTEGER,
         .key = GRPC_ARG_MAX_RECONNECT_BACKOFF_MS,
         .value.integer = RECONNECT_MAX_MS},
        /* A sandbox daemon is reached directly; http_proxy of the environment is not for it. */
        {.type = GRPC_ARG_INTEGER, .key = GRPC_ARG_ENABLE_HTTP_PROXY, .value.integer = 0},
        {.type = GRPC_ARG_INTEGER,
         .key = GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION,
         .value.integer = 1},
        {.type = GRPC_ARG_INTEGER, .key = GRPC_ARG_ENABLE_RETRIES, .value.integer = 0},
    };
    grpc_channel_args list = {.num_args = sizeof args / sizeof *args, .args = args};
    grpc_channel_credentials *creds = grpc_insecure_credentials_create();
    grpc_channel *channel = grpc_channel_create(target, creds, &list);
    grpc_channel_credentials_release(creds);
    return channel;
}

int pyexec_connect(const char *address, struct pyexec_client **ret_client, struct pyexec_error *err)
{
    char target[ADDRESS_MAX];
    if (target_of(address, target, sizeof target, err) < 0) {
        return -1;
    }
    struct pyexec_client *client = calloc(1, sizeof *client);
    if (client == NULL) {
        return no_memory(err);
    }
    pthread_condattr_t attr;
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&client->lock, NULL);
    (void)pthread_cond_init(&client->changed, &attr);
    (void)pthread_condattr_destroy(&attr);
    client->timeout_ms = DEFAULT_TIMEOUT_MS;
    grpc_init();
    client->channel = open_channel(target);
    *ret_client = client;
    return 0;
}

void pyexec_close(struct pyexec_client *client)
{
    if (client == NULL) {
        return;
    }
    grpc_channel_destroy(client->channel);
    grpc_shutdown();
    (void)pthread_cond_destroy(&client->changed);
    (void)pthread_mutex_destroy(&client->lock);
    free(client);
}

void pyexec_set_timeout(struct pyexec_client *client, int64_t timeout_ms)
{
    (void)pthread_mutex_lock(&client->lock);
    client->timeout_ms = timeout_ms > 0 ? timeout_ms : DEFAULT_TIMEOUT_MS;
    (void)pthread_mutex_unlock(&client->lock);
}

void pyexec_cancel(struct pyexec_client *client)
{
    (void)pthread_mutex_lock(&client->lock);
    client->cancelled = true;
    for (struct call *c = client->calls; c != NULL; c = c->next) {
        (void)grpc_call_cancel(c->call, NULL);
    }
    (void)pthread_cond_broadcast(&client->changed);
    (void)pthread_mutex_unlock(&client->lock);
}

void pyexec_uncancel(struct pyexec_client *client)
{
    (void)pthread_mutex_lock(&client->lock);
    client->cancelled = false;
    (void)pthread_mutex_unlock(&client->lock);
}

bool transport_was_connected(struct pyexec_client *client)
{
    (void)pthread_mutex_lock(&client->lock);
    bool connected = client->connected;
    (void)pthread_mutex_unlock(&client->lock);
    return connected;
}

int transport_pause(struct pyexec_client *client, int64_t ms, struct pyexec_error *err)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += ms % 1000 * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    (void)pthread_mutex_lock(&client->lock);
    while (!client->cancelled &&
           pthread_cond_timedwait(&client->changed, &client->lock, &until) != ETIMEDOUT) {
    }
    bool cancelled = client->cancelled;
    (void)pthread_mutex_unlock(&client->lock);
    return cancelled ? transport_fail(err, PYEXEC_CODE_CANCELLED, "cancelled") : 0;
}

/* --- one call --------------------------------------------------------------------------------- */

static bool list_call(struct call *c)
{
    struct pyexec_client *client = c->client;
    (void)pthread_mutex_lock(&client->lock);
    bool cancelled = client->cancelled;
    if (!cancelled) {
        c->next = client->calls;
        c->link = &client->calls;
        if (c->next != NULL) {
            c->next->link = &c->next;
        }
        client->calls = c;
    }
    (void)pthread_mutex_unlock(&client->lock);
    return !cancelled;
}

static void unlist_call(struct call *c)
{
    (void)pthread_mutex_lock(&c->client->lock);
    if (c->link != NULL) {
        *c->link = c->next;
        if (c->next != NULL) {
            c->next->link = c->link;
        }
        c->link = NULL;
    }
    (void)pthread_mutex_unlock(&c->client->lock);
}

/* `timeout_ms` as in transport_unary. Fails without a call when the client is cancelled. */
static int call_init(struct call *c, struct pyexec_client *client, const char *path,
                     int64_t timeout_ms, struct pyexec_error *err)
{
    if (timeout_ms == 0) {
        (void)pthread_mutex_lock(&client->lock);
        timeout_ms = client->timeout_ms;
        (void)pthread_mutex_unlock(&client->lock);
    }
    gpr_timespec deadline = timeout_ms < 0
                                ? gpr_inf_future(GPR_CLOCK_MONOTONIC)
                                : gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                                               gpr_time_from_millis(timeout_ms, GPR_TIMESPAN));
    *c = (struct call){.client = client, .details = grpc_empty_slice()};
    grpc_metadata_array_init(&c->initial);
    grpc_metadata_array_init(&c->trailing);
    c->session_header.key = grpc_slice_from_static_string("x-pyexec-session");
    c->session_header.value = grpc_empty_slice();
    c->cq = grpc_completion_queue_create_for_pluck(NULL);
    c->call = grpc_channel_create_call(client->channel, NULL, GRPC_PROPAGATE_DEFAULTS, c->cq,
                                       grpc_slice_from_static_string(path), NULL, deadline, NULL);
    if (!list_call(c)) {
        (void)transport_fail(err, PYEXEC_CODE_CANCELLED, "cancelled");
        return -1;
    }
    return 0;
}

/* Every batch must have completed. */
static void call_release(struct call *c)
{
    unlist_call(c);
    grpc_call_unref(c->call);
    grpc_completion_queue_shutdown(c->cq);
    while (
        grpc_completion_queue_pluck(c->cq, NULL, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL).type !=
        GRPC_QUEUE_SHUTDOWN) {
    }
    grpc_completion_queue_destroy(c->cq);
    grpc_metadata_array_destroy(&c->initial);
    grpc_metadata_array_destroy(&c->trailing);
    grpc_slice_unref(c->details);
    grpc_slice_unref(c->session_header.value);
    grpc_byte_buffer_destroy(c->received);
}

static bool call_wait(struct call *c, void *tag, gpr_timespec deadline)
{
    return grpc_completion_queue_pluck(c->cq, tag, deadline, NULL).type == GRPC_OP_COMPLETE;
}

static void call_wait_for(struct call *c, void *tag)
{
    (void)call_wait(c, tag, gpr_inf_future(GPR_CLOCK_MONOTONIC));
}

static int call_error(grpc_call_error error, struct pyexec_error *err)
{
    return transport_fail(err, PYEXEC_CODE_INTERNAL, "gRPC refused a batch: %s",
                          grpc_call_error_to_string(error));
}

static grpc_byte_buffer *pack(const ProtobufCMessage *message)
{
    grpc_slice slice = grpc_slice_malloc(protobuf_c_message_get_packed_size(message));
    (void)protobuf_c_message_pack(message, GRPC_SLICE_START_PTR(slice));
    grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    return buffer;
}

static int unpack(grpc_byte_buffer *buffer, const ProtobufCMessageDescriptor *type,
                  ProtobufCMessage **ret_message, struct pyexec_error *err)
{
    grpc_byte_buffer_reader reader;
    ProtobufCMessage *message = NULL;
    if (grpc_byte_buffer_reader_init(&reader, buffer)) {
        grpc_slice slice = grpc_byte_buffer_reader_readall(&reader);
        message = protobuf_c_message_unpack(type, NULL, GRPC_SLICE_LENGTH(slice),
                                            GRPC_SLICE_START_PTR(slice));
        grpc_slice_unref(slice);
        grpc_byte_buffer_reader_destroy(&reader);
    }
    if (message == NULL) {
        return transport_fail(err, PYEXEC_CODE_INTERNAL,
                              "the answer is no %s: the server has another version?", type->name);
    }
    *ret_message = message;
    return 0;
}

/* The first three operations of every call: the request. Returns their number. */
static size_t request_ops(struct call *c, const char *session_id, grpc_byte_buffer *request,
                          grpc_op *ops)
{
    if (session_id != NULL && session_id[0] != '\0') {
        c->session_header.value = grpc_slice_from_copied_string(session_id);
    }
    bool header = GRPC_SLICE_LENGTH(c->session_header.value) > 0;
    ops[0] = (grpc_op){.op = GRPC_OP_SEND_INITIAL_METADATA};
    ops[0].data.send_initial_metadata.count = header ? 1 : 0;
    ops[0].data.send_initial_metadata.metadata = &c->session_header;
    ops[1] = (grpc_op){.op = GRPC_OP_SEND_MESSAGE};
    ops[1].data.send_message.send_message = request;
    ops[2] = (grpc_op){.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT};
    return 3;
}

static grpc_op initial_op(struct call *c)
{
    grpc_op op = {.op = GRPC_OP_RECV_INITIAL_METADATA};
    op.data.recv_initial_metadata.recv_initial_metadata = &c->initial;
    return op;
}

static grpc_op message_op(struct call *c)
{
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};
    op.data.recv_message.recv_message = &c->received;
    return op;
}

static grpc_op status_op(struct call *c)
{
    grpc_op op = {.op = GRPC_OP_RECV_STATUS_ON_CLIENT};
    op.data.recv_status_on_client.trailing_metadata = &c->trailing;
    op.data.recv_status_on_client.status = &c->code;
    op.data.recv_status_on_client.status_details = &c->details;
    return op;
}

/* A header is a nonbin value; grpc burns the batch's slot when it refuses one. */
static int check_session_id(const char *session_id, struct pyexec_error *err)
{
    if (session_id == NULL) {
        return 0;
    }
    size_t n = strnlen(session_id, TRANSPORT_MAX_SESSION_ID + 1);
    grpc_slice value = grpc_slice_from_static_buffer(session_id, n);
    if (n <= TRANSPORT_MAX_SESSION_ID && grpc_header_nonbin_value_is_legal(value)) {
        return 0;
    }
    return transport_fail(err, PYEXEC_CODE_INVALID_ARGUMENT,
                          "that is no session id: printable ASCII, at most %d bytes",
                          TRANSPORT_MAX_SESSION_ID);
}

/* 0 when the call ended with OK. */
static int call_status(struct call *c, struct pyexec_error *err)
{
    bool answered = c->code == GRPC_STATUS_OK || c->trailing.count > 0 || c->initial.count > 0;
    (void)pthread_mutex_lock(&c->client->lock);
    c->client->connected |= answered;
    (void)pthread_mutex_unlock(&c->client->lock);
    if (c->code == GRPC_STATUS_OK) {
        return 0;
    }
    (void)transport_fail(err, (int)c->code, "%.*s", (int)GRPC_SLICE_LENGTH(c->details),
                         (const char *)GRPC_SLICE_START_PTR(c->details));
    for (size_t i = 0; i < c->trailing.count; i++) {
        grpc_metadata *m = &c->trailing.metadata[i];
        if (grpc_slice_str_cmp(m->key, "grpc-status-details-bin") == 0) {
            status_details_parse(GRPC_SLICE_START_PTR(m->value), GRPC_SLICE_LENGTH(m->value), err);
        }
    }
    return -1;
}

int transport_unary(struct pyexec_client *client, const struct method *method,
                    const char *session_id, const ProtobufCMessage *request, int64_t timeout_ms,
                    ProtobufCMessage **ret_response, struct pyexec_error *err)
{
    struct call c;
    grpc_op ops[6];
    if (check_session_id(session_id, err) < 0) {
        return -1;
    }
    int r = call_init(&c, client, method->path, timeout_ms, err);
    if (r == 0) {
        grpc_byte_buffer *buffer = pack(request);
        size_t n = request_ops(&c, session_id, buffer, ops);
        ops[n++] = initial_op(&c);
        ops[n++] = message_op(&c);
        ops[n++] = status_op(&c);
        grpc_call_error error = grpc_call_start_batch(c.call, ops, n, &c, NULL);
        grpc_byte_buffer_destroy(buffer);
        if (error != GRPC_CALL_OK) {
            r = call_error(error, err);
        } else {
            call_wait_for(&c, &c);
            r = call_status(&c, err);
        }
    }
    if (r == 0) {
        r = c.received != NULL
                ? unpack(c.received, method->response, ret_response, err)
                : transport_fail(err, PYEXEC_CODE_INTERNAL, "the server sent no answer");
    }
    call_release(&c);
    return r;
}

/* --- a stream --------------------------------------------------------------------------------- */

static int start_reading(struct stream *s, struct pyexec_error *err)
{
    grpc_op op = message_op(&s->c);
    grpc_call_error error = grpc_call_start_batch(s->c.call, &op, 1, &s->tag_message, NULL);
    if (error != GRPC_CALL_OK) {
        s->ended = true;
        return call_error(error, err);
    }
    s->reading = true;
    return 0;
}

int transport_open(struct pyexec_client *client, const struct method *method,
                   const char *session_id, const ProtobufCMessage *request,
                   struct stream **ret_stream, struct pyexec_error *err)
{
    grpc_op ops[4];
    if (check_session_id(session_id, err) < 0) {
        return -1;
    }
    struct stream *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return no_memory(err);
    }
    s->response = method->response;
    if (call_init(&s->c, client, method->path, -1, err) < 0) {
        call_release(&s->c);
        free(s);
        return -1;
    }
    grpc_byte_buffer *buffer = pack(request);
    size_t n = request_ops(&s->c, session_id, buffer, ops);
    ops[n++] = initial_op(&s->c);
    grpc_call_error error = grpc_call_start_batch(s->c.call, ops, n, &s->tag_start, NULL);
    grpc_byte_buffer_destroy(buffer);
    if (error != GRPC_CALL_OK) {
        call_release(&s->c);
        free(s);
        return call_error(error, err);
    }
    ops[0] = status_op(&s->c);
    error = grpc_call_start_batch(s->c.call, ops, 1, &s->tag_status, NULL);
    if (error != GRPC_CALL_OK) {
        (void)grpc_call_cancel(s->c.call, NULL);
        call_wait_for(&s->c, &s->tag_start);
        call_release(&s->c);
        free(s);
        return call_error(error, err);
    }
    *ret_stream = s;
    return 0;
}

static void take_status(struct stream *s)
{
    if (!s->closed) {
        call_wait_for(&s->c, &s->tag_status);
        s->closed = true;
    }
}

int transport_next(struct stream *s, int64_t silence_ms, ProtobufCMessage **ret_message,
                   struct pyexec_error *err)
{
    if (!s->reading && !s->ended && start_reading(s, err) < 0) {
        return -1;
    }
    if (s->reading) {
        gpr_timespec deadline = gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                                             gpr_time_from_millis(silence_ms, GPR_TIMESPAN));
        if (!call_wait(&s->c, &s->tag_message, deadline)) {
            return transport_fail(err, PYEXEC_CODE_UNAVAILABLE,
                                  "the server was silent for %lld s, not even a heartbeat came",
                                  (long long)(silence_ms / 1000));
        }
        s->reading = false;
        s->ended = s->c.received == NULL;
    }
    if (s->ended) {
        take_status(s);
        return call_status(&s->c, err);
    }
    int r = unpack(s->c.received, s->response, ret_message, err);
    grpc_byte_buffer_destroy(s->c.received);
    s->c.received = NULL;
    return r < 0 ? -1 : 1;
}

void transport_close(struct stream *s)
{
    struct pyexec_error err;
    if (s == NULL) {
        return;
    }
    (void)grpc_call_cancel(s->c.call, NULL);
    while (!s->ended) {
        if (!s->reading && start_reading(s, &err) < 0) {
            break;
        }
        call_wait_for(&s->c, &s->tag_message);
        s->reading = false;
        s->ended = s->c.received == NULL;
        grpc_byte_buffer_destroy(s->c.received);
        s->c.received = NULL;
    }
    take_status(s);
    call_wait_for(&s->c, &s->tag_start);
    call_release(&s->c);
    free(s);
}
