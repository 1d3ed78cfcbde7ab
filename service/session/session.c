/* session.c: a session's life: the state table's actions, its process, its idle time, its end. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "service/session/internal.h"

bool session_busy(const struct session *s)
{
    return !list_empty(&s->queue) || s->state == SESSION_RUNNING;
}

void session_unref(struct session *s)
{
    assert(s->refs > 0);
    if (--s->refs > 0) {
        return;
    }
    timer_stop(&s->engine->timers, &s->idle);
    if (s->create != NULL) {
        pyexec__v1__create_session_request__free_unpacked(s->create, NULL);
    }
    workdir_release(s->engine, s->workdir, NULL, NULL);
    free(s->principal);
    free(s);
}

/* --- idle time and lifetime --------------------------------------------------------------------- */

static int64_t expires_at(const struct session *s)
{
    if (session_busy(s) || s->state == SESSION_STARTING || s->throw_away) {
        return s->deadline_ns;
    }
    int64_t at = clock_add(s->used_ns, s->idle_ns);
    at = at > s->renewed_ns ? at : s->renewed_ns;
    return at < s->deadline_ns ? at : s->deadline_ns;
}

static void on_idle(struct timer *timer)
{
    struct session *s = LIST_CONTAINER(timer, struct session, idle);
    int64_t at = expires_at(s);
    if (at > clock_mono_ns()) {
        (void)timer_start(&s->engine->timers, timer, at, on_idle);
        return;
    }
    log_event(LOG_INFO, "session.expired", "session", s->id, (char *)NULL);
    s->expired = true;
    session_delete(s, CAUSE_EXPIRED);
}

void session_use(struct session *s)
{
    if (s->state == SESSION_CLOSED || s->state == SESSION_CLOSING) {
        return;
    }
    s->used_ns = clock_mono_ns();
    s->used_real_ns = clock_real_ns();
    int64_t at = expires_at(s);
    /* The timer is moved only when it would fire too late: firing early is looked at again. */
    if (!timer_running(&s->idle) || s->idle.at > at) {
        (void)timer_start(&s->engine->timers, &s->idle, at, on_idle);
    }
}

/* --- making ------------------------------------------------------------------------------------- */

static int64_t duration_ns(const Google__Protobuf__Duration *d)
{
    return d != NULL ? d->seconds * NS_PER_SEC + d->nanos : 0;
}

static int set_directory(struct session *s, struct workdir *shared, struct err *err)
{
    const char *chosen = s->create->working_directory;
    if (shared != NULL) {
        shared->refs++;
        s->workdir = shared;
        return 0;
    }
    return chosen[0] != '\0' ? workdir_choose(s->engine, chosen, &s->workdir, err)
                             : workdir_make(s->engine, s->id, &s->workdir, err);
}

static void set_lifetimes(struct session *s)
{
    const struct engine_limits *l = &s->engine->limits;
    int64_t idle = duration_ns(s->create->idle_timeout);
    int64_t life = duration_ns(s->create->max_lifetime);
    int64_t now = clock_mono_ns();
    idle = idle > 0 ? idle : l->default_idle_ns;
    s->idle_ns = idle < l->max_idle_ns ? idle : l->max_idle_ns;
    s->deadline_ns = life > 0 ? clock_add(now, life) : CLOCK_NEVER;
    s->used_ns = now;
    s->create_real_ns = s->used_real_ns = clock_real_ns();
}

int session_new(struct engine *e, const char *principal,
                const Pyexec__V1__CreateSessionRequest *create, bool throw_away,
                struct workdir *shared, struct session **ret_session, struct err *err)
{
    if (e->session_count >= e->limits.max_sessions) {
        return err_set(err, ERR_NODE_AT_CAPACITY,
                       "this node holds its %u sessions: use another node, or delete some",
                       e->limits.max_sessions);
    }
    struct session *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return err_set(err, ERR_NO_MEMORY, "out of memory");
    }
    s->engine = e;
    s->refs = 1;
    s->throw_away = throw_away;
    s->generation = 1;
    s->ordinal = ++e->ordinals;
    list_init(&s->node);
    list_init(&s->slot_node);
    list_init(&s->queue);
    list_init(&s->starting);
    list_init(&s->closing);
    id_session(e->node_id, s->id);
    s->principal = strdup(principal);
    s->create = (Pyexec__V1__CreateSessionRequest *)message_clone(&create->base);
    if (s->principal == NULL || s->create == NULL) {
        session_unref(s);
        return err_set(err, ERR_NO_MEMORY, "out of memory");
    }
    set_lifetimes(s);
    if (set_directory(s, shared, err) < 0) {
        session_unref(s);
        return -1;
    }
    if (strmap_put(&e->sessions, s->id, s) < 0) {
        session_unref(s);
        return err_set(err, ERR_NO_MEMORY, "out of memory");
    }
    list_push_back(&e->session_list, &s->node);
    e->session_count++;
    engine_count(e, ENGINE_COUNT_SESSIONS, 1);
    *ret_session = s;
    return 0;
}

/* --- its process -------------------------------------------------------------------------------- */

int session_init_process(struct session *s, bool branch)
{
    Pyexec__Internal__SessionInit m = PYEXEC__INTERNAL__SESSION_INIT__INIT;
    m.session_id = s->id;
    m.working_directory = s->workdir->path;
    m.n_env = s->create->n_env;
    m.env = (Pyexec__Internal__SessionInit__EnvEntry **)s->create->env;
    m.branch = branch;
    size_t size = pyexec__internal__session_init__get_packed_size(&m);
    uint8_t *packed = malloc(size > 0 ? size : 1);
    if (packed == NULL) {
        return -1;
    }
    (void)pyexec__internal__session_init__pack(&m, packed);
    int r = process_send(s->process, SESSION_FRAME_INIT, packed, size, NULL, 0);
    free(packed);
    return r;
}

void session_spawn(struct session *s)
{
    struct engine *e = s->engine;
    struct process *p = spare_take(e);
    struct err err = {0};
    s->refs++; /* the answer may come at once and end the session */
    if (p != NULL) {
        p->session = s;
        s->process = p;
        session_process_ready(s);
    } else if (process_spawn(e, false, &p, &err) < 0) {
        s->start_err = err;
        session_event(s, SESSION_EVENT_FAILED);
    } else {
        p->session = s;
        s->process = p;
        zygotes_spawn(e, p);
    }
    session_unref(s);
}

void session_process_ready(struct session *s)
{
    if (session_init_process(s, s->branched) < 0) {
        process_kill(s->process);
        return;
    }
    session_event(s, SESSION_EVENT_READY);
}

void session_process_ended(struct session *s, const struct err *err)
{
    struct process *p = s->process;
    struct execution *x = p->execution;
    enum session_event event =
        p->state == PROCESS_READY ? SESSION_EVENT_EXITED : SESSION_EVENT_FAILED;
    s->refs++;
    bool wanted =
        s->state == SESSION_STARTING || s->state == SESSION_IDLE || s->state == SESSION_RUNNING;
    if (wanted && p->was_spare && !p->used && p->broken == NULL && !p->vanished &&
        (x == NULL || dispatch_undo(x))) {
        event = SESSION_EVENT_UNUSED;
        x = NULL;
    }
    s->cpu_user_ns += p->cpu_user_ns;
    s->cpu_system_ns += p->cpu_system_ns;
    s->max_rss_bytes = p->max_rss_bytes > s->max_rss_bytes ? p->max_rss_bytes : s->max_rss_bytes;
    branch_over(s);
    if (x != NULL) {
        p->execution = NULL;
        result_from_exit(x, p);
        execution_unref(x);
    }
    s->process = NULL;
    p->session = NULL;
    if (err != NULL) {
        s->start_err = *err;
    }
    session_event(s, event);
    session_unref(s);
}

/* --- actions ------------------------------------------------------------------------------------ */

/* Ends what waits in the queue; what runs is ended by its process's end. */
static void end_queued(struct session *s, enum execution_cause cause)
{
    for (;;) {
        struct execution *found = NULL;
        LIST_FOREACH (it, &s->queue) {
            struct execution *x = LIST_CONTAINER(it, struct execution, queue_node);
            if (x != s->running) {
                found = x;
                break;
            }
        }
        if (found == NULL) {
            return;
        }
        result_never_ran(found, cause);
    }
}

static void answer_session(struct session *s, struct call *call, const struct err *err)
{
    struct message_session m;
    Pyexec__V1__CreateSessionResponse response = PYEXEC__V1__CREATE_SESSION_RESPONSE__INIT;
    Pyexec__V1__RestartSessionResponse restarted = PYEXEC__V1__RESTART_SESSION_RESPONSE__INIT;
    list_remove(&call->node);
    if (err != NULL) {
        call->done(call->ctx, NULL, err);
    } else {
        message_session(s, &m);
        response.session = restarted.session = &m.m;
        call->done(call->ctx, call->restart ? &restarted.base : &response.base, NULL);
    }
    free(call);
}

static void answer_starting(struct session *s, const struct err *err)
{
    while (!list_empty(&s->starting)) {
        struct call *call = LIST_CONTAINER(s->starting.next, struct call, node);
        if (err == NULL && !call->restart) {
            engine_observe(s->engine, ENGINE_HIST_SESSION_CREATE, clock_mono_ns() - call->began_ns);
        }
        answer_session(s, call, err);
    }
}

static void announce(struct session *s)
{
    s->announced = true;
    session_use(s);
    watch_changed(s);
    branch_ready(s, NULL);
    answer_starting(s, NULL);
    if (s->first != NULL) {
        struct execution *x = s->first;
        s->first = NULL;
        execution_born(x, NULL);
        execution_unref(x);
    }
    dispatch_session(s);
}

/* The execution of a throw-away session that could not be made: its callers get the fault. */
static void drop_first(struct session *s)
{
    struct execution *x = s->first;
    s->first = NULL;
    if (x == NULL) {
        return;
    }
    if (x->state == EXECUTION_FINISHED) { /* interrupted before it was born: it has a result */
        execution_born(x, NULL);
    } else {
        execution_forget_unborn(x);
        execution_born(x, &s->start_err);
    }
    execution_unref(x);
}

static void bury(struct session *s);

static void fail_start(struct session *s)
{
    log_err(LOG_WARN, "session.start.failed", s->id, &s->start_err);
    drop_first(s);
    branch_ready(s, &s->start_err);
    answer_starting(s, &s->start_err);
    if (s->announced) {
        end_queued(s, CAUSE_DIED);
        watch_changed(s);
        return;
    }
    s->state = SESSION_CLOSED;
    bury(s);
}

static void on_directory_removed(void *ctx)
{
    struct session *s = ctx;
    Pyexec__V1__DeleteSessionResponse response = PYEXEC__V1__DELETE_SESSION_RESPONSE__INIT;
    while (!list_empty(&s->closing)) {
        struct call *call = LIST_CONTAINER(s->closing.next, struct call, node);
        list_remove(&call->node);
        call->done(call->ctx, &response.base, NULL);
        free(call);
    }
    session_unref(s);
}

static void end_background(struct session *s)
{
    struct execution *x = s->background;
    if (x == NULL) {
        return;
    }
    s->background = NULL;
    Pyexec__V1__ExecutionResult result = PYEXEC__V1__EXECUTION_RESULT__INIT;
    result.status = PYEXEC__V1__EXECUTION_RESULT__STATUS__STATUS_OK;
    result.session_id = x->session_id;
    result.execution_id = x->execution_id;
    execution_finish_background(x, &result);
}

/* The end. The caller's reference keeps the struct until it returns. */
static void bury(struct session *s)
{
    struct engine *e = s->engine;
    struct err gone = {0};
    (void)err_set(&gone, ERR_SESSION_NOT_FOUND, "the session was deleted while it started");
    drop_first(s);
    branch_ready(s, &gone);
    answer_starting(s, &gone);
    end_queued(s, CAUSE_DELETED);
    end_background(s);
    dispatch_unwait(s);
    timer_stop(&e->timers, &s->idle);
    (void)strmap_remove(&e->sessions, s->id);
    list_remove(&s->node);
    e->session_count--;
    if (s->announced) {
        manager_bury(e, s);
        watch_deleted(s);
    }
    struct workdir *dir = s->workdir;
    s->workdir = NULL;
    workdir_release(e, dir, on_directory_removed, s);
    engine_check(e);
}

void session_event(struct session *s, enum session_event event)
{
    struct session_step step = session_step(s->state, event);
    s->state = step.next;
    s->refs++;
    switch (step.action) {
    case SESSION_DO_NOTHING:
    case SESSION_DO_REFUSE:
    case SESSION_DO_ACTIONS:
        break;
    case SESSION_DO_ANNOUNCE:
        announce(s);
        break;
    case SESSION_DO_FAIL_START:
        fail_start(s);
        break;
    case SESSION_DO_SEND_RUN:
        dispatch_run(s);
        break;
    case SESSION_DO_NEXT:
        session_use(s);
        watch_changed(s);
        dispatch_session(s);
        break;
    case SESSION_DO_SEND_BRANCH:
        branch_send(s);
        break;
    case SESSION_DO_KILL:
        if (s->process != NULL) {
            process_kill(s->process);
        }
        break;
    case SESSION_DO_SPAWN:
        s->generation++;
        session_use(s);
        watch_changed(s);
        session_spawn(s);
        break;
    case SESSION_DO_SPAWN_AGAIN:
        session_spawn(s);
        break;
    case SESSION_DO_MOURN:
        end_queued(s, CAUSE_DIED);
        watch_changed(s);
        break;
    case SESSION_DO_BURY:
        bury(s);
        break;
    }
    session_unref(s);
}

static void blame_running(struct session *s, enum execution_cause cause)
{
    if (s->running != NULL && s->running->cause == CAUSE_NONE) {
        s->running->cause = cause;
    }
}

void session_delete(struct session *s, enum execution_cause cause)
{
    s->refs++;
    blame_running(s, cause);
    if (s->first == NULL) {
        end_queued(s, cause);
    }
    session_event(s, SESSION_EVENT_DELETE);
    session_unref(s);
}

void session_restart(struct session *s)
{
    s->refs++;
    blame_running(s, CAUSE_RESTARTED);
    end_queued(s, CAUSE_RESTARTED);
    session_event(s, SESSION_EVENT_RESTART);
    session_unref(s);
}
