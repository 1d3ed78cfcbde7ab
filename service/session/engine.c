/* engine.c: the engine's own life, and the post queue.
 *
 * Theory of operation. One thread, the loop's, owns everything here; completion threads post tasks
 * and read logs, nothing else. A request becomes an execution in a session's queue
 * (execution_calls.c). A session (session.c, by the table in session_state.c) has at most one
 * process. A process (process.c) is forked by a zygote (zygotes.c), ahead of need as a spare
 * (spare.c) or on demand, and is three descriptors here (io.c): a control socket, whose frames
 * (frames.c) say what the session does, and two pipes, whose bytes are put in order by the marks in
 * those frames (order.c). dispatch.c sends the code and holds the time limit; result.c makes the one
 * result. What was written is in the execution's log (execlog.c), from which any number of callers
 * read at their own pace (log_read.c), also after the end, until retention takes it.
 *
 * Objects go in two steps: they leave the tables at once, and are freed when their handles have
 * closed and their references are gone. engine_check looks, whenever something went, whether a
 * drain or the closing is complete: closing kills all processes, then lets zygotes and launcher go
 * by end of file, then closes the engine's own handles. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "service/session/internal.h"
#include "service/session/tree.h"

#define CLOSE_LIMIT (15 * NS_PER_SEC)
#define OWN_HANDLES 2 /* wake and timers: the last to be closed */

/* --- tasks from other threads ------------------------------------------------------------------- */

void engine_post(struct engine *e, struct engine_task *task)
{
    (void)pthread_mutex_lock(&e->post_lock);
    bool first = list_empty(&e->posted);
    list_push_back(&e->posted, &task->node);
    (void)pthread_mutex_unlock(&e->post_lock);
    if (first) {
        (void)uv_async_send(&e->wake);
    }
}

static void on_wake(uv_async_t *wake)
{
    struct engine *e = wake->data;
    struct list batch;
    list_init(&batch);
    (void)pthread_mutex_lock(&e->post_lock);
    while (!list_empty(&e->posted)) {
        list_push_back(&batch, list_pop_front(&e->posted));
    }
    (void)pthread_mutex_unlock(&e->post_lock);
    struct list *node;
    while ((node = list_pop_front(&batch)) != NULL) {
        struct engine_task *task = LIST_CONTAINER(node, struct engine_task, node);
        task->run(task);
    }
}

/* --- making ------------------------------------------------------------------------------------- */

static char **copy_strings(const char *const *from)
{
    size_t n = 0;
    while (from != NULL && from[n] != NULL) {
        n++;
    }
    char **copy = calloc(n + 1, sizeof(char *));
    for (size_t i = 0; copy != NULL && i < n; i++) {
        copy[i] = strdup(from[i]);
        if (copy[i] == NULL) {
            while (i-- > 0) {
                free(copy[i]);
            }
            free(copy);
            return NULL;
        }
    }
    return copy;
}

static void free_strings(char **strings)
{
    for (size_t i = 0; strings != NULL && strings[i] != NULL; i++) {
        free(strings[i]);
    }
    free(strings);
}

static int copy_config(struct engine *e, const struct engine_config *c)
{
    e->limits = c->limits;
    e->require_confinement = c->require_confinement;
    e->node_id = strdup(c->node_id);
    e->boot_id = strdup(c->boot_id);
    e->state_dir = strdup(c->state_dir);
    e->zygote_path = strdup(c->zygote_path);
    e->python = strdup(c->python);
    e->profile = strdup(c->profile);
    e->log_level = strdup(c->log_level);
    e->server_version = strdup(c->server_version);
    e->preload = copy_strings(c->preload);
    e->work_roots = copy_strings(c->work_roots);
    return e->node_id && e->boot_id && e->state_dir && e->zygote_path && e->python && e->profile &&
                   e->log_level && e->server_version && e->preload && e->work_roots
               ? 0
               : -1;
}

/* What an earlier daemon left is removed: its sessions are gone. */
static int open_work(struct engine *e, struct err *err)
{
    FD_AUTO int dir = open(e->state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0) {
        return err_sys(err, ERR_INTERNAL, errno, "open", "the state directory can't be opened: %s",
                       strerror(errno));
    }
    int r = tree_remove_at(dir, "work");
    if (r < 0) {
        log_event(LOG_WARN, "workdir.leftover", "error", strerror(-r), (char *)NULL);
    }
    if (mkdirat(dir, "work", 0700) < 0 && errno != EEXIST) {
        return err_sys(err, ERR_INTERNAL, errno, "mkdir", "work directories can't be made: %s",
                       strerror(errno));
    }
    e->work_fd = openat(dir, "work", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    return e->work_fd >= 0 ? 0
                           : err_sys(err, ERR_INTERNAL, errno, "open",
                                     "work directories can't be used: %s", strerror(errno));
}

static void init_tables(struct engine *e)
{
    strmap_init(&e->processes_by_serial);
    strmap_init(&e->processes_by_pid);
    strmap_init(&e->workdirs);
    strmap_init(&e->sessions);
    strmap_init(&e->tombstones);
    strmap_init(&e->requests);
    strmap_init(&e->executions);
    list_init(&e->posted);
    list_init(&e->spares);
    list_init(&e->session_list);
    list_init(&e->tombstone_list);
    list_init(&e->request_list);
    list_init(&e->all_executions);
    list_init(&e->finished);
    list_init(&e->waiting);
    list_init(&e->branches);
    list_init(&e->watches);
}

void engine_free(struct engine *e)
{
    if (e == NULL) {
        return;
    }
    manager_release(e);
    zygotes_release(e);
    strmap_release(&e->processes_by_serial);
    strmap_release(&e->processes_by_pid);
    strmap_release(&e->workdirs);
    strmap_release(&e->sessions);
    strmap_release(&e->tombstones);
    strmap_release(&e->requests);
    strmap_release(&e->executions);
    spool_free(e->spool);
    fd_close(&e->work_fd);
    (void)pthread_mutex_destroy(&e->post_lock);
    free_strings(e->preload);
    free_strings(e->work_roots);
    free(e->node_id);
    free(e->boot_id);
    free(e->state_dir);
    free(e->zygote_path);
    free(e->python);
    free(e->profile);
    free(e->log_level);
    free(e->server_version);
    free(e);
}

int engine_new(const struct engine_config *config, uv_loop_t *loop, struct engine **ret_engine,
               struct err *err)
{
    struct engine *e = calloc(1, sizeof *e);
    if (e == NULL) {
        return err_set(err, ERR_NO_MEMORY, "out of memory");
    }
    e->loop = loop;
    e->work_fd = -1;
    e->start_real_ns = clock_real_ns();
    (void)pthread_mutex_init(&e->post_lock, NULL);
    init_tables(e);
    stats_init(&e->stats);
    if (copy_config(e, config) < 0) {
        engine_free(e);
        return err_set(err, ERR_NO_MEMORY, "out of memory");
    }
    /* Logs that are being written may pass the bound of what is retained; the spool is as large as
     * both. */
    uint64_t spool_bytes = config->limits.retained_total_bytes * 2;
    if (open_work(e, err) < 0 || spool_new(e->state_dir, spool_bytes, &e->spool, err) < 0) {
        engine_free(e);
        return -1;
    }
    e->wake.data = e;
    if (uv_async_init(loop, &e->wake, on_wake) < 0 || timers_init(&e->timers, loop) < 0 ||
        zygotes_init(e, config->launcher_fd, err) < 0) {
        /* Handles are open on the loop: the process is about to exit, so they and `e` stay. */
        return err_set(err, ERR_INTERNAL, "the event loop can't take the engine's handles");
    }
    e->open_handles += OWN_HANDLES;
    *ret_engine = e;
    return 0;
}

/* --- ready and fatal ---------------------------------------------------------------------------- */

void engine_report_ready(struct engine *e, const struct err *err)
{
    if (e->ready_known) {
        return;
    }
    e->ready_known = true;
    if (err != NULL) {
        e->ready_err = *err;
    }
    if (e->ready.fn != NULL) {
        e->ready.fn(e->ready.ctx, err);
    }
}

void engine_on_ready(struct engine *e, void (*ready)(void *ctx, const struct err *err), void *ctx)
{
    e->ready = (struct callback){ready, ctx};
    if (e->ready_known) {
        ready(ctx, e->ready_err.code != ERR_NONE ? &e->ready_err : NULL);
    }
}

static void lose(struct process *p, void *ctx)
{
    process_failed(p, ctx);
}

void engine_report_fatal(struct engine *e, const struct err *err)
{
    struct err copy = *err;
    if (e->failed) {
        return;
    }
    e->failed = true;
    e->fatal_err = copy;
    engine_report_ready(e, &copy);
    process_each(e, lose, &copy); /* nobody can reap or kill them any more: the kernel does */
    if (e->fatal.fn != NULL) {
        e->fatal.fn(e->fatal.ctx, &e->fatal_err);
    }
}

void engine_on_fatal(struct engine *e, void (*fatal)(void *ctx, const struct err *err), void *ctx)
{
    e->fatal = (struct callback){fatal, ctx};
    if (e->failed) {
        fatal(ctx, &e->fatal_err);
    }
}

/* --- what is retained and remembered ------------------------------------------------------------ */

static void on_expiry(struct timer *timer)
{
    struct engine *e = LIST_CONTAINER(timer, struct engine, expiry);
    executions_expire(e);
    manager_expire(e);
}

void engine_expire_at(struct engine *e, int64_t at)
{
    if (!e->closing && (!timer_running(&e->expiry) || e->expiry.at > at)) {
        (void)timer_start(&e->timers, &e->expiry, at, on_expiry);
    }
}

/* --- the end ------------------------------------------------------------------------------------ */

static void on_drain_over(struct timer *timer)
{
    struct engine *e = LIST_CONTAINER(timer, struct engine, drain_timer);
    e->drain_over = true;
    while (!list_empty(&e->waiting)) {
        dispatch_unwait(LIST_CONTAINER(e->waiting.next, struct session, slot_node));
    }
    /* Interrupting may finish one and change the list: what has not ended is looked at by number. */
    for (uint64_t last = 0;;) {
        struct execution *x = NULL;
        LIST_FOREACH (it, &e->all_executions) {
            struct execution *y = LIST_CONTAINER(it, struct execution, all_node);
            if (y->ordinal > last && !y->background && y->state != EXECUTION_FINISHED) {
                x = y;
                break;
            }
        }
        if (x == NULL) {
            break;
        }
        last = x->ordinal;
        execution_interrupt(x, CAUSE_DRAINED, e->limits.interrupt_grace_ns);
    }
    engine_check(e);
}

void engine_drain(struct engine *e, int64_t drain_ns, void (*done)(void *ctx), void *ctx)
{
    e->draining = true;
    if (done != NULL) {
        e->drained = done;
        e->drained_ctx = ctx;
    }
    int64_t at = clock_add(clock_mono_ns(), drain_ns);
    if (!e->drain_over && (!timer_running(&e->drain_timer) || at < e->drain_timer.at)) {
        (void)timer_start(&e->timers, &e->drain_timer, at, on_drain_over);
    }
    engine_check(e);
}

static void kill_one(struct process *p, void *ctx)
{
    (void)ctx;
    process_kill(p);
}

/* A zygote or launcher that does not do its part: its sockets are closed, which ends it. */
static void on_close_late(struct timer *timer)
{
    struct engine *e = LIST_CONTAINER(timer, struct engine, drain_timer);
    struct err err = {0};
    (void)err_set(&err, ERR_INTERNAL, "processes did not end in time");
    log_err(LOG_ERROR, "close.late", NULL, &err);
    process_each(e, lose, &err);
    zygotes_abandon(e);
    engine_check(e);
}

void engine_close(struct engine *e, void (*done)(void *ctx), void *ctx)
{
    e->draining = e->closing = true;
    e->closed = done;
    e->closed_ctx = ctx;
    timer_stop(&e->timers, &e->drain_timer);
    (void)timer_start(&e->timers, &e->drain_timer, clock_add(clock_mono_ns(), CLOSE_LIMIT),
                      on_close_late);
    timer_stop(&e->timers, &e->expiry);
    spares_release(e);
    while (!list_empty(&e->session_list)) {
        struct session *s = LIST_CONTAINER(e->session_list.next, struct session, node);
        list_remove(
            &s->node); /* those that are closing already stay in the table until they have */
        session_delete(s, CAUSE_DRAINED);
    }
    process_each(e, kill_one, NULL);
    engine_check(e);
}

static void on_wake_closed(uv_handle_t *handle)
{
    struct engine *e = handle->data;
    e->closed(e->closed_ctx);
}

static void on_timers_closed(uv_handle_t *handle)
{
    struct engine *e = LIST_CONTAINER(handle->data, struct engine, timers);
    uv_close((uv_handle_t *)&e->wake, on_wake_closed);
}

/* One step of closing; called again whenever something went. */
static void close_on(struct engine *e)
{
    if (e->process_count > 0 || e->session_count > 0 || e->jobs > 0) {
        return;
    }
    if (!e->swept) {
        e->swept = true;
        workdir_sweep(e);
        engine_check(e);
        return;
    }
    executions_release(e);
    zygotes_close(e);
    if (!list_empty(&e->zygotes.all) || e->open_handles > OWN_HANDLES || e->closed_all) {
        return;
    }
    e->closed_all = true;
    timer_stop(&e->timers, &e->drain_timer);
    on_wake(&e->wake); /* nothing that was posted is lost */
    timers_close(&e->timers, on_timers_closed);
}

static void check(struct engine_task *task)
{
    struct engine *e = LIST_CONTAINER(task, struct engine, check);
    e->check_posted = false;
    if (e->draining && e->drained != NULL && e->unfinished_count == 0) {
        void (*drained)(void *) = e->drained;
        e->drained = NULL;
        timer_stop(&e->timers, &e->drain_timer);
        drained(e->drained_ctx);
    }
    if (e->closing) {
        close_on(e);
    }
}

/* By a task, because the callers are in the middle of something. */
void engine_check(struct engine *e)
{
    if ((e->draining || e->closing) && !e->check_posted && !e->closed_all) {
        e->check_posted = true;
        e->check.run = check;
        engine_post(e, &e->check);
    }
}
