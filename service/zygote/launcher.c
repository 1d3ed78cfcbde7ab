/* launcher.c: the process between the daemon and its zygotes.
 *
 * Theory of operation. The daemon has many threads and gRPC, so it must not fork; the launcher is
 * forked from it before any of that exists, stays small, and forks for it. It is the child
 * subreaper of the whole tree: when a zygote dies its sessions become children of the launcher and
 * run on. The launcher then reports ZYGOTE_EXITED and looks for no orphans until the daemon has said
 * which of the newcomers are sessions (ADOPT); from then on it does for those what their zygote did.
 *
 * When the daemon ends, in whatever way, the socket reads end of file and the kernel sends SIGTERM:
 * the launcher kills every process below it, waits until it has no child left, and exits. */
#include "service/zygote/launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "internal/zygote.pb-c.h"
#include "service/base/fd.h"
#include "service/base/log.h"
#include "service/wire/zygote_frames.h"
#include "service/zygote/control.h"
#include "service/zygote/start.h"

static struct control launcher;
static char **zygote_environment;

static void on_zygote(struct reaper *r, pid_t pid, int wait_status)
{
    (void)r;
    Pyexec__Internal__LauncherZygoteExited m = PYEXEC__INTERNAL__LAUNCHER_ZYGOTE_EXITED__INIT;
    m.pid = pid;
    m.wait_status = wait_status;
    control_send(&launcher, LAUNCHER_FRAME_ZYGOTE_EXITED, &m.base);
}

static void start(struct control *c, const Pyexec__Internal__LauncherStart *m, int socket)
{
    Pyexec__Internal__LauncherStarted answer = PYEXEC__INTERNAL__LAUNCHER_STARTED__INIT;
    const char *stage = "table";
    int rc = reap_reserve(&c->reaper);
    if (rc == 0) {
        rc = start_zygote(m->zygote_path, zygote_environment, socket, &stage);
    }
    if (rc > 0) {
        reap_add(&c->reaper, rc, true);
    }
    answer.token = m->token;
    answer.pid = rc > 0 ? rc : 0;
    answer.sys_errno = rc < 0 ? -rc : 0;
    answer.stage = (char *)(uintptr_t)(rc < 0 ? stage : "");
    control_send(c, LAUNCHER_FRAME_STARTED, &answer.base);
}

static bool handle_start(struct control *c, struct wire_frame *frame)
{
    Pyexec__Internal__LauncherStart *m =
        pyexec__internal__launcher_start__unpack(NULL, frame->length, frame->payload);
    bool ok = m != NULL && frame->fd_count == 1 && m->zygote_path[0] == '/';
    if (ok) {
        start(c, m, frame->fds[0]);
    }
    wire_frame_close_fds(frame);
    pyexec__internal__launcher_start__free_unpacked(m, NULL);
    return ok;
}

static bool handle_adopt(struct control *c, struct wire_frame *frame)
{
    wire_frame_close_fds(frame);
    Pyexec__Internal__LauncherAdopt *m =
        pyexec__internal__launcher_adopt__unpack(NULL, frame->length, frame->payload);
    if (m == NULL) {
        return false;
    }
    for (size_t i = 0; i < m->n_pids; i++) {
        int rc = reap_claim(&c->reaper, m->pids[i]);
        if (rc == -ENOMEM || rc == -EAGAIN) {
            (void)kill(m->pids[i], SIGKILL); /* a child that we can't watch may not run on */
        }
        if (rc < 0 && rc != -EEXIST) {
            reap_report_unknown(&c->reaper, m->pids[i]);
        }
    }
    pyexec__internal__launcher_adopt__free_unpacked(m, NULL);
    reap_adopted(&c->reaper);
    return true;
}

static bool on_frame(struct control *c, struct wire_frame *frame)
{
    switch (frame->type) {
    case LAUNCHER_FRAME_START:
        return handle_start(c, frame);
    case LAUNCHER_FRAME_ADOPT:
        return handle_adopt(c, frame);
    default:
        wire_frame_close_fds(frame);
        return false;
    }
}

/* Nothing of the daemon's may stay: its terminal group, its descriptors, its lock file. */
static void leave_daemon(int socket)
{
    (void)prctl(PR_SET_NAME, "pyexec-launcher");
    (void)setsid();
    if (chdir("/") < 0) {
        log_event(LOG_WARN, "launcher.chdir", "error", strerror(errno), (char *)NULL);
    }
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null >= 0) {
        (void)dup2(null, STDIN_FILENO);
        (void)dup2(null, STDOUT_FILENO);
    }
    fd_close_all_but((int[]){0, 1, 2, socket}, 4);
    for (int i = 1; i <= SIGRTMAX; i++) {
        (void)signal(i, SIG_DFL);
    }
    (void)signal(SIGPIPE, SIG_IGN);
}

__attribute__((noreturn)) static void run(int socket, pid_t daemon)
{
    struct err err = {0};
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != daemon) {
        _exit(1); /* it died before prctl: the signal will never come */
    }
    leave_daemon(socket);
    log_setup("launcher", LOG_INFO);
    control_init(&launcher, socket, 1);
    launcher.on_frame = on_frame;
    launcher.reaper.on_zygote = on_zygote;
    zygote_environment = start_environment();
    if (zygote_environment == NULL) {
        (void)err_set(&err, ERR_NO_MEMORY, "no memory for the launcher");
    } else if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0) {
        (void)err_sys(&err, ERR_INTERNAL, errno, "subreaper", "the kernel has no child subreapers");
    } else if (control_watch(&launcher, &err) == 0) {
        control_run(&launcher);
        control_kill_everything(&launcher);
        _exit(0);
    }
    log_err(LOG_ERROR, "launcher.start", NULL, &err);
    _exit(1);
}

int launcher_start(int *ret_fd, pid_t *ret_pid, struct err *err)
{
    int fds[2];
    pid_t self = getpid();
    int rc = fd_socketpair(fds);
    if (rc < 0) {
        return err_sys(err, ERR_INTERNAL, -rc, "socketpair", "no socket for the launcher: %s",
                       strerror(-rc));
    }
    pid_t pid = fork();
    if (pid == 0) {
        fd_close(&fds[0]);
        run(fds[1], self);
    }
    int fork_errno = errno;
    fd_close(&fds[1]);
    rc = pid < 0 ? -fork_errno : fd_set_nonblock(fds[0], true);
    if (rc < 0) {
        fd_close(&fds[0]);
        return err_sys(err, ERR_INTERNAL, -rc, "fork", "the launcher can't be started: %s",
                       strerror(-rc));
    }
    *ret_fd = fds[0];
    *ret_pid = pid;
    return 0;
}
