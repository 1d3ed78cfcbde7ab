/* execution.c: executions: made, found, attached to, forgotten.
 *
 * References: one for the table (until forgotten), one for each attachment, waiter and posted task,
 * one for the process that runs it. The log has its own count: readers keep it. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "service/session/internal.h"

struct execution *execution_ref(struct execution *x)
{
    atomic_fetch_add_explicit(&x->refs, 1, memory_order_relaxed);
    return x;
}

void execution_unref(struct execution *x)
{
    if (x == NULL || atomic_fetch_sub_explicit(&x->refs, 1, memory_order_acq_rel) > 1) {
        return;
    }
    if (x->spec != NULL) {
        pyexec__v1__execution_spec__free_unpacked(x->spec, NULL);
    }
    stdin_close(x->feed);
    execlog_unref(x->log);
    free(x->principal);
    free(x);
}

static void key_of(char key[EXECUTION_KEY_MAX], const char *session_id, const char *execution_id)
{
    (void)snprintf(key, EXECUTION_KEY_MAX, "%s/%s", session_id, execution_id);
}

struct execution *execution_find(struct engine *e, const char *session_id, const char *execution_id)
{
    char key[EXECUTION_KEY_MAX];
    key_of(key, session_id, execution_id);
    return strmap_get(&e->executions, key);
}

static int table_add(struct engine *e, struct execution *x)
{
    char key[EXECUTION_KEY_MAX];
    key_of(key, x->session_id, x->execution_id);
    if (strmap_put(&e->executions, key, x) < 0) {
        return -1;
    }
    if (x->throw_away) {
        char short_key[EXECUTION_KEY_MAX];
        key_of(short_key, "", x->execution_id);
        if (strmap_put(&e->executions, short_key, x) < 0) {
            (void)strmap_remove(&e->executions, key);
            return -1;
        }
    }
    list_push_back(&e->all_executions, &x->all_node);
    x->listed = true;
    (void)execution_ref(x);
    return 0;
}

void execution_forget(struct execution *x)
{
    char key[EXECUTION_KEY_MAX];
    if (!x->listed) {
        return;
    }
    x->listed = false;
    key_of(key, x->session_id, x->execution_id);
    (void)strmap_remove(&x->engine->executions, key);
    if (x->throw_away) {
        key_of(key, "", x->execution_id);
        if (strmap_get(&x->engine->executions, key) == x) {
            (void)strmap_remove(&x->engine->executions, key);
        }
    }
    list_remove(&x->all_node);
    list_remove(&x->queue_node);
    x->engine->finished_count -= x->state == EXECUTION_FINISHED;
    execution_unref(x);
}

void execution_retain(struct execution *x)
{
    if (x->listed) {
        list_push_back(&x->engine->finished, &x->queue_node);
        x->engine->finished_count++;
        executions_expire(x->engine);
    }
}

void execution_forget_unborn(struct execution *x)
{
    struct session *s = x->session;
    s->queue_len--;
    x->engine->queued_count--;
    x->engine->unfinished_count--;
    x->session = NULL;
    timer_stop(&x->engine->timers, &x->abandon);
    execution_forget(x);
}

/* --- room in a log that blocks: any thread posts, the loop resumes ------------------------------- */

static void resume(struct engine_task *task)
{
    struct execution *x = LIST_CONTAINER(task, struct execution, drained);
    atomic_store(&x->drained_posted, false);
    if (x->session != NULL && x->session->process != NULL) {
        process_resume(x->session->process);
    }
    execution_unref(x);
}

static void on_drained(void *ctx)
{
    struct execution *x = ctx;
    if (!atomic_exchange(&x->drained_posted, true)) {
        (void)execution_ref(x);
        x->drained.run = resume;
        engine_post(x->engine, &x->drained);
    }
}

/* --- making ------------------------------------------------------------------------------------- */

static struct execution *make(struct engine *e, const struct session *s, const char *execution_id,
                              uint64_t log_bytes, bool block)
{
    struct execution *x = calloc(1, sizeof *x);
    if (x == NULL) {
        return NULL;
    }
    atomic_init(&x->refs, 1);
    x->engine = e;
    x->ordinal = ++e->ordinals;
    list_init(&x->all_node);
    list_init(&x->queue_node);
    list_init(&x->births);
    list_init(&x->waiters);
    (void)snprintf(x->session_id, sizeof x->session_id, "%s", s->id);
    if (execution_id[0] != '\0') {
        (void)snprintf(x->execution_id, sizeof x->execution_id, "%s", execution_id);
    } else {
        id_ulid(x->execution_id);
    }
    x->principal = strdup(s->principal);
    x->log = execlog_new(e->spool, log_bytes, block, on_drained, x);
    x->heartbeat_ns = e->limits.heartbeat_ns;
    x->reattach_ns = CLOCK_NEVER;
    x->create_real_ns = clock_real_ns();
    x->receive_ns = x->queued_ns = clock_mono_ns();
    if (x->principal == NULL || x->log == NULL) {
        execution_unref(x);
        return NULL;
    }
    return x;
}

static int64_t duration_or(const Google__Protobuf__Duration *d, int64_t fallback)
{
    int64_t ns = d != NULL ? d->seconds * NS_PER_SEC + d->nanos : 0;
    return ns > 0 ? ns : fallback;
}

static uint64_t log_bytes(const struct engine *e, const struct session *s,
                          const struct execution_new *what)
{
    uint64_t n = what->spec->max_output_bytes;
    if (n == 0 && s->create->limits != NULL) {
        n = s->create->limits->max_output_bytes;
    }
    if (n == 0) {
        n = what->collected ? e->limits.run_output_bytes : e->limits.default_output_bytes;
    }
    return n < e->limits.max_output_bytes ? n : e->limits.max_output_bytes;
}

static void set_times(struct execution *x, const struct session *s,
                      const struct execution_new *what)
{
    const struct engine_limits *l = &x->engine->limits;
    const Pyexec__V1__ResourceLimits *own = s->create->limits;
    int64_t now = clock_mono_ns();
    int64_t left = what->deadline_ns == CLOCK_NEVER ? CLOCK_NEVER : what->deadline_ns - now;
    x->receive_ns = what->receive_ns;
    x->queued_ns = now;
    x->owned = what->owned;
    x->reattach_ns = what->owned ? duration_or(what->spec->reattach_grace, 0) : CLOCK_NEVER;
    x->heartbeat_ns = duration_or(what->spec->heartbeat_interval, l->heartbeat_ns);
    x->timeout_ns = limits_timeout(l, duration_or(what->spec->timeout, 0),
                                   duration_or(own ? own->max_timeout : NULL, l->max_timeout_ns),
                                   x->reattach_ns, left);
}

struct execution *execution_new(struct session *s, const struct execution_new *what,
                                struct err *err)
{
    struct engine *e = s->engine;
    const Pyexec__V1__ExecutionSpec *spec = what->spec;
    bool block =
        spec->overflow_policy == PYEXEC__V1__EXECUTION_SPEC__OVERFLOW_POLICY__OVERFLOW_POLICY_BLOCK;
    struct execution *x = make(e, s, what->execution_id, log_bytes(e, s, what), block);
    if (x == NULL) {
        (void)err_set(err, ERR_NO_MEMORY, "out of memory");
        return NULL;
    }
    x->throw_away = s->throw_away;
    x->session = s;
    set_times(x, s, what);
    x->spec = (Pyexec__V1__ExecutionSpec *)message_clone(&spec->base);
    bool fed = spec->stdin_mode == PYEXEC__V1__EXECUTION_SPEC__STDIN_MODE__STDIN_MODE_INLINE ||
               spec->stdin_mode == PYEXEC__V1__EXECUTION_SPEC__STDIN_MODE__STDIN_MODE_STREAM;
    if (fed) {
        bool whole = spec->stdin_mode == PYEXEC__V1__EXECUTION_SPEC__STDIN_MODE__STDIN_MODE_INLINE;
        x->feed = stdin_new(e, spec->stdin.data, spec->stdin.len, whole);
    }
    if (x->spec == NULL || (fed && x->feed == NULL) || table_add(e, x) < 0) {
        (void)err_set(err, ERR_NO_MEMORY, "out of memory");
        execution_unref(x);
        return NULL;
    }
    if (what->execution_id[0] != '\0') {
        spec_digest(spec, x->spec_hash);
    }
    list_push_back(&s->queue, &x->queue_node);
    s->queue_len++;
    e->queued_count++;
    e->unfinished_count++;
    engine_count(e, ENGINE_COUNT_EXECUTIONS, 1);
    execution_unref(x); /* the table's reference is left */
    return x;
}

struct execution *execution_background(struct session *s)
{
    struct engine *e = s->engine;
    if (s->background != NULL) {
        return s->background;
    }
    struct execution *x = make(e, s, BACKGROUND_ID, e->limits.background_bytes, false);
    if (x == NULL) {
        return NULL;
    }
    x->background = true;
    x->session = s;
    x->state = EXECUTION_RUNNING;
    x->started_ns = x->receive_ns;
    x->start_real_ns = x->create_real_ns;
    if (table_add(e, x) == 0) {
        s->background = x;
        execution_announce(x);
    }
    execution_unref(x);
    return s->background;
}

void execution_announce(struct execution *x)
{
    if (x->announced) {
        return;
    }
    Pyexec__V1__ExecutionEvent event = PYEXEC__V1__EXECUTION_EVENT__INIT;
    Pyexec__V1__ExecutionStarted started = PYEXEC__V1__EXECUTION_STARTED__INIT;
    Google__Protobuf__Duration timeout;
    message_duration(&timeout, x->timeout_ns);
    started.session_id = x->session_id;
    started.execution_id = x->execution_id;
    started.execution_count = x->execution_count;
    started.effective_timeout = &timeout;
    event.event_case = PYEXEC__V1__EXECUTION_EVENT__EVENT_STARTED;
    event.started = &started;
    x->announced = true;
    (void)execlog_append_event(x->log, &event);
}

/* --- attachments and waiters -------------------------------------------------------------------- */

int execution_attach(struct execution *x, struct engine_attachment *a, uint64_t after_seq,
                     bool replayed, struct err *err)
{
    a->replayed = replayed;
    a->reader.replayed = replayed;
    if (log_reader_attach(&a->reader, x->log, after_seq, err) < 0) {
        return -1;
    }
    a->execution = execution_ref(x);
    x->attachments++;
    timer_stop(&x->engine->timers, &x->abandon);
    return 0;
}

void engine_detach(struct engine *e, struct engine_attachment *a, bool gone)
{
    struct execution *x = a->execution;
    (void)e;
    (void)gone; /* with the result read the execution is finished, and the grace has no meaning */
    if (x == NULL) {
        return;
    }
    log_reader_detach(&a->reader);
    a->execution = NULL;
    assert(x->attachments > 0);
    if (--x->attachments == 0 && x->owned && x->state != EXECUTION_FINISHED) {
        execution_abandoned(x);
    }
    execution_unref(x);
}

struct waiter *waiter_new(struct execution *x, struct list *list, void *ctx)
{
    struct waiter *w = calloc(1, sizeof *w);
    if (w != NULL) {
        w->execution = execution_ref(x);
        w->ctx = ctx;
        list_push_back(list, &w->node);
    }
    return w;
}

void waiter_free(struct waiter *w)
{
    timer_stop(&w->execution->engine->timers, &w->timer);
    list_remove(&w->node);
    execution_unref(w->execution);
    free(w);
}

/* Answers a call with its execution, or the fault. */
void execution_answer(struct execution *x, bool start, const struct err *err, engine_done_fn *done,
                      void *ctx)
{
    if (err != NULL) {
        done(ctx, NULL, err);
        return;
    }
    struct message_execution m;
    Pyexec__V1__GetExecutionResponse got = PYEXEC__V1__GET_EXECUTION_RESPONSE__INIT;
    Pyexec__V1__StartExecutionResponse started = PYEXEC__V1__START_EXECUTION_RESPONSE__INIT;
    message_execution(x, &m);
    got.execution = started.execution = &m.m;
    done(ctx, start ? &started.base : &got.base, NULL);
    message_execution_release(&m);
}

void execution_born(struct execution *x, const struct err *err)
{
    (void)execution_ref(x);
    if (x->state == EXECUTION_QUEUED) {
        x->queued_ns = clock_mono_ns(); /* until now it was the fork that took time */
    }
    while (!list_empty(&x->births)) {
        struct waiter *w = LIST_CONTAINER(x->births.next, struct waiter, node);
        struct err late = {0};
        const struct err *fault = err;
        list_remove(&w->node);
        if (w->attached != NULL) {
            if (fault == NULL && execution_attach(x, w->attachment, 0, w->replayed, &late) < 0) {
                fault = &late;
            }
            w->attached(w->ctx, fault);
        } else {
            execution_answer(x, true, fault, w->done, w->ctx);
        }
        waiter_free(w);
    }
    execution_unref(x);
}

/* --- retention ---------------------------------------------------------------------------------- */

void executions_expire(struct engine *e)
{
    int64_t now = clock_mono_ns();
    while (!list_empty(&e->finished)) {
        struct execution *x = LIST_CONTAINER(e->finished.next, struct execution, queue_node);
        int64_t due = clock_add(x->finished_ns, e->limits.retain_ns);
        if (now < due && e->finished_count <= e->limits.max_retained &&
            spool_retained(e->spool) <= e->limits.retained_total_bytes) {
            engine_expire_at(e, due);
            return;
        }
        execution_forget(x);
    }
}

void executions_release(struct engine *e)
{
    while (!list_empty(&e->all_executions)) {
        execution_forget(LIST_CONTAINER(e->all_executions.next, struct execution, all_node));
    }
}

/* --- the digest that tells one spec from another ------------------------------------------------ */

static int by_key(const void *a, const void *b)
{
    /* All map entries are generated with the same shape. */
    const Pyexec__V1__ExecutionSpec__EnvEntry *const *x = a;
    const Pyexec__V1__ExecutionSpec__EnvEntry *const *y = b;
    return strcmp((*x)->key, (*y)->key);
}

static void mix(uint64_t hash[2], const uint8_t *data, size_t n)
{
    hash[0] ^= n;
    for (size_t i = 0; i < n; i += 8) {
        uint64_t v = 0;
        memcpy(&v, data + i, n - i < 8 ? n - i : 8);
        hash[0] = (hash[0] ^ v) * UINT64_C(0x9e3779b97f4a7c15);
        hash[0] ^= hash[0] >> 29;
        hash[1] = (hash[1] + v) * UINT64_C(0xd1342543de82ef95);
        hash[1] ^= hash[1] >> 32;
    }
}

int hash_message(const ProtobufCMessage *message, uint64_t ret_hash[2])
{
    size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *packed = malloc(size > 0 ? size : 1);
    ret_hash[0] = ret_hash[1] = 0;
    if (packed == NULL) {
        return -1;
    }
    (void)protobuf_c_message_pack(message, packed);
    mix(ret_hash, packed, size);
    free(packed);
    return 0;
}

/* Maps have no order, and languages differ in the one they send: sort before hashing. */
void spec_digest(const Pyexec__V1__ExecutionSpec *spec, uint64_t ret_hash[2])
{
    Pyexec__V1__ExecutionSpec copy = *spec;
    size_t env = spec->n_env * sizeof *spec->env;
    size_t labels = spec->n_labels * sizeof *spec->labels;
    copy.env = malloc(env + 1);
    copy.labels = malloc(labels + 1);
    if (copy.env != NULL && copy.labels != NULL) {
        if (env > 0) {
            memcpy(copy.env, spec->env, env);
            qsort(copy.env, copy.n_env, sizeof *copy.env, by_key);
        }
        if (labels > 0) {
            memcpy(copy.labels, spec->labels, labels);
            qsort(copy.labels, copy.n_labels, sizeof *copy.labels, by_key);
        }
        (void)hash_message(&copy.base, ret_hash);
    }
    free(copy.env);
    free(copy.labels);
}
