#include "service/zygote/control.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "internal/zygote.pb-c.h"
#include "service/base/fd.h"
#include "service/base/log.h"
#include "service/wire/zygote_frames.h"
#include "service/zygote/end.h"
#include "service/zygote/orphans.h"

#define FRAMES_A_TURN 8 /* a fork costs a millisecond; exits must not wait behind a storm of them */
#define END_BOUND_NS (10 * NS_PER_SEC)
#define SMALL_MESSAGE 256

static uint64_t rusage_ns(const struct timeval *t)
{
    return (uint64_t)t->tv_sec * (uint64_t)NS_PER_SEC + (uint64_t)t->tv_usec * 1000u;
}

static void on_exit_of_session(struct reaper *r, const struct reap_exit *exit)
{
    struct control *c = LIST_CONTAINER(r, struct control, reaper);
    Pyexec__Internal__ZygoteExited m = PYEXEC__INTERNAL__ZYGOTE_EXITED__INIT;
    m.pid = exit->pid;
    m.status_unknown = exit->unknown;
    m.wait_status = exit->wait_status;
    m.cpu_user_ns = rusage_ns(&exit->usage.ru_utime);
    m.cpu_system_ns = rusage_ns(&exit->usage.ru_stime);
    m.max_rss_bytes = (uint64_t)exit->usage.ru_maxrss * 1024u;
    m.orphans_killed = exit->orphans_killed;
    m.survivors = exit->survivors;
    control_send(c, ZYGOTE_FRAME_EXITED, &m.base);
}

/* A process that forks zygotes sets its own. */
static void on_no_zygote(struct reaper *r, pid_t pid, int wait_status)
{
    (void)pid;
    (void)wait_status;
    reap_adopted(r);
}

void control_init(struct control *c, int fd, unsigned max_fds)
{
    c->fd = fd;
    c->signal_fd = -1;
    c->parent = getppid();
    c->over = false;
    wire_reader_init(&c->in, fd, WIRE_CONTROL_MAX, max_fds);
    reap_init(&c->reaper);
    c->reaper.on_exit = on_exit_of_session;
    c->reaper.on_zygote = on_no_zygote;
}

int control_watch(struct control *c, struct err *err)
{
    sigset_t ours;
    if (!orphans_can_be_seen()) {
        return err_set(err, ERR_INTERNAL,
                       "/proc is not mounted, or is not that of this pid namespace");
    }
    (void)sigemptyset(&ours);
    (void)sigaddset(&ours, SIGCHLD);
    (void)sigaddset(&ours, SIGTERM);
    (void)sigprocmask(SIG_BLOCK, &ours, NULL);
    c->signal_fd = signalfd(-1, &ours, SFD_CLOEXEC | SFD_NONBLOCK);
    if (c->signal_fd < 0) {
        return err_sys(err, ERR_INTERNAL, errno, "signalfd", "no signalfd: %s", strerror(errno));
    }
    return 0;
}

void control_release(struct control *c)
{
    wire_reader_release(&c->in);
    reap_release(&c->reaper);
    fd_close(&c->signal_fd);
}

void control_send(struct control *c, uint16_t type, const ProtobufCMessage *message)
{
    uint8_t small[SMALL_MESSAGE];
    size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *packed = size <= sizeof small ? small : malloc(size);
    int rc = -ENOMEM;
    if (packed != NULL) {
        (void)protobuf_c_message_pack(message, packed);
        rc = size <= WIRE_CONTROL_MAX ? wire_send(c->fd, type, packed, size, NULL, 0) : -EMSGSIZE;
    }
    if (packed != small) {
        free(packed);
    }
    if (rc < 0 && !c->over) {
        c->over = true;
        if (rc != -EPIPE && rc != -ECONNRESET) {
            struct err err;
            (void)err_sys(&err, ERR_INTERNAL, -rc, "send", "can't talk to the daemon");
            log_err(LOG_ERROR, "control.send", NULL, &err);
        }
    }
}

/* --- frames about sessions: each returns false when it can't be decoded ------------------------- */

static bool handle_signal(struct control *c, const struct wire_frame *f)
{
    Pyexec__Internal__ZygoteSignal *m =
        pyexec__internal__zygote_signal__unpack(NULL, f->length, f->payload);
    if (m == NULL) {
        return false;
    }
    Pyexec__Internal__ZygoteSignalled answer = PYEXEC__INTERNAL__ZYGOTE_SIGNALLED__INIT;
    answer.token = m->token;
    answer.sys_errno = -reap_signal(&c->reaper, m->pid, m->signal, m->group);
    control_send(c, ZYGOTE_FRAME_SIGNALLED, &answer.base);
    pyexec__internal__zygote_signal__free_unpacked(m, NULL);
    return true;
}

static bool handle_kill(struct control *c, const struct wire_frame *f)
{
    Pyexec__Internal__ZygoteKill *m =
        pyexec__internal__zygote_kill__unpack(NULL, f->length, f->payload);
    if (m == NULL) {
        return false;
    }
    /* ESRCH is no error: its EXITED has been sent or will be. */
    (void)reap_kill(&c->reaper, m->pid);
    pyexec__internal__zygote_kill__free_unpacked(m, NULL);
    return true;
}

static bool handle_branch_begin(struct control *c, const struct wire_frame *f)
{
    Pyexec__Internal__ZygoteBranchBegin *m =
        pyexec__internal__zygote_branch_begin__unpack(NULL, f->length, f->payload);
    if (m == NULL) {
        return false;
    }
    Pyexec__Internal__ZygoteBranchHeld answer = PYEXEC__INTERNAL__ZYGOTE_BRANCH_HELD__INIT;
    answer.token = m->token;
    /* The launcher is told of branches of a dead zygote before their sessions are named to it. */
    bool may_branch = reap_is_session(&c->reaper, m->pid) || c->reaper.adoptions_due > 0;
    answer.sys_errno = may_branch ? -reap_hold(&c->reaper, m->token) : ESRCH;
    control_send(c, ZYGOTE_FRAME_BRANCH_HELD, &answer.base);
    pyexec__internal__zygote_branch_begin__free_unpacked(m, NULL);
    return true;
}

static bool handle_branch_end(struct control *c, const struct wire_frame *f)
{
    Pyexec__Internal__ZygoteBranchEnd *m =
        pyexec__internal__zygote_branch_end__unpack(NULL, f->length, f->payload);
    if (m == NULL) {
        return false;
    }
    if (m->pid != 0) {
        Pyexec__Internal__ZygoteBranchTaken answer = PYEXEC__INTERNAL__ZYGOTE_BRANCH_TAKEN__INIT;
        answer.token = m->token;
        answer.sys_errno = -reap_claim(&c->reaper, m->pid);
        control_send(c, ZYGOTE_FRAME_BRANCH_TAKEN, &answer.base);
    }
    reap_unhold(&c->reaper, m->token);
    pyexec__internal__zygote_branch_end__free_unpacked(m, NULL);
    return true;
}

static const struct {
    uint16_t type;
    bool (*handle)(struct control *c, const struct wire_frame *frame);
} common_frames[] = {
    {ZYGOTE_FRAME_SIGNAL, handle_signal},
    {ZYGOTE_FRAME_KILL, handle_kill},
    {ZYGOTE_FRAME_BRANCH_BEGIN, handle_branch_begin},
    {ZYGOTE_FRAME_BRANCH_END, handle_branch_end},
};

static bool dispatch(struct control *c, struct wire_frame *frame)
{
    for (unsigned i = 0; i < sizeof common_frames / sizeof *common_frames; i++) {
        if (common_frames[i].type == frame->type) {
            wire_frame_close_fds(frame);
            return common_frames[i].handle(c, frame);
        }
    }
    return c->on_frame(c, frame);
}

/* --- the loop --------------------------------------------------------------------------------- */

static int timeout_ms(const struct control *c, bool frames_left)
{
    int64_t due = reap_deadline(&c->reaper);
    if (frames_left) {
        return 0;
    }
    if (due == CLOCK_NEVER) {
        return -1;
    }
    int64_t left = due - clock_mono_ns();
    return left <= 0 ? 0 : (int)(left / NS_PER_MS) + 1;
}

static void read_signals(struct control *c)
{
    struct signalfd_siginfo info;
    while (read(c->signal_fd, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo == SIGTERM && getppid() != c->parent) {
            c->over = true;
        }
    }
    reap_collect(&c->reaper);
}

static void protocol_broken(struct control *c, const char *what)
{
    log_event(LOG_ERROR, "control.broken", "what", what, (char *)NULL);
    c->over = true;
}

/* Takes up to FRAMES_A_TURN frames; true when more may be there already. */
static bool take_frames(struct control *c)
{
    struct wire_frame frame;
    for (unsigned i = 0; i < FRAMES_A_TURN && !c->over; i++) {
        int rc = wire_reader_next(&c->in, &frame);
        if (rc == 0) {
            return false;
        }
        if (rc < 0) {
            protocol_broken(c, "frame out of bounds");
        } else if (!dispatch(c, &frame)) {
            protocol_broken(c, "unknown or malformed frame");
        }
    }
    return true;
}

void control_run(struct control *c)
{
    bool frames_left = true;  /* what was read, */
    reap_collect(&c->reaper); /* and what died, before the loop */
    while (!c->over) {
        struct pollfd p[2] = {{.fd = c->fd, .events = POLLIN},
                              {.fd = c->signal_fd, .events = POLLIN}};
        if (poll(p, 2, timeout_ms(c, frames_left)) < 0 && errno != EINTR) {
            protocol_broken(c, "poll");
        }
        if (p[1].revents != 0) {
            read_signals(c);
        }
        reap_tick(&c->reaper);
        if (!frames_left && p[0].revents != 0) {
            int rc = wire_reader_fill(&c->in);
            if (rc == 0 || (rc < 0 && rc != -EINTR && rc != -EAGAIN)) {
                c->over = true;
            }
        }
        frames_left = take_frames(c);
    }
}

void control_kill_everything(struct control *c)
{
    if (!end_everything(c->signal_fd, END_BOUND_NS)) {
        log_event(LOG_ERROR, "end.survivors", (char *)NULL);
    }
}
