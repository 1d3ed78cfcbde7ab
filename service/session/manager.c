/* manager.c: which sessions there are, and were: lookup, tombstones, remembered request ids. */
#include <stdlib.h>
#include <string.h>

#include "service/session/internal.h"

#define TOMBSTONES_MOST 100000u
#define REQUESTS_MOST 100000u

int owner_check_name(const char *caller, const char *principal)
{
    return caller == NULL || strcmp(caller, principal) == 0 ? 0 : -1;
}

int owner_check(const struct engine_caller *caller, const char *principal, struct err *err)
{
    return owner_check_name(caller != NULL ? caller->principal : NULL, principal) == 0
               ? 0
               : err_set(err, ERR_SESSION_NOT_OWNED, "the session belongs to somebody else");
}

/* The time in a ULID (its first ten characters), in ms since the epoch; 0 for nonsense. */
static int64_t ulid_ms(const char *ulid)
{
    static const char digits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    int64_t ms = 0;
    for (unsigned i = 0; i < 10; i++) {
        const char *at = ulid[i] != '\0' ? strchr(digits, ulid[i]) : NULL;
        if (at == NULL) {
            return 0;
        }
        ms = ms * 32 + (at - digits);
    }
    return ms;
}

static int not_here(struct engine *e, const char *session_id, struct err *err)
{
    const char *dash = strrchr(session_id, '-');
    switch (id_route(e->node_id, session_id)) {
    case ID_ROUTE_MALFORMED:
        return err_set(err, ERR_SESSION_NOT_FOUND, "\"%.64s\" is not the id of a session",
                       session_id);
    case ID_ROUTE_ELSEWHERE:
        (void)err_set(err, ERR_WRONG_NODE,
                      "the session lives on node %.*s, this is %s: send the header "
                      "x-pyexec-session so that a proxy can route the call",
                      (int)(dash - session_id), session_id, e->node_id);
        err_detail(err, "header", "x-pyexec-session");
        return -1;
    default:
        break;
    }
    struct tombstone *t = strmap_get(&e->tombstones, session_id);
    if (t != NULL) {
        return t->expired ? err_set(err, ERR_SESSION_EXPIRED,
                                    "the session was not used for too long and has ended")
                          : err_set(err, ERR_SESSION_NOT_FOUND, "the session was deleted");
    }
    int64_t ms = ulid_ms(dash + 1);
    return ms != 0 && ms < e->start_real_ns / NS_PER_MS
               ? err_set(err, ERR_SESSION_LOST,
                         "the session is of an earlier start of this server: its state is gone")
               : err_set(err, ERR_SESSION_NOT_FOUND, "there is no such session");
}

struct session *session_find(struct engine *e, const struct engine_caller *caller,
                             const char *session_id, struct err *err)
{
    if (session_id[0] == '\0') {
        (void)err_field(err, "session_id", "session_id is missing");
        return NULL;
    }
    struct session *s = strmap_get(&e->sessions, session_id);
    if (s == NULL || s->state == SESSION_CLOSING || !(s->announced || s->throw_away)) {
        if (s == NULL) {
            (void)not_here(e, session_id, err);
        } else {
            (void)err_set(err, ERR_SESSION_NOT_FOUND, "the session was deleted");
        }
        return NULL;
    }
    return owner_check(caller, s->principal, err) < 0 ? NULL : s;
}

/* --- memory of what is gone --------------------------------------------------------------------- */

static void forget_tombstone(struct engine *e, struct tombstone *t)
{
    (void)strmap_remove(&e->tombstones, t->id);
    list_remove(&t->node);
    e->tombstone_count--;
    free(t);
}

void manager_bury(struct engine *e, const struct session *s)
{
    struct tombstone *t = calloc(1, sizeof *t);
    if (t == NULL || strmap_put(&e->tombstones, s->id, t) < 0) {
        free(t); /* it will be called unknown instead of deleted */
        return;
    }
    memcpy(t->id, s->id, sizeof t->id);
    t->expired = s->expired;
    t->until_ns = clock_add(clock_mono_ns(), e->limits.remember_ns);
    list_push_back(&e->tombstone_list, &t->node);
    if (++e->tombstone_count > TOMBSTONES_MOST) {
        forget_tombstone(e, LIST_CONTAINER(e->tombstone_list.next, struct tombstone, node));
    }
    engine_expire_at(e, t->until_ns);
}

void request_forget(struct engine *e, struct request_memory *r)
{
    (void)strmap_remove(&e->requests, r->key);
    list_remove(&r->node);
    e->request_count--;
    free(r->key);
    free(r->value);
    free(r);
}

static char *request_key(const char *method, const char *id)
{
    size_t size = strlen(method) + strlen(id) + 2;
    char *key = malloc(size);
    if (key != NULL) {
        (void)snprintf(key, size, "%s/%s", method, id);
    }
    return key;
}

struct request_memory *request_recall(struct engine *e, const char *method, const char *id)
{
    char *key = id[0] != '\0' ? request_key(method, id) : NULL;
    struct request_memory *r = key != NULL ? strmap_get(&e->requests, key) : NULL;
    free(key);
    return r;
}

int request_remember(struct engine *e, const char *method, const char *id, const uint64_t hash[2],
                     const char *value)
{
    struct request_memory *r = id[0] != '\0' ? calloc(1, sizeof *r) : NULL;
    if (r == NULL) {
        return id[0] != '\0' ? -1 : 0;
    }
    r->key = request_key(method, id);
    r->value = strdup(value);
    if (r->key == NULL || r->value == NULL || strmap_put(&e->requests, r->key, r) < 0) {
        free(r->key);
        free(r->value);
        free(r);
        return -1;
    }
    memcpy(r->hash, hash, sizeof r->hash);
    r->until_ns = clock_add(clock_mono_ns(), e->limits.remember_ns);
    list_push_back(&e->request_list, &r->node);
    if (++e->request_count > REQUESTS_MOST) {
        request_forget(e, LIST_CONTAINER(e->request_list.next, struct request_memory, node));
    }
    engine_expire_at(e, r->until_ns);
    return 0;
}

void manager_expire(struct engine *e)
{
    int64_t now = clock_mono_ns();
    while (!list_empty(&e->tombstone_list)) {
        struct tombstone *t = LIST_CONTAINER(e->tombstone_list.next, struct tombstone, node);
        if (t->until_ns > now) {
            engine_expire_at(e, t->until_ns);
            break;
        }
        forget_tombstone(e, t);
    }
    while (!list_empty(&e->request_list)) {
        struct request_memory *r =
            LIST_CONTAINER(e->request_list.next, struct request_memory, node);
        if (r->until_ns > now) {
            engine_expire_at(e, r->until_ns);
            break;
        }
        request_forget(e, r);
    }
}

void manager_release(struct engine *e)
{
    while (!list_empty(&e->tombstone_list)) {
        forget_tombstone(e, LIST_CONTAINER(e->tombstone_list.next, struct tombstone, node));
    }
    while (!list_empty(&e->request_list)) {
        request_forget(e, LIST_CONTAINER(e->request_list.next, struct request_memory, node));
    }
}
