#include "clients/c/view.h"

#include <stdlib.h>
#include <string.h>

#define NS_PER_S INT64_C(1000000000)

static int64_t nanoseconds(int64_t seconds, int32_t nanos)
{
    if (seconds > INT64_MAX / NS_PER_S - 1) {
        return INT64_MAX;
    }
    if (seconds < INT64_MIN / NS_PER_S + 1) {
        return INT64_MIN;
    }
    return seconds * NS_PER_S + nanos;
}

int64_t view_duration_ns(const Google__Protobuf__Duration *d)
{
    return d != NULL ? nanoseconds(d->seconds, d->nanos) : 0;
}

int64_t view_time_ns(const Google__Protobuf__Timestamp *t)
{
    return t != NULL ? nanoseconds(t->seconds, t->nanos) : 0;
}

Google__Protobuf__Duration *view_duration(Google__Protobuf__Duration *out, int64_t ms)
{
    if (ms <= 0) {
        return NULL;
    }
    google__protobuf__duration__init(out);
    out->seconds = ms / 1000;
    out->nanos = (int32_t)(ms % 1000 * 1000000);
    return out;
}

int view_bundle(const Pyexec__V1__MimeBundle *message, struct pyexec_bundle *ret_bundle)
{
    *ret_bundle = (struct pyexec_bundle){0};
    if (message == NULL || message->n_parts == 0) {
        return 0;
    }
    struct pyexec_part *parts = calloc(message->n_parts, sizeof *parts);
    if (parts == NULL) {
        return -1;
    }
    for (size_t i = 0; i < message->n_parts; i++) {
        const Pyexec__V1__MimePart *m = message->parts[i];
        struct pyexec_part *p = &parts[i];
        p->mime_type = m->mime_type;
        p->data = "";
        p->file_path = "";
        if (m->content_case == PYEXEC__V1__MIME_PART__CONTENT_DATA && m->data.len > 0) {
            p->data = m->data.data;
            p->len = m->data.len;
        } else if (m->content_case == PYEXEC__V1__MIME_PART__CONTENT_FILE && m->file != NULL) {
            p->file_path = m->file->path;
            p->file_size = m->file->size_bytes;
        }
    }
    *ret_bundle = (struct pyexec_bundle){.parts = parts, .n_parts = message->n_parts};
    return 0;
}

const struct pyexec_part *pyexec_bundle_find(const struct pyexec_bundle *bundle,
                                             const char *mime_type)
{
    for (size_t i = 0; i < bundle->n_parts; i++) {
        if (strcmp(bundle->parts[i].mime_type, mime_type) == 0) {
            return &bundle->parts[i];
        }
    }
    return NULL;
}

/* --- results ---------------------------------------------------------------------------------- */

struct owned_result {
    struct pyexec_result result; /* first: what the caller has */
    ProtobufCMessage *owner;
};

void pyexec_result_free(struct pyexec_result *result)
{
    if (result == NULL) {
        return;
    }
    struct owned_result *o = (struct owned_result *)result;
    free((void *)result->frames);
    free((void *)result->value.parts);
    if (o->owner != NULL) {
        protobuf_c_message_free_unpacked(o->owner, NULL);
    }
    free(o);
}

static int fill_frames(const Pyexec__V1__ExecutionResult *m, struct pyexec_result *r)
{
    if (m->n_frames == 0) {
        return 0;
    }
    struct pyexec_frame *frames = calloc(m->n_frames, sizeof *frames);
    if (frames == NULL) {
        return -1;
    }
    for (size_t i = 0; i < m->n_frames; i++) {
        const Pyexec__V1__TracebackFrame *f = m->frames[i];
        frames[i] = (struct pyexec_frame){f->file, f->line, f->function, f->source_line};
    }
    r->frames = frames;
    r->n_frames = m->n_frames;
    return 0;
}

static void fill_termination(const Pyexec__V1__ExecutionResult *m, struct pyexec_result *r)
{
    if (m->termination_case == PYEXEC__V1__EXECUTION_RESULT__TERMINATION_EXIT_CODE) {
        r->has_exit_code = true;
        r->exit_code = m->exit_code;
    } else if (m->termination_case == PYEXEC__V1__EXECUTION_RESULT__TERMINATION_SIGNAL) {
        r->signal = m->signal;
    }
}

struct pyexec_result *view_result(const Pyexec__V1__ExecutionResult *m, ProtobufCMessage *owner)
{
    struct owned_result *o = calloc(1, sizeof *o);
    if (o == NULL) {
        return NULL;
    }
    struct pyexec_result *r = &o->result;
    *r = (struct pyexec_result){
        .status = (enum pyexec_status)m->status,
        .session_id = m->session_id,
        .execution_id = m->execution_id,
        .execution_count = m->execution_count,
        .exc_type = m->exc_type,
        .exc_message = m->exc_message,
        .traceback = m->traceback,
        .exceeded_limit = m->exceeded_limit,
        .session_alive = m->session_alive,
        .stdout_bytes = m->stdout_bytes,
        .stderr_bytes = m->stderr_bytes,
        .dropped_bytes = m->dropped_bytes,
        .warnings = (const char *const *)m->warnings,
        .n_warnings = m->n_warnings,
        .message = m,
    };
    if (m->timings != NULL) {
        r->queue_ns = view_duration_ns(m->timings->queue);
        r->run_ns = view_duration_ns(m->timings->run);
        r->total_ns = view_duration_ns(m->timings->total);
    }
    fill_termination(m, r);
    if (fill_frames(m, r) < 0 || view_bundle(m->value, &r->value) < 0) {
        pyexec_result_free(r);
        return NULL;
    }
    o->owner = owner;
    return r;
}

const char *pyexec_status_name(enum pyexec_status status)
{
    static const char *const names[] = {
        "UNSPECIFIED", "OK",     "ERROR",   "TIMEOUT_ERROR",  "INTERRUPTED",
        "CANCELLED",   "EXITED", "CRASHED", "RESOURCE_LIMIT", "SERVER_ERROR",
    };
    unsigned i = (unsigned)status;
    return i < sizeof names / sizeof *names ? names[i] : "UNKNOWN";
}

/* --- events ----------------------------------------------------------------------------------- */

static void fill_output(const Pyexec__V1__OutputChunk *m, struct pyexec_event *e)
{
    if (m->stream == PYEXEC__V1__OUTPUT_STREAM__OUTPUT_STREAM_STDOUT) {
        e->kind = PYEXEC_EVENT_STDOUT;
    } else if (m->stream == PYEXEC__V1__OUTPUT_STREAM__OUTPUT_STREAM_STDERR) {
        e->kind = PYEXEC_EVENT_STDERR;
    } else {
        return;
    }
    e->output.data = m->data.len > 0 ? m->data.data : (const uint8_t *)"";
    e->output.len = m->data.len;
    e->output.offset = m->offset;
}

static int fill_display(const Pyexec__V1__DisplayData *m, struct pyexec_event *e)
{
    e->kind = PYEXEC_EVENT_DISPLAY;
    e->display.display_id = m->display_id;
    e->display.update = m->update;
    return view_bundle(m->bundle, &e->display.bundle);
}

static void fill_started(const Pyexec__V1__ExecutionStarted *m, struct pyexec_event *e)
{
    e->kind = PYEXEC_EVENT_STARTED;
    e->started.session_id = m->session_id;
    e->started.execution_id = m->execution_id;
    e->started.execution_count = m->execution_count;
    e->started.effective_timeout_ns = view_duration_ns(m->effective_timeout);
    e->started.replayed = m->replayed;
}

static void fill_gap(const Pyexec__V1__OutputGap *m, struct pyexec_event *e)
{
    e->kind = PYEXEC_EVENT_GAP;
    e->gap.is_stderr = m->stream == PYEXEC__V1__OUTPUT_STREAM__OUTPUT_STREAM_STDERR;
    e->gap.offset = m->offset;
    e->gap.size = m->size;
}

int view_event(const Pyexec__V1__ExecutionEvent *m, struct pyexec_event *e)
{
    *e = (struct pyexec_event){.seq = m->seq, .time_ns = view_time_ns(m->time), .message = m};
    switch (m->event_case) {
    case PYEXEC__V1__EXECUTION_EVENT__EVENT_STARTED:
        fill_started(m->started, e);
        return 0;
    case PYEXEC__V1__EXECUTION_EVENT__EVENT_OUTPUT:
        fill_output(m->output, e);
        return 0;
    case PYEXEC__V1__EXECUTION_EVENT__EVENT_DISPLAY:
        return fill_display(m->display, e);
    case PYEXEC__V1__EXECUTION_EVENT__EVENT_CLEAR_OUTPUT:
        e->kind = PYEXEC_EVENT_CLEAR_OUTPUT;
        e->clear_output.wait = m->clear_output->wait;
        return 0;
    case PYEXEC__V1__EXECUTION_EVENT__EVENT_INPUT_REQUEST:
        e->kind = PYEXEC_EVENT_INPUT_REQUEST;
        e->input_request.prompt = m->input_request->prompt;
        e->input_request.password = m->input_request->password;
        e->input_request.stdin_offset = m->input_request->stdin_offset;
        return 0;
    case PYEXEC__V1__EXECUTION_EVENT__EVENT_HEARTBEAT:
        e->kind = PYEXEC_EVENT_HEARTBEAT;
        e->heartbeat.elapsed_ns = view_duration_ns(m->heartbeat->elapsed);
        return 0;
    case PYEXEC__V1__EXECUTION_EVENT__EVENT_GAP:
        fill_gap(m->gap, e);
        return 0;
    case PYEXEC__V1__EXECUTION_EVENT__EVENT_RESULT:
        e->kind = PYEXEC_EVENT_RESULT;
        return 0;
    default:
        return 0;
    }
}

void view_event_release(struct pyexec_event *e)
{
    if (e->kind == PYEXEC_EVENT_DISPLAY) {
        free((void *)e->display.bundle.parts);
    }
}

/* --- sessions --------------------------------------------------------------------------------- */

void view_session(const Pyexec__V1__Session *m, struct pyexec_session *s)
{
    *s = (struct pyexec_session){
        .session_id = m->session_id,
        .state = (enum pyexec_session_state)m->state,
        .create_ns = view_time_ns(m->create_time),
        .last_used_ns = view_time_ns(m->last_used_time),
        .expire_ns = view_time_ns(m->expire_time),
        .current_execution_id = m->current_execution_id,
        .working_directory = m->working_directory,
        .execution_count = m->execution_count,
        .generation = m->generation,
        .rss_bytes = m->usage != NULL ? m->usage->rss_bytes : 0,
        .message = m,
    };
}

const char *pyexec_session_state_name(enum pyexec_session_state state)
{
    static const char *const names[] = {
        "UNSPECIFIED", "STARTING", "IDLE", "BUSY", "DEAD", "CLOSED",
    };
    unsigned i = (unsigned)state;
    return i < sizeof names / sizeof *names ? names[i] : "UNKNOWN";
}
