#include "service/zygote/reap.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "service/base/log.h"
#include "service/zygote/orphans.h"

enum child_kind {
    CHILD_SESSION,
    CHILD_ZYGOTE,
    CHILD_SURVIVOR, /* an orphan that outlived the bound: nobody waits for it any more */
};

struct reap_child {
    struct reap_child *next; /* in its bucket */
    struct list node;        /* in `dead` or `kept` */
    enum child_kind kind;
    int64_t dead_ns;
    struct reap_exit exit; /* .pid from the start, the rest from its death */
};

/* A look costs a microsecond a process of the machine: where sessions end all the time, and leave
 * nothing, looks take at most a fifth of the time, and forks have the rest. */
#define REST_PER_LOOK 4

#define CHILD_OF(it) LIST_CONTAINER(it, struct reap_child, node)

void reap_init(struct reaper *r)
{
    memset(r, 0, sizeof *r);
    list_init(&r->dead);
    list_init(&r->kept);
}

static void free_list(struct list *l)
{
    struct list *it;
    while ((it = list_pop_front(l)) != NULL) {
        free(CHILD_OF(it));
    }
}

void reap_release(struct reaper *r)
{
    for (unsigned i = 0; i < REAP_BUCKETS; i++) {
        while (r->buckets[i] != NULL) {
            struct reap_child *c = r->buckets[i];
            r->buckets[i] = c->next;
            free(c);
        }
    }
    free_list(&r->dead);
    free_list(&r->kept);
    free(r->spare);
    reap_init(r);
}

/* --- the table -------------------------------------------------------------------------------- */

static struct reap_child *find(const struct reaper *r, pid_t pid)
{
    struct reap_child *c = r->buckets[(unsigned)pid % REAP_BUCKETS];
    while (c != NULL && c->exit.pid != pid) {
        c = c->next;
    }
    return c;
}

static struct reap_child *take_out(struct reaper *r, pid_t pid)
{
    struct reap_child **at = &r->buckets[(unsigned)pid % REAP_BUCKETS];
    while (*at != NULL && (*at)->exit.pid != pid) {
        at = &(*at)->next;
    }
    struct reap_child *c = *at;
    if (c != NULL) {
        *at = c->next;
        r->len--;
    }
    return c;
}

static void put_in(struct reaper *r, pid_t pid, enum child_kind kind)
{
    struct reap_child *c = r->spare;
    assert(c != NULL && find(r, pid) == NULL);
    r->spare = NULL;
    memset(c, 0, sizeof *c);
    list_init(&c->node);
    c->exit.pid = pid;
    c->kind = kind;
    c->next = r->buckets[(unsigned)pid % REAP_BUCKETS];
    r->buckets[(unsigned)pid % REAP_BUCKETS] = c;
    r->len++;
}

int reap_reserve(struct reaper *r)
{
    if (r->len >= REAP_CHILDREN_MAX) {
        return -EAGAIN;
    }
    if (r->spare == NULL) {
        r->spare = malloc(sizeof *r->spare);
    }
    return r->spare != NULL ? 0 : -ENOMEM;
}

void reap_add(struct reaper *r, pid_t pid, bool zygote)
{
    put_in(r, pid, zygote ? CHILD_ZYGOTE : CHILD_SESSION);
}

bool reap_is_session(const struct reaper *r, pid_t pid)
{
    const struct reap_child *c = find(r, pid);
    return c != NULL && c->kind == CHILD_SESSION;
}

int reap_signal(const struct reaper *r, pid_t pid, int signal, bool group)
{
    if (signal < 1 || signal > SIGRTMAX) {
        return -EINVAL;
    }
    if (!reap_is_session(r, pid)) {
        return -ESRCH;
    }
    /* The session is in the group that it leads: one signal, not two, or its code would be
     * interrupted again in its own handler. Before it leads one, the group is not there. */
    if (group && kill(-pid, signal) == 0) {
        return 0;
    }
    return kill(pid, signal) < 0 ? -errno : 0;
}

int reap_kill(const struct reaper *r, pid_t pid)
{
    const struct reap_child *c = find(r, pid);
    if (c == NULL || c->kind == CHILD_SURVIVOR) {
        return -ESRCH;
    }
    return kill(pid, SIGKILL) < 0 ? -errno : 0;
}

/* --- exits ------------------------------------------------------------------------------------ */

static void bury(struct reaper *r, struct reap_child *c)
{
    c->dead_ns = clock_mono_ns();
    list_push_back(&r->dead, &c->node);
    r->sweeping = true;
}

/* An exit of nobody's may be that of a session that will be claimed: one of a dead zygote (whose own
 * exit may come after it), or a branch. reap_collect drops what can't be. */
static void keep(struct reaper *r, const struct reap_exit *exit)
{
    struct reap_child *c = malloc(sizeof *c);
    if (c == NULL) {
        return; /* a claim will find nothing and report the exit as unknown */
    }
    memset(c, 0, sizeof *c);
    list_init(&c->node);
    c->exit = *exit;
    list_push_back(&r->kept, &c->node);
    r->kept_len++;
    if (r->kept_len > REAP_KEPT_MAX) {
        free(CHILD_OF(list_pop_front(&r->kept)));
        r->kept_len--;
    }
}

static void count_orphan(struct reaper *r, pid_t session_of_orphan, int wait_status)
{
    r->buried++;
    if (!WIFSIGNALED(wait_status) || WTERMSIG(wait_status) != SIGKILL || list_empty(&r->dead)) {
        return;
    }
    struct reap_child *whose = CHILD_OF(r->dead.next);
    LIST_FOREACH (it, &r->dead) {
        if (CHILD_OF(it)->exit.pid == session_of_orphan) {
            whose = CHILD_OF(it);
        }
    }
    whose->exit.orphans_killed++;
}

/* One dead child. False when there is none. */
static bool collect_one(struct reaper *r)
{
    siginfo_t info = {.si_pid = 0};
    struct reap_exit exit = {0};
    /* A look first: the id of its kernel session, which tells whose orphan it is, goes with it. */
    if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT | __WALL) < 0 || info.si_pid == 0) {
        return false;
    }
    pid_t sid = getsid(info.si_pid);
    exit.pid = wait4(info.si_pid, &exit.wait_status, WNOHANG | __WALL, &exit.usage);
    if (exit.pid <= 0) {
        return false;
    }
    struct reap_child *c = take_out(r, exit.pid);
    if (c == NULL) {
        count_orphan(r, sid, exit.wait_status);
        keep(r, &exit);
    } else if (c->kind == CHILD_SESSION) {
        c->exit = exit;
        bury(r, c);
    } else {
        if (c->kind == CHILD_ZYGOTE) {
            r->adoptions_due++;
            r->on_zygote(r, exit.pid, exit.wait_status);
        }
        free(c);
    }
    return true;
}

static bool claims_may_come(const struct reaper *r)
{
    return r->adoptions_due > 0 || r->hold_count > 0;
}

static void drop_kept(struct reaper *r)
{
    if (!claims_may_come(r)) {
        free_list(&r->kept);
        r->kept_len = 0;
    }
}

static struct reap_child *take_kept(struct reaper *r, pid_t pid)
{
    LIST_FOREACH (it, &r->kept) {
        if (CHILD_OF(it)->exit.pid == pid) {
            list_remove(it);
            r->kept_len--;
            return CHILD_OF(it);
        }
    }
    return NULL;
}

static bool is_dead_session(const struct reaper *r, pid_t pid)
{
    LIST_FOREACH (it, &r->dead) {
        if (CHILD_OF(it)->exit.pid == pid) {
            return true;
        }
    }
    return false;
}

int reap_claim(struct reaper *r, pid_t pid)
{
    siginfo_t info;
    if (pid <= 1) {
        return -EINVAL;
    }
    if (find(r, pid) != NULL || is_dead_session(r, pid)) {
        return -EEXIST;
    }
    struct reap_child *gone = take_kept(r, pid);
    if (gone != NULL) {
        bury(r, gone);
        return 0;
    }
    if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT | __WALL) < 0) {
        return -ECHILD;
    }
    int rc = reap_reserve(r);
    if (rc == 0) {
        put_in(r, pid, CHILD_SESSION);
    }
    return rc;
}

void reap_report_unknown(struct reaper *r, pid_t pid)
{
    struct reap_exit exit = {.pid = pid, .unknown = true};
    struct reap_child *c = calloc(1, sizeof *c);
    if (c == NULL) {
        r->on_exit(r, &exit); /* early is better than never */
        return;
    }
    list_init(&c->node);
    c->exit = exit;
    bury(r, c);
}

/* --- orphans ---------------------------------------------------------------------------------- */

static bool known(void *ctx, pid_t pid)
{
    return find(ctx, pid) != NULL;
}

static void give_up(void *ctx, pid_t pid)
{
    struct reaper *r = ctx;
    if (reap_reserve(r) == 0) {
        put_in(r, pid, CHILD_SURVIVOR);
    }
}

static uint64_t spare_since(const struct reaper *r)
{
    uint64_t since = ORPHANS_SPARE_NONE;
    for (unsigned i = 0; i < r->hold_count; i++) {
        since = r->holds[i].since_ticks < since ? r->holds[i].since_ticks : since;
    }
    return since;
}

/* Reports the dead sessions, all or those that have waited too long. */
static void finish(struct reaper *r, int64_t dead_before, unsigned survivors)
{
    LIST_FOREACH (it, &r->dead) {
        struct reap_child *c = CHILD_OF(it);
        if (c->dead_ns <= dead_before) {
            list_remove(it);
            c->exit.survivors = survivors;
            r->on_exit(r, &c->exit);
            free(c);
        }
    }
}

static int look(struct reaper *r, void (*killing)(void *, pid_t), struct orphans_found *found)
{
    struct orphans_rule rule = {
        .known = known,
        .killing = killing,
        .ctx = r,
        .spare_since = spare_since(r),
    };
    int rc = orphans_kill(&rule, found);
    if (rc < 0) {
        char text[16];
        (void)snprintf(text, sizeof text, "%d", -rc);
        log_event(LOG_ERROR, "orphans.unseen", "errno", text, (char *)NULL);
    }
    return rc;
}

static int64_t cpu_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * NS_PER_SEC + t.tv_nsec;
}

/* One look for orphans. What it kills sends SIGCHLD, which brings the next look: nothing waits. */
static void sweep(struct reaper *r)
{
    struct orphans_found found = {0};
    int64_t now = clock_mono_ns();
    int64_t late = now - REAP_ORPHANS_NS;
    bool overdue = !list_empty(&r->dead) && CHILD_OF(r->dead.next)->dead_ns <= late;
    int64_t cost = cpu_ns();
    int rc = look(r, overdue ? give_up : NULL, &found);
    cost = cpu_ns() - cost;
    r->awaited = found.killed;
    r->buried = 0;
    r->next_look_ns = 0; /* no rest for what was found: it may be forking */
    if (rc == 0 && found.killed == 0 && found.spared == 0) {
        r->sweeping = false;
        r->next_look_ns = clock_mono_ns() + cost * REST_PER_LOOK;
        finish(r, INT64_MAX, 0);
    } else if (overdue) {
        finish(r, late, found.killed + found.spared);
        r->awaited = 0; /* nobody waits for those that survived */
        if (!list_empty(&r->dead)) {
            sweep(r);
        }
    }
}

static void sweep_if_due(struct reaper *r)
{
    /* While a zygote's sessions are not named yet, they look like orphans. Many deaths bring many
     * SIGCHLDs; looking again is worth its price when half of what was killed is gone. */
    if (!r->sweeping || r->adoptions_due > 0 || r->buried * 2 < r->awaited) {
        return;
    }
    r->postponed = clock_mono_ns() < r->next_look_ns;
    if (!r->postponed) {
        sweep(r);
    }
}

void reap_collect(struct reaper *r)
{
    while (collect_one(r)) {
    }
    drop_kept(r);
    sweep_if_due(r);
}

void reap_adopted(struct reaper *r)
{
    if (r->adoptions_due > 0) {
        r->adoptions_due--;
    }
    r->sweeping = true;
    drop_kept(r);
    sweep_if_due(r);
}

int reap_hold(struct reaper *r, uint64_t token)
{
    if (r->hold_count == REAP_HOLDS_MAX) {
        return -EAGAIN;
    }
    r->holds[r->hold_count++] = (struct reap_hold){
        .token = token,
        /* A branch of a dead zygote's session may be older than the request. */
        .since_ticks = r->adoptions_due > 0 ? 0 : orphans_ticks_now(),
        .until_ns = clock_add(clock_mono_ns(), REAP_HOLD_NS),
    };
    return 0;
}

static void remove_hold(struct reaper *r, unsigned i)
{
    r->hold_count--;
    memmove(&r->holds[i], &r->holds[i + 1], (r->hold_count - i) * sizeof *r->holds);
    /* Whoever was spared for it is an orphan now. */
    r->sweeping = true;
    r->awaited = 0;
}

void reap_unhold(struct reaper *r, uint64_t token)
{
    for (unsigned i = 0; i < r->hold_count; i++) {
        if (r->holds[i].token == token) {
            remove_hold(r, i);
            break;
        }
    }
    drop_kept(r);
    sweep_if_due(r);
}

int64_t reap_deadline(const struct reaper *r)
{
    int64_t due = CLOCK_NEVER;
    if (r->adoptions_due == 0 && r->postponed) {
        due = r->next_look_ns;
    } else if (r->adoptions_due == 0 && !list_empty(&r->dead)) {
        due = clock_add(CHILD_OF(r->dead.next)->dead_ns, REAP_ORPHANS_NS);
    }
    if (r->hold_count > 0 && r->holds[0].until_ns < due) {
        due = r->holds[0].until_ns; /* the first is the oldest */
    }
    return due;
}

void reap_tick(struct reaper *r)
{
    int64_t now = clock_mono_ns();
    if (reap_deadline(r) > now) {
        return;
    }
    while (r->hold_count > 0 && r->holds[0].until_ns <= now) {
        log_event(LOG_WARN, "branch.hold_expired", (char *)NULL);
        remove_hold(r, 0);
    }
    if (!r->postponed) {
        r->awaited = 0; /* the bound has come: look, whatever has died since */
    }
    drop_kept(r);
    sweep_if_due(r);
}
