/* execute.c: Execute, AttachExecution and Run: streams whose source is an execution's log. */
#include <stdlib.h>

#include "service/base/clock.h"
#include "service/rpc/internal.h"
#include "service/rpc/method.h"
#include "service/rpc/stream.h"

/* Collecting more than this for Run would keep the loop thread from the other sessions. */
#define COLLECT_ON_LOOP_MAX (64u << 10)

struct execute {
    struct stream stream;
    struct engine_attachment attachment;
    /* Run alone; owner of the sending side. */
    uint8_t *scratch;
    size_t scratch_size;
    bool finished;
    bool moved; /* to a completion thread */
};

static struct execute *execute_of(struct stream *stream)
{
    return LIST_CONTAINER(stream, struct execute, stream);
}

static void on_ready(struct log_reader *reader)
{
    struct engine_attachment *a = LIST_CONTAINER(reader, struct engine_attachment, reader);
    struct stream *s = &LIST_CONTAINER(a, struct execute, attachment)->stream;
    if (s->answered) {
        stream_wake(s);
    }
}

static void detach(struct stream *s, bool gone)
{
    engine_detach(s->call.server->engine, &execute_of(s)->attachment, gone);
}

static uint8_t *alloc_slice(void *ctx, size_t size)
{
    grpc_slice *slice = ctx;
    *slice = grpc_slice_malloc(size);
    return GRPC_SLICE_START_PTR(*slice);
}

static enum stream_next out_of_memory(struct stream *s)
{
    (void)err_set(&s->err, ERR_NO_MEMORY, "no memory to read the output; attach again");
    return STREAM_END;
}

static enum stream_next next_event(struct stream *s, grpc_slice *ret_slice, bool *ret_more)
{
    switch (log_reader_next(&execute_of(s)->attachment.reader, alloc_slice, ret_slice, ret_more)) {
    case LOG_READ_EVENT:
        return STREAM_MESSAGE;
    case LOG_READ_RESULT:
        return STREAM_LAST;
    case LOG_READ_EMPTY:
        return STREAM_EMPTY;
    case LOG_READ_END:
        return STREAM_END;
    case LOG_READ_FAILED:
        break;
    }
    return out_of_memory(s);
}

static bool heartbeat(struct stream *s, grpc_slice *ret_slice)
{
    struct buf b;
    buf_init(&b, 4096);
    bool ok = engine_pack_heartbeat(&execute_of(s)->attachment, &b) == 0;
    if (ok) {
        *ret_slice = grpc_slice_from_copied_buffer((const char *)b.data, b.len);
    }
    buf_release(&b);
    return ok;
}

static const struct stream_source event_source = {
    .next = next_event,
    .detach = detach,
    .heartbeat = heartbeat,
};

/* --- Run ---------------------------------------------------------------------------------------- */

static uint8_t *alloc_scratch(void *ctx, size_t size)
{
    struct execute *e = ctx;
    if (size > e->scratch_size) {
        uint8_t *p = realloc(e->scratch, size);
        if (p == NULL) {
            return NULL;
        }
        e->scratch = p;
        e->scratch_size = size;
    }
    return e->scratch;
}

static enum stream_next collect(struct execute *e, grpc_slice *ret_slice)
{
    struct stream *s = &e->stream;
    Pyexec__V1__RunResponse *response;
    if (engine_collect_run(e->attachment.execution, &response, &s->err) < 0) {
        return STREAM_END;
    }
    bool fits = call_pack(&response->base, RPC_SEND_MAX, ret_slice);
    pyexec__v1__run_response__free_unpacked(response, NULL);
    if (!fits) {
        (void)err_set(&s->err, ERR_QUOTA_EXCEEDED,
                      "the output is too large for Run; read it with AttachExecution");
        return STREAM_END;
    }
    return STREAM_LAST;
}

/* Reads past the events as they come: that is how the end is seen, and what makes room in a log that
 * makes its program wait. */
static enum stream_next next_run(struct stream *s, grpc_slice *ret_slice, bool *ret_more)
{
    struct execute *e = execute_of(s);
    while (!e->finished) {
        switch (log_reader_next(&e->attachment.reader, alloc_scratch, e, ret_more)) {
        case LOG_READ_EVENT:
            break;
        case LOG_READ_RESULT:
        case LOG_READ_END:
            e->finished = true;
            break;
        case LOG_READ_EMPTY:
            return STREAM_EMPTY;
        case LOG_READ_FAILED:
            return out_of_memory(s);
        }
    }
    *ret_more = false;
    if (!e->moved && execlog_retained_bytes(e->attachment.reader.log) > COLLECT_ON_LOOP_MAX) {
        e->moved = true;
        return STREAM_ELSEWHERE;
    }
    return collect(e, ret_slice);
}

static const struct stream_source run_source = {
    .next = next_run,
    .detach = detach,
};

/* --- starting ------------------------------------------------------------------------------------ */

static void on_attached(void *ctx, const struct err *err)
{
    struct execute *e = ctx;
    stream_attached(&e->stream, err, err == NULL ? engine_heartbeat_ns(&e->attachment) : 0);
}

static void start(struct execute *e, const char *session_id, const char *execution_id,
                  const Pyexec__V1__ExecutionSpec *spec, bool run)
{
    struct call *call = &e->stream.call;
    struct err err = {0};
    if (stream_over(&e->stream)) {
        (void)err_set(&err, ERR_INTERNAL, "the client is gone");
        stream_attached(&e->stream, &err, 0);
        return;
    }
    engine_execute(call->server->engine, NULL, session_id, execution_id, spec, call->receive_ns,
                   call->deadline_ns, run, &e->attachment, on_attached, e);
}

static void start_execute(struct engine_task *task)
{
    struct stream *s = stream_of(task);
    const Pyexec__V1__ExecuteRequest *r = (const void *)s->call.request;
    call_ref(&s->call);
    start(execute_of(s), r->session_id, r->execution_id, r->spec, false);
    call_drop_request(&s->call);
    call_unref(&s->call);
}

static void start_run(struct engine_task *task)
{
    struct stream *s = stream_of(task);
    const Pyexec__V1__RunRequest *r = (const void *)s->call.request;
    call_ref(&s->call);
    start(execute_of(s), r->session_id, r->execution_id, r->spec, true);
    call_drop_request(&s->call);
    call_unref(&s->call);
}

static void start_attach(struct engine_task *task)
{
    struct stream *s = stream_of(task);
    struct execute *e = execute_of(s);
    call_ref(&s->call);
    engine_attach(s->call.server->engine, NULL, (const void *)s->call.request, &e->attachment,
                  on_attached, e);
    call_drop_request(&s->call);
    call_unref(&s->call);
}

static void begin(struct call *call, const struct stream_source *source,
                  void (*run)(struct engine_task *task))
{
    struct execute *e = LIST_CONTAINER(call, struct execute, stream.call);
    e->attachment.reader.on_ready = on_ready;
    stream_begin(&e->stream, source, run);
}

static bool has_spec(struct call *call, const Pyexec__V1__ExecutionSpec *spec)
{
    struct err err = {0};
    if (spec == NULL) {
        (void)err_field(&err, "spec", "spec: missing; it says what to run");
        call_reply_err(call, &err);
    }
    return spec != NULL;
}

static void execute_arrived(struct call *call)
{
    const Pyexec__V1__ExecuteRequest *r = (const void *)call->request;
    if (has_spec(call, r->spec)) {
        begin(call, &event_source, start_execute);
    }
}

static void run_arrived(struct call *call)
{
    const Pyexec__V1__RunRequest *r = (const void *)call->request;
    if (has_spec(call, r->spec)) {
        begin(call, &run_source, start_run);
    }
}

static void attach_arrived(struct call *call)
{
    begin(call, &event_source, start_attach);
}

static void release(struct call *call)
{
    free(LIST_CONTAINER(call, struct execute, stream.call)->scratch);
    stream_release(call);
}

const struct call_type call_type_execute = {
    .size = sizeof(struct execute),
    .arrived = execute_arrived,
    .release = release,
};
const struct call_type call_type_run = {
    .size = sizeof(struct execute),
    .arrived = run_arrived,
    .release = release,
};
const struct call_type call_type_attach = {
    .size = sizeof(struct execute),
    .arrived = attach_arrived,
    .release = release,
};
