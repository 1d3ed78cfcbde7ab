/* frames.c: what a session says on its control socket. All of it is hostile until checked: a frame
 * that breaks the protocol costs the session its process, and nothing else. */
#include <string.h>

#include "service/base/utf8.h"
#include "service/session/internal.h"

struct body {
    const uint8_t *data;
    size_t size;
};

void frames_broken(struct process *p, const char *rule)
{
    if (p->broken != NULL) {
        return;
    }
    p->broken = rule;
    log_event(LOG_WARN, "session.protocol", "session", p->session ? p->session->id : NULL, "rule",
              rule, (char *)NULL);
    if (p->session != NULL && !p->exited) {
        session_event(p->session, SESSION_EVENT_KILL);
    } else {
        process_kill(p);
    }
}

static void on_process_ready(struct process *p)
{
    if (p->state != PROCESS_WARMING && p->state != PROCESS_SPAWNING) {
        frames_broken(p, "was ready twice");
        return;
    }
    /* READY may overtake the zygote's SPAWNED: two sockets have no common order. */
    if (p->pid == 0) {
        p->ready_early = true;
        return;
    }
    process_ready(p);
}

static void on_started(struct process *p, uint64_t run)
{
    if (p->execution == NULL || p->started || run != p->run) {
        frames_broken(p, "started a run that nobody asked for");
        return;
    }
    p->started = p->used = true;
    execution_started(p->execution);
}

static void on_reporting(struct process *p, uint64_t run)
{
    if (p->execution == NULL || !p->started || run != p->run) {
        frames_broken(p, "reported a run that is not running");
        return;
    }
    execution_reporting(p->execution);
}

static void on_done(struct process *p, const struct body *b)
{
    Pyexec__Internal__SessionDone *m =
        pyexec__internal__session_done__unpack(NULL, b->size, b->data);
    struct execution *x = p->execution;
    if (m == NULL || x == NULL || !p->started || m->run != p->run ||
        m->outcome < PYEXEC__INTERNAL__SESSION_DONE__OUTCOME__OUTCOME_OK ||
        m->outcome > PYEXEC__INTERNAL__SESSION_DONE__OUTCOME__OUTCOME_INTERRUPTED) {
        frames_broken(p, "sent a malformed end of a run");
    } else {
        p->descendants = m->descendants;
        p->execution = NULL;
        p->started = false;
        result_from_done(x, m);
        session_event(p->session, SESSION_EVENT_DONE);
        execution_unref(x);
    }
    if (m != NULL) {
        pyexec__internal__session_done__free_unpacked(m, NULL);
    }
}

static bool current(const struct process *p, uint64_t run)
{
    return p->execution != NULL && p->started && run == p->run;
}

static void on_display(struct process *p, const struct body *b)
{
    Pyexec__Internal__SessionDisplay *m =
        pyexec__internal__session_display__unpack(NULL, b->size, b->data);
    if (m == NULL || m->display == NULL) {
        frames_broken(p, "sent a malformed display");
    } else if (current(p, m->run)) { /* a thread of an earlier run shows nothing */
        Pyexec__V1__ExecutionEvent event = PYEXEC__V1__EXECUTION_EVENT__INIT;
        event.event_case = PYEXEC__V1__EXECUTION_EVENT__EVENT_DISPLAY;
        event.display = m->display;
        if (report_clean_display(m->display)) {
            (void)execlog_append_event(p->execution->log, &event);
        }
    }
    if (m != NULL) {
        pyexec__internal__session_display__free_unpacked(m, NULL);
    }
}

static void on_clear(struct process *p, const struct body *b)
{
    Pyexec__Internal__SessionClearOutput *m =
        pyexec__internal__session_clear_output__unpack(NULL, b->size, b->data);
    if (m == NULL) {
        frames_broken(p, "sent a malformed frame");
        return;
    }
    if (current(p, m->run)) {
        Pyexec__V1__ClearOutput clear = PYEXEC__V1__CLEAR_OUTPUT__INIT;
        Pyexec__V1__ExecutionEvent event = PYEXEC__V1__EXECUTION_EVENT__INIT;
        clear.wait = m->wait;
        event.event_case = PYEXEC__V1__EXECUTION_EVENT__EVENT_CLEAR_OUTPUT;
        event.clear_output = &clear;
        (void)execlog_append_event(p->execution->log, &event);
    }
    pyexec__internal__session_clear_output__free_unpacked(m, NULL);
}

static void on_input_request(struct process *p, const struct body *b)
{
    Pyexec__Internal__SessionInputRequest *m =
        pyexec__internal__session_input_request__unpack(NULL, b->size, b->data);
    if (m == NULL) {
        frames_broken(p, "sent a malformed frame");
        return;
    }
    if (current(p, m->run)) {
        struct execution *x = p->execution;
        Pyexec__V1__InputRequest request = PYEXEC__V1__INPUT_REQUEST__INIT;
        Pyexec__V1__ExecutionEvent event = PYEXEC__V1__EXECUTION_EVENT__INIT;
        report_clean_text(m->prompt);
        request.prompt = m->prompt;
        request.password = m->password;
        request.stdin_offset = x->feed != NULL ? stdin_accepted(x->feed) : 0;
        event.event_case = PYEXEC__V1__EXECUTION_EVENT__EVENT_INPUT_REQUEST;
        event.input_request = &request;
        (void)execlog_append_event(x->log, &event);
        x->waiting_for_input =
            x->spec->stdin_mode == PYEXEC__V1__EXECUTION_SPEC__STDIN_MODE__STDIN_MODE_STREAM;
    }
    pyexec__internal__session_input_request__free_unpacked(m, NULL);
}

static void on_background(struct process *p, const struct body *b)
{
    if (b->size < 1 || b->data[0] < 1 || b->data[0] > 2) {
        frames_broken(p, "sent a malformed frame");
        return;
    }
    struct execution *x = p->session != NULL ? execution_background(p->session) : NULL;
    if (x != NULL && b->size > 1) {
        execlog_append_output(x->log, (enum log_stream)(b->data[0] - 1), b->data + 1, b->size - 1);
    }
}

static void dispatch(struct process *p, uint16_t type, const struct body *b)
{
    uint64_t run = 0;
    if (b->size >= sizeof run) {
        memcpy(&run, b->data, sizeof run);
    }
    switch (type) {
    case SESSION_FRAME_MARK:
        break;
    case SESSION_FRAME_READY:
        on_process_ready(p);
        break;
    case SESSION_FRAME_STARTED:
        on_started(p, run);
        break;
    case SESSION_FRAME_REPORTING:
        on_reporting(p, run);
        break;
    case SESSION_FRAME_DONE:
        on_done(p, b);
        break;
    case SESSION_FRAME_DISPLAY:
        on_display(p, b);
        break;
    case SESSION_FRAME_CLEAR_OUTPUT:
        on_clear(p, b);
        break;
    case SESSION_FRAME_INPUT_REQUEST:
        on_input_request(p, b);
        break;
    case SESSION_FRAME_BACKGROUND:
        on_background(p, b);
        break;
    case SESSION_FRAME_BRANCHED:
        branch_answered(p, b->data, b->size);
        break;
    default:
        frames_broken(p, "sent a frame of an unknown type");
        break;
    }
}

void frames_handle(struct process *p, const struct wire_frame *f)
{
    struct order_ends space;
    struct session_fence fence;
    if (f->length < sizeof fence) {
        frames_broken(p, "sent a frame without a fence");
        return;
    }
    if (p->broken != NULL) {
        return; /* it is being killed: what it says does not count any more */
    }
    memcpy(&fence, f->payload, sizeof fence);
    if (f->type == SESSION_FRAME_STARTED) {
        io_use_fresh(p); /* the fence speaks of the new pipes */
    }
    if (p->publishing) {
        order_mark(&p->order, &fence, io_ends(p, &space));
    }
    if (p->state == PROCESS_ENDED) {
        return;
    }
    struct body b = {f->payload + sizeof fence, f->length - sizeof fence};
    dispatch(p, f->type, &b);
}
