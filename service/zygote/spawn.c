#include "service/zygote/spawn.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <sys/stat.h>

#include "internal/zygote.pb-c.h"
#include "service/child/child.h"
#include "service/pyembed/pyembed.h"
#include "service/wire/zygote_frames.h"

/* Descriptors of SPAWN, in the order of zygote.proto. */
enum { FD_CONTROL, FD_STDOUT, FD_STDERR, FD_PAGE, FD_COUNT };

/* A thread's locks stay locked for ever in a forked child. The link count of this directory is two
 * and one for each thread: cheaper than reading the status file before every fork. */
static bool has_one_thread(void)
{
    struct stat st;
    return stat("/proc/self/task", &st) == 0 && st.st_nlink == 3;
}

/* What this process blocks for its signalfd is its own affair (dispositions are reset by child_run).
 * SIGINT waits until a run has started. */
static void reset_mask(void)
{
    sigset_t mask;
    (void)sigemptyset(&mask);
    (void)sigaddset(&mask, SIGINT);
    (void)sigprocmask(SIG_SETMASK, &mask, NULL);
}

static const char *confine(void *ctx)
{
    int failed = 0;
    return sbx_apply(ctx, SBX_IN_SESSION, &failed);
}

static pid_t fork_session(const struct spawn_template *template, const struct wire_frame *frame,
                          bool warm_up)
{
    pid_t pid = pyembed_fork();
    if (pid != 0) {
        return pid < 0 ? -errno : pid;
    }
    reset_mask();
    struct child_start start = {
        .control = frame->fds[FD_CONTROL],
        .out = frame->fds[FD_STDOUT],
        .err = frame->fds[FD_STDERR],
        .page = frame->fds[FD_PAGE],
        .warm_up = warm_up && template->warm_up_code != NULL,
        .warm_up_code = template->warm_up_code,
        .confine = confine,
        .confine_ctx = (void *)(uintptr_t) template->plan,
    };
    child_run(&start);
}

bool spawn_session(struct control *c, const struct spawn_template *template,
                   struct wire_frame *frame)
{
    Pyexec__Internal__ZygoteSpawned answer = PYEXEC__INTERNAL__ZYGOTE_SPAWNED__INIT;
    Pyexec__Internal__ZygoteSpawn *m =
        pyexec__internal__zygote_spawn__unpack(NULL, frame->length, frame->payload);
    const char *stage = "table";
    if (m == NULL || frame->fd_count != FD_COUNT) {
        wire_frame_close_fds(frame);
        pyexec__internal__zygote_spawn__free_unpacked(m, NULL);
        return false;
    }
    int rc = reap_reserve(&c->reaper);
    if (rc == 0 && !has_one_thread()) {
        stage = "threads";
        rc = -EBUSY;
    }
    if (rc == 0) {
        stage = "fork";
        rc = fork_session(template, frame, m->warm_up);
    }
    if (rc > 0) {
        reap_add(&c->reaper, rc, false);
    }
    wire_frame_close_fds(frame);
    answer.token = m->token;
    answer.pid = rc > 0 ? rc : 0;
    answer.sys_errno = rc < 0 ? -rc : 0;
    answer.stage = (char *)(uintptr_t)(rc < 0 ? stage : "");
    control_send(c, ZYGOTE_FRAME_SPAWNED, &answer.base);
    pyexec__internal__zygote_spawn__free_unpacked(m, NULL);
    return true;
}
