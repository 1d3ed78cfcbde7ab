/* process.c: a session process from the fork to its last handle.
 *
 * A process is a spare, a session's, or nobody's (then it is on its way out). It reports to its
 * owner exactly once that it is ready and exactly once that it ended; after its end the struct
 * lives until libuv has closed its handles. */
#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "service/session/internal.h"

#define SPAWN_LIMIT (10 * NS_PER_SEC) /* for a zygote that lives: it hangs otherwise */

static void serial_key(const struct process *p, char key[24])
{
    (void)snprintf(key, 24, "%llu", (unsigned long long)p->serial);
}

static void pid_key(const struct process *p, char key[24])
{
    (void)snprintf(key, 24, "%d", p->pid);
}

/* The offset page: sealed, so that the session can neither cut it under the daemon's feet nor write. */
static int make_page(struct process *p)
{
    FD_AUTO int fd = memfd_create("pyexec-page", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0 || ftruncate(fd, SESSION_PAGE_SIZE) < 0) {
        return -errno;
    }
    void *page = mmap(NULL, SESSION_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED) {
        return -errno;
    }
    p->page = page;
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) <
        0) {
        return -errno;
    }
    p->child_fds[3] = FD_STEAL(fd);
    return 0;
}

static int make_fds(struct process *p)
{
    int pair[2];
    int r = fd_socketpair(pair);
    if (r < 0) {
        return r;
    }
    p->control = pair[0];
    p->child_fds[0] = pair[1];
    r = fd_set_nonblock(p->control, true);
    if (r == 0) {
        r = io_make_pipes(p->pipe, &p->child_fds[1]);
    }
    return r == 0 ? make_page(p) : r;
}

static void close_child_fds(struct process *p)
{
    for (unsigned i = 0; i < 4; i++) {
        fd_close(&p->child_fds[i]);
    }
}

static int fail_make(struct process *p, int sys_errno, struct err *err)
{
    close_child_fds(p);
    process_discard(p);
    bool full = sys_errno == EMFILE || sys_errno == ENFILE || sys_errno == ENOMEM;
    return err_sys(err, full ? ERR_NODE_AT_CAPACITY : ERR_FORK_FAILED, sys_errno, "descriptors",
                   "a session process needs descriptors that this node does not have (%s)",
                   strerror(sys_errno));
}

int process_make(struct engine *e, struct process **ret_process, struct err *err)
{
    struct process *p = calloc(1, sizeof *p);
    if (p == NULL) {
        return err_set(err, ERR_NO_MEMORY, "out of memory");
    }
    p->engine = e;
    p->serial = ++e->serials;
    p->control = p->pipe[0] = p->pipe[1] = p->fresh[0] = p->fresh[1] = -1;
    p->child_fds[0] = p->child_fds[1] = p->child_fds[2] = p->child_fds[3] = -1;
    p->publishing = true;
    list_init(&p->spare_node);
    list_init(&p->reaped_by);
    list_init(&p->spawn_node);
    list_init(&p->old_pipes);
    order_init(&p->order);
    wire_reader_init(&p->reader, -1, WIRE_FROM_SESSION_MAX, 0);
    wire_writer_init(&p->writer, -1);
    e->process_count++;
    char key[24];
    serial_key(p, key);
    if (strmap_put(&e->processes_by_serial, key, p) < 0) {
        return fail_make(p, ENOMEM, err);
    }
    int r = make_fds(p);
    if (r == 0) {
        r = io_open(p);
    }
    if (r < 0) {
        return fail_make(p, -r, err);
    }
    *ret_process = p;
    return 0;
}

static void on_timer(struct timer *timer)
{
    struct process *p = LIST_CONTAINER(timer, struct process, timer);
    struct err err = {0};
    if (p->state == PROCESS_SPAWNING && p->reaper != NULL &&
        p->reaper != &p->engine->zygotes.launcher) {
        zygotes_hung(LIST_CONTAINER(p->reaper, struct zygote, channel));
    }
    (void)err_set(&err, ERR_FORK_FAILED, "no session process became ready in time: try again");
    if (p->state == PROCESS_WARMING) {
        process_kill(p); /* its end is the failure */
    } else {
        process_failed(p, &err);
    }
}

int process_spawn(struct engine *e, bool warm_up, struct process **ret_process, struct err *err)
{
    struct process *p;
    if (process_make(e, &p, err) < 0) {
        return -1;
    }
    p->warm_up = warm_up;
    if (timer_start(&e->timers, &p->timer, clock_add(clock_mono_ns(), e->limits.dispatch_ns),
                    on_timer) < 0) {
        return fail_make(p, ENOMEM, err);
    }
    *ret_process = p;
    return 0;
}

void process_sent(struct process *p, struct channel *reaper)
{
    close_child_fds(p);
    list_remove(&p->spawn_node);
    p->state = PROCESS_SPAWNING;
    p->reaper = reaper;
    list_push_back(&reaper->processes, &p->reaped_by);
    int64_t limit = p->engine->limits.dispatch_ns;
    limit = limit < SPAWN_LIMIT ? limit : SPAWN_LIMIT;
    /* A zygote that is not ready yet imports modules: that may take its time. */
    if (p->engine->zygotes.facts != NULL) {
        (void)timer_start(&p->engine->timers, &p->timer, clock_add(clock_mono_ns(), limit),
                          on_timer);
    }
}

void process_lent(struct process *p)
{
    close_child_fds(p);
    p->state = PROCESS_SPAWNING;
}

void process_spawned(struct process *p, pid_t pid, struct channel *reaper)
{
    char key[24];
    p->pid = pid;
    p->state = PROCESS_WARMING;
    if (p->reaper != reaper) {
        list_remove(&p->reaped_by);
        list_push_back(&reaper->processes, &p->reaped_by);
        p->reaper = reaper;
    }
    pid_key(p, key);
    bool known = strmap_put(&p->engine->processes_by_pid, key, p) == 0;
    if (p->kill_wanted || !known) {
        process_kill(p);
    }
    (void)timer_start(&p->engine->timers, &p->timer,
                      clock_add(clock_mono_ns(), p->engine->limits.dispatch_ns), on_timer);
    if (p->ready_early) {
        process_ready(p);
    }
}

void process_ready(struct process *p)
{
    timer_stop(&p->engine->timers, &p->timer);
    p->state = PROCESS_READY;
    if (p->kill_wanted) {
        return;
    }
    if (p->spare) {
        spare_ready(p);
    } else if (p->session != NULL) {
        session_process_ready(p->session);
    }
}

/* Tells the owner; nobody's process has no one to tell. */
static void report_end(struct process *p, const struct err *err)
{
    struct engine *e = p->engine;
    if (p->spare) {
        spare_ended(p);
    }
    if (p->session != NULL) {
        session_process_ended(p->session, err);
    }
    process_discard(p);
    engine_check(e);
}

void process_failed(struct process *p, const struct err *err)
{
    if (p->state == PROCESS_ENDED) {
        return;
    }
    p->exited = true;
    p->vanished = true;
    report_end(p, err);
}

void process_exited(struct process *p, const Pyexec__Internal__ZygoteExited *facts)
{
    char key[24];
    if (p->exited) {
        return;
    }
    pid_key(p, key);
    (void)strmap_remove(&p->engine->processes_by_pid, key);
    list_remove(&p->reaped_by);
    p->reaper = NULL;
    p->exited = true;
    p->signals_pending = 0;
    p->wait_status = facts->wait_status;
    p->unseen = facts->status_unknown;
    p->cpu_user_ns = facts->cpu_user_ns;
    p->cpu_system_ns = facts->cpu_system_ns;
    p->max_rss_bytes = facts->max_rss_bytes;
    if (facts->survivors > 0) {
        log_event(LOG_ERROR, "session.survivors", "session", p->session ? p->session->id : NULL,
                  (char *)NULL);
    }
    io_drain(p);
    struct err err = {0};
    if (WIFEXITED(p->wait_status)) {
        (void)err_set(&err, ERR_FORK_FAILED,
                      "a session process ended with status %d before it was ready",
                      WEXITSTATUS(p->wait_status));
    } else {
        (void)err_set(&err, ERR_FORK_FAILED,
                      "a session process was killed by signal %d before it was ready",
                      WTERMSIG(p->wait_status));
    }
    report_end(p, &err);
}

void process_kill(struct process *p)
{
    if (p->state == PROCESS_ENDED || p->exited) {
        return;
    }
    if (p->state == PROCESS_WAITING) {
        struct err err = {0};
        (void)err_set(&err, ERR_FORK_FAILED, "the session was given up before it was forked");
        process_failed(p, &err);
        return;
    }
    p->kill_wanted = true;
    if (p->pid != 0 && !p->kill_sent) {
        p->kill_sent = true;
        reaper_kill(p);
    }
}

void process_interrupt(struct process *p)
{
    if (p->state == PROCESS_READY && !p->exited) {
        reaper_signal(p, SIGINT, true);
    }
}

void process_signalled(struct process *p)
{
    p->signals_pending -= p->signals_pending > 0;
    if (p->signals_pending == 0 && p->session != NULL) {
        dispatch_session(p->session);
    }
}

int process_send(struct process *p, enum session_frame type, const void *payload, size_t size,
                 const int *fds, size_t fd_count)
{
    int r = p->control < 0
                ? -EPIPE
                : wire_writer_send(&p->writer, (uint16_t)type, payload, size, fds, fd_count);
    if (r < 0) {
        process_kill(p);
        return -1;
    }
    io_watch_control(p);
    return 0;
}

void process_discard(struct process *p)
{
    struct engine *e = p->engine;
    char key[24];
    if (p->state == PROCESS_ENDED) {
        return;
    }
    p->state = PROCESS_ENDED;
    p->session = NULL;
    serial_key(p, key);
    (void)strmap_remove(&e->processes_by_serial, key);
    if (p->pid != 0) {
        pid_key(p, key);
        if (strmap_get(&e->processes_by_pid, key) == p) {
            (void)strmap_remove(&e->processes_by_pid, key);
        }
    }
    timer_stop(&e->timers, &p->timer);
    list_remove(&p->spawn_node);
    list_remove(&p->reaped_by);
    close_child_fds(p);
    io_close(p); /* frees `p`, now or when its handles are closed */
}

struct each {
    void (*fn)(struct process *process, void *ctx);
    void *ctx;
    struct process **all;
    size_t n;
};

static void collect(const char *key, void *value, void *ctx)
{
    struct each *each = ctx;
    (void)key;
    each->all[each->n++] = value;
}

void process_each(struct engine *e, void (*fn)(struct process *process, void *ctx), void *ctx)
{
    struct each each = {.fn = fn, .ctx = ctx};
    each.all = calloc(e->processes_by_serial.len + 1, sizeof(struct process *));
    if (each.all == NULL) {
        return;
    }
    strmap_each(&e->processes_by_serial, collect, &each);
    for (size_t i = 0; i < each.n; i++) {
        fn(each.all[i], ctx);
    }
    free(each.all);
}
