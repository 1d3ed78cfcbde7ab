/* session_calls.c: the methods of SessionService. */
#include <stdlib.h>
#include <string.h>

#include "service/session/internal.h"

static const char *principal_of(const struct engine_caller *caller)
{
    return caller != NULL && caller->principal != NULL ? caller->principal : "";
}

static int accepts_work(const struct engine *e, struct err *err)
{
    return e->draining || e->closing || e->failed
               ? err_set(err, ERR_SERVER_DRAINING, "the server is shutting down: use another node")
               : 0;
}

static struct call *call_new(struct list *list, engine_done_fn *done, void *ctx)
{
    struct call *call = calloc(1, sizeof *call);
    if (call != NULL) {
        call->done = done;
        call->ctx = ctx;
        call->began_ns = clock_mono_ns();
        list_push_back(list, &call->node);
    }
    return call;
}

static void no_memory(engine_done_fn *done, void *ctx)
{
    struct err err = {0};
    (void)err_set(&err, ERR_NO_MEMORY, "out of memory");
    done(ctx, NULL, &err);
}

static void answer_create(struct session *s, engine_done_fn *done, void *ctx)
{
    struct message_session m;
    Pyexec__V1__CreateSessionResponse response = PYEXEC__V1__CREATE_SESSION_RESPONSE__INIT;
    message_session(s, &m);
    response.session = &m.m;
    done(ctx, &response.base, NULL);
}

/* A create whose request_id is known: the same session, now or when it is there. True: answered. */
static bool create_again(struct engine *e, const struct engine_caller *caller,
                         const Pyexec__V1__CreateSessionRequest *q, const uint64_t hash[2],
                         engine_done_fn *done, void *ctx)
{
    struct request_memory *r = request_recall(e, "create", q->request_id);
    struct err err = {0};
    if (r == NULL) {
        return false;
    }
    if (memcmp(r->hash, hash, sizeof r->hash) != 0) {
        (void)err_set(&err, ERR_REQUEST_ID_REUSED, "request_id was used for another session");
        done(ctx, NULL, &err);
        return true;
    }
    struct session *s = strmap_get(&e->sessions, r->value);
    if (s != NULL && s->state == SESSION_STARTING && !s->announced) {
        if (call_new(&s->starting, done, ctx) == NULL) {
            no_memory(done, ctx);
        }
        return true;
    }
    s = session_find(e, caller, r->value, &err);
    if (s == NULL && err.code != ERR_SESSION_NOT_OWNED) {
        request_forget(e, r); /* it failed, or is gone: a retry makes another one */
        return false;
    }
    if (s == NULL) {
        done(ctx, NULL, &err);
    } else {
        answer_create(s, done, ctx);
    }
    return true;
}

void engine_create_session(struct engine *e, const struct engine_caller *caller,
                           const Pyexec__V1__CreateSessionRequest *q, engine_done_fn *done,
                           void *ctx)
{
    struct err err = {0};
    struct session *s;
    uint64_t hash[2] = {0, 0};
    if (limits_create(e, q, &err) < 0 || accepts_work(e, &err) < 0) {
        done(ctx, NULL, &err);
        return;
    }
    if (q->request_id[0] != '\0') {
        (void)hash_message(&q->base, hash);
        if (create_again(e, caller, q, hash, done, ctx)) {
            return;
        }
    }
    if (session_new(e, principal_of(caller), q, false, NULL, &s, &err) < 0) {
        done(ctx, NULL, &err);
        return;
    }
    if (call_new(&s->starting, done, ctx) == NULL) {
        s->start_err = (struct err){0};
        (void)err_set(&s->start_err, ERR_NO_MEMORY, "out of memory");
        session_event(s, SESSION_EVENT_FAILED);
        no_memory(done, ctx);
        return;
    }
    (void)request_remember(e, "create", q->request_id, hash, s->id);
    session_spawn(s);
}

void engine_get_session(struct engine *e, const struct engine_caller *caller,
                        const Pyexec__V1__GetSessionRequest *q, engine_done_fn *done, void *ctx)
{
    struct err err = {0};
    struct session *s = session_find(e, caller, q->session_id, &err);
    if (s == NULL) {
        done(ctx, NULL, &err);
        return;
    }
    struct message_session m;
    Pyexec__V1__GetSessionResponse response = PYEXEC__V1__GET_SESSION_RESPONSE__INIT;
    message_session(s, &m);
    response.session = &m.m;
    done(ctx, &response.base, NULL);
}

static bool listed(const struct session *s, const struct engine_caller *caller,
                   const Pyexec__V1__ListSessionsRequest *q, uint64_t before)
{
    return s->announced && !s->throw_away && s->state != SESSION_CLOSING && s->ordinal < before &&
           owner_check(caller, s->principal, NULL) == 0 &&
           session_has_labels(s, q->labels, q->n_labels);
}

void engine_list_sessions(struct engine *e, const struct engine_caller *caller,
                          const Pyexec__V1__ListSessionsRequest *q, engine_done_fn *done, void *ctx)
{
    struct err err = {0};
    unsigned size;
    uint64_t before;
    if (limits_page(q->page_size, q->page_token, &size, &before, &err) < 0 ||
        limits_labels(e, q->labels, q->n_labels, &err) < 0) {
        done(ctx, NULL, &err);
        return;
    }
    struct message_session *all = calloc(size, sizeof *all);
    Pyexec__V1__Session **pointers = calloc(size, sizeof(Pyexec__V1__Session *));
    Pyexec__V1__ListSessionsResponse response = PYEXEC__V1__LIST_SESSIONS_RESPONSE__INIT;
    char token[24];
    uint64_t last = 0;
    if (all == NULL || pointers == NULL) {
        no_memory(done, ctx);
    } else {
        for (struct list *it = e->session_list.prev; it != &e->session_list; it = it->prev) {
            const struct session *s = LIST_CONTAINER(it, struct session, node);
            if (!listed(s, caller, q, before)) {
                continue;
            }
            if (response.n_sessions == size) {
                (void)snprintf(token, sizeof token, "%llu", (unsigned long long)last);
                response.next_page_token = token;
                break;
            }
            last = s->ordinal;
            message_session(s, &all[response.n_sessions]);
            pointers[response.n_sessions] = &all[response.n_sessions].m;
            response.n_sessions++;
        }
        response.sessions = pointers;
        done(ctx, &response.base, NULL);
    }
    free(all);
    free(pointers);
}

void engine_renew_session(struct engine *e, const struct engine_caller *caller,
                          const Pyexec__V1__RenewSessionRequest *q, engine_done_fn *done, void *ctx)
{
    struct err err = {0};
    int64_t ttl;
    struct session *s = session_find(e, caller, q->session_id, &err);
    if (s == NULL || limits_duration("ttl", q->ttl, &ttl, &err) < 0) {
        done(ctx, NULL, &err);
        return;
    }
    ttl = ttl < e->limits.max_idle_ns ? ttl : e->limits.max_idle_ns;
    session_use(s);
    s->renewed_ns = ttl > 0 ? clock_add(clock_mono_ns(), ttl) : s->renewed_ns;
    struct message_session m;
    Pyexec__V1__RenewSessionResponse response = PYEXEC__V1__RENEW_SESSION_RESPONSE__INIT;
    message_session(s, &m);
    response.session = &m.m;
    done(ctx, &response.base, NULL);
    watch_changed(s);
}

void engine_restart_session(struct engine *e, const struct engine_caller *caller,
                            const Pyexec__V1__RestartSessionRequest *q, engine_done_fn *done,
                            void *ctx)
{
    struct err err = {0};
    uint64_t hash[2] = {0, 0};
    struct session *s = session_find(e, caller, q->session_id, &err);
    if (s == NULL || limits_id("request_id", q->request_id, false, &err) < 0 ||
        accepts_work(e, &err) < 0) {
        done(ctx, NULL, &err);
        return;
    }
    struct request_memory *known = request_recall(e, "restart", q->request_id);
    if (known != NULL && strcmp(known->value, s->id) != 0) {
        (void)err_set(&err, ERR_REQUEST_ID_REUSED, "request_id was used for another session");
        done(ctx, NULL, &err);
        return;
    }
    if (known != NULL && s->state != SESSION_STARTING && s->state != SESSION_RESTARTING) {
        struct message_session m;
        Pyexec__V1__RestartSessionResponse response = PYEXEC__V1__RESTART_SESSION_RESPONSE__INIT;
        message_session(s, &m);
        response.session = &m.m;
        done(ctx, &response.base, NULL);
        return;
    }
    struct call *call = call_new(&s->starting, done, ctx);
    if (call == NULL) {
        no_memory(done, ctx);
        return;
    }
    call->restart = true;
    if (known == NULL) {
        (void)request_remember(e, "restart", q->request_id, hash, s->id);
        session_restart(s);
    }
}

void engine_delete_session(struct engine *e, const struct engine_caller *caller,
                           const Pyexec__V1__DeleteSessionRequest *q, engine_done_fn *done,
                           void *ctx)
{
    struct err err = {0};
    struct session *s = strmap_get(&e->sessions, q->session_id);
    if (s == NULL || s->state != SESSION_CLOSING) {
        s = session_find(e, caller, q->session_id, &err);
    } else if (owner_check(caller, s->principal, &err) < 0) {
        s = NULL;
    }
    if (s == NULL) {
        /* Deleting twice is fine; deleting what never was is not. */
        bool before = strmap_get(&e->tombstones, q->session_id) != NULL;
        Pyexec__V1__DeleteSessionResponse response = PYEXEC__V1__DELETE_SESSION_RESPONSE__INIT;
        done(ctx, before ? &response.base : NULL, before ? NULL : &err);
        return;
    }
    if (call_new(&s->closing, done, ctx) == NULL) {
        no_memory(done, ctx);
        return;
    }
    session_delete(s, CAUSE_DELETED);
}
