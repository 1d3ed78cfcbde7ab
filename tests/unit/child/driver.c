#include "tests/unit/child/driver.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pyexec/v1/execution_service.pb-c.h"
#include "service/base/fd.h"
#include "service/child/child.h"
#include "service/pyembed/pyembed.h"

#define TEXT_MAX (256u << 20)

struct turn {
    struct driver *d;
    struct driver_result *r; /* NULL while no run is under way */
    const struct driver_spec *spec;
    int *input; /* write end of standard input, or -1 */
    int last_type;
};

/* The same numbers in each run of a test. */
static unsigned random_number(void)
{
    static unsigned state = 1;
    state = state * 1103515245u + 12345u;
    return state >> 16;
}

int driver_prepare(void)
{
    struct err err;
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
    (void)signal(SIGPIPE, SIG_IGN);
    if (pyembed_init("", &err) < 0 || pyembed_settle(&err) < 0) {
        (void)fprintf(stderr, "%s\n", err.text);
        return -1;
    }
    return 0;
}

/* --- bytes in order ------------------------------------------------------------------------------ */

static void give(struct turn *t, unsigned s, size_t n)
{
    struct driver *d = t->d;
    if (t->r != NULL) {
        (void)buf_append(s == 0 ? &t->r->out : &t->r->err, d->held[s].data, n);
        (void)buf_append(&t->r->both, d->held[s].data, n);
    }
    buf_consume(&d->held[s], n);
    d->given[s] += n;
}

static void read_pipe(struct driver *d, unsigned s)
{
    struct session_page_stream *page = &d->page->stream[s];
    size_t most = d->most_bytes == 0 ? 65536 : 1 + random_number() % d->most_bytes;
    uint8_t *room = buf_reserve(&d->held[s], most);
    atomic_fetch_add(&page->sequence, 1);
    ssize_t n = d->pipe[s] < 0 || room == NULL ? 0 : read(d->pipe[s], room, most);
    if (n > 0) {
        atomic_fetch_add(&page->read_bytes, (uint64_t)n);
        d->held[s].len += (size_t)n;
    }
    atomic_fetch_add(&page->sequence, 1);
    if (n == 0) {
        fd_close(&d->pipe[s]);
    }
}

static void give_up_to(struct turn *t, const struct session_fence *fence)
{
    const uint64_t target[2] = {fence->stdout_bytes, fence->stderr_bytes};
    for (unsigned s = 0; s < 2; s++) {
        struct driver *d = t->d;
        while (d->given[s] + d->held[s].len < target[s] && d->pipe[s] >= 0) {
            read_pipe(d, s);
            d->read_on = true;
        }
        if (target[s] > d->given[s]) {
            uint64_t n = target[s] - d->given[s];
            give(t, s, n < d->held[s].len ? (size_t)n : d->held[s].len);
        }
    }
}

/* --- frames --------------------------------------------------------------------------------------- */

static void note_display(struct turn *t, const uint8_t *p, size_t n)
{
    Pyexec__Internal__SessionDisplay *m = pyexec__internal__session_display__unpack(NULL, n, p);
    if (m == NULL) {
        return;
    }
    const Pyexec__V1__MimeBundle *b = m->display->bundle;
    for (size_t i = 0; i < b->n_parts; i++) {
        (void)buf_printf(&t->r->shown, "%s=", b->parts[i]->mime_type);
        (void)buf_append(&t->r->shown, b->parts[i]->data.data, b->parts[i]->data.len);
        (void)buf_append_str(&t->r->shown, ";");
    }
    pyexec__internal__session_display__free_unpacked(m, NULL);
}

static void answer_request(struct turn *t, const uint8_t *p, size_t n)
{
    Pyexec__Internal__SessionInputRequest *m =
        pyexec__internal__session_input_request__unpack(NULL, n, p);
    if (m == NULL) {
        return;
    }
    (void)buf_printf(&t->r->asked, "%s\n", m->prompt);
    t->r->password = m->password;
    if (t->spec->answer != NULL && *t->input >= 0) {
        (void)fd_write_all(*t->input, t->spec->answer, strlen(t->spec->answer));
    }
    if (t->spec->interrupt_on != NULL) {
        (void)kill(t->d->pid, SIGINT);
    }
    pyexec__internal__session_input_request__free_unpacked(m, NULL);
}

static void take_frame(struct turn *t, const struct wire_frame *f)
{
    struct session_fence fence;
    if (f->length < sizeof fence) {
        return;
    }
    memcpy(&fence, f->payload, sizeof fence);
    give_up_to(t, &fence);
    const uint8_t *p = f->payload + sizeof fence;
    size_t n = f->length - sizeof fence;
    t->last_type = f->type;
    if (t->r == NULL) {
        return;
    }
    switch (f->type) {
    case SESSION_FRAME_STARTED:
        if (t->spec->interrupt_at_start) {
            (void)kill(t->d->pid, SIGINT);
        }
        break;
    case SESSION_FRAME_MARK:
        t->r->marks++;
        break;
    case SESSION_FRAME_REPORTING:
        t->r->reporting = true;
        break;
    case SESSION_FRAME_DONE:
        t->r->done = pyexec__internal__session_done__unpack(NULL, n, p);
        break;
    case SESSION_FRAME_DISPLAY:
        note_display(t, p, n);
        break;
    case SESSION_FRAME_CLEAR_OUTPUT:
        (void)buf_append_str(&t->r->shown, "clear;");
        break;
    case SESSION_FRAME_INPUT_REQUEST:
        answer_request(t, p, n);
        break;
    case SESSION_FRAME_BACKGROUND:
        (void)buf_append(&t->r->background, p + 1, n - 1);
        break;
    default:
        break;
    }
}

/* Frames that are there; true when one of type `until` was among them or the socket has ended. */
static bool take_frames(struct turn *t, int until, bool *ret_ended)
{
    struct wire_reader *reader = &t->d->reader;
    for (;;) {
        int r = wire_reader_fill(reader);
        if (r == -EAGAIN) {
            break;
        }
        if (r <= 0) {
            *ret_ended = true;
            break;
        }
    }
    struct wire_frame f;
    while (wire_reader_next(reader, &f) == 1) {
        take_frame(t, &f);
        if (f.type == until) {
            return true;
        }
    }
    return *ret_ended;
}

static bool printed(const struct driver_result *r, const char *text)
{
    return r->both.len > 0 && memmem(r->both.data, r->both.len, text, strlen(text)) != NULL;
}

/* Reads pipes, then the socket, as the daemon does, until a frame of type `until` or the end. */
static bool pump(struct turn *t, int until)
{
    struct driver *d = t->d;
    bool interrupted = false;
    bool ended = false;
    for (;;) {
        struct pollfd p[3] = {
            {d->pipe[0], POLLIN, 0}, {d->pipe[1], POLLIN, 0}, {d->control, POLLIN, 0}};
        (void)poll(p, 3, -1);
        for (unsigned i = 0; i < 2; i++) {
            unsigned s = d->most_bytes == 0 ? i : random_number() % 2;
            if (p[s].revents != 0 && d->pipe[s] >= 0) {
                read_pipe(d, s);
            }
        }
        bool found;
        do {
            d->read_on = false;
            found = take_frames(t, until, &ended);
        } while (!found && d->read_on);
        if (t->last_type == until) {
            return true;
        }
        give(t, 0, d->held[0].len);
        give(t, 1, d->held[1].len);
        if (ended) {
            return false;
        }
        if (t->r != NULL && t->spec->interrupt_on != NULL && !interrupted &&
            printed(t->r, t->spec->interrupt_on)) {
            (void)kill(d->pid, SIGINT);
            interrupted = true;
        }
    }
}

/* --- sessions --------------------------------------------------------------------------------------- */

struct ends {
    int control;
    int out;
    int err;
    int page;
};

static int open_ends(struct driver *d, struct ends *e)
{
    int control[2];
    int out[2];
    int err[2];
    *d = (struct driver){.pid = -1};
    if (fd_socketpair(control) < 0 || fd_pipe(out) < 0 || fd_pipe(err) < 0) {
        return -1;
    }
    e->page = memfd_create("page", MFD_CLOEXEC);
    if (e->page < 0 || ftruncate(e->page, SESSION_PAGE_SIZE) < 0) {
        return -1;
    }
    void *page = mmap(NULL, SESSION_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, e->page, 0);
    if (page == MAP_FAILED) {
        return -1;
    }
    d->page = page;
    d->control = control[0];
    d->pipe[0] = out[0];
    d->pipe[1] = err[0];
    (void)fd_set_nonblock(control[0], true);
    (void)fd_set_nonblock(out[0], true);
    (void)fd_set_nonblock(err[0], true);
    buf_init(&d->held[0], TEXT_MAX);
    buf_init(&d->held[1], TEXT_MAX);
    wire_reader_init(&d->reader, d->control, WIRE_FROM_SESSION_MAX, 0);
    e->control = control[1];
    e->out = out[1];
    e->err = err[1];
    return 0;
}

static void close_ends(struct ends *e)
{
    fd_close(&e->control);
    fd_close(&e->out);
    fd_close(&e->err);
    fd_close(&e->page);
}

static int send_message(struct driver *d, int type, const ProtobufCMessage *m, const int *fds,
                        size_t fd_count)
{
    size_t n = protobuf_c_message_get_packed_size(m);
    uint8_t *data = malloc(n + 1);
    if (data == NULL) {
        return -1;
    }
    protobuf_c_message_pack(m, data);
    (void)fd_set_nonblock(d->control, false);
    int r = wire_send(d->control, (uint16_t)type, data, n, fds, fd_count);
    (void)fd_set_nonblock(d->control, true);
    free(data);
    return r;
}

int driver_start(struct driver *d, const char *directory)
{
    struct ends e;
    if (open_ends(d, &e) < 0) {
        return -1;
    }
    d->pid = pyembed_fork();
    if (d->pid == 0) {
        struct child_start start = {
            .control = e.control, .out = e.out, .err = e.err, .page = e.page};
        child_run(&start);
    }
    close_ends(&e);
    struct turn t = {.d = d};
    if (!pump(&t, SESSION_FRAME_READY)) {
        return -1;
    }
    Pyexec__Internal__SessionInit init = PYEXEC__INTERNAL__SESSION_INIT__INIT;
    init.working_directory = (char *)(uintptr_t)directory;
    return send_message(d, SESSION_FRAME_INIT, &init.base, NULL, 0);
}

static void fresh_pipes(struct driver *d, int fds[2])
{
    int out[2];
    int err[2];
    if (fd_pipe(out) < 0 || fd_pipe(err) < 0) {
        return;
    }
    fd_close(&d->pipe[0]);
    fd_close(&d->pipe[1]);
    d->pipe[0] = out[0];
    d->pipe[1] = err[0];
    for (unsigned s = 0; s < 2; s++) {
        (void)fd_set_nonblock(d->pipe[s], true);
        buf_clear(&d->held[s]);
        d->given[s] = 0;
        atomic_store(&d->page->stream[s].read_bytes, 0);
    }
    fds[0] = out[1];
    fds[1] = err[1];
}

static int send_run(struct driver *d, const struct driver_spec *spec, int *ret_input)
{
    Pyexec__Internal__SessionRun m = PYEXEC__INTERNAL__SESSION_RUN__INIT;
    Pyexec__Internal__SessionRun__EnvEntry env = PYEXEC__INTERNAL__SESSION_RUN__ENV_ENTRY__INIT;
    Pyexec__Internal__SessionRun__EnvEntry *entries[] = {&env};
    int fds[3];
    int input[2];
    size_t n = 0;
    m.run = ++d->run;
    m.execution_count = d->run;
    m.code.data = (uint8_t *)(uintptr_t)spec->code;
    m.code.len = spec->code_len > 0 ? spec->code_len : strlen(spec->code);
    m.filename = (char *)(uintptr_t)(spec->filename == NULL ? "" : spec->filename);
    m.silent = spec->silent;
    m.write_source_file = spec->write_source;
    m.report_changed_files = spec->changed_files;
    m.traceback_style =
        spec->ipython ? PYEXEC__V1__EXECUTION_SPEC__TRACEBACK_STYLE__TRACEBACK_STYLE_IPYTHON : 0;
    if (spec->env_name != NULL) {
        env.key = (char *)(uintptr_t)spec->env_name;
        env.value = (char *)(uintptr_t)spec->env_value;
        m.env = entries;
        m.n_env = 1;
    }
    if ((spec->input != NULL || spec->answer != NULL || spec->wait_for_input) &&
        fd_pipe(input) == 0) {
        m.has_stdin = true;
        m.stdin_mode = spec->input != NULL
                           ? PYEXEC__V1__EXECUTION_SPEC__STDIN_MODE__STDIN_MODE_INLINE
                           : PYEXEC__V1__EXECUTION_SPEC__STDIN_MODE__STDIN_MODE_STREAM;
        fds[n++] = input[0];
        *ret_input = input[1];
    }
    if (spec->fresh_pipes) {
        m.has_output = true;
        fresh_pipes(d, fds + n);
        n += 2;
    }
    int r = send_message(d, SESSION_FRAME_RUN, &m.base, fds, n);
    for (size_t i = 0; i < n; i++) {
        fd_close(&fds[i]);
    }
    if (spec->input != NULL) {
        (void)fd_write_all(*ret_input, spec->input, strlen(spec->input));
        fd_close(ret_input);
    }
    return r;
}

void driver_run(struct driver *d, const struct driver_spec *spec, struct driver_result *ret)
{
    memset(ret, 0, sizeof *ret);
    struct buf *const all[] = {&ret->both,       &ret->out,   &ret->err,
                               &ret->background, &ret->shown, &ret->asked};
    for (unsigned i = 0; i < sizeof all / sizeof all[0]; i++) {
        buf_init(all[i], TEXT_MAX);
    }
    int input = -1;
    struct turn t = {.d = d, .r = ret, .spec = spec, .input = &input};
    bool done = send_run(d, spec, &input) == 0 && pump(&t, SESSION_FRAME_DONE);
    fd_close(&input);
    if (!done) {
        ret->wait_status = driver_stop(d);
        /* What it wrote before its end. */
        for (unsigned s = 0; s < 2; s++) {
            while (d->pipe[s] >= 0) {
                (void)fd_set_nonblock(d->pipe[s], false);
                read_pipe(d, s);
            }
            give(&t, s, d->held[s].len);
        }
    }
    for (unsigned i = 0; i < sizeof all / sizeof all[0]; i++) {
        (void)buf_append(all[i], "", 1); /* texts end with a NUL that does not count */
        all[i]->len -= all[i]->len > 0;
    }
}

void driver_result_release(struct driver_result *r)
{
    struct buf *const all[] = {&r->both, &r->out, &r->err, &r->background, &r->shown, &r->asked};
    for (unsigned i = 0; i < sizeof all / sizeof all[0]; i++) {
        buf_release(all[i]);
    }
    if (r->done != NULL) {
        pyexec__internal__session_done__free_unpacked(r->done, NULL);
    }
}

int driver_branch(struct driver *d, struct driver *ret_branch, char *why, size_t why_size)
{
    struct ends e;
    Pyexec__Internal__SessionBranch m = PYEXEC__INTERNAL__SESSION_BRANCH__INIT;
    if (open_ends(ret_branch, &e) < 0) {
        return -1;
    }
    const int fds[] = {e.control, e.out, e.err, e.page};
    int r = send_message(d, SESSION_FRAME_BRANCH, &m.base, fds, 4);
    close_ends(&e);
    /* The answer is the one frame whose content is wanted here: read it alone. */
    (void)fd_set_nonblock(d->control, false);
    struct wire_frame f;
    why[0] = '\0';
    if (r == 0 && wire_reader_wait(&d->reader, &f) == 1 && f.type == SESSION_FRAME_BRANCHED) {
        Pyexec__Internal__SessionBranched *answer = pyexec__internal__session_branched__unpack(
            NULL, f.length - sizeof(struct session_fence),
            f.payload + sizeof(struct session_fence));
        if (answer != NULL) {
            ret_branch->pid = answer->pid;
            (void)snprintf(why, why_size, "%s%s", answer->unsafe,
                           answer->n_warnings > 0 ? answer->warnings[0] : "");
            pyexec__internal__session_branched__free_unpacked(answer, NULL);
        }
    }
    (void)fd_set_nonblock(d->control, true);
    struct turn t = {.d = ret_branch};
    return ret_branch->pid > 0 && pump(&t, SESSION_FRAME_READY) ? 0 : -1;
}

void driver_release(struct driver *d)
{
    (void)driver_stop(d);
    for (unsigned s = 0; s < 2; s++) {
        fd_close(&d->pipe[s]);
        buf_release(&d->held[s]);
    }
    wire_reader_release(&d->reader);
    if (d->page != NULL) {
        (void)munmap(d->page, SESSION_PAGE_SIZE);
        d->page = NULL;
    }
}

int driver_stop(struct driver *d)
{
    int status = -1;
    fd_close(&d->control);
    while (d->pid > 0 && waitpid(d->pid, &status, 0) < 0 && errno == EINTR) {
    }
    d->pid = -1;
    return status;
}
