/* execute.c: one execution followed to its result, over as many connections as it takes.
 *
 * The state is `after_seq`: the last event that the callback saw. Before the first event the call
 * is Execute (again, with the same execution id); from then on it is AttachExecution. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clients/c/spec.h"
#include "clients/c/transport.h"
#include "clients/c/view.h"

#define HEARTBEAT_MS 15000
#define SILENCE_HEARTBEATS 4
#define RETRY_MIN_MS 100
#define RETRY_MAX_MS 10000

static const struct method execute_method = {"/pyexec.v1.ExecutionService/Execute",
                                             &pyexec__v1__execute_response__descriptor};
static const struct method attach_method = {"/pyexec.v1.ExecutionService/AttachExecution",
                                            &pyexec__v1__attach_execution_response__descriptor};

struct follow {
    struct pyexec_client *client;
    const Pyexec__V1__ExecuteRequest *execute; /* NULL: attach from the start */
    char session_id[TRANSPORT_MAX_SESSION_ID + 1];
    char execution_id[TRANSPORT_MAX_SESSION_ID + 1];
    uint64_t after_seq;
    bool attached; /* the ids are known */
    int64_t heartbeat_ms;
    unsigned tries; /* in a row, without an event */
    pyexec_event_fn *on_event;
    void *ctx;
};

enum step {
    STEP_FAILED = -1, /* the call failed; err says how */
    STEP_MORE = 0,
    STEP_RESULT = 1,
    STEP_STOPPED = 2, /* by the callback, or for good */
};

static int remember_id(char *out, size_t size, const char *id, struct pyexec_error *err)
{
    size_t n = strlen(id);
    if (n == 0 || n >= size) {
        return transport_fail(err, PYEXEC_CODE_INVALID_ARGUMENT, "that is no id: 1 to %d bytes",
                              TRANSPORT_MAX_SESSION_ID);
    }
    memcpy(out, id, n + 1);
    return 0;
}

/* Takes `take_message`, which the event lies in. */
static enum step handle_event(struct follow *f, ProtobufCMessage *take_message,
                              const Pyexec__V1__ExecutionEvent *m,
                              struct pyexec_result **ret_result, struct pyexec_error *err)
{
    struct pyexec_event event;
    struct pyexec_result *result = NULL;
    enum step step = STEP_MORE;
    bool is_result = m->event_case == PYEXEC__V1__EXECUTION_EVENT__EVENT_RESULT;
    if (view_event(m, &event) < 0 ||
        (is_result && (result = view_result(m->result, NULL)) == NULL)) {
        view_event_release(&event);
        protobuf_c_message_free_unpacked(take_message, NULL);
        (void)transport_fail(err, PYEXEC_CODE_RESOURCE_EXHAUSTED, "out of memory");
        return STEP_STOPPED;
    }
    if (event.kind == PYEXEC_EVENT_STARTED &&
        (remember_id(f->session_id, sizeof f->session_id, m->started->session_id, err) < 0 ||
         remember_id(f->execution_id, sizeof f->execution_id, m->started->execution_id, err) < 0)) {
        step = STEP_STOPPED;
    } else {
        f->attached |= event.kind == PYEXEC_EVENT_STARTED;
        f->after_seq = event.seq > f->after_seq ? event.seq : f->after_seq;
        event.result = is_result ? result : event.result;
        if (f->on_event != NULL && f->on_event(f->ctx, &event) != 0) {
            (void)transport_fail(err, PYEXEC_CODE_CANCELLED, "the caller wants no more");
            step = STEP_STOPPED;
        } else if (is_result) {
            step = STEP_RESULT;
        }
    }
    view_event_release(&event);
    pyexec_result_free(result);
    if (step == STEP_RESULT) {
        result = view_result(m->result, take_message);
        if (result != NULL) {
            *ret_result = result;
            return STEP_RESULT;
        }
        (void)transport_fail(err, PYEXEC_CODE_RESOURCE_EXHAUSTED, "out of memory");
        step = STEP_STOPPED;
    }
    protobuf_c_message_free_unpacked(take_message, NULL);
    return step;
}

static int open_stream(struct follow *f, struct stream **ret_stream, struct pyexec_error *err)
{
    if (!f->attached) {
        return transport_open(f->client, &execute_method, f->execute->session_id, &f->execute->base,
                              ret_stream, err);
    }
    Google__Protobuf__Duration heartbeat;
    Pyexec__V1__AttachExecutionRequest request = PYEXEC__V1__ATTACH_EXECUTION_REQUEST__INIT;
    request.session_id = f->session_id;
    request.execution_id = f->execution_id;
    request.after_seq = f->after_seq;
    request.heartbeat_interval = view_duration(&heartbeat, f->heartbeat_ms);
    return transport_open(f->client, &attach_method, f->session_id, &request.base, ret_stream, err);
}

/* Reads one stream as far as it goes. */
static enum step read_stream(struct follow *f, struct pyexec_result **ret_result,
                             struct pyexec_error *err)
{
    struct stream *stream = NULL;
    ProtobufCMessage *message;
    enum step step = STEP_MORE;
    if (open_stream(f, &stream, err) < 0) {
        return STEP_FAILED;
    }
    while (step == STEP_MORE) {
        int r = transport_next(stream, SILENCE_HEARTBEATS * f->heartbeat_ms, &message, err);
        if (r < 0) {
            step = STEP_FAILED;
        } else if (r == 0) {
            (void)transport_fail(err, PYEXEC_CODE_UNAVAILABLE, "the stream ended without a result");
            step = STEP_FAILED;
        } else {
            /* Execute's and Attach's responses are one field, the event, and generated alike. */
            const Pyexec__V1__ExecutionEvent *event =
                message->descriptor == execute_method.response
                    ? ((Pyexec__V1__ExecuteResponse *)message)->event
                    : ((Pyexec__V1__AttachExecutionResponse *)message)->event;
            f->tries = 0;
            if (event == NULL) {
                protobuf_c_message_free_unpacked(message, NULL);
                continue;
            }
            step = handle_event(f, message, event, ret_result, err);
        }
    }
    transport_close(stream);
    return step;
}

/* Whether another try makes sense; pauses when it does. */
static bool try_again(struct follow *f, struct pyexec_error *err)
{
    bool lost = err->code == PYEXEC_CODE_UNAVAILABLE && err->reason[0] == '\0' &&
                (f->attached || transport_was_connected(f->client));
    bool invited = err->code == PYEXEC_CODE_UNAVAILABLE && err->retry_ms >= 0;
    if ((!lost && !invited) || ++f->tries >= PYEXEC_MAX_TRIES) {
        return false;
    }
    int64_t pause = err->retry_ms >= 0 ? err->retry_ms : RETRY_MIN_MS << (f->tries - 1);
    struct pyexec_error cancelled;
    if (transport_pause(f->client, pause < RETRY_MAX_MS ? pause : RETRY_MAX_MS, &cancelled) < 0) {
        *err = cancelled;
        return false;
    }
    return true;
}

static int follow(struct follow *f, struct pyexec_result **ret_result, struct pyexec_error *err)
{
    for (;;) {
        enum step step = read_stream(f, ret_result, err);
        if (step == STEP_RESULT) {
            return 0;
        }
        if (step == STEP_STOPPED || !try_again(f, err)) {
            return -1;
        }
    }
}

int pyexec_execute(struct pyexec_client *client, const struct pyexec_spec *spec,
                   pyexec_event_fn *on_event, void *ctx, struct pyexec_result **ret_result,
                   struct pyexec_error *err)
{
    struct spec_message m;
    Pyexec__V1__ExecuteRequest request = PYEXEC__V1__EXECUTE_REQUEST__INIT;
    if (spec_message_init(&m, spec, err) < 0) {
        return -1;
    }
    request.session_id = (char *)(spec->session_id != NULL ? spec->session_id : "");
    request.execution_id = spec->execution_id != NULL && spec->execution_id[0] != '\0'
                               ? (char *)spec->execution_id
                               : m.execution_id;
    request.spec = &m.spec;
    struct follow f = {
        .client = client,
        .execute = &request,
        .heartbeat_ms = spec->heartbeat_ms > 0 ? spec->heartbeat_ms : HEARTBEAT_MS,
        .on_event = on_event,
        .ctx = ctx,
    };
    m.spec.heartbeat_interval = view_duration(&m.heartbeat, f.heartbeat_ms);
    int r = follow(&f, ret_result, err);
    spec_message_release(&m);
    return r;
}

int pyexec_attach(struct pyexec_client *client, const char *session_id, const char *execution_id,
                  uint64_t after_seq, pyexec_event_fn *on_event, void *ctx,
                  struct pyexec_result **ret_result, struct pyexec_error *err)
{
    struct follow f = {
        .client = client,
        .after_seq = after_seq,
        .attached = true,
        .heartbeat_ms = HEARTBEAT_MS,
        .on_event = on_event,
        .ctx = ctx,
    };
    if (remember_id(f.session_id, sizeof f.session_id, session_id, err) < 0 ||
        remember_id(f.execution_id, sizeof f.execution_id, execution_id, err) < 0) {
        return -1;
    }
    return follow(&f, ret_result, err);
}
