/* The table of children, in this process: its maxima, claims and holds, and what is reported when. */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "service/base/log.h"
#include "service/zygote/reap.h"
#include "tests/support/check.h"

static struct reaper r;
static struct reap_exit last;
static unsigned exits;
static unsigned zygotes;

static void on_exit_of_session(struct reaper *reaper, const struct reap_exit *exit)
{
    CHECK(reaper == &r);
    last = *exit;
    exits++;
}

static void on_zygote(struct reaper *reaper, pid_t pid, int wait_status)
{
    (void)pid;
    (void)wait_status;
    CHECK(reaper == &r);
    zygotes++;
}

static void enter(void)
{
    reap_init(&r);
    r.on_exit = on_exit_of_session;
    r.on_zygote = on_zygote;
    exits = zygotes = 0;
}

static void leave(void)
{
    reap_release(&r);
    CHECK(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD);
}

static pid_t start(int status)
{
    pid_t pid = fork();
    if (pid == 0) {
        if (status >= 0) {
            _exit(status);
        }
        for (;;) {
            (void)pause();
        }
    }
    return pid;
}

static int exit_3(void *unused)
{
    (void)unused;
    return 3;
}

/* A full fork, four thousand times, is slow in a sanitizer's build. */
static pid_t start_and_exit(void)
{
    static char stack[65536] __attribute__((aligned(16)));
    return clone(exit_3, stack + sizeof stack, CLONE_VM | CLONE_VFORK | SIGCHLD, NULL);
}

static pid_t start_session(int status)
{
    CHECK_EQ_INT(reap_reserve(&r), 0);
    pid_t pid = start(status);
    reap_add(&r, pid, false);
    return pid;
}

/* Until the process can be waited for. */
static void await(pid_t pid)
{
    siginfo_t info;
    CHECK(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT) == 0);
}

static void collect_until(unsigned wanted)
{
    while (exits < wanted) {
        siginfo_t info;
        CHECK(waitid(P_ALL, 0, &info, WEXITED | WNOWAIT) == 0);
        reap_collect(&r);
    }
}

/* Two ends close to each other: the second look is put off, and has a deadline. */
static void let_time_pass(unsigned wanted)
{
    while (exits < wanted) {
        CHECK(reap_deadline(&r) != CLOCK_NEVER);
        reap_tick(&r);
    }
}

static void test_exit_is_reported_once(void)
{
    enter();
    pid_t pid = start_session(5);
    CHECK(reap_is_session(&r, pid));
    collect_until(1);
    CHECK_EQ_INT(last.pid, pid);
    CHECK_EQ_INT(last.wait_status, 5 << 8);
    CHECK(!last.unknown);
    CHECK(!reap_is_session(&r, pid));
    CHECK_EQ_INT(reap_kill(&r, pid), -ESRCH);
    reap_collect(&r);
    CHECK_EQ_INT(exits, 1);
    CHECK(reap_deadline(&r) == CLOCK_NEVER);
    leave();
}

static void test_looks_are_spaced_out(void)
{
    enter();
    for (int i = 0; i < 3; i++) {
        pid_t pid = start_session(0);
        await(pid);
        reap_collect(&r);
        let_time_pass((unsigned)i + 1);
        CHECK_EQ_INT(last.pid, pid);
    }
    leave();
}

static void test_table_is_bounded(void)
{
    enter();
    /* Pids that no machine gives out. */
    for (int i = 0; i < REAP_CHILDREN_MAX; i++) {
        CHECK_EQ_INT(reap_reserve(&r), 0);
        reap_add(&r, 0x10000000 + i, false);
    }
    CHECK_EQ_INT(reap_reserve(&r), -EAGAIN);
    CHECK(reap_is_session(&r, 0x10000000));
    CHECK(reap_is_session(&r, 0x10000000 + REAP_CHILDREN_MAX - 1));
    leave();
}

static void test_kept_exits_are_bounded(void)
{
    enum { N = REAP_KEPT_MAX + 1 };
    pid_t first = 0;
    pid_t second = 0;
    pid_t newest = 0;
    enter();
    CHECK_EQ_INT(reap_hold(&r, 1), 0);
    for (int i = 0; i < N; i++) {
        newest = start_and_exit();
        first = i == 0 ? newest : first;
        second = i == 1 ? newest : second;
        await(newest);
        reap_collect(&r);
    }
    CHECK_EQ_INT(r.kept_len, REAP_KEPT_MAX);
    CHECK_EQ_INT(reap_claim(&r, first), -ECHILD);
    CHECK_EQ_INT(reap_claim(&r, second), 0);
    CHECK_EQ_INT(reap_claim(&r, second), -EEXIST);
    CHECK_EQ_INT(reap_claim(&r, newest), 0);
    reap_unhold(&r, 1);
    let_time_pass(2);
    CHECK_EQ_INT(exits, 2);
    CHECK_EQ_INT(last.pid, newest);
    CHECK_EQ_INT(last.wait_status, 3 << 8);
    CHECK_EQ_INT(r.kept_len, 0);
    leave();
}

static void test_holds_are_bounded_and_end(void)
{
    enter();
    for (unsigned i = 0; i < REAP_HOLDS_MAX; i++) {
        CHECK_EQ_INT(reap_hold(&r, i), 0);
    }
    CHECK_EQ_INT(reap_hold(&r, 1000), -EAGAIN);
    CHECK(reap_deadline(&r) <= clock_mono_ns() + REAP_HOLD_NS);
    for (unsigned i = 0; i < REAP_HOLDS_MAX; i++) {
        r.holds[i].until_ns = 0; /* as if five seconds had passed */
    }
    pid_t unclaimed = start(-1);
    CHECK(reap_deadline(&r) == 0);
    reap_tick(&r); /* nobody's: killed */
    await(unclaimed);
    reap_collect(&r);
    CHECK_EQ_INT(r.hold_count, 0);
    CHECK(reap_deadline(&r) == CLOCK_NEVER);
    reap_unhold(&r, 1000); /* a token that is gone is no error */
    leave();
}

static void test_nothing_is_touched_before_adoption(void)
{
    enter();
    CHECK_EQ_INT(reap_reserve(&r), 0);
    pid_t zygote = start(0);
    reap_add(&r, zygote, true);
    CHECK(!reap_is_session(&r, zygote));
    CHECK_EQ_INT(reap_signal(&r, zygote, SIGTERM, false), -ESRCH);
    pid_t adopted = start(-1);
    pid_t orphan = start(-1);
    pid_t own = start_session(4);
    await(zygote);
    await(own);
    reap_collect(&r);
    CHECK_EQ_INT(zygotes, 1);
    CHECK_EQ_INT(exits, 0); /* no looks for orphans now, so no reports */
    CHECK(reap_deadline(&r) == CLOCK_NEVER);
    CHECK_EQ_INT(reap_claim(&r, adopted), 0);
    reap_adopted(&r);
    await(orphan); /* which the rule has killed */
    collect_until(1);
    CHECK_EQ_INT(last.pid, own);
    CHECK_EQ_INT(last.orphans_killed, 1);
    CHECK_EQ_INT(reap_kill(&r, adopted), 0);
    await(adopted);
    reap_collect(&r);
    let_time_pass(2);
    CHECK_EQ_INT(last.pid, adopted);
    CHECK_EQ_INT(last.wait_status, SIGKILL);
    leave();
}

static void test_unknown_is_reported_as_unknown(void)
{
    enter();
    reap_report_unknown(&r, 4242);
    reap_collect(&r);
    CHECK_EQ_INT(exits, 1);
    CHECK_EQ_INT(last.pid, 4242);
    CHECK(last.unknown);
    leave();
}

static void test_what_may_be_a_branch_delays_for_two_seconds_only(void)
{
    enter();
    CHECK_EQ_INT(reap_hold(&r, 1), 0);
    pid_t spared = start(-1);
    pid_t own = start_session(0);
    await(own);
    reap_collect(&r);
    CHECK_EQ_INT(exits, 0);
    CHECK(reap_deadline(&r) <= clock_mono_ns() + REAP_ORPHANS_NS);
    while (exits == 0) {
        int64_t left = reap_deadline(&r) - clock_mono_ns();
        (void)poll(NULL, 0, left > 0 ? (int)(left / NS_PER_MS) + 1 : 0);
        reap_tick(&r);
    }
    CHECK_EQ_INT(exits, 1);
    CHECK_EQ_INT(last.survivors, 1);
    CHECK(kill(spared, 0) == 0);
    CHECK_EQ_INT(reap_claim(&r, spared), 0);
    reap_unhold(&r, 1);
    CHECK_EQ_INT(reap_kill(&r, spared), 0);
    await(spared);
    reap_collect(&r);
    let_time_pass(2);
    leave();
}

int main(void)
{
    if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0) {
        return 1;
    }
    log_setup("test", LOG_ERROR);
    RUN(test_exit_is_reported_once);
    RUN(test_looks_are_spaced_out);
    RUN(test_table_is_bounded);
    RUN(test_kept_exits_are_bounded);
    RUN(test_holds_are_bounded_and_end);
    RUN(test_nothing_is_touched_before_adoption);
    RUN(test_unknown_is_reported_as_unknown);
    RUN(test_what_may_be_a_branch_delays_for_two_seconds_only);
    return check_done();
}
