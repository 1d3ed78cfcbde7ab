/* execution_calls.c: the methods of ExecutionService. */
#include <stdlib.h>
#include <string.h>

#include "service/session/internal.h"

#define WAIT_MOST (3600 * NS_PER_SEC)

/* Who asks for an execution, and how it is to be answered. */
struct asking {
    struct engine *engine;
    const struct engine_caller *caller;
    struct execution_new what;
    struct engine_attachment *attachment; /* of a stream, */
    engine_attached_fn *attached;
    engine_done_fn *done; /* or of StartExecution */
    void *ctx;
};

static void answer(const struct asking *a, struct execution *x, bool replayed,
                   const struct err *err)
{
    struct err late = {0};
    if (a->attached == NULL) {
        execution_answer(x, true, err, a->done, a->ctx);
        return;
    }
    if (err == NULL && execution_attach(x, a->attachment, 0, replayed, &late) < 0) {
        err = &late;
    }
    a->attached(a->ctx, err);
}

/* The answer has to wait until the throw-away session has a process. */
static void answer_at_birth(const struct asking *a, struct execution *x, bool replayed)
{
    struct waiter *w = waiter_new(x, &x->births, a->ctx);
    if (w == NULL) {
        struct err err = {0};
        (void)err_set(&err, ERR_NO_MEMORY, "out of memory");
        answer(a, x, replayed, &err);
        return;
    }
    w->attached = a->attached;
    w->attachment = a->attachment;
    w->done = a->done;
    w->replayed = replayed;
}

/* The execution_id is known: attach, if it is for the same spec. */
static void again(const struct asking *a, struct execution *x)
{
    struct err err = {0};
    uint64_t hash[2] = {0, 0};
    spec_digest(a->what.spec, hash);
    if (owner_check(a->caller, x->principal, &err) < 0) {
        answer(a, x, true, &err);
    } else if (memcmp(hash, x->spec_hash, sizeof hash) != 0) {
        (void)err_set(&err, ERR_EXECUTION_ID_REUSED,
                      "execution_id was used for another spec: choose a new one");
        answer(a, x, true, &err);
    } else if (x->session != NULL && x->session->first == x) {
        answer_at_birth(a, x, true);
    } else {
        answer(a, x, true, NULL);
    }
}

static int admit(struct engine *e, struct session *s, const Pyexec__V1__ExecutionSpec *spec,
                 struct err *err)
{
    bool queue = spec->busy_policy == PYEXEC__V1__EXECUTION_SPEC__BUSY_POLICY__BUSY_POLICY_QUEUE;
    if (s->state == SESSION_DEAD || s->state == SESSION_DYING) {
        return err_set(err, ERR_SESSION_DEAD,
                       "the session's interpreter died: restart the session to go on without its "
                       "variables");
    }
    if (s->state != SESSION_IDLE || session_busy(s)) {
        if (!queue) {
            (void)err_set(err, ERR_SESSION_BUSY,
                          "the session runs something else: wait, or use BUSY_POLICY_QUEUE");
            if (!list_empty(&s->queue)) {
                err_detail(
                    err, "currentExecutionId",
                    LIST_CONTAINER(s->queue.next, struct execution, queue_node)->execution_id);
            }
            return -1;
        }
        if (s->queue_len >= e->limits.max_session_queue + (s->running != NULL)) {
            return err_set(err, ERR_SESSION_QUEUE_FULL, "%u executions wait for this session",
                           s->queue_len);
        }
    }
    return 0;
}

static int has_room(struct engine *e, struct err *err)
{
    if (e->draining || e->closing || e->failed) {
        return err_set(err, ERR_SERVER_DRAINING, "the server is shutting down: use another node");
    }
    return e->queued_count >= e->limits.max_waiting
               ? err_set(err, ERR_NODE_AT_CAPACITY, "%u executions wait on this node: try later",
                         e->queued_count)
               : 0;
}

static void in_session(struct asking *a)
{
    struct engine *e = a->engine;
    struct err err = {0};
    struct execution *x = NULL;
    struct session *s = session_find(e, a->caller, a->what.session_id, &err);
    if (s != NULL && admit(e, s, a->what.spec, &err) == 0) {
        x = execution_new(s, &a->what, &err);
    }
    if (x == NULL) {
        answer(a, NULL, false, &err);
        return;
    }
    (void)execution_ref(x);
    answer(a, x, false, NULL);
    if (x->session != NULL) {
        dispatch_session(x->session);
    }
    execution_unref(x);
}

static void throw_away(struct asking *a)
{
    struct engine *e = a->engine;
    struct err err = {0};
    struct session *s;
    Pyexec__V1__CreateSessionRequest create = PYEXEC__V1__CREATE_SESSION_REQUEST__INIT;
    if (session_new(e, a->what.principal, &create, true, NULL, &s, &err) < 0) {
        answer(a, NULL, false, &err);
        return;
    }
    struct execution *x = execution_new(s, &a->what, &err);
    if (x == NULL) {
        s->start_err = err;
        session_event(s, SESSION_EVENT_FAILED);
        answer(a, NULL, false, &err);
        return;
    }
    s->first = execution_ref(x);
    answer_at_birth(a, x, false);
    session_spawn(s);
}

static void ask(struct asking *a)
{
    struct engine *e = a->engine;
    struct execution_new *w = &a->what;
    struct err err = {0};
    w->principal = a->caller != NULL && a->caller->principal != NULL ? a->caller->principal : "";
    if (limits_spec(e, w->spec, &err) < 0 ||
        limits_id("execution_id", w->execution_id, false, &err) < 0 ||
        strlen(w->session_id) > ID_SESSION_MAX) {
        if (err.code == ERR_NONE) {
            (void)err_set(&err, ERR_SESSION_NOT_FOUND, "there is no such session");
        }
        answer(a, NULL, false, &err);
        return;
    }
    struct execution *known =
        w->execution_id[0] != '\0' ? execution_find(e, w->session_id, w->execution_id) : NULL;
    if (known != NULL) {
        again(a, known);
    } else if (strcmp(w->execution_id, BACKGROUND_ID) == 0) {
        (void)err_field(&err, "execution_id", "\"" BACKGROUND_ID "\" names a session's own output");
        answer(a, NULL, false, &err);
    } else if (has_room(e, &err) < 0) {
        answer(a, NULL, false, &err);
    } else if (w->session_id[0] != '\0') {
        in_session(a);
    } else {
        throw_away(a);
    }
}

void engine_execute(struct engine *e, const struct engine_caller *caller, const char *session_id,
                    const char *execution_id, const Pyexec__V1__ExecutionSpec *spec,
                    int64_t receive_mono_ns, int64_t caller_deadline_ns, bool run_request,
                    struct engine_attachment *attachment, engine_attached_fn *done, void *ctx)
{
    struct asking a = {
        .engine = e,
        .caller = caller,
        .what =
            {
                .session_id = session_id,
                .execution_id = execution_id,
                .spec = spec,
                .receive_ns = receive_mono_ns,
                .deadline_ns = caller_deadline_ns,
                .collected = run_request,
                .owned = true,
            },
        .attachment = attachment,
        .attached = done,
        .ctx = ctx,
    };
    attachment->owner = true;
    attachment->execution = NULL;
    ask(&a);
}

void engine_start_execution(struct engine *e, const struct engine_caller *caller,
                            const Pyexec__V1__StartExecutionRequest *q, engine_done_fn *done,
                            void *ctx)
{
    struct asking a = {
        .engine = e,
        .caller = caller,
        .what =
            {
                .session_id = q->session_id,
                .execution_id = q->execution_id,
                .spec = q->spec,
                .receive_ns = clock_mono_ns(),
                .deadline_ns = CLOCK_NEVER,
            },
        .done = done,
        .ctx = ctx,
    };
    ask(&a);
}

/* --- those that are there ----------------------------------------------------------------------- */

/* Finds what a request names; an execution outlives its session. */
static struct execution *find(struct engine *e, const struct engine_caller *caller,
                              const char *session_id, const char *execution_id, struct err *err)
{
    if (strlen(session_id) > ID_SESSION_MAX || strlen(execution_id) > ID_CLIENT_MAX) {
        (void)err_set(err, ERR_EXECUTION_NOT_FOUND, "there is no such execution");
        return NULL;
    }
    struct execution *x = execution_find(e, session_id, execution_id);
    if (x != NULL) {
        return owner_check(caller, x->principal, err) < 0 ? NULL : x;
    }
    if (session_id[0] == '\0') {
        (void)err_set(err, ERR_EXECUTION_NOT_FOUND, "there is no such execution (any more)");
        return NULL;
    }
    struct session *s = session_find(e, caller, session_id, err);
    if (s != NULL && strcmp(execution_id, BACKGROUND_ID) == 0) {
        x = execution_background(s);
        if (x == NULL) {
            (void)err_set(err, ERR_NO_MEMORY, "out of memory");
        }
        return x;
    }
    if (s != NULL) {
        (void)err_set(err, ERR_EXECUTION_NOT_FOUND, "the session has no such execution (any more)");
    }
    return NULL;
}

void engine_attach(struct engine *e, const struct engine_caller *caller,
                   const Pyexec__V1__AttachExecutionRequest *q, struct engine_attachment *a,
                   engine_attached_fn *done, void *ctx)
{
    struct err err = {0};
    int64_t heartbeat = 0;
    a->owner = false;
    a->execution = NULL;
    if (limits_duration("heartbeat_interval", q->heartbeat_interval, &heartbeat, &err) < 0) {
        done(ctx, &err);
        return;
    }
    struct execution *x = find(e, caller, q->session_id, q->execution_id, &err);
    bool attached = x != NULL && execution_attach(x, a, q->after_seq, true, &err) == 0;
    a->heartbeat_ns = heartbeat;
    done(ctx, attached ? NULL : &err);
}

static void on_wait_over(struct timer *timer)
{
    struct waiter *w = LIST_CONTAINER(timer, struct waiter, timer);
    execution_answer(w->execution, false, NULL, w->done, w->ctx);
    waiter_free(w);
}

void engine_get_execution(struct engine *e, const struct engine_caller *caller,
                          const Pyexec__V1__GetExecutionRequest *q, engine_done_fn *done, void *ctx)
{
    struct err err = {0};
    int64_t wait = 0;
    struct execution *x = find(e, caller, q->session_id, q->execution_id, &err);
    if (x == NULL || limits_duration("wait", q->wait, &wait, &err) < 0) {
        done(ctx, NULL, &err);
        return;
    }
    wait = wait < WAIT_MOST ? wait : WAIT_MOST;
    struct waiter *w =
        wait > 0 && x->state != EXECUTION_FINISHED ? waiter_new(x, &x->waiters, ctx) : NULL;
    if (w == NULL) {
        execution_answer(x, false, NULL, done, ctx);
        return;
    }
    w->done = done;
    if (timer_start(&e->timers, &w->timer, clock_add(clock_mono_ns(), wait), on_wait_over) < 0) {
        on_wait_over(&w->timer);
    }
}

void engine_list_executions(struct engine *e, const struct engine_caller *caller,
                            const Pyexec__V1__ListExecutionsRequest *q, engine_done_fn *done,
                            void *ctx)
{
    struct err err = {0};
    unsigned size;
    uint64_t before;
    if (session_find(e, caller, q->session_id, &err) == NULL ||
        limits_page(q->page_size, q->page_token, &size, &before, &err) < 0) {
        done(ctx, NULL, &err);
        return;
    }
    struct message_execution *all = calloc(size, sizeof *all);
    Pyexec__V1__Execution **pointers = calloc(size, sizeof(Pyexec__V1__Execution *));
    Pyexec__V1__ListExecutionsResponse response = PYEXEC__V1__LIST_EXECUTIONS_RESPONSE__INIT;
    char token[24];
    uint64_t last = 0;
    if (all == NULL || pointers == NULL) {
        (void)err_set(&err, ERR_NO_MEMORY, "out of memory");
        done(ctx, NULL, &err);
        size = 0;
    }
    for (struct list *it = e->all_executions.prev; size > 0 && it != &e->all_executions;
         it = it->prev) {
        struct execution *x = LIST_CONTAINER(it, struct execution, all_node);
        if (x->background || x->ordinal >= before || strcmp(x->session_id, q->session_id) != 0) {
            continue;
        }
        if (response.n_executions == size) {
            (void)snprintf(token, sizeof token, "%llu", (unsigned long long)last);
            response.next_page_token = token;
            break;
        }
        last = x->ordinal;
        message_execution(x, &all[response.n_executions]);
        pointers[response.n_executions] = &all[response.n_executions].m;
        response.n_executions++;
    }
    if (size > 0) {
        response.executions = pointers;
        done(ctx, &response.base, NULL);
    }
    for (size_t i = 0; i < response.n_executions; i++) {
        message_execution_release(&all[i]);
    }
    free(all);
    free(pointers);
}

static void answer_interrupt(struct execution *x, engine_done_fn *done, void *ctx)
{
    struct message_execution m;
    Pyexec__V1__InterruptExecutionResponse response =
        PYEXEC__V1__INTERRUPT_EXECUTION_RESPONSE__INIT;
    message_execution(x, &m);
    response.execution = &m.m;
    done(ctx, &response.base, NULL);
    message_execution_release(&m);
}

void engine_interrupt_execution(struct engine *e, const struct engine_caller *caller,
                                const Pyexec__V1__InterruptExecutionRequest *q,
                                engine_done_fn *done, void *ctx)
{
    struct err err = {0};
    int64_t kill_after = 0;
    struct execution *x = NULL;
    if ((unsigned)q->mode > 2) {
        (void)err_field(&err, "mode", "no such mode");
    } else if (limits_duration("kill_after", q->kill_after, &kill_after, &err) < 0) {
        x = NULL;
    } else if (q->execution_id[0] != '\0') {
        x = find(e, caller, q->session_id, q->execution_id, &err);
    } else {
        struct session *s = session_find(e, caller, q->session_id, &err);
        if (s != NULL && list_empty(&s->queue)) {
            (void)err_set(&err, ERR_EXECUTION_NOT_FOUND, "the session runs nothing");
        } else if (s != NULL) {
            x = LIST_CONTAINER(s->queue.next, struct execution, queue_node);
        }
    }
    if (x == NULL) {
        done(ctx, NULL, &err);
        return;
    }
    (void)execution_ref(x);
    if (x->background) {
        (void)err_field(&err, "execution_id", "background output can't be interrupted");
        done(ctx, NULL, &err);
    } else {
        if (q->mode == PYEXEC__V1__INTERRUPT_EXECUTION_REQUEST__MODE__MODE_KILL) {
            execution_kill(x, CAUSE_KILLED);
        } else {
            execution_interrupt(x, CAUSE_INTERRUPTED, kill_after > 0 ? kill_after : CLOCK_NEVER);
        }
        answer_interrupt(x, done, ctx);
    }
    execution_unref(x);
}

void engine_write_stdin(struct engine *e, const struct engine_caller *caller,
                        const Pyexec__V1__WriteStdinRequest *q, engine_done_fn *done, void *ctx)
{
    struct err err = {0};
    uint64_t next = 0;
    bool closed = false;
    struct execution *x = find(e, caller, q->session_id, q->execution_id, &err);
    if (x == NULL) {
        done(ctx, NULL, &err);
        return;
    }
    if (x->feed == NULL ||
        x->spec->stdin_mode != PYEXEC__V1__EXECUTION_SPEC__STDIN_MODE__STDIN_MODE_STREAM) {
        (void)err_set(&err, ERR_STDIN_CLOSED,
                      x->state == EXECUTION_FINISHED
                          ? "the execution has ended"
                          : "the execution was not started with STDIN_MODE_STREAM");
        done(ctx, NULL, &err);
        return;
    }
    if (stdin_write(x->feed, q, &next, &closed, &err) < 0) {
        done(ctx, NULL, &err);
        return;
    }
    x->waiting_for_input = x->waiting_for_input && q->data.len == 0 && !q->eof;
    Pyexec__V1__WriteStdinResponse response = PYEXEC__V1__WRITE_STDIN_RESPONSE__INIT;
    response.next_offset = next;
    response.closed = closed;
    done(ctx, &response.base, NULL);
}

/* --- streams: any thread ------------------------------------------------------------------------ */

int64_t engine_heartbeat_ns(const struct engine_attachment *a)
{
    return !a->owner && a->heartbeat_ns > 0 ? a->heartbeat_ns : a->execution->heartbeat_ns;
}

int engine_pack_heartbeat(const struct engine_attachment *a, struct buf *out)
{
    Pyexec__V1__ExecuteResponse response = PYEXEC__V1__EXECUTE_RESPONSE__INIT;
    Pyexec__V1__ExecutionEvent event = PYEXEC__V1__EXECUTION_EVENT__INIT;
    Pyexec__V1__Heartbeat beat = PYEXEC__V1__HEARTBEAT__INIT;
    Google__Protobuf__Timestamp now;
    Google__Protobuf__Duration elapsed;
    message_timestamp(&now, clock_real_ns());
    message_duration(&elapsed, clock_mono_ns() - a->execution->receive_ns);
    beat.elapsed = &elapsed;
    event.time = &now;
    event.event_case = PYEXEC__V1__EXECUTION_EVENT__EVENT_HEARTBEAT;
    event.heartbeat = &beat;
    response.event = &event;
    size_t size = pyexec__v1__execute_response__get_packed_size(&response);
    uint8_t *room = buf_reserve(out, size);
    if (room == NULL) {
        return -1;
    }
    out->len += pyexec__v1__execute_response__pack(&response, room);
    return 0;
}
