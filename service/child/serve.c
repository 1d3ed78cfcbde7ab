#include "service/child/serve.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "internal/session.pb-c.h"
#include "pyexec/v1/execution_service.pb-c.h"
#include "service/base/fd.h"
#include "service/pyembed/channel.h"
#include "service/pyembed/session_python.h"
#include "service/wire/wire.h"

#define RUN_FDS_MAX 3
#define BRANCH_FDS 4
#define TEXT_MAX 512

/* Reading /dev/null, or where that can't be opened, a pipe that has ended. */
static int open_no_input(void)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int p[2];
    if (fd < 0 && fd_pipe(p) == 0) {
        fd_close(&p[1]);
        fd = p[0];
    }
    return fd;
}

static void put_at(int *take_fd, int number)
{
    if (*take_fd >= 0 && *take_fd != number) {
        (void)dup2(*take_fd, number); /* clears close-on-exec: subprocesses have it, too */
        fd_close(take_fd);
    } else {
        (void)fd_set_cloexec(number, false);
        *take_fd = -1;
    }
}

static void set_no_input(void)
{
    int fd = open_no_input();
    put_at(&fd, 0);
}

static int serve_init(const struct wire_frame *f)
{
    Pyexec__Internal__SessionInit *m =
        pyexec__internal__session_init__unpack(NULL, f->length, f->payload);
    struct err err;
    int r = m == NULL ? -1 : session_python_init(m, &err);
    if (m != NULL) {
        pyexec__internal__session_init__free_unpacked(m, NULL);
    }
    return r;
}

/* Descriptors come in the order stdin, stdout, stderr; which are there the message says. */
static int settle_run_fds(const Pyexec__Internal__SessionRun *m, struct wire_frame *f)
{
    unsigned want = (m->has_stdin ? 1 : 0) + (m->has_output ? 2 : 0);
    if (f->fd_count != want) {
        return -1;
    }
    unsigned next = 0;
    if (m->has_stdin) {
        put_at(&f->fds[next++], 0);
    }
    if (m->has_output) {
        put_at(&f->fds[next], 1);
        put_at(&f->fds[next + 1], 2);
        channel_new_pipes();
    }
    return 0;
}

static int serve_run(struct wire_frame *f)
{
    Pyexec__Internal__SessionRun *m =
        pyexec__internal__session_run__unpack(NULL, f->length, f->payload);
    if (m == NULL || settle_run_fds(m, f) < 0) {
        wire_frame_close_fds(f);
        if (m != NULL) {
            pyexec__internal__session_run__free_unpacked(m, NULL);
        }
        return -1;
    }
    bool asks =
        m->has_stdin && m->stdin_mode == PYEXEC__V1__EXECUTION_SPEC__STDIN_MODE__STDIN_MODE_STREAM;
    if (!m->has_stdin) {
        set_no_input();
    }
    bool had_input = m->has_stdin;
    int r = session_python_run(m, asks);
    pyexec__internal__session_run__free_unpacked(m, NULL);
    if (had_input) {
        set_no_input(); /* the daemon sees that nobody reads any more */
    }
    return r;
}

static int send_ready(void)
{
    Pyexec__Internal__SessionReady m = PYEXEC__INTERNAL__SESSION_READY__INIT;
    m.pid = (int32_t)getpid();
    return channel_send_message(SESSION_FRAME_READY, &m.base);
}

/* 0 in the parent, 1 in the branch, -1 when the channel is unusable. */
static int serve_branch(struct wire_frame *f, struct serve_branch *branch)
{
    Pyexec__Internal__SessionBranch *m =
        pyexec__internal__session_branch__unpack(NULL, f->length, f->payload);
    if (m == NULL || f->fd_count != BRANCH_FDS) {
        wire_frame_close_fds(f);
        if (m != NULL) {
            pyexec__internal__session_branch__free_unpacked(m, NULL);
        }
        return -1;
    }
    struct err err = {0};
    char unsafe[TEXT_MAX] = "";
    char lost[TEXT_MAX] = "";
    char *warnings[] = {lost};
    pid_t pid = 0;
    int r = session_python_branch(&pid, unsafe, sizeof unsafe, lost, sizeof lost, &err);
    if (r == 1) {
        *branch = (struct serve_branch){f->fds[0], f->fds[1], f->fds[2], f->fds[3]};
        pyexec__internal__session_branch__free_unpacked(m, NULL);
        return 1;
    }
    wire_frame_close_fds(f);
    Pyexec__Internal__SessionBranched answer = PYEXEC__INTERNAL__SESSION_BRANCHED__INIT;
    answer.token = m->token;
    answer.pid = r == 0 ? (int32_t)pid : 0;
    answer.sys_errno = r == 0 ? 0 : err.sys_errno;
    answer.unsafe = unsafe;
    answer.warnings = warnings;
    answer.n_warnings = lost[0] == '\0' ? 0 : 1;
    pyexec__internal__session_branch__free_unpacked(m, NULL);
    return channel_send_message(SESSION_FRAME_BRANCHED, &answer.base) < 0 ? -1 : 0;
}

/* One frame: 0, 1 when this process became a branch, -1 when it has to end. */
static int serve_one(struct wire_frame *f, struct serve_branch *branch)
{
    switch (f->type) {
    case SESSION_FRAME_INIT:
        wire_frame_close_fds(f);
        return serve_init(f);
    case SESSION_FRAME_RUN:
        return serve_run(f);
    case SESSION_FRAME_BRANCH:
        return serve_branch(f, branch);
    default:
        wire_frame_close_fds(f);
        return -1;
    }
}

static int wait_frame(struct wire_reader *reader, struct wire_frame *f)
{
    for (;;) {
        session_python_allow_threads();
        int r = wire_reader_wait(reader, f);
        session_python_resume();
        if (r != -EINTR) {
            return r;
        }
        session_python_pending();
    }
}

enum serve_end serve_frames(struct serve_branch *branch)
{
    struct wire_reader reader;
    wire_reader_init(&reader, SESSION_FD_CONTROL, WIRE_TO_SESSION_MAX, BRANCH_FDS);
    _Static_assert(BRANCH_FDS >= RUN_FDS_MAX, "one maximum for all frames");
    int r = send_ready();
    enum serve_end end = r < 0 ? SERVE_CLOSED : SERVE_BROKEN;
    while (r == 0) {
        struct wire_frame f;
        int got = wait_frame(&reader, &f);
        if (got <= 0) {
            end = got == -EPROTO ? SERVE_BROKEN : SERVE_CLOSED;
            break;
        }
        r = serve_one(&f, branch);
        if (r == 1) {
            end = SERVE_BRANCH;
        }
    }
    wire_reader_release(&reader);
    return end;
}
