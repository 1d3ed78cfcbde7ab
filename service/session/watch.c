/* watch.c: who follows the session list, and what they are told. */
#include <stdlib.h>
#include <string.h>

#include "service/session/internal.h"

/* Every label asked for is there. Map entries of all messages have the same shape. */
bool session_has_labels(const struct session *s,
                        Pyexec__V1__ListSessionsRequest__LabelsEntry **labels, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        bool found = false;
        for (size_t k = 0; k < s->create->n_labels && !found; k++) {
            found = strcmp(s->create->labels[k]->key, labels[i]->key) == 0 &&
                    strcmp(s->create->labels[k]->value, labels[i]->value) == 0;
        }
        if (!found) {
            return false;
        }
    }
    return true;
}

static bool concerns(const struct engine_watch *w, const struct session *s)
{
    const Pyexec__V1__WatchSessionsRequest *filter = w->labels;
    if (!s->announced || s->throw_away || owner_check_name(w->principal, s->principal) < 0) {
        return false;
    }
    return session_has_labels(s, (Pyexec__V1__ListSessionsRequest__LabelsEntry **)filter->labels,
                              filter->n_labels);
}

static void tell(struct engine *e, struct engine_watch *w,
                 const Pyexec__V1__WatchSessionsResponse *response)
{
    if (!w->on_change(w, response)) {
        engine_unwatch(e, w);
    }
}

static void tell_session(struct engine_watch *w, const struct session *s)
{
    struct message_session m;
    Pyexec__V1__WatchSessionsResponse r = PYEXEC__V1__WATCH_SESSIONS_RESPONSE__INIT;
    message_session(s, &m);
    r.change_case = PYEXEC__V1__WATCH_SESSIONS_RESPONSE__CHANGE_UPSERTED;
    r.upserted = &m.m;
    tell(s->engine, w, &r);
}

void watch_changed(const struct session *s)
{
    LIST_FOREACH (it, &s->engine->watches) {
        struct engine_watch *w = LIST_CONTAINER(it, struct engine_watch, node);
        if (concerns(w, s)) {
            tell_session(w, s);
        }
    }
}

void watch_deleted(const struct session *s)
{
    LIST_FOREACH (it, &s->engine->watches) {
        struct engine_watch *w = LIST_CONTAINER(it, struct engine_watch, node);
        if (concerns(w, s)) {
            Pyexec__V1__WatchSessionsResponse r = PYEXEC__V1__WATCH_SESSIONS_RESPONSE__INIT;
            r.change_case = PYEXEC__V1__WATCH_SESSIONS_RESPONSE__CHANGE_DELETED_SESSION_ID;
            r.deleted_session_id = (char *)(uintptr_t)s->id;
            tell(s->engine, w, &r);
        }
    }
}

int engine_watch_sessions(struct engine *e, const struct engine_caller *caller,
                          const Pyexec__V1__WatchSessionsRequest *request, struct engine_watch *w,
                          struct err *err)
{
    (void)caller; /* `w->principal` is the watcher's own copy of it */
    if (request->n_labels > e->limits.max_labels) {
        return err_field(err, "labels", "more than %u labels", e->limits.max_labels);
    }
    w->labels = message_clone(&request->base);
    if (w->labels == NULL) {
        return err_set(err, ERR_NO_MEMORY, "out of memory");
    }
    list_push_back(&e->watches, &w->node);
    LIST_FOREACH (it, &e->session_list) {
        const struct session *s = LIST_CONTAINER(it, struct session, node);
        if (w->labels != NULL && concerns(w, s)) {
            tell_session(w, s);
        }
    }
    if (w->labels != NULL) {
        Pyexec__V1__WatchSessionsResponse r = PYEXEC__V1__WATCH_SESSIONS_RESPONSE__INIT;
        r.change_case = PYEXEC__V1__WATCH_SESSIONS_RESPONSE__CHANGE_SYNCED;
        r.synced = 1;
        tell(e, w, &r);
    }
    return 0;
}

void engine_unwatch(struct engine *e, struct engine_watch *w)
{
    (void)e;
    if (w->labels != NULL) {
        protobuf_c_message_free_unpacked(w->labels, NULL);
        w->labels = NULL;
        list_remove(&w->node);
    }
}
