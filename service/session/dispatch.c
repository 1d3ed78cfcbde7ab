/* dispatch.c: from a session's queue to its process; limits, interrupts and kills on the way.
 *
 * One timer after the other: dispatch (RUN to STARTED), the time limit (from STARTED), the report
 * (from REPORTING). An interrupt starts a second one, after which the process is killed. */
#include <stdlib.h>
#include <string.h>

#include "service/session/internal.h"

/* --- timers ------------------------------------------------------------------------------------- */

static void kill_process(struct execution *x)
{
    if (x->session != NULL) {
        session_event(x->session, SESSION_EVENT_KILL);
    }
}

static void blame(struct execution *x, enum execution_cause cause)
{
    if (x->cause == CAUSE_NONE) {
        x->cause = cause;
    }
}

static void on_grace_over(struct timer *timer)
{
    struct execution *x = LIST_CONTAINER(timer, struct execution, killer);
    if (x->cause == CAUSE_INTERRUPTED) {
        x->cause = CAUSE_KILLED;
    }
    kill_process(x);
}

static void start(struct execution *x, struct timer *timer, int64_t after,
                  void (*fire)(struct timer *timer))
{
    if (timer_start(&x->engine->timers, timer, clock_add(clock_mono_ns(), after), fire) < 0) {
        blame(x, CAUSE_ENGINE); /* it may not run without its limit */
        kill_process(x);
    }
}

/* SIGINT now, or as soon as the code has started; SIGKILL after `grace`. */
static void interrupt_then_kill(struct execution *x, int64_t grace)
{
    if (grace <= 0) {
        kill_process(x);
        return;
    }
    if (x->state == EXECUTION_RUNNING && x->session != NULL && x->session->process != NULL) {
        x->interrupt_sent = true;
        process_interrupt(x->session->process);
    } else {
        x->want_interrupt = true;
    }
    int64_t at = clock_add(clock_mono_ns(), grace);
    if (!timer_running(&x->killer) || at < x->killer.at) {
        start(x, &x->killer, grace, on_grace_over);
    }
}

static void on_limit(struct timer *timer)
{
    struct execution *x = LIST_CONTAINER(timer, struct execution, timer);
    x->timed_out = true;
    interrupt_then_kill(x, x->engine->limits.interrupt_grace_ns);
}

static void on_dispatch_late(struct timer *timer)
{
    struct execution *x = LIST_CONTAINER(timer, struct execution, timer);
    blame(x, CAUSE_DISPATCH);
    kill_process(x);
}

static void on_report_late(struct timer *timer)
{
    struct execution *x = LIST_CONTAINER(timer, struct execution, timer);
    blame(x, CAUSE_REPORT);
    kill_process(x);
}

void execution_started(struct execution *x)
{
    x->started_ns = clock_mono_ns();
    x->start_real_ns = clock_real_ns();
    x->state = EXECUTION_RUNNING;
    engine_observe(x->engine, ENGINE_HIST_EXECUTE_DISPATCH, x->started_ns - x->dispatched_ns);
    start(x, &x->timer, x->timeout_ns, on_limit);
    if (x->want_interrupt && x->state == EXECUTION_RUNNING && x->session != NULL) {
        x->want_interrupt = false;
        x->interrupt_sent = true;
        process_interrupt(x->session->process);
    }
}

void execution_reporting(struct execution *x)
{
    if (x->state != EXECUTION_RUNNING) {
        return;
    }
    x->state = EXECUTION_REPORTING;
    x->waiting_for_input = false;
    timer_stop(&x->engine->timers, &x->killer);
    start(x, &x->timer, x->engine->limits.report_ns, on_report_late);
}

/* --- early ends --------------------------------------------------------------------------------- */

void execution_interrupt(struct execution *x, enum execution_cause cause, int64_t kill_after_ns)
{
    switch (x->state) {
    case EXECUTION_QUEUED:
        result_never_ran(x, cause);
        break;
    case EXECUTION_DISPATCHED:
    case EXECUTION_RUNNING:
        blame(x, cause);
        interrupt_then_kill(x, kill_after_ns);
        break;
    case EXECUTION_REPORTING: /* its code has ended by itself */
    case EXECUTION_FINISHED:
        break;
    }
}

void execution_kill(struct execution *x, enum execution_cause cause)
{
    if (x->state == EXECUTION_QUEUED) {
        result_never_ran(x, cause);
    } else if (x->state != EXECUTION_FINISHED) {
        if (x->cause == CAUSE_INTERRUPTED) {
            x->cause = cause;
        }
        blame(x, cause);
        kill_process(x);
    }
}

static void on_abandoned(struct timer *timer)
{
    struct execution *x = LIST_CONTAINER(timer, struct execution, abandon);
    execution_interrupt(x, CAUSE_ABANDONED, x->engine->limits.interrupt_grace_ns);
}

void execution_abandoned(struct execution *x)
{
    if (x->reattach_ns == CLOCK_NEVER) {
        return;
    }
    if (x->reattach_ns == 0 ||
        timer_start(&x->engine->timers, &x->abandon, clock_add(clock_mono_ns(), x->reattach_ns),
                    on_abandoned) < 0) {
        on_abandoned(&x->abandon);
    }
}

/* --- dispatch ----------------------------------------------------------------------------------- */

/* The map entries of spec and RUN are generated with the same shape. */
static void fill_run(const struct execution *x, Pyexec__Internal__SessionRun *m)
{
    const Pyexec__V1__ExecutionSpec *spec = x->spec;
    m->run = x->run;
    m->code.data = (uint8_t *)spec->code;
    m->code.len = strlen(spec->code);
    m->filename = spec->filename;
    m->silent = spec->silent;
    m->n_env = spec->n_env;
    m->env = (Pyexec__Internal__SessionRun__EnvEntry **)spec->env;
    m->write_source_file = spec->write_source_file;
    m->traceback_style = (uint32_t)spec->traceback_style;
    m->stdin_mode = (uint32_t)spec->stdin_mode;
    m->report_changed_files = spec->report_changed_files;
    m->execution_count = x->execution_count;
}

/* Makes what the RUN needs of descriptors. 0 or -1. */
static int run_fds(struct execution *x, struct process *p, Pyexec__Internal__SessionRun *m,
                   int fds[3], size_t *n)
{
    *n = 0;
    if (x->feed != NULL) {
        if (stdin_open(x->feed, &fds[0]) < 0) {
            return -1;
        }
        *n = 1;
        m->has_stdin = 1;
    }
    if (p->descendants) {
        if (io_make_pipes(p->fresh, &fds[*n]) < 0) {
            return -1;
        }
        *n += 2;
        m->has_output = 1;
        io_reset_page(p);
    }
    return 0;
}

static int send_run(struct execution *x, struct process *p)
{
    Pyexec__Internal__SessionRun m = PYEXEC__INTERNAL__SESSION_RUN__INIT;
    int fds[3] = {-1, -1, -1};
    size_t fd_count = 0;
    fill_run(x, &m);
    int result = run_fds(x, p, &m, fds, &fd_count);
    size_t size = pyexec__internal__session_run__get_packed_size(&m);
    uint8_t *packed = result == 0 ? malloc(size > 0 ? size : 1) : NULL;
    if (packed != NULL) {
        (void)pyexec__internal__session_run__pack(&m, packed);
        (void)process_send(p, SESSION_FRAME_RUN, packed, size, fds, fd_count);
    }
    for (size_t i = 0; i < fd_count; i++) {
        fd_close(&fds[i]);
    }
    bool sent = packed != NULL;
    free(packed);
    return sent ? 0 : -1; /* a channel that broke shows in the process's end */
}

void dispatch_run(struct session *s)
{
    struct execution *x = LIST_CONTAINER(s->queue.next, struct execution, queue_node);
    struct process *p = s->process;
    struct engine *e = s->engine;
    x->state = EXECUTION_DISPATCHED;
    x->dispatched_ns = clock_mono_ns();
    e->queued_count--;
    e->running_count++;
    s->running = x;
    if (!x->spec->silent) {
        s->execution_count++;
    }
    x->execution_count = s->execution_count;
    x->run = ++p->run;
    p->execution = execution_ref(x);
    p->started = false;
    session_use(s);
    execution_announce(x);
    if (send_run(x, p) < 0) {
        p->execution = NULL;
        result_never_ran(x, CAUSE_ENGINE);
        execution_unref(x);
        session_event(s, SESSION_EVENT_DONE);
        return;
    }
    if (x->state == EXECUTION_DISPATCHED) {
        start(x, &x->timer, e->limits.dispatch_ns, on_dispatch_late);
    }
    watch_changed(s);
}

bool dispatch_undo(struct execution *x)
{
    struct session *s = x->session;
    struct process *p = s->process;
    if (x->state != EXECUTION_DISPATCHED || x->feed != NULL || x->want_interrupt) {
        return false;
    }
    timer_stop(&x->engine->timers, &x->timer);
    x->state = EXECUTION_QUEUED;
    x->dispatched_ns = 0;
    s->execution_count -= x->spec->silent ? 0 : 1;
    x->engine->running_count--;
    x->engine->queued_count++;
    s->running = NULL;
    p->execution = NULL;
    execution_unref(x);
    return true;
}

void dispatch_session(struct session *s)
{
    struct engine *e = s->engine;
    if (s->state != SESSION_IDLE || list_empty(&s->queue) || s->process == NULL ||
        s->process->signals_pending > 0) {
        return;
    }
    if (e->running_count >= e->limits.max_running) {
        if (!s->wants_slot) {
            s->wants_slot = true;
            list_push_back(&e->waiting, &s->slot_node);
            e->waiting_count++;
        }
        return;
    }
    session_event(s, SESSION_EVENT_RUN);
}

void dispatch_unwait(struct session *s)
{
    if (s->wants_slot) {
        s->wants_slot = false;
        list_remove(&s->slot_node);
        s->engine->waiting_count--;
    }
}

void dispatch_waiting(struct engine *e)
{
    while (e->running_count < e->limits.max_running && !list_empty(&e->waiting)) {
        struct session *s = LIST_CONTAINER(e->waiting.next, struct session, slot_node);
        dispatch_unwait(s);
        dispatch_session(s);
    }
}
