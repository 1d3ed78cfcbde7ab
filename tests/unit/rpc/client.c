#include "tests/unit/rpc/client.h"

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc_security.h>
#include <grpc/support/time.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "google/rpc/error_details.pb-c.h"
#include "google/rpc/status.pb-c.h"

/* --- the server ------------------------------------------------------------------------------------ */

struct fixture {
    pthread_t thread;
    uv_loop_t loop;
    uv_async_t async; /* what other threads want of the loop */
    struct engine *engine;
    struct rpc_server *server;
    const struct rpc_config *config;
    char address[64];
    bool closed_all;

    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool ready;
    bool shutdown;
    void (*fn)(struct fixture *f, void *ctx);
    void *ctx;
};

static void on_engine_closed(void *ctx)
{
    struct fixture *f = ctx;
    uv_close((uv_handle_t *)&f->async, NULL);
}

static void on_server_closed(void *ctx)
{
    struct fixture *f = ctx;
    stub_engine_close(f->engine, on_engine_closed, f);
}

static void on_async(uv_async_t *async)
{
    struct fixture *f = async->data;
    (void)pthread_mutex_lock(&f->lock);
    void (*fn)(struct fixture *, void *) = f->fn;
    void *ctx = f->ctx;
    bool shutdown = f->shutdown;
    f->shutdown = false;
    (void)pthread_mutex_unlock(&f->lock);
    if (fn != NULL) {
        fn(f, ctx);
        (void)pthread_mutex_lock(&f->lock);
        f->fn = NULL;
        (void)pthread_cond_broadcast(&f->changed);
        (void)pthread_mutex_unlock(&f->lock);
    }
    if (shutdown) {
        rpc_server_shutdown(f->server, on_server_closed, f);
    }
}

static void *loop_thread(void *arg)
{
    struct fixture *f = arg;
    struct err err = {0};
    const char *const listen[] = {f->address, NULL};
    struct rpc_config config = *f->config;
    config.listen = listen;
    (void)uv_loop_init(&f->loop);
    (void)uv_async_init(&f->loop, &f->async, on_async);
    f->async.data = f;
    f->engine = stub_engine_new(&f->loop);
    if (rpc_server_new(&config, f->engine, &f->loop, &f->server, &err) < 0) {
        (void)fprintf(stderr, "%s\n", err.text);
        exit(1);
    }
    rpc_server_set_serving(f->server, true);
    (void)pthread_mutex_lock(&f->lock);
    f->ready = true;
    (void)pthread_cond_broadcast(&f->changed);
    (void)pthread_mutex_unlock(&f->lock);
    (void)uv_run(&f->loop, UV_RUN_DEFAULT);
    rpc_server_free(f->server);
    stub_engine_free(f->engine);
    f->closed_all = uv_loop_close(&f->loop) == 0;
    return NULL;
}

struct fixture *fixture_new(const struct rpc_config *config)
{
    static unsigned serial;
    struct fixture *f = calloc(1, sizeof *f);
    (void)snprintf(f->address, sizeof f->address, "unix-abstract:rpc-test-%d-%u", (int)getpid(),
                   ++serial);
    f->config = config;
    (void)pthread_mutex_init(&f->lock, NULL);
    (void)pthread_cond_init(&f->changed, NULL);
    if (pthread_create(&f->thread, NULL, loop_thread, f) != 0) {
        exit(1);
    }
    (void)pthread_mutex_lock(&f->lock);
    while (!f->ready) {
        (void)pthread_cond_wait(&f->changed, &f->lock);
    }
    (void)pthread_mutex_unlock(&f->lock);
    return f;
}

const char *fixture_address(struct fixture *f)
{
    return f->address;
}

struct engine *fixture_engine(struct fixture *f)
{
    return f->engine;
}

struct rpc_server *fixture_server(struct fixture *f)
{
    return f->server;
}

void fixture_on_loop(struct fixture *f, void (*fn)(struct fixture *f, void *ctx), void *ctx)
{
    (void)pthread_mutex_lock(&f->lock);
    f->ctx = ctx;
    f->fn = fn;
    (void)uv_async_send(&f->async);
    while (f->fn != NULL) {
        (void)pthread_cond_wait(&f->changed, &f->lock);
    }
    (void)pthread_mutex_unlock(&f->lock);
}

void fixture_shutdown(struct fixture *f)
{
    (void)pthread_mutex_lock(&f->lock);
    f->shutdown = true;
    (void)uv_async_send(&f->async);
    (void)pthread_mutex_unlock(&f->lock);
}

bool fixture_free(struct fixture *f)
{
    (void)pthread_join(f->thread, NULL);
    bool closed = f->closed_all;
    (void)pthread_cond_destroy(&f->changed);
    (void)pthread_mutex_destroy(&f->lock);
    free(f);
    return closed;
}

/* --- the client ------------------------------------------------------------------------------------- */

grpc_channel *client_connect(const char *address)
{
    grpc_arg args[1] = {{.type = GRPC_ARG_INTEGER,
                         .key = (char *)GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL,
                         .value.integer = 1}};
    grpc_channel_credentials *creds = grpc_insecure_credentials_create();
    grpc_channel *channel = grpc_channel_create(address, creds, &(grpc_channel_args){1, args});
    grpc_channel_credentials_release(creds);
    return channel;
}

static grpc_byte_buffer *to_bytes(const ProtobufCMessage *m)
{
    grpc_slice slice = grpc_slice_malloc(protobuf_c_message_get_packed_size(m));
    protobuf_c_message_pack(m, GRPC_SLICE_START_PTR(slice));
    grpc_byte_buffer *b = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    return b;
}

static bool batch(struct client_call *c, const grpc_op *ops, size_t n)
{
    if (grpc_call_start_batch(c->call, ops, n, c, NULL) != GRPC_CALL_OK) {
        (void)fprintf(stderr, "client: a batch was refused\n");
        exit(1);
    }
    return grpc_completion_queue_pluck(c->queue, c, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL)
               .success != 0;
}

void client_start(struct client_call *c, grpc_channel *channel, const char *path,
                  const ProtobufCMessage *request, const char *header, int timeout_ms)
{
    grpc_op ops[3] = {{.op = GRPC_OP_SEND_INITIAL_METADATA},
                      {.op = GRPC_OP_SEND_MESSAGE},
                      {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT}};
    grpc_metadata session = {.key = grpc_slice_from_static_string("x-pyexec-session"),
                             .value = grpc_slice_from_static_string(header ? header : "")};
    gpr_timespec deadline = gpr_time_add(
        gpr_now(GPR_CLOCK_MONOTONIC),
        gpr_time_from_millis(timeout_ms ? timeout_ms : CLIENT_TIMEOUT_S * 1000, GPR_TIMESPAN));
    *c = (struct client_call){.queue = grpc_completion_queue_create_for_pluck(NULL)};
    c->details = grpc_empty_slice();
    c->call = grpc_channel_create_call(channel, NULL, GRPC_PROPAGATE_DEFAULTS, c->queue,
                                       grpc_slice_from_static_string(path), NULL, deadline, NULL);
    grpc_metadata_array_init(&c->initial);
    grpc_metadata_array_init(&c->trailing);
    ops[0].data.send_initial_metadata.metadata = &session;
    ops[0].data.send_initial_metadata.count = header != NULL;
    grpc_byte_buffer *bytes = to_bytes(request);
    ops[1].data.send_message.send_message = bytes;
    (void)batch(c, ops, 3);
    grpc_byte_buffer_destroy(bytes);
}

static void finish(struct client_call *c)
{
    grpc_op op = {.op = GRPC_OP_RECV_STATUS_ON_CLIENT};
    op.data.recv_status_on_client.trailing_metadata = &c->trailing;
    op.data.recv_status_on_client.status = &c->status;
    op.data.recv_status_on_client.status_details = &c->details;
    (void)batch(c, &op, 1);
    c->done = true;
}

ProtobufCMessage *client_next(struct client_call *c, const ProtobufCMessageDescriptor *type)
{
    grpc_op ops[2] = {{.op = GRPC_OP_RECV_MESSAGE}, {.op = GRPC_OP_RECV_INITIAL_METADATA}};
    grpc_byte_buffer *bytes = NULL;
    if (c->done) {
        return NULL;
    }
    ops[0].data.recv_message.recv_message = &bytes;
    ops[1].data.recv_initial_metadata.recv_initial_metadata = &c->initial;
    (void)batch(c, ops, c->have_initial ? 1 : 2);
    c->have_initial = true;
    if (bytes == NULL) {
        finish(c);
        return NULL;
    }
    grpc_byte_buffer_reader reader;
    (void)grpc_byte_buffer_reader_init(&reader, bytes);
    grpc_slice whole = grpc_byte_buffer_reader_readall(&reader);
    ProtobufCMessage *m = protobuf_c_message_unpack(type, NULL, GRPC_SLICE_LENGTH(whole),
                                                    GRPC_SLICE_START_PTR(whole));
    grpc_slice_unref(whole);
    grpc_byte_buffer_reader_destroy(&reader);
    grpc_byte_buffer_destroy(bytes);
    return m;
}

void client_cancel(struct client_call *c)
{
    (void)grpc_call_cancel(c->call, NULL);
}

void client_end(struct client_call *c)
{
    if (!c->done) {
        client_cancel(c);
        finish(c);
    }
    grpc_call_unref(c->call);
    grpc_completion_queue_shutdown(c->queue);
    grpc_completion_queue_destroy(c->queue);
    grpc_metadata_array_destroy(&c->initial);
    grpc_metadata_array_destroy(&c->trailing);
    grpc_slice_unref(c->details);
}

const char *client_reason(const struct client_call *c)
{
    static char reason[64];
    reason[0] = '\0';
    for (size_t i = 0; i < c->trailing.count; i++) {
        const grpc_metadata *m = &c->trailing.metadata[i];
        if (grpc_slice_str_cmp(m->key, "grpc-status-details-bin") != 0) {
            continue;
        }
        Google__Rpc__Status *s = google__rpc__status__unpack(NULL, GRPC_SLICE_LENGTH(m->value),
                                                             GRPC_SLICE_START_PTR(m->value));
        if (s != NULL && s->n_details > 0) {
            Google__Rpc__ErrorInfo *info = google__rpc__error_info__unpack(
                NULL, s->details[0]->value.len, s->details[0]->value.data);
            (void)snprintf(reason, sizeof reason, "%s", info ? info->reason : "?");
            google__rpc__error_info__free_unpacked(info, NULL);
        }
        google__rpc__status__free_unpacked(s, NULL);
    }
    return reason;
}

ProtobufCMessage *client_unary(grpc_channel *channel, const char *path,
                               const ProtobufCMessage *request,
                               const ProtobufCMessageDescriptor *type, grpc_status_code *ret_status,
                               const char **ret_reason)
{
    struct client_call c;
    client_start(&c, channel, path, request, NULL, 0);
    ProtobufCMessage *m = client_next(&c, type);
    if (!c.done) {
        finish(&c);
    }
    *ret_status = c.status;
    *ret_reason = client_reason(&c);
    client_end(&c);
    return m;
}
