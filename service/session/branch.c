/* branch.c: ForkSession: branches of an idle session, one after the other, all or none.
 *
 * The parent stays BRANCHING until the last branch is there. For each one:
 *
 *   phase   | waits for                       | then
 *   --------|---------------------------------|------------------------------------------------------
 *   COPYING | the directory's copy (thread)   | BRANCH_BEGIN to the parent's reaper
 *   HOLDING | BRANCH_HELD from the reaper     | BRANCH, with the branch's descriptors, to the parent
 *   FORKING | BRANCHED from the parent        | BRANCH_END with the pid to the reaper
 *   TAKING  | BRANCH_TAKEN from the reaper    | the process is a session's like any other
 *   WARMING | READY from the branch, INIT     | the next one, or the answer
 *
 * Who dies: the parent: BRANCH_END without a pid, whatever was forked is an orphan, SESSION_DEAD. The
 * branch: its reaper says EXITED, FORK_FAILED. The reaper: the launcher gets BRANCH_BEGIN before ADOPT, and
 * BRANCH_END after it when that was unanswered. Nobody answers: after the dispatch limit the parent,
 * which does not react, is killed. What was made before a failure is deleted again. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "service/session/internal.h"
#include "service/session/tree_copy.h"

#define COUNT_MAX 100   /* branches of one call */
#define WARNINGS_MAX 64 /* that are kept of all branches */

enum phase { COPYING, HOLDING, FORKING, TAKING, WARMING };

struct branch {
    struct list node; /* engine.branches */
    struct engine *engine;
    struct session *parent; /* a reference */
    Pyexec__V1__ForkSessionRequest *request;
    uint64_t hash[2];
    engine_done_fn *done;
    void *ctx;
    unsigned count;
    struct session **made; /* references to those that are ready */
    unsigned made_len;
    char *warnings[WARNINGS_MAX];
    unsigned warnings_len;
    enum phase phase;
    uint64_t token;
    struct session *child; /* the one in the making: a reference; NULL between two */
    struct process *process;
    struct channel *reaper; /* of the parent: who holds */
    pid_t pid;
    struct timer timer;
};

/* A copy on the thread pool; it outlives the branch when that fails meanwhile. */
struct copy {
    uv_work_t work;
    struct engine *engine;
    uint64_t token;
    int from;
    int to;
    struct tree_copied copied;
    int result;
};

static struct branch *branch_find(struct engine *e, uint64_t token)
{
    LIST_FOREACH (it, &e->branches) {
        struct branch *b = LIST_CONTAINER(it, struct branch, node);
        if (b->token == token) {
            return b;
        }
    }
    return NULL;
}

static void warn(struct branch *b, const char *text)
{
    for (unsigned i = 0; i < b->warnings_len; i++) {
        if (strcmp(b->warnings[i], text) == 0) {
            return;
        }
    }
    char *copy = b->warnings_len < WARNINGS_MAX ? strdup(text) : NULL;
    if (copy != NULL) {
        report_clean_text(copy);
        b->warnings[b->warnings_len++] = copy;
    }
}

static void branch_free(struct branch *b)
{
    timer_stop(&b->engine->timers, &b->timer);
    list_remove(&b->node);
    for (unsigned i = 0; i < b->made_len; i++) {
        session_unref(b->made[i]);
    }
    for (unsigned i = 0; i < b->warnings_len; i++) {
        free(b->warnings[i]);
    }
    free(b->made);
    if (b->request != NULL) {
        pyexec__v1__fork_session_request__free_unpacked(b->request, NULL);
    }
    session_unref(b->parent);
    free(b);
}

/* --- the answer --------------------------------------------------------------------------------- */

static void answer(struct session **sessions, unsigned n, char **warnings, unsigned n_warnings,
                   engine_done_fn *done, void *ctx)
{
    struct message_session *all = calloc(COUNT_MAX, sizeof *all);
    Pyexec__V1__Session **pointers = calloc(COUNT_MAX, sizeof(Pyexec__V1__Session *));
    Pyexec__V1__ForkSessionResponse response = PYEXEC__V1__FORK_SESSION_RESPONSE__INIT;
    struct err err = {0};
    if (all == NULL || pointers == NULL) {
        (void)err_set(&err, ERR_NO_MEMORY, "out of memory");
        done(ctx, NULL, &err);
    } else {
        for (unsigned i = 0; i < n; i++) {
            message_session(sessions[i], &all[i]);
            pointers[i] = &all[i].m;
        }
        response.sessions = pointers;
        response.n_sessions = n;
        response.warnings = warnings;
        response.n_warnings = n_warnings;
        done(ctx, &response.base, NULL);
    }
    free(all);
    free(pointers);
}

/* The ids of all branches, for a repeated request. */
static void remember(struct branch *b)
{
    struct buf ids;
    buf_init(&ids, COUNT_MAX * (ID_SESSION_MAX + 2));
    for (unsigned i = 0; i < b->made_len; i++) {
        (void)buf_printf(&ids, "%s%s", i > 0 ? " " : "", b->made[i]->id);
    }
    if (ids.data != NULL) {
        (void)request_remember(b->engine, "fork", b->request->request_id, b->hash,
                               (const char *)ids.data);
    }
    buf_release(&ids);
}

/* Ends it: the answer, then the parent is idle again, unless that is `gone`. */
static void finish(struct branch *b, const struct err *err, bool gone)
{
    struct session *parent = b->parent;
    parent->branch = NULL;
    for (unsigned i = 0; i < b->made_len; i++) {
        b->made[i]->branch = NULL;
    }
    if (err != NULL) {
        b->done(b->ctx, NULL, err);
        for (unsigned i = 0; i < b->made_len; i++) {
            session_delete(b->made[i], CAUSE_DELETED);
        }
    } else {
        remember(b);
        answer(b->made, b->made_len, b->warnings, b->warnings_len, b->done, b->ctx);
    }
    parent->refs++;
    branch_free(b);
    if (!gone) {
        session_event(parent, SESSION_EVENT_BRANCHED);
    }
    session_unref(parent);
}

/* The branch in the making can't be made. */
static void fail(struct branch *b, const struct err *cause, bool gone)
{
    struct session *child = b->child;
    struct process *p = b->process;
    struct err err = *cause;
    if (b->phase == HOLDING || b->phase == FORKING) {
        (void)reaper_branch_end(b->reaper, b->token, 0);
    }
    b->child = NULL;
    b->process = NULL;
    if (child != NULL) {
        child->branch = NULL;
        child->start_err = err;
        if (p != NULL) {
            process_failed(p, &err); /* ends the session, too */
        } else {
            session_event(child, SESSION_EVENT_FAILED);
        }
        session_unref(child);
    }
    finish(b, &err, gone);
}

static void fail_with(struct branch *b, enum err_code code, const char *text)
{
    struct err err = {0};
    (void)err_set(&err, code, "%s", text);
    fail(b, &err, false);
}

/* --- one branch --------------------------------------------------------------------------------- */

static void on_timer(struct timer *timer)
{
    struct branch *b = LIST_CONTAINER(timer, struct branch, timer);
    struct session *parent = b->parent;
    parent->refs++;
    fail_with(b, ERR_FORK_FAILED, "the session did not fork in time");
    session_event(parent, SESSION_EVENT_KILL);
    session_unref(parent);
}

static void hold(struct branch *b)
{
    struct engine *e = b->engine;
    struct err err = {0};
    b->phase = HOLDING;
    if (process_make(e, &b->process, &err) < 0) {
        fail(b, &err, false);
        return;
    }
    b->process->session = b->child;
    b->child->process = b->process;
    b->reaper = b->parent->process->reaper;
    if (timer_start(&e->timers, &b->timer, clock_add(clock_mono_ns(), e->limits.dispatch_ns),
                    on_timer) < 0 ||
        reaper_branch_begin(b->reaper, b->parent->process->pid, b->token) < 0) {
        fail_with(b, ERR_FORK_FAILED, "the session's zygote can't be reached: try again");
    }
}

static void copy_work(uv_work_t *work)
{
    struct copy *c = work->data;
    c->result = tree_copy(c->from, c->to, &c->copied);
}

static void copy_done(uv_work_t *work, int status)
{
    struct copy *c = work->data;
    struct engine *e = c->engine;
    struct branch *b = branch_find(e, c->token);
    struct err err = {0};
    int result = status < 0 ? -ECANCELED : c->result;
    if (b != NULL && result < 0) {
        bool full = result == -ENOSPC || result == -EDQUOT || result == -EFBIG;
        (void)err_sys(&err, full ? ERR_DISK_QUOTA : ERR_FORK_FAILED, -result, "copy",
                      "the working directory can't be copied: %s",
                      result == -EFBIG ? "it is larger than a copy may be" : strerror(-result));
        fail(b, &err, false);
    } else if (b != NULL) {
        if (c->copied.skipped > 0) {
            warn(b, "sockets, pipes and devices of the working directory were not copied");
        }
        hold(b);
    }
    fd_close(&c->from);
    fd_close(&c->to);
    free(c);
    e->jobs--;
    engine_check(e);
}

static int copy_directory(struct branch *b)
{
    const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    struct copy *c = calloc(1, sizeof *c);
    if (c == NULL) {
        return -ENOMEM;
    }
    c->work.data = c;
    c->engine = b->engine;
    c->token = b->token;
    c->from = open(b->parent->workdir->path, flags);
    c->to = open(b->child->workdir->path, flags);
    int r = c->from < 0 || c->to < 0 ? -errno : 0;
    if (r == 0) {
        r = uv_queue_work(b->engine->loop, &c->work, copy_work, copy_done);
    }
    if (r < 0) {
        fd_close(&c->from);
        fd_close(&c->to);
        free(c);
        return r;
    }
    b->phase = COPYING;
    b->engine->jobs++;
    return 0;
}

/* What a branch is made from: its parent's request, with what the call changes. */
static int make_child(struct branch *b, struct session **ret_child, struct err *err)
{
    struct session *parent = b->parent;
    Pyexec__V1__CreateSessionRequest create = *parent->create;
    const Pyexec__V1__ForkSessionRequest *q = b->request;
    create.request_id = (char *)(uintptr_t)protobuf_c_empty_string;
    create.working_directory = (char *)(uintptr_t)protobuf_c_empty_string;
    if (q->n_labels > 0) { /* both maps are of strings to strings */
        create.n_labels = q->n_labels;
        create.labels = (Pyexec__V1__CreateSessionRequest__LabelsEntry **)q->labels;
    }
    if (q->idle_timeout != NULL) {
        create.idle_timeout = q->idle_timeout;
    }
    return session_new(b->engine, parent->principal, &create, false,
                       q->copy_working_directory ? NULL : parent->workdir, ret_child, err);
}

static void next_child(struct branch *b)
{
    struct session *child;
    struct err err = {0};
    b->token = ++b->engine->serials;
    b->pid = 0;
    if (make_child(b, &child, &err) < 0) {
        finish(b, &err, false);
        return;
    }
    child->refs++;
    child->branched = true;
    child->branch = b;
    child->runs = b->parent->runs;
    child->execution_count = b->parent->execution_count;
    memcpy(child->parent_id, b->parent->id, sizeof child->parent_id);
    b->child = child;
    b->process = NULL;
    if (!b->request->copy_working_directory) {
        hold(b);
        return;
    }
    b->phase = COPYING;
    int r = copy_directory(b);
    if (r < 0) {
        (void)err_sys(&err, ERR_FORK_FAILED, -r, "copy",
                      "the working directory can't be copied: %s", strerror(-r));
        fail(b, &err, false);
    }
}

void branch_send(struct session *s)
{
    next_child(s->branch);
}

void branch_held(struct engine *e, uint64_t token, int sys_errno)
{
    struct branch *b = branch_find(e, token);
    if (b == NULL || b->phase != HOLDING) {
        return; /* failed meanwhile, or the launcher repeats what the zygote had answered */
    }
    if (sys_errno != 0) {
        struct err err = {0};
        (void)err_sys(&err, ERR_FORK_FAILED, sys_errno, "hold",
                      "the session can't be forked now (%s): try again", strerror(sys_errno));
        fail(b, &err, false);
        return;
    }
    Pyexec__Internal__SessionBranch m = PYEXEC__INTERNAL__SESSION_BRANCH__INIT;
    uint8_t packed[16];
    m.token = token;
    size_t size = pyexec__internal__session_branch__pack(&m, packed);
    b->phase = FORKING;
    if (process_send(b->parent->process, SESSION_FRAME_BRANCH, packed, size, b->process->child_fds,
                     4) < 0) {
        return; /* the parent is killed: branch_over follows */
    }
    process_lent(b->process);
}

static void branched(struct branch *b, const Pyexec__Internal__SessionBranched *m)
{
    for (size_t i = 0; i < m->n_warnings && i < WARNINGS_MAX; i++) {
        warn(b, m->warnings[i]);
    }
    if (m->pid > 0) {
        b->pid = m->pid;
        b->phase = TAKING;
        (void)reaper_branch_end(b->reaper, b->token, m->pid);
        return;
    }
    struct err err = {0};
    if (m->unsafe[0] != '\0') {
        report_clean_text(m->unsafe);
        (void)err_set(&err, ERR_FORK_UNSAFE, "%.200s", m->unsafe);
    } else {
        (void)err_sys(&err, ERR_FORK_FAILED, m->sys_errno, "fork", "the session can't fork: %s",
                      strerror(m->sys_errno));
    }
    fail(b, &err, false);
}

void branch_answered(struct process *p, const uint8_t *data, size_t size)
{
    struct session *s = p->session;
    struct branch *b = s != NULL && s->branch != NULL && s->branch->parent == s ? s->branch : NULL;
    Pyexec__Internal__SessionBranched *m =
        pyexec__internal__session_branched__unpack(NULL, size, data);
    if (b == NULL || m == NULL || m->token != b->token || b->phase != FORKING) {
        frames_broken(p, "answered a fork that nobody asked for");
    } else {
        branched(b, m);
    }
    if (m != NULL) {
        pyexec__internal__session_branched__free_unpacked(m, NULL);
    }
}

void branch_taken(struct engine *e, uint64_t token, int sys_errno)
{
    struct branch *b = branch_find(e, token);
    if (b == NULL || b->phase != TAKING) {
        return;
    }
    if (sys_errno != 0) {
        struct err err = {0};
        (void)err_sys(&err, ERR_FORK_FAILED, sys_errno, "take",
                      "the branch is not the session's child, or has died: try again");
        fail(b, &err, false);
        return;
    }
    timer_stop(&e->timers, &b->timer);
    b->phase = WARMING;
    process_spawned(b->process, b->pid, b->reaper);
}

void branch_adopted(struct session *s, bool named)
{
    struct branch *b = s->branch;
    if (b == NULL || b->parent != s || b->phase == COPYING || b->phase == WARMING) {
        return;
    }
    if (!named) {
        b->reaper = s->process->reaper;
        (void)reaper_branch_begin(b->reaper, s->process->pid, b->token);
    } else if (b->phase == TAKING) {
        (void)reaper_branch_end(b->reaper, b->token, b->pid);
    }
}

void branch_over(struct session *s)
{
    struct branch *b = s->branch;
    if (b == NULL || b->parent != s) {
        return;
    }
    if (b->phase == WARMING) {
        /* The branch lives on its own by now, but the call is about a session that is gone. */
        struct session *child = b->child;
        b->child = NULL;
        child->branch = NULL;
        session_delete(child, CAUSE_DELETED);
        session_unref(child);
    }
    struct err err = {0};
    (void)err_set(&err, ERR_SESSION_DEAD, "the session's interpreter died while it was forked");
    fail(b, &err, true);
}

void branch_ready(struct session *s, const struct err *err)
{
    struct branch *b = s->branch;
    if (b == NULL || b->child != s) {
        return;
    }
    b->child = NULL;
    b->process = NULL;
    if (err != NULL) {
        struct err copy = *err;
        s->branch = NULL;
        session_unref(s);
        finish(b, &copy, false);
        return;
    }
    b->made[b->made_len++] = s; /* with its reference */
    if (b->made_len < b->count) {
        next_child(b);
    } else {
        finish(b, NULL, false);
    }
}

/* --- the call ----------------------------------------------------------------------------------- */

static int check_state(const struct session *s, struct err *err)
{
    switch (s->state) {
    case SESSION_IDLE:
        break;
    case SESSION_DEAD:
    case SESSION_DYING:
        return err_set(err, ERR_SESSION_DEAD,
                       "the session's interpreter died: there is nothing to fork");
    default:
        (void)err_set(err, ERR_SESSION_BUSY, "only an idle session can be forked");
        if (s->running != NULL) {
            err_detail(err, "currentExecutionId", s->running->execution_id);
        }
        return -1;
    }
    return list_empty(&s->queue)
               ? 0
               : err_set(err, ERR_SESSION_BUSY, "executions wait in the session's queue");
}

static int check(struct engine *e, const struct session *s, const Pyexec__V1__ForkSessionRequest *q,
                 struct err *err)
{
    int64_t idle;
    if (limits_id("request_id", q->request_id, false, err) < 0 ||
        limits_labels(e, q->labels, q->n_labels, err) < 0 ||
        limits_duration("idle_timeout", q->idle_timeout, &idle, err) < 0) {
        return -1;
    }
    if (q->count > COUNT_MAX) {
        return err_field(err, "count", "count: from 1 to %d branches in one call", COUNT_MAX);
    }
    if (e->draining || e->closing || e->failed) {
        return err_set(err, ERR_SERVER_DRAINING, "the server is shutting down");
    }
    unsigned count = q->count > 0 ? q->count : 1;
    if (count > e->limits.max_sessions - e->session_count) {
        return err_set(err, ERR_NODE_AT_CAPACITY, "this node has no room for %u more sessions",
                       count);
    }
    return check_state(s, err);
}

/* A request_id that is known: the same sessions. True: answered. */
static bool fork_again(struct engine *e, const struct engine_caller *caller,
                       const Pyexec__V1__ForkSessionRequest *q, const uint64_t hash[2],
                       engine_done_fn *done, void *ctx)
{
    struct request_memory *r = request_recall(e, "fork", q->request_id);
    struct err err = {0};
    if (r == NULL) {
        return false;
    }
    if (memcmp(r->hash, hash, sizeof r->hash) != 0) {
        (void)err_set(&err, ERR_REQUEST_ID_REUSED, "request_id was used for another fork");
        done(ctx, NULL, &err);
        return true;
    }
    struct session *sessions[COUNT_MAX];
    unsigned n = 0;
    char *ids = strdup(r->value);
    char *save = NULL;
    for (char *id = ids != NULL ? strtok_r(ids, " ", &save) : NULL; id != NULL && n < COUNT_MAX;
         id = strtok_r(NULL, " ", &save)) {
        sessions[n] = session_find(e, caller, id, &err);
        if (sessions[n] == NULL) {
            break;
        }
        n++;
    }
    free(ids);
    if (ids == NULL || err.code != ERR_NONE) {
        if (ids == NULL) {
            (void)err_set(&err, ERR_NO_MEMORY, "out of memory");
        }
        done(ctx, NULL, &err);
    } else {
        answer(sessions, n, NULL, 0, done, ctx);
    }
    return true;
}

void engine_fork_session(struct engine *e, const struct engine_caller *caller,
                         const Pyexec__V1__ForkSessionRequest *q, engine_done_fn *done, void *ctx)
{
    struct err err = {0};
    uint64_t hash[2] = {0, 0};
    struct session *s = session_find(e, caller, q->session_id, &err);
    if (s != NULL && q->request_id[0] != '\0') {
        (void)hash_message(&q->base, hash);
        if (fork_again(e, caller, q, hash, done, ctx)) {
            return;
        }
    }
    if (s == NULL || check(e, s, q, &err) < 0) {
        done(ctx, NULL, &err);
        return;
    }
    unsigned count = q->count > 0 ? q->count : 1;
    struct branch *b = calloc(1, sizeof *b);
    struct session **made = calloc(count, sizeof(struct session *));
    ProtobufCMessage *copy = message_clone(&q->base);
    if (b == NULL || made == NULL || copy == NULL) {
        free(b);
        free(made);
        if (copy != NULL) {
            protobuf_c_message_free_unpacked(copy, NULL);
        }
        (void)err_set(&err, ERR_NO_MEMORY, "out of memory");
        done(ctx, NULL, &err);
        return;
    }
    b->engine = e;
    b->parent = s;
    b->request = (Pyexec__V1__ForkSessionRequest *)copy;
    memcpy(b->hash, hash, sizeof b->hash);
    b->done = done;
    b->ctx = ctx;
    b->count = count;
    b->made = made;
    list_push_back(&e->branches, &b->node);
    s->refs++;
    s->branch = b;
    session_use(s);
    session_event(s, SESSION_EVENT_BRANCH);
}
