/* zygotes.c: the launcher and the zygotes: who forks, signals and reaps for the daemon.
 *
 * One zygote is current and takes the spawns. When it dies, what was in flight fails, its living
 * sessions are handed to the launcher (ADOPT), and another is started, after a pause that doubles
 * with each one that died young. Frames of a dead zygote are read to the end before its sessions are
 * adopted: an EXITED that it sent must not be lost. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "service/session/internal.h"

#define PAUSE_FIRST (100 * NS_PER_MS)
#define PAUSE_MOST (10 * NS_PER_SEC)
#define YOUNG (5 * NS_PER_SEC) /* dying before this counts as a failure */

/* Touches what the first code would touch, so that a spare has those pages already. */
static const char warm_up_code[] = "import linecache, traceback\n"
                                   "try:\n"
                                   "    raise ValueError(repr({'a': [1.5, b'x', None]}))\n"
                                   "except ValueError as error:\n"
                                   "    traceback.format_exception(error)\n";

static void on_channel(uv_poll_t *poll, int status, int events);
static void start_zygote(struct engine *e);
static void zygote_lost(struct zygote *z);
static void fail_spawns(struct zygote *z);

/* --- channels ----------------------------------------------------------------------------------- */

static int channel_open(struct engine *e, struct channel *c, int take_fd)
{
    *c = (struct channel){.engine = e, .fd = take_fd, .on_event = on_channel};
    list_init(&c->processes);
    wire_reader_init(&c->reader, take_fd, WIRE_CONTROL_MAX, 0);
    wire_writer_init(&c->writer, take_fd);
    (void)fd_set_nonblock(take_fd, true);
    int r = uv_poll_init(e->loop, &c->poll, take_fd);
    if (r < 0) {
        fd_close(&c->fd);
        return r;
    }
    e->open_handles++;
    c->polling = true;
    c->poll.data = c;
    return uv_poll_start(&c->poll, UV_READABLE, on_channel);
}

static bool is_launcher(const struct channel *c)
{
    return c == &c->engine->zygotes.launcher;
}

static void zygote_free_maybe(struct zygote *z);

static void on_channel_closed(uv_handle_t *handle)
{
    struct channel *c = handle->data;
    struct engine *e = c->engine;
    c->polling = false;
    e->open_handles--;
    if (!is_launcher(c)) {
        zygote_free_maybe(LIST_CONTAINER(c, struct zygote, channel));
    }
    engine_check(e);
}

static void channel_close(struct channel *c)
{
    if (c->fd < 0) {
        return;
    }
    uv_close((uv_handle_t *)&c->poll, on_channel_closed);
    wire_reader_release(&c->reader);
    wire_writer_release(&c->writer);
    fd_close(&c->fd);
}

/* --- frames from zygotes and launcher ----------------------------------------------------------- */

static void on_ready(struct zygote *z, const struct wire_frame *f)
{
    struct engine *e = z->channel.engine;
    Pyexec__Internal__ZygoteReady *m =
        pyexec__internal__zygote_ready__unpack(NULL, f->length, f->payload);
    if (m == NULL) {
        return;
    }
    if (m->error[0] != '\0') { /* it exits now, and its end starts another one, ever later */
        struct err err = {0};
        (void)err_set(&err, ERR_FORK_FAILED, "%s", m->error);
        log_err(LOG_ERROR, "zygote.unusable", NULL, &err);
        engine_report_ready(e, &err);
        pyexec__internal__zygote_ready__free_unpacked(m, NULL);
        return;
    }
    if (e->zygotes.facts != NULL) {
        pyexec__internal__zygote_ready__free_unpacked(e->zygotes.facts, NULL);
    }
    e->zygotes.facts = m;
    z->ready = true;
    z->ready_at = clock_mono_ns();
    e->zygotes.was_ready = true;
    log_event(LOG_INFO, "zygote.ready", "python", m->python_version, (char *)NULL);
    for (size_t i = 0; i < m->n_failed_modules; i++) {
        log_event(LOG_WARN, "preload.failed", "module", m->failed_modules[i], (char *)NULL);
    }
    for (size_t i = 0; i < m->n_missing_confinement; i++) {
        log_event(LOG_WARN, "confinement.missing", "step", m->missing_confinement[i], (char *)NULL);
    }
    engine_report_ready(e, NULL);
    spares_refill(e);
}

static void on_started(struct engine *e, const struct wire_frame *f)
{
    Pyexec__Internal__LauncherStarted *m =
        pyexec__internal__launcher_started__unpack(NULL, f->length, f->payload);
    if (m == NULL) {
        return;
    }
    LIST_FOREACH (it, &e->zygotes.all) {
        struct zygote *z = LIST_CONTAINER(it, struct zygote, node);
        if (z->token == m->token && z->pid == 0 && !z->exited) {
            if (m->pid > 0) {
                z->pid = m->pid;
            } else {
                log_event(LOG_ERROR, "zygote.start.failed", "stage", m->stage, "error",
                          strerror(m->sys_errno), (char *)NULL);
                z->exited = true;
                zygote_lost(z);
            }
            break;
        }
    }
    pyexec__internal__launcher_started__free_unpacked(m, NULL);
}

/* Tells the launcher which children of the dead zygote are living sessions. */
static void adopt(struct engine *e, struct zygote *z)
{
    struct channel *launcher = &e->zygotes.launcher;
    struct list *from = &z->channel.processes;
    size_t n = 0;
    LIST_FOREACH (it, from) {
        n++;
    }
    LIST_FOREACH (it, from) {
        struct process *p = LIST_CONTAINER(it, struct process, reaped_by);
        p->reaper = launcher;
        if (p->session != NULL) {
            branch_adopted(p->session, false);
        }
    }
    int32_t *pids = calloc(n > 0 ? n : 1, sizeof *pids);
    Pyexec__Internal__LauncherAdopt m = PYEXEC__INTERNAL__LAUNCHER_ADOPT__INIT;
    m.zygote_pid = z->pid;
    m.pids = pids;
    LIST_FOREACH (it, from) {
        if (pids != NULL) {
            pids[m.n_pids++] = LIST_CONTAINER(it, struct process, reaped_by)->pid;
        }
    }
    (void)channel_send(launcher, LAUNCHER_FRAME_ADOPT, &m.base, NULL, 0);
    free(pids);
    struct list *node;
    while ((node = list_pop_front(from)) != NULL) {
        struct process *p = LIST_CONTAINER(node, struct process, reaped_by);
        list_push_back(&launcher->processes, node);
        if (p->kill_sent) {
            reaper_kill(p);
        }
        if (p->session != NULL) {
            branch_adopted(p->session, true);
        }
        /* A signal that the zygote did not answer may have been lost with it. */
        bool again = p->signals_pending > 0 && p->execution != NULL;
        p->signals_pending = 0;
        if (again) {
            reaper_signal(p, SIGINT, true);
        } else {
            process_signalled(p);
        }
    }
}

static void read_channel(struct channel *c);

static void on_zygote_exited(struct engine *e, const struct wire_frame *f)
{
    Pyexec__Internal__LauncherZygoteExited *m =
        pyexec__internal__launcher_zygote_exited__unpack(NULL, f->length, f->payload);
    if (m == NULL) {
        return;
    }
    LIST_FOREACH (it, &e->zygotes.all) {
        struct zygote *z = LIST_CONTAINER(it, struct zygote, node);
        if (z->pid == m->pid && !z->exited) {
            char status[32];
            (void)snprintf(status, sizeof status, "%d", m->wait_status);
            log_event(e->closing ? LOG_DEBUG : LOG_WARN, "zygote.exited", "wait_status", status,
                      (char *)NULL);
            read_channel(&z->channel); /* what it sent before it died */
            z->exited = true;
            fail_spawns(z);
            adopt(e, z);
            zygote_lost(z);
            break;
        }
    }
    pyexec__internal__launcher_zygote_exited__free_unpacked(m, NULL);
    engine_check(e);
}

static void handle(struct channel *c, struct wire_frame *f)
{
    struct engine *e = c->engine;
    struct zygote *z = is_launcher(c) ? NULL : LIST_CONTAINER(c, struct zygote, channel);
    if (reaper_frame(c, f)) {
        return;
    }
    if (f->type == ZYGOTE_FRAME_READY && z != NULL) {
        on_ready(z, f);
    } else if (f->type == LAUNCHER_FRAME_STARTED && z == NULL) {
        on_started(e, f);
    } else if (f->type == LAUNCHER_FRAME_ZYGOTE_EXITED && z == NULL) {
        on_zygote_exited(e, f);
    } else {
        log_event(LOG_ERROR, "channel.frame", "from", z ? "zygote" : "launcher", (char *)NULL);
    }
}

/* --- death -------------------------------------------------------------------------------------- */

static void launcher_lost(struct engine *e)
{
    struct zygotes *zs = &e->zygotes;
    if (zs->launcher_lost) {
        return;
    }
    zs->launcher_lost = true;
    channel_close(&zs->launcher);
    if (!e->closing) {
        struct err err = {0};
        (void)err_set(&err, ERR_INTERNAL, "the launcher process died: pyexecd can't go on");
        engine_report_fatal(e, &err);
    }
    engine_check(e);
}

/* Reads until nothing is there. At the end of file the channel is closed. */
static void read_channel(struct channel *c)
{
    while (c->fd >= 0) {
        struct wire_frame f;
        int got = wire_reader_next(&c->reader, &f);
        if (got > 0) {
            handle(c, &f);
            continue;
        }
        int n = got < 0 ? got : wire_reader_fill(&c->reader);
        if (n == -EINTR || n > 0) {
            continue;
        }
        if (n == -EAGAIN) {
            return;
        }
        if (is_launcher(c)) {
            launcher_lost(c->engine);
        } else {
            /* Its sessions stay its own until the launcher says that it is dead. */
            struct zygote *z = LIST_CONTAINER(c, struct zygote, channel);
            channel_close(c);
            zygote_lost(z);
        }
        return;
    }
}

static void on_channel(uv_poll_t *poll, int status, int events)
{
    struct channel *c = poll->data;
    if (status == 0 && (events & UV_WRITABLE) != 0 && wire_writer_flush(&c->writer) == 0) {
        (void)uv_poll_start(&c->poll, UV_READABLE, on_channel);
    }
    read_channel(c);
}

static void on_retry(struct timer *timer)
{
    start_zygote(LIST_CONTAINER(timer, struct engine, zygotes.retry));
}

static int64_t pause_before(unsigned failures)
{
    int64_t pause = failures == 0 ? 0 : PAUSE_FIRST;
    for (unsigned i = 1; i < failures && pause < PAUSE_MOST; i++) {
        pause *= 2;
    }
    return pause < PAUSE_MOST ? pause : PAUSE_MOST;
}

static void fail_spawns(struct zygote *z)
{
    struct err err = {0};
    (void)err_set(&err, ERR_FORK_FAILED, "the zygote died while it forked the session: try again");
    for (;;) {
        struct process *found = NULL;
        LIST_FOREACH (it, &z->channel.processes) {
            struct process *p = LIST_CONTAINER(it, struct process, reaped_by);
            if (p->state == PROCESS_SPAWNING) {
                found = p;
                break;
            }
        }
        if (found == NULL) {
            return;
        }
        process_failed(found, &err);
    }
}

/* The zygote takes no more work. Harmless to repeat; the struct goes when it is dead, its socket
 * closed and its sessions adopted. */
static void zygote_lost(struct zygote *z)
{
    struct engine *e = z->channel.engine;
    struct zygotes *zs = &e->zygotes;
    if (zs->current == z) {
        bool young = z->ready_at == 0 || clock_mono_ns() - z->ready_at < YOUNG;
        bool never = z->ready_at == 0;
        zs->failures = young ? zs->failures + 1 : 0;
        zs->current = NULL;
        if (!e->closing) {
            engine_count(e, ENGINE_COUNT_ZYGOTE_RESTARTS, 1);
            if (never && !zs->was_ready) {
                struct err err = {0};
                (void)err_set(&err, ERR_FORK_FAILED,
                              "the zygote ended before it was ready; its log lines say why");
                engine_report_ready(e, &err);
            }
            int64_t at = clock_add(clock_mono_ns(), pause_before(zs->failures));
            (void)timer_start(&e->timers, &zs->retry, at, on_retry);
        }
    }
    fail_spawns(z);
    if (z->exited) {
        channel_close(&z->channel);
    }
    zygote_free_maybe(z);
}

static void zygote_free_maybe(struct zygote *z)
{
    if (z->exited && !z->channel.polling && list_empty(&z->channel.processes)) {
        list_remove(&z->node);
        free(z);
    }
}

/* --- starting ----------------------------------------------------------------------------------- */

static int send_config(struct engine *e, struct zygote *z)
{
    Pyexec__Internal__ZygoteConfig m = PYEXEC__INTERNAL__ZYGOTE_CONFIG__INIT;
    Pyexec__Internal__SandboxLimits limits = PYEXEC__INTERNAL__SANDBOX_LIMITS__INIT;
    m.template_id = (char *)(uintptr_t)TEMPLATE_DEFAULT;
    m.python = e->python;
    m.preload = e->preload;
    while (e->preload[m.n_preload] != NULL) {
        m.n_preload++;
    }
    m.warm_up = (char *)(uintptr_t)warm_up_code;
    m.profile = e->profile;
    m.require_confinement = e->require_confinement;
    m.limits = &limits;
    m.log_level = e->log_level;
    return channel_send(&z->channel, ZYGOTE_FRAME_CONFIG, &m.base, NULL, 0);
}

static void hand_over(struct engine *e, struct process *p)
{
    struct zygote *z = e->zygotes.current;
    Pyexec__Internal__ZygoteSpawn m = PYEXEC__INTERNAL__ZYGOTE_SPAWN__INIT;
    m.token = p->serial;
    m.warm_up = p->warm_up;
    if (channel_send(&z->channel, ZYGOTE_FRAME_SPAWN, &m.base, p->child_fds, 4) < 0) {
        struct err err = {0};
        (void)err_set(&err, ERR_FORK_FAILED, "the zygote can't be reached: try again");
        process_failed(p, &err);
        return;
    }
    process_sent(p, &z->channel);
}

static void start_failed(struct engine *e, int sys_errno, const char *stage)
{
    struct err err = {0};
    (void)err_sys(&err, ERR_FORK_FAILED, sys_errno, stage, "the zygote can't be started: %s",
                  strerror(sys_errno));
    log_err(LOG_ERROR, "zygote.start.failed", NULL, &err);
    engine_report_ready(e, &err);
    e->zygotes.failures++;
    int64_t at = clock_add(clock_mono_ns(), pause_before(e->zygotes.failures));
    (void)timer_start(&e->timers, &e->zygotes.retry, at, on_retry);
}

static void start_zygote(struct engine *e)
{
    struct zygotes *zs = &e->zygotes;
    if (e->closing || zs->launcher_lost || zs->current != NULL) {
        return;
    }
    struct zygote *z = calloc(1, sizeof *z);
    int pair[2] = {-1, -1};
    int r = z == NULL ? -ENOMEM : fd_socketpair(pair);
    if (r < 0) {
        free(z);
        start_failed(e, -r, "socketpair");
        return;
    }
    r = channel_open(e, &z->channel, pair[0]);
    if (r < 0) {
        fd_close(&pair[1]);
        free(z);
        start_failed(e, -r, "poll");
        return;
    }
    list_push_back(&zs->all, &z->node);
    z->token = ++zs->tokens;
    zs->current = z;
    Pyexec__Internal__LauncherStart m = PYEXEC__INTERNAL__LAUNCHER_START__INIT;
    m.token = z->token;
    m.zygote_path = e->zygote_path;
    int sent = channel_send(&zs->launcher, LAUNCHER_FRAME_START, &m.base, &pair[1], 1);
    fd_close(&pair[1]);
    if (sent < 0 || send_config(e, z) < 0) {
        z->exited = sent < 0; /* else the launcher reports its end */
        zygote_lost(z);
        return;
    }
    struct list *node;
    while (zs->current == z && (node = list_pop_front(&zs->waiting)) != NULL) {
        hand_over(e, LIST_CONTAINER(node, struct process, spawn_node));
    }
}

/* --- what the others use ------------------------------------------------------------------------ */

int zygotes_init(struct engine *e, int take_launcher_fd, struct err *err)
{
    struct zygotes *zs = &e->zygotes;
    list_init(&zs->all);
    list_init(&zs->waiting);
    int r = channel_open(e, &zs->launcher, take_launcher_fd);
    if (r < 0) {
        return err_set(err, ERR_INTERNAL, "can't watch the launcher's socket: %s", uv_strerror(r));
    }
    start_zygote(e);
    return 0;
}

void zygotes_spawn(struct engine *e, struct process *p)
{
    if (e->zygotes.current == NULL) {
        list_push_back(&e->zygotes.waiting, &p->spawn_node);
        return;
    }
    hand_over(e, p);
}

void zygotes_hung(struct zygote *z)
{
    struct engine *e = z->channel.engine;
    if (z->exited || z->pid == 0) {
        return;
    }
    log_event(LOG_ERROR, "zygote.hung", (char *)NULL);
    Pyexec__Internal__ZygoteKill m = PYEXEC__INTERNAL__ZYGOTE_KILL__INIT;
    m.pid = z->pid;
    (void)channel_send(&e->zygotes.launcher, ZYGOTE_FRAME_KILL, &m.base, NULL, 0);
}

/* Called again whenever something went: zygotes first (end of file is their order to go), then the
 * launcher, whose own end of file says that nothing below it is left. */
void zygotes_close(struct engine *e)
{
    struct zygotes *zs = &e->zygotes;
    timer_stop(&e->timers, &zs->retry);
    zs->current = NULL;
    LIST_FOREACH (it, &zs->all) {
        struct zygote *z = LIST_CONTAINER(it, struct zygote, node);
        z->exited = z->exited || zs->launcher_lost;
        channel_close(&z->channel);
        zygote_free_maybe(z);
    }
    if (list_empty(&zs->all) && zs->launcher.fd >= 0) {
        (void)shutdown(zs->launcher.fd, SHUT_WR);
    }
}

void zygotes_abandon(struct engine *e)
{
    launcher_lost(e);
    zygotes_close(e);
}

void zygotes_release(struct engine *e)
{
    if (e->zygotes.facts != NULL) {
        pyexec__internal__zygote_ready__free_unpacked(e->zygotes.facts, NULL);
        e->zygotes.facts = NULL;
    }
}
