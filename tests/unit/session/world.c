#include "tests/unit/session/world.h"

#include <dirent.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "service/base/clock.h"
#include "service/base/fd.h"
#include "tests/support/check.h"

#define PATIENCE_MS 20000

void world_limits(struct engine_limits *l)
{
    engine_limits_default(l);
    l->spares = 0;
    l->interrupt_grace_ns = 100 * NS_PER_MS;
    l->report_ns = 2 * NS_PER_SEC;
    l->dispatch_ns = 2 * NS_PER_SEC;
    l->retained_total_bytes = 64u << 20;
}

static void on_ready(void *ctx, const struct err *err)
{
    struct world *w = ctx;
    CHECK(err == NULL);
    w->ready = true;
}

static void on_drained(void *ctx)
{
    ((struct world *)ctx)->drained = true;
}

static void on_closed(void *ctx)
{
    struct world *w = ctx;
    w->closed = true;
    uv_close((uv_handle_t *)&w->guard, NULL);
}

static void give_up(uv_timer_t *timer)
{
    (void)timer;
    (void)fprintf(stderr, "a condition did not come true in time\n");
    abort();
}

void world_until(struct world *w, bool (*holds)(void *ctx), void *ctx)
{
    (void)uv_timer_start(&w->guard, give_up, PATIENCE_MS, 0);
    while (!holds(ctx)) {
        (void)uv_run(&w->loop, UV_RUN_ONCE);
    }
    (void)uv_timer_stop(&w->guard);
}

static bool is_true(void *ctx)
{
    return *(const bool *)ctx;
}

void world_until_true(struct world *w, const bool *flag)
{
    world_until(w, is_true, (void *)(uintptr_t)flag);
}

void world_start(struct world *w, const struct engine_limits *limits)
{
    static const char *const none[] = {NULL};
    struct err err = {0};
    memset(w, 0, sizeof *w);
    w->fds_before = fd_count_open();
    (void)snprintf(w->dir, sizeof w->dir, "/tmp/engine_test.XXXXXX");
    CHECK(mkdtemp(w->dir) != NULL);
    CHECK(uv_loop_init(&w->loop) == 0);
    CHECK(uv_timer_init(&w->loop, &w->guard) == 0);
    struct engine_config c = {
        .node_id = "node",
        .boot_id = "boot",
        .state_dir = w->dir,
        .zygote_path = "/nowhere",
        .python = "",
        .preload = none,
        .work_roots = none,
        .profile = "none",
        .log_level = "error",
        .server_version = "test",
        .limits = *limits,
    };
    w->fake = fake_world_new(&c.launcher_fd);
    CHECK(engine_new(&c, &w->loop, &w->engine, &err) == 0);
    engine_on_ready(w->engine, on_ready, w);
    world_until_true(w, &w->ready);
}

static unsigned entries(const char *dir)
{
    unsigned n = 0;
    DIR *d = opendir(dir);
    while (d != NULL && readdir(d) != NULL) {
        n++;
    }
    if (d != NULL) {
        (void)closedir(d);
    }
    return n > 2 ? n - 2 : 0;
}

void world_stop(struct world *w)
{
    char work[80];
    (void)snprintf(work, sizeof work, "%s/work", w->dir);
    engine_drain(w->engine, 0, on_drained, w);
    world_until_true(w, &w->drained);
    engine_close(w->engine, on_closed, w);
    world_until_true(w, &w->closed);
    (void)uv_run(&w->loop, UV_RUN_DEFAULT);
    engine_free(w->engine);
    CHECK_EQ_INT(uv_loop_close(&w->loop), 0);
    fake_world_free(w->fake);
    CHECK_EQ_INT(entries(work), 0);
    (void)rmdir(work);
    CHECK_EQ_INT(rmdir(w->dir), 0);
    CHECK_EQ_INT(fd_count_open(), w->fds_before);
}

/* --- unary calls -------------------------------------------------------------------------------- */

static ProtobufCMessage *copy(const ProtobufCMessage *m)
{
    uint8_t *packed = malloc(protobuf_c_message_get_packed_size(m) + 1);
    size_t n = protobuf_c_message_pack(m, packed);
    ProtobufCMessage *c = protobuf_c_message_unpack(m->descriptor, NULL, n, packed);
    free(packed);
    return c;
}

void answer_done(void *ctx, const ProtobufCMessage *response, const struct err *err)
{
    struct answer *a = ctx;
    CHECK(!a->done && (response == NULL) == (err != NULL));
    a->done = true;
    if (err != NULL) {
        a->err = *err;
        a->code = err->code;
    } else if (response != NULL) {
        a->response = copy(response);
    }
}

void answer_wait(struct world *w, struct answer *a)
{
    world_until_true(w, &a->done);
}

void answer_clear(struct answer *a)
{
    if (a->response != NULL) {
        protobuf_c_message_free_unpacked(a->response, NULL);
    }
    memset(a, 0, sizeof *a);
}

enum err_code world_create(struct world *w, char id[128])
{
    Pyexec__V1__CreateSessionRequest q = PYEXEC__V1__CREATE_SESSION_REQUEST__INIT;
    struct answer a = {0};
    engine_create_session(w->engine, NULL, &q, answer_done, &a);
    answer_wait(w, &a);
    id[0] = '\0';
    if (a.code == ERR_NONE) {
        Pyexec__V1__CreateSessionResponse *r = (void *)a.response;
        (void)snprintf(id, 128, "%s", r->session->session_id);
    }
    enum err_code code = a.code;
    answer_clear(&a);
    return code;
}

enum err_code world_delete(struct world *w, const char *id)
{
    Pyexec__V1__DeleteSessionRequest q = PYEXEC__V1__DELETE_SESSION_REQUEST__INIT;
    struct answer a = {0};
    q.session_id = (char *)(uintptr_t)id;
    engine_delete_session(w->engine, NULL, &q, answer_done, &a);
    answer_wait(w, &a);
    enum err_code code = a.code;
    answer_clear(&a);
    return code;
}

enum err_code world_restart(struct world *w, const char *id)
{
    Pyexec__V1__RestartSessionRequest q = PYEXEC__V1__RESTART_SESSION_REQUEST__INIT;
    struct answer a = {0};
    q.session_id = (char *)(uintptr_t)id;
    engine_restart_session(w->engine, NULL, &q, answer_done, &a);
    answer_wait(w, &a);
    enum err_code code = a.code;
    answer_clear(&a);
    return code;
}

enum err_code world_session(struct world *w, const char *id, struct session_facts *ret)
{
    Pyexec__V1__GetSessionRequest q = PYEXEC__V1__GET_SESSION_REQUEST__INIT;
    struct answer a = {0};
    q.session_id = (char *)(uintptr_t)id;
    engine_get_session(w->engine, NULL, &q, answer_done, &a);
    answer_wait(w, &a);
    memset(ret, 0, sizeof *ret);
    if (a.code == ERR_NONE) {
        const Pyexec__V1__Session *s = ((Pyexec__V1__GetSessionResponse *)a.response)->session;
        ret->state = (int)s->state;
        ret->execution_count = s->execution_count;
        ret->generation = s->generation;
        (void)snprintf(ret->current, sizeof ret->current, "%s", s->current_execution_id);
        (void)snprintf(ret->directory, sizeof ret->directory, "%s", s->working_directory);
    }
    enum err_code code = a.code;
    answer_clear(&a);
    return code;
}

enum err_code world_interrupt(struct world *w, const char *session, const char *execution,
                              bool kill, int64_t kill_after_ns)
{
    Pyexec__V1__InterruptExecutionRequest q = PYEXEC__V1__INTERRUPT_EXECUTION_REQUEST__INIT;
    Google__Protobuf__Duration after = GOOGLE__PROTOBUF__DURATION__INIT;
    struct answer a = {0};
    after.seconds = kill_after_ns / NS_PER_SEC;
    after.nanos = (int32_t)(kill_after_ns % NS_PER_SEC);
    q.session_id = (char *)(uintptr_t)session;
    q.execution_id = (char *)(uintptr_t)execution;
    q.mode = kill ? PYEXEC__V1__INTERRUPT_EXECUTION_REQUEST__MODE__MODE_KILL
                  : PYEXEC__V1__INTERRUPT_EXECUTION_REQUEST__MODE__MODE_INTERRUPT;
    q.kill_after = &after;
    engine_interrupt_execution(w->engine, NULL, &q, answer_done, &a);
    answer_wait(w, &a);
    enum err_code code = a.code;
    answer_clear(&a);
    return code;
}

/* --- executions --------------------------------------------------------------------------------- */

static uint8_t *alloc(void *ctx, size_t size)
{
    struct buf *b = ctx;
    buf_clear(b);
    uint8_t *p = buf_reserve(b, size);
    b->len = p != NULL ? size : 0;
    return p;
}

static void take_output(struct run *r, const Pyexec__V1__OutputChunk *o)
{
    unsigned s = o->stream - 1u;
    CHECK(o->offset == r->bytes[s]);
    r->bytes[s] += o->data.len;
    size_t used = strlen(r->merged);
    if (used + o->data.len + 3 < sizeof r->merged) {
        (void)snprintf(r->merged + used, sizeof r->merged - used, "%c:%.*s", s == 0 ? 'o' : 'e',
                       (int)o->data.len, (const char *)o->data.data);
    }
}

static void take(struct run *r, const Pyexec__V1__ExecutionEvent *e)
{
    CHECK(e->seq > r->last_seq);
    r->last_seq = e->seq;
    switch (e->event_case) {
    case PYEXEC__V1__EXECUTION_EVENT__EVENT_STARTED:
        r->started++;
        r->replayed = e->started->replayed;
        (void)snprintf(r->session_id, sizeof r->session_id, "%s", e->started->session_id);
        (void)snprintf(r->execution_id, sizeof r->execution_id, "%s", e->started->execution_id);
        r->timeout_ns = e->started->effective_timeout->seconds * NS_PER_SEC +
                        e->started->effective_timeout->nanos;
        break;
    case PYEXEC__V1__EXECUTION_EVENT__EVENT_OUTPUT:
        take_output(r, e->output);
        break;
    case PYEXEC__V1__EXECUTION_EVENT__EVENT_GAP:
        r->bytes[e->gap->stream - 1] += e->gap->size;
        r->missing += e->gap->size;
        break;
    case PYEXEC__V1__EXECUTION_EVENT__EVENT_DISPLAY:
        r->displays++;
        break;
    case PYEXEC__V1__EXECUTION_EVENT__EVENT_INPUT_REQUEST:
        r->inputs++;
        break;
    case PYEXEC__V1__EXECUTION_EVENT__EVENT_RESULT:
        r->results++;
        r->result = (Pyexec__V1__ExecutionResult *)copy(&e->result->base);
        break;
    default:
        break;
    }
}

void run_read(struct run *r)
{
    bool more;
    while (!r->ended) {
        enum log_read what = log_reader_next(&r->attachment.reader, alloc, &r->message, &more);
        if (what == LOG_READ_EMPTY || what == LOG_READ_FAILED) {
            return;
        }
        if (what == LOG_READ_END) {
            r->ended = true;
            return;
        }
        Pyexec__V1__ExecuteResponse *m =
            pyexec__v1__execute_response__unpack(NULL, r->message.len, r->message.data);
        CHECK(m != NULL && m->event != NULL);
        if (m != NULL && m->event != NULL) {
            take(r, m->event);
        }
        pyexec__v1__execute_response__free_unpacked(m, NULL);
        r->ended = what == LOG_READ_RESULT;
    }
}

static void on_readable(struct log_reader *reader)
{
    struct run *r = LIST_CONTAINER(LIST_CONTAINER(reader, struct engine_attachment, reader),
                                   struct run, attachment);
    if (!r->hold) {
        run_read(r);
    }
}

static void on_attached(void *ctx, const struct err *err)
{
    struct run *r = ctx;
    CHECK(!r->answered);
    r->answered = true;
    if (err != NULL) {
        r->err = *err;
        r->code = err->code;
        r->ended = true;
    } else if (!r->hold) {
        run_read(r);
    }
}

static void prepare(struct world *w, struct run *r)
{
    bool hold = r->hold;
    memset(r, 0, sizeof *r);
    r->hold = hold;
    r->world = w;
    buf_init(&r->message, LOG_MESSAGE_MAX);
    r->attachment.reader.on_ready = on_readable;
}

void run_start(struct world *w, struct run *r, const char *session, const char *execution,
               const char *code, Pyexec__V1__ExecutionSpec *spec)
{
    Pyexec__V1__ExecutionSpec plain = PYEXEC__V1__EXECUTION_SPEC__INIT;
    Pyexec__V1__ExecutionSpec *s = spec != NULL ? spec : &plain;
    prepare(w, r);
    s->code = (char *)(uintptr_t)code;
    engine_execute(w->engine, NULL, session != NULL ? session : "",
                   execution != NULL ? execution : "", s, clock_mono_ns(), CLOCK_NEVER, false,
                   &r->attachment, on_attached, r);
}

void run_attach(struct world *w, struct run *r, const char *session, const char *execution,
                uint64_t after_seq)
{
    Pyexec__V1__AttachExecutionRequest q = PYEXEC__V1__ATTACH_EXECUTION_REQUEST__INIT;
    prepare(w, r);
    q.session_id = (char *)(uintptr_t)session;
    q.execution_id = (char *)(uintptr_t)execution;
    q.after_seq = after_seq;
    engine_attach(w->engine, NULL, &q, &r->attachment, on_attached, r);
}

void run_wait(struct run *r)
{
    world_until_true(r->world, &r->ended);
}

void run_leave(struct run *r)
{
    engine_detach(r->world->engine, &r->attachment, true);
}

void run_clear(struct run *r)
{
    if (r->answered && r->code == ERR_NONE) {
        engine_detach(r->world->engine, &r->attachment, !r->ended);
    }
    if (r->result != NULL) {
        pyexec__v1__execution_result__free_unpacked(r->result, NULL);
        r->result = NULL;
    }
    buf_release(&r->message);
}

int run_code(struct world *w, struct run *r, const char *session, const char *code)
{
    run_start(w, r, session, NULL, code, NULL);
    run_wait(r);
    CHECK(r->code != ERR_NONE || r->results == 1);
    return r->code != ERR_NONE ? -(int)r->code : (int)r->result->status;
}
