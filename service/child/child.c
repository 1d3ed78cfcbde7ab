/* A session process, in reading order.
 *
 * The zygote forked it with CPython's protocol half done. It moves its descriptors to 0..3 and closes
 * all others, leaves the zygote's session and process group, becomes the reaper of whatever its
 * user code leaves behind, puts on its confinement, finishes the fork, and says READY. From there
 * on serve.c answers frames until the control socket ends. Nothing is given back: the process
 * ends with _exit, so that no handler of the zygote's or of user code runs. */
#include "service/child/child.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "service/base/err.h"
#include "service/base/fd.h"
#include "service/child/serve.h"
#include "service/pyembed/channel.h"
#include "service/pyembed/session_python.h"
#include "service/wire/session_frames.h"

enum exit_status {
    EXIT_CLOSED = 0,
    EXIT_BROKEN = 98,
    EXIT_SETUP = 97,
};

__attribute__((noreturn)) static void fail(const char *stage, const char *text)
{
    (void)dprintf(2, "session could not start: %s%s%s\n", stage, text[0] == '\0' ? "" : ": ", text);
    _exit(EXIT_SETUP);
}

/* The descriptors may sit on each other's places: all move up first, then down. */
static void settle_fds(struct serve_branch *fds)
{
    int *const all[] = {&fds->out, &fds->err, &fds->control, &fds->page};
    static const int places[] = {1, 2, SESSION_FD_CONTROL};
    for (unsigned i = 0; i < 4; i++) {
        int up = fcntl(*all[i], F_DUPFD_CLOEXEC, SESSION_FD_KEEP);
        fd_close(all[i]);
        *all[i] = up;
        if (up < 0) {
            _exit(EXIT_SETUP);
        }
    }
    int none = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (none < 0 || dup2(none, 0) < 0) {
        _exit(EXIT_SETUP);
    }
    fd_close(&none);
    for (unsigned i = 0; i < 3; i++) {
        if (dup2(*all[i], places[i]) < 0) {
            _exit(EXIT_SETUP);
        }
        fd_close(all[i]);
    }
    (void)fd_set_cloexec(SESSION_FD_CONTROL, true);
}

/* A session has nothing of the zygote's. */
static void close_inherited(int page)
{
    const int keep[] = {0, 1, 2, SESSION_FD_CONTROL, page};
    fd_close_all_but(keep, sizeof keep / sizeof keep[0]);
}

/* A branch keeps the open files of its parent, as a fork does, but not its connections: two
 * processes that talk on one would garble it. The numbers stay taken, by something that has ended,
 * because Python objects still name them. */
static void replace_sockets(void)
{
    DIR *d = opendir("/proc/self/fd");
    int none = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (struct dirent *e = d == NULL ? NULL : readdir(d); e != NULL; e = readdir(d)) {
        int fd = (int)strtol(e->d_name, NULL, 10); /* "." and ".." give 0 */
        struct stat st;
        if (fd >= SESSION_FD_KEEP && fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode) && none >= 0) {
            (void)dup3(none, fd, O_CLOEXEC);
        }
    }
    fd_close(&none);
    if (d != NULL) {
        closedir(d);
    }
}

static void open_channel(int *take_page)
{
    int r = channel_open(*take_page);
    fd_close(take_page);
    if (r < 0) {
        fail("offset page", strerror(-r));
    }
}

/* What the zygote ignores or handles is its own affair. */
static void reset_signals(void)
{
    struct sigaction standard = {.sa_handler = SIG_DFL};
    for (int s = 1; s < NSIG; s++) {
        (void)sigaction(s, &standard, NULL); /* those that can't be set fail */
    }
}

static void leave_parent(void)
{
    (void)setsid(); /* fails only for a leader, which a forked child is not */
    (void)prctl(PR_SET_NAME, "pyexec-session"); /* for people who look at processes */
    if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0) {
        fail("child subreaper", strerror(errno));
    }
}

__attribute__((noreturn)) static void serve(void)
{
    struct serve_branch branch;
    enum serve_end end;
    while ((end = serve_frames(&branch)) == SERVE_BRANCH) {
        settle_fds(&branch);
        replace_sockets();
        open_channel(&branch.page);
        leave_parent();
        struct err err;
        if (session_python_start(true, &err) < 0) {
            fail("branch", err.text);
        }
    }
    _exit(end == SERVE_CLOSED ? EXIT_CLOSED : EXIT_BROKEN);
}

void child_run(const struct child_start *start)
{
    struct serve_branch fds = {start->control, start->out, start->err, start->page};
    reset_signals();
    settle_fds(&fds);
    close_inherited(fds.page);
    open_channel(&fds.page);
    leave_parent();
    (void)setvbuf(stdout, NULL, _IOLBF, BUFSIZ); /* C code's lines in the order of their writing */
    if (start->confine != NULL) {
        const char *step = start->confine(start->confine_ctx);
        if (step != NULL) {
            fail("confinement", step);
        }
    }
    struct err err;
    if (session_python_start(false, &err) < 0) {
        fail("interpreter", err.text);
    }
    if (start->warm_up && start->warm_up_code != NULL) {
        session_python_warm_up(start->warm_up_code);
    }
    serve();
}
