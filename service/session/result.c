/* result.c: how an execution ended: the session's report, the kernel's verdict and what the daemon
 * itself did, put into one result. The daemon's own acts come first, then the kernel, then the
 * report. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "service/session/internal.h"

#define STATUS(name) PYEXEC__V1__EXECUTION_RESULT__STATUS__STATUS_##name
#define OUTCOME(name) PYEXEC__INTERNAL__SESSION_DONE__OUTCOME__OUTCOME_##name
#define NOTES_MOST 4

/* A result and everything of it that is not borrowed from the report. */
struct draft {
    Pyexec__V1__ExecutionResult m;
    Pyexec__V1__Timings timings;
    Google__Protobuf__Timestamp receive;
    Google__Protobuf__Duration queue, dispatch, compile, run, first_output, total, blocked;
    Pyexec__V1__ResourceUsage usage;
    Google__Protobuf__Duration cpu_user, cpu_system;
    char message[160];
    char *notes[NOTES_MOST];
    size_t note_count;
};

static int64_t since(int64_t to, int64_t from)
{
    return to > from && from != 0 ? to - from : 0;
}

static void fill_timings(struct draft *d, const struct execution *x)
{
    int64_t now = clock_mono_ns();
    pyexec__v1__timings__init(&d->timings);
    message_timestamp(&d->receive, clock_real_ns() - (now - x->receive_ns));
    message_duration(&d->queue, since(x->dispatched_ns ? x->dispatched_ns : now, x->queued_ns));
    message_duration(&d->dispatch,
                     since(x->started_ns, x->dispatched_ns) + since(x->queued_ns, x->receive_ns));
    message_duration(&d->compile, 0);
    message_duration(&d->run, since(now, x->started_ns));
    message_duration(&d->first_output, since(x->first_output_ns, x->receive_ns));
    message_duration(&d->total, since(now, x->receive_ns));
    message_duration(&d->blocked, 0);
    d->timings.receive_time = &d->receive;
    d->timings.queue = &d->queue;
    d->timings.dispatch = &d->dispatch;
    d->timings.compile = &d->compile;
    d->timings.run = &d->run;
    if (x->first_output_ns != 0) {
        d->timings.first_output = &d->first_output;
    }
    d->timings.total = &d->total;
    d->m.timings = &d->timings;
}

static void fill_usage(struct draft *d, uint64_t user_ns, uint64_t system_ns, uint64_t rss)
{
    const uint64_t most = INT64_MAX;
    pyexec__v1__resource_usage__init(&d->usage);
    message_duration(&d->cpu_user, (int64_t)(user_ns < most ? user_ns : most));
    message_duration(&d->cpu_system, (int64_t)(system_ns < most ? system_ns : most));
    d->usage.cpu_user = &d->cpu_user;
    d->usage.cpu_system = &d->cpu_system;
    d->usage.max_rss_bytes = rss;
    d->m.usage = &d->usage;
}

static void begin(struct draft *d, struct execution *x)
{
    memset(d, 0, sizeof *d);
    pyexec__v1__execution_result__init(&d->m);
    d->m.session_id = x->session_id;
    d->m.execution_id = x->execution_id;
    d->m.execution_count = x->execution_count;
    fill_timings(d, x);
}

static void note(struct draft *d, const char *text)
{
    if (d->note_count < NOTES_MOST) {
        d->notes[d->note_count++] = (char *)(uintptr_t)text;
    }
}

/* "1 h 2 min 3.5 s" would please nobody who parses it: seconds, without trailing zeros. */
static void limit_text(int64_t ns, char *text, size_t size)
{
    int n = snprintf(text, size, "%lld.%03lld", (long long)(ns / NS_PER_SEC),
                     (long long)(ns % NS_PER_SEC / NS_PER_MS));
    while (n > 0 && text[n - 1] == '0') {
        text[--n] = '\0';
    }
    if (n > 0 && text[n - 1] == '.') {
        text[--n] = '\0';
    }
}

static void time_limit(struct draft *d, const struct execution *x)
{
    char limit[32];
    limit_text(x->timeout_ns, limit, sizeof limit);
    (void)snprintf(d->message, sizeof d->message, "the time limit of %s s passed", limit);
    d->m.status = STATUS(TIMEOUT_ERROR);
    d->m.exc_type = (char *)(uintptr_t) "TimeoutError";
    d->m.exc_message = d->message;
}

/* Statuses for what the daemon did itself, whatever the session or the kernel says of it. */
static void own_act(struct draft *d, enum execution_cause cause)
{
    static const struct {
        Pyexec__V1__ExecutionResult__Status status;
        const char *note;
    } acts[] = {
        [CAUSE_NONE] = {STATUS(SERVER_ERROR), NULL},
        [CAUSE_INTERRUPTED] = {STATUS(INTERRUPTED), NULL},
        [CAUSE_KILLED] = {STATUS(INTERRUPTED), "the interpreter was killed on request"},
        [CAUSE_ABANDONED] = {STATUS(CANCELLED), "the caller went away"},
        [CAUSE_DELETED] = {STATUS(CANCELLED), "the session was deleted"},
        [CAUSE_RESTARTED] = {STATUS(CANCELLED), "the session was restarted"},
        [CAUSE_DIED] = {STATUS(CANCELLED), "the session died before this execution began"},
        [CAUSE_EXPIRED] = {STATUS(CANCELLED), "the session's lifetime ended"},
        [CAUSE_DRAINED] = {STATUS(SERVER_ERROR), "the server is shutting down"},
        [CAUSE_DISPATCH] = {STATUS(SERVER_ERROR), "the interpreter did not take the code in time"},
        [CAUSE_REPORT] = {STATUS(CRASHED), "making the report of the result took too long"},
        [CAUSE_ENGINE] = {STATUS(SERVER_ERROR), "the server is out of descriptors or memory"},
    };
    d->m.status = acts[cause].status;
    if (acts[cause].note != NULL) {
        note(d, acts[cause].note);
    }
    if (d->m.status == STATUS(INTERRUPTED) && d->m.exc_type[0] == '\0') {
        d->m.exc_type = (char *)(uintptr_t) "KeyboardInterrupt";
    }
}

static void append_warnings(struct draft *d, char **own, size_t own_count, char **space)
{
    size_t n = 0;
    for (size_t i = 0; i < own_count; i++) {
        space[n++] = own[i];
    }
    for (size_t i = 0; i < d->note_count; i++) {
        space[n++] = d->notes[i];
    }
    d->m.warnings = space;
    d->m.n_warnings = n;
}

static void status_from_outcome(struct draft *d, const struct execution *x,
                                const Pyexec__Internal__SessionDone *done)
{
    switch (done->outcome) {
    case OUTCOME(OK):
        d->m.status = STATUS(OK);
        break;
    case OUTCOME(EXITED):
        d->m.status = STATUS(EXITED);
        d->m.termination_case = PYEXEC__V1__EXECUTION_RESULT__TERMINATION_EXIT_CODE;
        d->m.exit_code = done->exit_code;
        break;
    case OUTCOME(INTERRUPTED):
        /* A KeyboardInterrupt that nobody here sent is an error like any other. */
        d->m.status = STATUS(ERROR);
        if (x->interrupt_sent && x->cause != CAUSE_NONE) {
            own_act(d, x->cause);
        }
        break;
    default:
        d->m.status = STATUS(ERROR);
        break;
    }
}

void result_from_done(struct execution *x, Pyexec__Internal__SessionDone *done)
{
    struct draft d;
    struct session *s = x->session;
    report_clean(done);
    begin(&d, x);
    d.m.exc_type = done->exc_type;
    d.m.exc_message = done->exc_message;
    d.m.traceback = done->traceback;
    d.m.n_frames = done->n_frames;
    d.m.frames = done->frames;
    d.m.value = done->value;
    d.m.exc_info = done->exc_info;
    d.m.n_changed_files = done->n_changed_files;
    d.m.changed_files = done->changed_files;
    status_from_outcome(&d, x, done);
    if (x->timed_out) {
        d.m.termination_case = PYEXEC__V1__EXECUTION_RESULT__TERMINATION__NOT_SET;
        d.m.value = NULL;
        time_limit(&d, x);
    }
    d.m.session_alive = !s->throw_away && s->state == SESSION_RUNNING;
    /* The session's own division of the time that the daemon measured. */
    int64_t ran = since(clock_mono_ns(), x->started_ns);
    int64_t compile = done->compile_ns < (uint64_t)ran ? (int64_t)done->compile_ns : ran;
    message_duration(&d.compile, compile);
    message_duration(&d.run, done->run_ns < (uint64_t)(ran - compile) ? (int64_t)done->run_ns
                                                                      : ran - compile);
    fill_usage(&d, done->cpu_user_ns, done->cpu_system_ns, done->max_rss_bytes);
    s->max_rss_bytes =
        done->max_rss_bytes > s->max_rss_bytes ? done->max_rss_bytes : s->max_rss_bytes;
    char *space[NOTES_MOST + 128];
    append_warnings(&d, done->warnings, done->n_warnings, space);
    if (report_fit(&d.m)) {
        space[d.m.n_warnings++] = (char *)(uintptr_t) "the result was too large: it is shortened";
    }
    execution_finish(x, &d.m);
}

static void status_from_kernel(struct draft *d, int wait_status)
{
    if (WIFEXITED(wait_status)) {
        d->m.status = STATUS(EXITED);
        d->m.termination_case = PYEXEC__V1__EXECUTION_RESULT__TERMINATION_EXIT_CODE;
        d->m.exit_code = WEXITSTATUS(wait_status);
        return;
    }
    int signal = WIFSIGNALED(wait_status) ? WTERMSIG(wait_status) : 0;
    d->m.status = STATUS(CRASHED);
    d->m.termination_case = PYEXEC__V1__EXECUTION_RESULT__TERMINATION_SIGNAL;
    d->m.signal = signal;
    if (signal == SIGXCPU || signal == SIGXFSZ) {
        d->m.status = STATUS(RESOURCE_LIMIT);
        d->m.exceeded_limit = (char *)(uintptr_t)(signal == SIGXCPU ? "cpu_time" : "disk_bytes");
    }
}

void result_from_exit(struct execution *x, const struct process *p)
{
    struct draft d;
    char broke[128];
    bool act = x->cause != CAUSE_NONE && p->kill_sent;
    begin(&d, x);
    if (!p->unseen) {
        fill_usage(&d, p->cpu_user_ns, p->cpu_system_ns, p->max_rss_bytes);
    }
    if (p->unseen && act) {
        own_act(&d, x->cause);
    } else if (p->vanished || p->unseen) {
        d.m.status = STATUS(SERVER_ERROR);
        note(&d, p->unseen ? "the interpreter ended, and how is not known"
                           : "the server lost the interpreter's process");
    } else {
        status_from_kernel(&d, p->wait_status);
        bool killed = WIFSIGNALED(p->wait_status);
        if (p->broken != NULL) {
            d.m.status = STATUS(CRASHED);
            (void)snprintf(broke, sizeof broke, "the session broke its control protocol: it %s",
                           p->broken);
            note(&d, broke);
        } else if (killed && act) {
            own_act(&d, x->cause);
        }
    }
    if (x->timed_out) {
        time_limit(&d, x);
    }
    char *space[NOTES_MOST];
    append_warnings(&d, NULL, 0, space);
    execution_finish(x, &d.m);
}

void result_never_ran(struct execution *x, enum execution_cause cause)
{
    struct draft d;
    char *space[NOTES_MOST];
    begin(&d, x);
    own_act(&d, cause);
    note(&d, "the code was not run");
    d.m.session_alive = !x->throw_away &&
                        (x->session->state == SESSION_IDLE || x->session->state == SESSION_RUNNING);
    append_warnings(&d, NULL, 0, space);
    execution_finish(x, &d.m);
}

/* --- the end ------------------------------------------------------------------------------------ */

static void leave_session(struct execution *x)
{
    struct session *s = x->session;
    struct engine *e = x->engine;
    if (x->state == EXECUTION_QUEUED) {
        e->queued_count--;
    } else {
        e->running_count--;
    }
    e->unfinished_count--;
    list_remove(&x->queue_node);
    s->queue_len--;
    if (s->running == x) {
        s->running = NULL;
    }
    if (list_empty(&s->queue)) {
        dispatch_unwait(s);
    }
    x->session = NULL;
}

static void append(struct execution *x, Pyexec__V1__ExecutionResult *result)
{
    if (execlog_append_result(x->log, result) == 0) {
        return;
    }
    /* Memory is short: what matters most, once more. */
    Pyexec__V1__ExecutionResult least = PYEXEC__V1__EXECUTION_RESULT__INIT;
    least.status = result->status;
    least.session_id = result->session_id;
    least.execution_id = result->execution_id;
    least.termination_case = result->termination_case;
    least.exit_code = result->exit_code;
    least.session_alive = result->session_alive;
    if (execlog_append_result(x->log, &least) < 0) {
        log_event(LOG_ERROR, "result.lost", "session", x->session_id, "execution", x->execution_id,
                  (char *)NULL);
    }
}

static void answer_waiters(struct execution *x)
{
    while (!list_empty(&x->waiters)) {
        struct waiter *w = LIST_CONTAINER(x->waiters.next, struct waiter, node);
        list_remove(&w->node);
        execution_answer(x, false, NULL, w->done, w->ctx);
        waiter_free(w);
    }
}

void execution_finish(struct execution *x, Pyexec__V1__ExecutionResult *result)
{
    struct engine *e = x->engine;
    struct session *s = x->session;
    (void)execution_ref(x);
    s->refs++;
    timer_stop(&e->timers, &x->timer);
    timer_stop(&e->timers, &x->killer);
    timer_stop(&e->timers, &x->abandon);
    stdin_close(x->feed);
    x->feed = NULL;
    execution_announce(x);
    leave_session(x);
    x->waiting_for_input = false;
    x->state = EXECUTION_FINISHED;
    x->finished_ns = clock_mono_ns();
    x->end_real_ns = clock_real_ns();
    engine_observe(e, ENGINE_HIST_EXECUTE_TOTAL, x->finished_ns - x->receive_ns);
    pyexec__v1__execution_spec__free_unpacked(x->spec, NULL);
    x->spec = NULL;
    append(x, result);
    execution_retain(x);
    session_use(s);
    answer_waiters(x);
    if (s->throw_away) {
        session_delete(s, CAUSE_DELETED);
    }
    session_unref(s);
    execution_unref(x);
    dispatch_waiting(e);
    engine_check(e);
}

void execution_finish_background(struct execution *x, Pyexec__V1__ExecutionResult *result)
{
    x->session = NULL;
    x->state = EXECUTION_FINISHED;
    x->finished_ns = clock_mono_ns();
    x->end_real_ns = clock_real_ns();
    append(x, result);
    answer_waiters(x);
    execution_retain(x);
}
