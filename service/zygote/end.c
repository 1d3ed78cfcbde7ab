#include "service/zygote/end.h"

#include <poll.h>
#include <stddef.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "service/base/clock.h"
#include "service/zygote/orphans.h"

static bool nobody_is_known(void *ctx, pid_t pid)
{
    (void)ctx;
    (void)pid;
    return false;
}

static unsigned kill_all(void)
{
    struct orphans_rule rule = {.known = nobody_is_known, .spare_since = ORPHANS_SPARE_NONE};
    struct orphans_found found = {0};
    (void)orphans_kill(&rule, &found);
    return found.killed;
}

bool end_everything(int sigchld, int64_t bound_ns)
{
    int64_t deadline = clock_add(clock_mono_ns(), bound_ns);
    struct signalfd_siginfo info;
    unsigned killed = kill_all();
    unsigned buried = 0;
    for (;;) {
        pid_t pid;
        while ((pid = waitpid(-1, NULL, WNOHANG | __WALL)) > 0) {
            buried++;
        }
        if (pid < 0) {
            return true;
        }
        int64_t left = deadline - clock_mono_ns();
        if (left <= 0) {
            return false;
        }
        /* Every death sends SIGCHLD; looking again pays when half of what was killed is gone. */
        if (buried * 2 >= killed) {
            killed = kill_all();
            buried = 0;
        }
        struct pollfd p = {.fd = sigchld, .events = POLLIN};
        if (poll(&p, 1, (int)(left / NS_PER_MS) + 1) > 0) {
            (void)!read(sigchld, &info, sizeof info);
        }
    }
}
