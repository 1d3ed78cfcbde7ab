#include "tests/unit/rpc/stub_engine.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OUTPUT_MAX (64u << 20)
#define LINES_A_TURN 100

struct engine {
    uv_loop_t *loop;
    uv_async_t async;
    pthread_mutex_t lock;
    struct list tasks; /* lock */
    struct list executions;
    struct list watchers;
    atomic_uint_least64_t counters[ENGINE_COUNT_COUNT];
    unsigned attached;
    unsigned gone;
    unsigned serial;
    unsigned open_timers;
    bool closing;
    void (*closed)(void *ctx);
    void *closed_ctx;
};

struct execution {
    struct list node;
    struct engine *engine;
    struct execlog *log;
    uv_timer_t timer;
    char id[64];
    char *code;
    char *at;
    unsigned done_lines;
    bool waiting;
    Pyexec__V1__ExecutionResult__Status status;
};

/* --- tasks ---------------------------------------------------------------------------------------- */

static void on_async(uv_async_t *async)
{
    struct engine *e = async->data;
    struct list batch;
    list_init(&batch);
    (void)pthread_mutex_lock(&e->lock);
    for (struct list *n; (n = list_pop_front(&e->tasks)) != NULL;) {
        list_push_back(&batch, n);
    }
    (void)pthread_mutex_unlock(&e->lock);
    for (struct list *n; (n = list_pop_front(&batch)) != NULL;) {
        struct engine_task *task = LIST_CONTAINER(n, struct engine_task, node);
        task->run(task);
    }
}

void engine_post(struct engine *e, struct engine_task *task)
{
    (void)pthread_mutex_lock(&e->lock);
    list_push_back(&e->tasks, &task->node);
    (void)pthread_mutex_unlock(&e->lock);
    (void)uv_async_send(&e->async);
}

struct engine *stub_engine_new(uv_loop_t *loop)
{
    struct engine *e = calloc(1, sizeof *e);
    e->loop = loop;
    (void)pthread_mutex_init(&e->lock, NULL);
    list_init(&e->tasks);
    list_init(&e->executions);
    list_init(&e->watchers);
    (void)uv_async_init(loop, &e->async, on_async);
    e->async.data = e;
    return e;
}

/* --- executions ----------------------------------------------------------------------------------- */

static void run_script(struct execution *x);

static void on_timer(uv_timer_t *timer)
{
    run_script(LIST_CONTAINER(timer, struct execution, timer));
}

static void append_started(struct execution *x)
{
    Pyexec__V1__ExecutionEvent event = PYEXEC__V1__EXECUTION_EVENT__INIT;
    Pyexec__V1__ExecutionStarted started = PYEXEC__V1__EXECUTION_STARTED__INIT;
    started.execution_id = x->id;
    event.event_case = PYEXEC__V1__EXECUTION_EVENT__EVENT_STARTED;
    event.started = &started;
    (void)execlog_append_event(x->log, &event);
}

static void end(struct execution *x)
{
    Pyexec__V1__ExecutionResult result = PYEXEC__V1__EXECUTION_RESULT__INIT;
    result.status = x->status;
    result.execution_id = x->id;
    (void)execlog_append_result(x->log, &result);
}

/* One command; false when the script has to wait. */
static bool command(struct execution *x)
{
    char line[64];
    unsigned n = 0;
    char *data;
    if (strncmp(x->at, "out ", 4) == 0 || strncmp(x->at, "err ", 4) == 0) {
        execlog_append_output(x->log, x->at[0] == 'o' ? LOG_STDOUT : LOG_STDERR, x->at + 4,
                              strcspn(x->at + 4, ";"));
    } else if (sscanf(x->at, "lines %u", &n) == 1) {
        for (unsigned i = 0; i < LINES_A_TURN && x->done_lines < n; i++) {
            int len = snprintf(line, sizeof line, "line %u\n", x->done_lines++);
            execlog_append_output(x->log, LOG_STDOUT, line, (size_t)len);
        }
        if (x->done_lines < n) {
            (void)uv_timer_start(&x->timer, on_timer, 0, 0);
            return false;
        }
        x->done_lines = 0;
    } else if (sscanf(x->at, "alternate %u", &n) == 1) {
        while (n-- > 0) {
            execlog_append_output(x->log, LOG_STDOUT, "o", 1);
            execlog_append_output(x->log, LOG_STDERR, "e", 1);
        }
    } else if (sscanf(x->at, "bytes %u", &n) == 1) {
        data = malloc(n ? n : 1);
        memset(data, 'x', n);
        execlog_append_output(x->log, LOG_STDOUT, data, n);
        free(data);
    } else if (sscanf(x->at, "sleep %u", &n) == 1) {
        x->at += strcspn(x->at, ";");
        uv_update_time(x->engine->loop);
        (void)uv_timer_start(&x->timer, on_timer, n, 0);
        return false;
    } else if (strncmp(x->at, "wait", 4) == 0) {
        x->waiting = true;
        return false;
    }
    x->at += strcspn(x->at, ";");
    return true;
}

static void run_script(struct execution *x)
{
    while (*x->at != '\0' && !x->waiting) {
        x->at += strspn(x->at, "; ");
        if (!command(x)) {
            return;
        }
    }
    end(x);
}

static void stop(struct execution *x, Pyexec__V1__ExecutionResult__Status status)
{
    if (x->waiting) {
        x->waiting = false;
        x->status = status;
        x->at += strlen(x->at);
        run_script(x);
    }
}

static struct execution *find(struct engine *e, const char *id)
{
    LIST_FOREACH (it, &e->executions) {
        struct execution *x = LIST_CONTAINER(it, struct execution, node);
        if (id[0] == '\0' || strcmp(x->id, id) == 0) {
            return x;
        }
    }
    return NULL;
}

static struct execution *execution_new(struct engine *e, const char *id, const char *code)
{
    struct execution *x = calloc(1, sizeof *x);
    x->engine = e;
    x->log = execlog_new(NULL, OUTPUT_MAX, false, NULL, NULL);
    x->status = PYEXEC__V1__EXECUTION_RESULT__STATUS__STATUS_OK;
    x->code = strdup(code);
    x->at = x->code;
    if (id[0] != '\0') {
        (void)snprintf(x->id, sizeof x->id, "%s", id);
    } else {
        (void)snprintf(x->id, sizeof x->id, "stub-%u", ++e->serial);
    }
    (void)uv_timer_init(e->loop, &x->timer);
    e->open_timers++;
    list_push_back(&e->executions, &x->node);
    append_started(x);
    run_script(x);
    return x;
}

/* 0, or the fault that a session_id asks for. */
static int fault_of(const char *session_id, struct err *err)
{
    for (int code = ERR_NONE + 1; code < ERR_COUNT; code++) {
        if (strcmp(session_id, err_reason((enum err_code)code)) == 0) {
            (void)err_set(err, (enum err_code)code, "asked for %s", session_id);
            if (code == ERR_SESSION_BUSY) {
                err_detail(err, "currentExecutionId", "run-1");
            }
            return -1;
        }
    }
    return 0;
}

static void attach(struct engine *e, struct execution *x, uint64_t after_seq,
                   struct engine_attachment *a, engine_attached_fn *done, void *ctx)
{
    struct err err = {0};
    if (log_reader_attach(&a->reader, x->log, after_seq, &err) < 0) {
        done(ctx, &err);
        return;
    }
    a->execution = x;
    e->attached++;
    done(ctx, NULL);
}

void engine_execute(struct engine *e, const struct engine_caller *caller, const char *session_id,
                    const char *execution_id, const Pyexec__V1__ExecutionSpec *spec,
                    int64_t receive_mono_ns, int64_t caller_deadline_ns, bool run_request,
                    struct engine_attachment *a, engine_attached_fn *done, void *ctx)
{
    struct err err = {0};
    (void)caller;
    (void)receive_mono_ns;
    (void)caller_deadline_ns;
    (void)run_request;
    if (fault_of(session_id, &err) < 0) {
        done(ctx, &err);
        return;
    }
    if (spec->code[0] == '\0') {
        (void)err_sys(&err, ERR_INTERNAL, 5, "spawn", "/secret/path: failed");
        done(ctx, &err);
        return;
    }
    struct execution *x = execution_id[0] ? find(e, execution_id) : NULL;
    a->owner = true;
    if (x == NULL) {
        x = execution_new(e, execution_id, spec->code);
    }
    attach(e, x, 0, a, done, ctx);
}

void engine_attach(struct engine *e, const struct engine_caller *caller,
                   const Pyexec__V1__AttachExecutionRequest *request, struct engine_attachment *a,
                   engine_attached_fn *done, void *ctx)
{
    struct err err = {0};
    struct execution *x = find(e, request->execution_id);
    (void)caller;
    if (x == NULL) {
        (void)err_set(&err, ERR_EXECUTION_NOT_FOUND, "no such execution");
        done(ctx, &err);
        return;
    }
    attach(e, x, request->after_seq, a, done, ctx);
}

void engine_detach(struct engine *e, struct engine_attachment *a, bool gone)
{
    log_reader_detach(&a->reader);
    e->attached--;
    e->gone += gone;
    if (gone && a->owner) {
        stop(a->execution, PYEXEC__V1__EXECUTION_RESULT__STATUS__STATUS_CANCELLED);
    }
}

static int add_display(void *ctx, const Pyexec__V1__DisplayData *d)
{
    (void)ctx;
    (void)d;
    return 0;
}

int engine_collect_run(struct execution *x, Pyexec__V1__RunResponse **ret_response, struct err *err)
{
    struct buf out;
    size_t n;
    const uint8_t *result = execlog_result(x->log, &n);
    Pyexec__V1__RunResponse *r = malloc(sizeof *r);
    pyexec__v1__run_response__init(r);
    buf_init(&out, OUTPUT_MAX);
    (void)execlog_each_display(x->log, add_display, NULL);
    if (execlog_collect(x->log, LOG_STDOUT, &out) < 0 || result == NULL) {
        free(r);
        buf_release(&out);
        return err_set(err, ERR_NO_MEMORY, "can't collect");
    }
    r->stdout.data = out.data;
    r->stdout.len = out.len;
    r->result = pyexec__v1__execution_result__unpack(NULL, n, result);
    *ret_response = r;
    return 0;
}

int64_t engine_heartbeat_ns(const struct engine_attachment *a)
{
    (void)a;
    return STUB_HEARTBEAT_NS;
}

int engine_pack_heartbeat(const struct engine_attachment *a, struct buf *out)
{
    Pyexec__V1__ExecuteResponse response = PYEXEC__V1__EXECUTE_RESPONSE__INIT;
    Pyexec__V1__ExecutionEvent event = PYEXEC__V1__EXECUTION_EVENT__INIT;
    Pyexec__V1__Heartbeat beat = PYEXEC__V1__HEARTBEAT__INIT;
    (void)a;
    event.event_case = PYEXEC__V1__EXECUTION_EVENT__EVENT_HEARTBEAT;
    event.heartbeat = &beat;
    response.event = &event;
    size_t n = pyexec__v1__execute_response__get_packed_size(&response);
    uint8_t *p = buf_reserve(out, n);
    if (p == NULL) {
        return -1;
    }
    pyexec__v1__execute_response__pack(&response, p);
    out->len += n;
    return 0;
}

/* --- methods that answer once: an empty response, or the fault that session_id asks for ------------- */

#define ANSWER(name, prefix, Request, Response)           \
    ENGINE_UNARY(name, Request)                           \
    {                                                     \
        Pyexec__V1__##Response response;                  \
        pyexec__v1__##prefix##_response__init(&response); \
        (void)engine;                                     \
        (void)caller;                                     \
        (void)request;                                    \
        done(ctx, &response.base, NULL);                  \
    }
#define ANSWER_SESSION(name, prefix, Request, Response)   \
    ENGINE_UNARY(name, Request)                           \
    {                                                     \
        struct err err = {0};                             \
        Pyexec__V1__##Response response;                  \
        pyexec__v1__##prefix##_response__init(&response); \
        (void)engine;                                     \
        (void)caller;                                     \
        if (fault_of(request->session_id, &err) < 0) {    \
            done(ctx, NULL, &err);                        \
        } else {                                          \
            done(ctx, &response.base, NULL);              \
        }                                                 \
    }

ANSWER(create_session, create_session, CreateSessionRequest, CreateSessionResponse)
ANSWER(list_sessions, list_sessions, ListSessionsRequest, ListSessionsResponse)
ANSWER(get_server_info, get_server_info, GetServerInfoRequest, GetServerInfoResponse)
ANSWER(get_server_stats, get_server_stats, GetServerStatsRequest, GetServerStatsResponse)
ANSWER_SESSION(get_session, get_session, GetSessionRequest, GetSessionResponse)
ANSWER_SESSION(renew_session, renew_session, RenewSessionRequest, RenewSessionResponse)
ANSWER_SESSION(fork_session, fork_session, ForkSessionRequest, ForkSessionResponse)
ANSWER_SESSION(restart_session, restart_session, RestartSessionRequest, RestartSessionResponse)
ANSWER_SESSION(delete_session, delete_session, DeleteSessionRequest, DeleteSessionResponse)
ANSWER_SESSION(start_execution, start_execution, StartExecutionRequest, StartExecutionResponse)
ANSWER_SESSION(get_execution, get_execution, GetExecutionRequest, GetExecutionResponse)
ANSWER_SESSION(list_executions, list_executions, ListExecutionsRequest, ListExecutionsResponse)
ANSWER_SESSION(write_stdin, write_stdin, WriteStdinRequest, WriteStdinResponse)

ANSWER_SESSION(stat_file, stat_file, StatFileRequest, StatFileResponse)
ANSWER_SESSION(list_files, list_files, ListFilesRequest, ListFilesResponse)
ANSWER_SESSION(write_file, write_file, WriteFileRequest, WriteFileResponse)
ANSWER_SESSION(make_directory, make_directory, MakeDirectoryRequest, MakeDirectoryResponse)
ANSWER_SESSION(move_file, move_file, MoveFileRequest, MoveFileResponse)
ANSWER_SESSION(delete_file, delete_file, DeleteFileRequest, DeleteFileResponse)

void engine_open_file(struct engine *engine, const struct engine_caller *caller,
                      const Pyexec__V1__ReadFileRequest *request, engine_file_fn *opened, void *ctx)
{
    struct engine_file none = {.fd = -1};
    struct err err = {0};
    (void)engine;
    (void)caller;
    if (fault_of(request->session_id, &err) == 0) {
        (void)err_set(&err, ERR_FILE_NOT_FOUND, "the stub has no files");
    }
    opened(ctx, &none, &err);
}

ENGINE_UNARY(interrupt_execution, InterruptExecutionRequest)
{
    Pyexec__V1__InterruptExecutionResponse response =
        PYEXEC__V1__INTERRUPT_EXECUTION_RESPONSE__INIT;
    (void)caller;
    LIST_FOREACH (it, &engine->executions) {
        struct execution *x = LIST_CONTAINER(it, struct execution, node);
        if (request->execution_id[0] == '\0' || strcmp(request->execution_id, x->id) == 0) {
            stop(x, PYEXEC__V1__EXECUTION_RESULT__STATUS__STATUS_INTERRUPTED);
        }
    }
    done(ctx, &response.base, NULL);
}

/* --- watches ---------------------------------------------------------------------------------------- */

int engine_watch_sessions(struct engine *e, const struct engine_caller *caller,
                          const Pyexec__V1__WatchSessionsRequest *request,
                          struct engine_watch *watch, struct err *err)
{
    Pyexec__V1__WatchSessionsResponse synced = PYEXEC__V1__WATCH_SESSIONS_RESPONSE__INIT;
    (void)caller;
    (void)request;
    (void)err;
    list_init(&watch->node);
    synced.change_case = PYEXEC__V1__WATCH_SESSIONS_RESPONSE__CHANGE_SYNCED;
    synced.synced = true;
    if (watch->on_change(watch, &synced)) {
        list_push_back(&e->watchers, &watch->node);
    }
    return 0;
}

void engine_unwatch(struct engine *e, struct engine_watch *watch)
{
    (void)e;
    list_remove(&watch->node);
}

bool stub_engine_change(struct engine *e, const char *session_id)
{
    Pyexec__V1__WatchSessionsResponse change = PYEXEC__V1__WATCH_SESSIONS_RESPONSE__INIT;
    Pyexec__V1__Session session = PYEXEC__V1__SESSION__INIT;
    bool any = false;
    session.session_id = (char *)session_id;
    change.change_case = PYEXEC__V1__WATCH_SESSIONS_RESPONSE__CHANGE_UPSERTED;
    change.upserted = &session;
    LIST_FOREACH (it, &e->watchers) {
        struct engine_watch *w = LIST_CONTAINER(it, struct engine_watch, node);
        if (w->on_change(w, &change)) {
            any = true;
        } else {
            list_remove(it);
        }
    }
    return any;
}

/* --- counters, and the end ----------------------------------------------------------------------------- */

void engine_observe(struct engine *e, enum engine_histogram which, int64_t ns)
{
    (void)e;
    (void)which;
    (void)ns;
}

void engine_count(struct engine *e, enum engine_counter which, uint64_t n)
{
    (void)atomic_fetch_add(&e->counters[which], n);
}

uint64_t stub_engine_counter(struct engine *e, enum engine_counter which)
{
    return atomic_load(&e->counters[which]);
}

unsigned stub_engine_attached(struct engine *e)
{
    return e->attached;
}

unsigned stub_engine_gone(struct engine *e)
{
    return e->gone;
}

unsigned stub_engine_watchers(struct engine *e)
{
    unsigned n = 0;
    LIST_FOREACH (it, &e->watchers) {
        n++;
    }
    return n;
}

static void maybe_closed(struct engine *e)
{
    if (e->closing && e->open_timers == 0) {
        e->closing = false;
        e->closed(e->closed_ctx);
    }
}

static void on_async_closed(uv_handle_t *handle)
{
    struct engine *e = handle->data;
    e->closing = true;
    maybe_closed(e);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct execution *x = LIST_CONTAINER(handle, struct execution, timer);
    struct engine *e = x->engine;
    execlog_unref(x->log);
    free(x->code);
    free(x);
    e->open_timers--;
    maybe_closed(e);
}

void stub_engine_close(struct engine *e, void (*done)(void *ctx), void *ctx)
{
    e->closed = done;
    e->closed_ctx = ctx;
    for (struct list *n; (n = list_pop_front(&e->executions)) != NULL;) {
        struct execution *x = LIST_CONTAINER(n, struct execution, node);
        uv_close((uv_handle_t *)&x->timer, on_timer_closed);
    }
    uv_close((uv_handle_t *)&e->async, on_async_closed);
}

void stub_engine_free(struct engine *e)
{
    (void)pthread_mutex_destroy(&e->lock);
    free(e);
}
