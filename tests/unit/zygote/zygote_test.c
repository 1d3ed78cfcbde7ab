/* Launcher and zygote as processes, with sessions that are not Python. Everything runs twice when the
 * test is root: as root and as an ordinary user. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "service/base/clock.h"
#include "service/base/fd.h"
#include "service/zygote/orphans.h"
#include "service/zygote/start.h"
#include "service/zygote/zygote.h"
#include "tests/support/check.h"
#include "tests/unit/zygote/fake_daemon.h"
#include "tests/unit/zygote/stub_session.h"

#define NOBODY 65534

static const struct wish standard = {.profile = "standard"};
static struct peer launcher;
static struct peer zygote;

static void enter(void)
{
    launcher = launcher_peer();
    zygote = zygote_peer(&launcher, &standard, NULL);
}

/* The end of every test: the daemon goes, and nothing is left. */
static void leave(void)
{
    peer_release(&zygote);
    peer_release(&launcher);
    CHECK_EQ_INT(reap_all_children(), 1); /* the launcher; leftovers would have become ours */
}

static void test_ready_tells_the_template(void)
{
    Pyexec__Internal__ZygoteReady *ready;
    struct wish none = {.profile = "none"};
    launcher = launcher_peer();
    zygote = zygote_peer(&launcher, &none, &ready);
    CHECK_EQ_INT(ready->pid, zygote.pid);
    CHECK_STR(ready->error, "");
    CHECK_STR(ready->python_version, "3.11.2");
    CHECK(ready->has_ipython);
    CHECK_EQ_INT(ready->n_modules, 1);
    CHECK_STR(ready->modules[0], "good");
    CHECK_EQ_INT(ready->n_failed_modules, 1);
    CHECK_STR(ready->failed_modules[0], "bad: ModuleNotFoundError: No module named 'bad'");
    CHECK_EQ_INT(ready->n_confinement, 3);
    CHECK_EQ_INT(ready->n_missing_confinement, 0);
    pyexec__internal__zygote_ready__free_unpacked(ready, NULL);
    leave();
}

static void check_refused(const struct wish *wish, const char *error)
{
    Pyexec__Internal__ZygoteReady *ready;
    launcher = launcher_peer();
    zygote = zygote_peer(&launcher, wish, &ready);
    CHECK(strstr(ready->error, error) != NULL);
    pyexec__internal__zygote_ready__free_unpacked(ready, NULL);
    CHECK(peer_ends(&zygote));
    struct wire_frame f = peer_expect(&launcher, LAUNCHER_FRAME_ZYGOTE_EXITED);
    Pyexec__Internal__LauncherZygoteExited *exited =
        pyexec__internal__launcher_zygote_exited__unpack(NULL, f.length, f.payload);
    CHECK_EQ_INT(exited->pid, zygote.pid);
    CHECK_EQ_INT(WEXITSTATUS(exited->wait_status), 1);
    pyexec__internal__launcher_zygote_exited__free_unpacked(exited, NULL);
    leave();
}

static void test_a_template_that_cannot_be_made_says_why(void)
{
    check_refused(&(struct wish){.profile = "none", .python = "missing"}, "no such python");
    check_refused(&(struct wish){.profile = "strange"}, "no profile \"strange\"");
    if (geteuid() != 0) {
        check_refused(&(struct wish){.profile = "standard", .required = true}, "CAP_SETPCAP");
    }
}

static void test_a_missing_program_is_told(void)
{
    int fds[2];
    uint8_t packed[64];
    Pyexec__Internal__LauncherStart start = PYEXEC__INTERNAL__LAUNCHER_START__INIT;
    enter();
    CHECK(fd_socketpair(fds) == 0);
    start.zygote_path = (char *)(uintptr_t) "/nonexistent/zygote";
    size_t n = protobuf_c_message_pack(&start.base, packed);
    CHECK(wire_send(launcher.fd, LAUNCHER_FRAME_START, packed, n, &fds[1], 1) == 0);
    struct wire_frame f = peer_expect(&launcher, LAUNCHER_FRAME_STARTED);
    Pyexec__Internal__LauncherStarted *m =
        pyexec__internal__launcher_started__unpack(NULL, f.length, f.payload);
    CHECK_EQ_INT(m->pid, 0);
    CHECK_EQ_INT(m->sys_errno, ENOENT);
    CHECK_STR(m->stage, "exec");
    pyexec__internal__launcher_started__free_unpacked(m, NULL);
    fd_close(&fds[0]);
    fd_close(&fds[1]);
    leave();
}

static void test_a_session_starts_clean(void)
{
    struct wish wish = {.profile = "standard", .warm_up = "pass", .open_files = 256};
    struct stub_facts f = {0};
    CHECK(setenv("PYEXEC_TEST_SECRET", "daemon", 1) == 0);
    launcher = launcher_peer();
    zygote = zygote_peer(&launcher, &wish, NULL);
    struct session s = spawn(&zygote);
    CHECK(send(s.control, &(char){STUB_FACTS}, 1, 0) == 1);
    CHECK(read_exactly(s.control, &f, sizeof f));
    CHECK_EQ_INT(f.interrupt_blocked, 1);
    CHECK_EQ_INT(f.terminate_blocked, 0);
    CHECK_EQ_INT(f.pipe_ignored, 1);
    CHECK_EQ_INT(f.interrupt_default, 1);
    CHECK_EQ_INT(f.descriptors, 4);
    CHECK_EQ_INT(f.capabilities, 0);
    CHECK_EQ_INT(f.no_new_privs, 1);
    CHECK_EQ_INT(f.oom_score_raised, 1);
    CHECK_EQ_INT(f.warm_up, 1);
    CHECK_EQ_INT(f.secret_seen, 0);
    session_release(&s);
    (void)expect_exited(&zygote);
    leave();
}

static void check_end(char command, bool answers, int wait_status, unsigned orphans)
{
    struct session s = spawn(&zygote);
    if (answers) {
        session_do(&s, command);
        send_kill(&zygote, s.pid);
    } else {
        CHECK(send(s.control, &command, 1, 0) == 1);
    }
    Pyexec__Internal__ZygoteExited e = expect_exited(&zygote);
    CHECK_EQ_INT(e.pid, s.pid);
    CHECK_EQ_INT(e.wait_status, wait_status);
    CHECK(!e.status_unknown);
    CHECK(e.max_rss_bytes > 0);
    CHECK(e.orphans_killed >= orphans);
    /* A busy machine may need more than the two seconds for a bomb; nothing else may. */
    CHECK(e.survivors == 0 || command == STUB_BOMB || command == STUB_RESPAWN);
    if (e.survivors == 0) {
        /* EXITED promises it: no process of the session holds the pipe. */
        struct pollfd p = {.fd = s.out, .events = 0};
        CHECK(poll(&p, 1, 0) == 1 && (p.revents & POLLHUP) != 0);
    }
    CHECK(pipe_ends(s.out));
    session_release(&s);
}

static void test_exit_statuses(void)
{
    enter();
    check_end(STUB_EXIT, false, 7 << 8, 0);
    check_end(STUB_KILL, false, SIGKILL, 0);
    struct session s = spawn(&zygote);
    session_release(&s); /* end of file on the control socket */
    CHECK_EQ_INT(expect_exited(&zygote).wait_status, 0);
    leave();
}

static void test_descendants_die_with_their_session(void)
{
    enter();
    check_end(STUB_DAEMON, true, SIGKILL, 1);
    check_end(STUB_STOPPED, true, SIGKILL, 1);
    check_end(STUB_ESCAPE, true, SIGKILL, 1);
    leave();
}

static void test_bombs_lose(void)
{
    enter();
    check_end(STUB_BOMB, true, SIGKILL, 1);
    check_end(STUB_RESPAWN, true, SIGKILL, 0);
    leave();
}

static void test_other_sessions_are_left_alone(void)
{
    struct session s[8];
    enter();
    for (int i = 0; i < 8; i++) {
        s[i] = spawn(&zygote);
        session_do(&s[i], STUB_DAEMON);
    }
    for (int i = 0; i < 8; i += 2) {
        send_kill(&zygote, s[i].pid);
    }
    for (int i = 0; i < 8; i += 2) {
        Pyexec__Internal__ZygoteExited e = expect_exited(&zygote);
        CHECK_EQ_INT(e.survivors, 0);
    }
    for (int i = 0; i < 8; i++) {
        if (i % 2 == 0) {
            CHECK(pipe_ends(s[i].out));
        } else {
            session_do(&s[i], STUB_DAEMON);
        }
        session_release(&s[i]);
    }
    for (int i = 0; i < 4; i++) {
        (void)expect_exited(&zygote);
    }
    leave();
}

static void test_signals_reach_sessions_only(void)
{
    enter();
    struct session s = spawn(&zygote);
    CHECK_EQ_INT(send_signal(&zygote, s.pid, SIGINT, false), 0); /* blocked: nothing happens */
    session_do(&s, STUB_DAEMON);
    CHECK_EQ_INT(send_signal(&zygote, getpid(), SIGINT, false), ESRCH);
    CHECK_EQ_INT(send_signal(&zygote, zygote.pid, SIGINT, false), ESRCH);
    CHECK_EQ_INT(send_signal(&zygote, -1, SIGINT, false), ESRCH);
    CHECK_EQ_INT(send_signal(&zygote, s.pid, 0, false), EINVAL);
    CHECK_EQ_INT(send_signal(&zygote, s.pid, SIGRTMAX + 1, false), EINVAL);
    CHECK_EQ_INT(send_signal(&zygote, s.pid, SIGTERM, true), 0);
    CHECK_EQ_INT(expect_exited(&zygote).wait_status, SIGTERM);
    CHECK_EQ_INT(send_signal(&zygote, s.pid, SIGTERM, false), ESRCH);
    send_kill(&zygote, s.pid);
    session_release(&s);
    leave();
}

static void test_a_storm_of_spawns(void)
{
    enum { N = 60 };
    struct session s[N];
    bool seen[N] = {false};
    enter();
    for (int i = 0; i < N; i++) {
        s[i] = spawn(&zygote);
    }
    for (int i = 0; i < N; i++) {
        CHECK(send(s[i].control, &(char){STUB_EXIT}, 1, 0) == 1);
    }
    for (int i = 0; i < N; i++) {
        Pyexec__Internal__ZygoteExited e = expect_exited(&zygote);
        for (int k = 0; k < N; k++) {
            if (s[k].pid == e.pid) {
                CHECK(!seen[k]);
                seen[k] = true;
            }
        }
    }
    for (int i = 0; i < N; i++) {
        CHECK(seen[i]);
        session_release(&s[i]);
    }
    leave();
}

/* --- branches --------------------------------------------------------------------------------- */

static int hold(struct peer *p, uint64_t token, pid_t pid)
{
    Pyexec__Internal__ZygoteBranchBegin m = PYEXEC__INTERNAL__ZYGOTE_BRANCH_BEGIN__INIT;
    m.token = token;
    m.pid = pid;
    peer_send(p, ZYGOTE_FRAME_BRANCH_BEGIN, &m.base);
    struct wire_frame f = peer_expect(p, ZYGOTE_FRAME_BRANCH_HELD);
    Pyexec__Internal__ZygoteBranchHeld *answer =
        pyexec__internal__zygote_branch_held__unpack(NULL, f.length, f.payload);
    int result = answer->token == token ? answer->sys_errno : -1;
    pyexec__internal__zygote_branch_held__free_unpacked(answer, NULL);
    return result;
}

static void end_hold(struct peer *p, uint64_t token, pid_t pid)
{
    Pyexec__Internal__ZygoteBranchEnd m = PYEXEC__INTERNAL__ZYGOTE_BRANCH_END__INIT;
    m.token = token;
    m.pid = pid;
    peer_send(p, ZYGOTE_FRAME_BRANCH_END, &m.base);
}

static int take_branch(struct peer *p, uint64_t token, pid_t pid)
{
    end_hold(p, token, pid);
    struct wire_frame f = peer_expect(p, ZYGOTE_FRAME_BRANCH_TAKEN);
    Pyexec__Internal__ZygoteBranchTaken *answer =
        pyexec__internal__zygote_branch_taken__unpack(NULL, f.length, f.payload);
    int result = answer->token == token ? answer->sys_errno : -1;
    pyexec__internal__zygote_branch_taken__free_unpacked(answer, NULL);
    return result;
}

static pid_t make_branch(struct session *s, char command)
{
    pid_t pid = 0;
    CHECK(send(s->control, &command, 1, 0) == 1);
    CHECK(read_exactly(s->control, &pid, sizeof pid));
    return pid;
}

static void test_a_branch_is_no_orphan(void)
{
    enter();
    struct session parent = spawn(&zygote);
    struct session other = spawn(&zygote);
    CHECK_EQ_INT(hold(&zygote, 5, parent.pid), 0);
    pid_t branch = make_branch(&parent, STUB_BRANCH);
    /* Another session's orphan, older than the hold or not, may not take the branch with it. */
    send_kill(&zygote, other.pid);
    CHECK_EQ_INT(take_branch(&zygote, 5, branch), 0);
    CHECK_EQ_INT(expect_exited(&zygote).pid, other.pid);
    /* It outlives its parent, whose own descendants die. */
    session_do(&parent, STUB_DAEMON);
    send_kill(&zygote, parent.pid);
    CHECK_EQ_INT(expect_exited(&zygote).pid, parent.pid);
    CHECK_EQ_INT(send_signal(&zygote, branch, SIGTERM, false), 0);
    Pyexec__Internal__ZygoteExited e = expect_exited(&zygote);
    CHECK_EQ_INT(e.pid, branch);
    CHECK_EQ_INT(e.wait_status, SIGTERM);
    CHECK(pipe_ends(parent.out));
    session_release(&parent);
    session_release(&other);
    leave();
}

static void test_a_branch_that_died_before_it_was_taken(void)
{
    enter();
    struct session parent = spawn(&zygote);
    CHECK_EQ_INT(hold(&zygote, 5, parent.pid), 0);
    pid_t branch = make_branch(&parent, STUB_BRANCH_DIES);
    CHECK_EQ_INT(take_branch(&zygote, 5, branch), 0);
    Pyexec__Internal__ZygoteExited e = expect_exited(&zygote);
    CHECK_EQ_INT(e.pid, branch);
    CHECK_EQ_INT(e.wait_status, 9 << 8);
    session_release(&parent);
    (void)expect_exited(&zygote);
    leave();
}

static void test_lies_about_branches(void)
{
    enter();
    struct session s = spawn(&zygote);
    struct session other = spawn(&zygote);
    CHECK_EQ_INT(hold(&zygote, 1, getpid()), ESRCH);
    CHECK_EQ_INT(hold(&zygote, 2, s.pid), 0);
    CHECK_EQ_INT(take_branch(&zygote, 2, other.pid), EEXIST);
    CHECK_EQ_INT(take_branch(&zygote, 3, getpid()), ECHILD);
    CHECK_EQ_INT(take_branch(&zygote, 4, -1), EINVAL);
    for (uint64_t i = 0; i < 64; i++) {
        CHECK_EQ_INT(hold(&zygote, 100 + i, s.pid), 0);
    }
    CHECK_EQ_INT(hold(&zygote, 200, s.pid), EAGAIN);
    for (uint64_t i = 0; i < 64; i++) {
        end_hold(&zygote, 100 + i, 0);
    }
    CHECK_EQ_INT(hold(&zygote, 201, s.pid), 0);
    session_do(&other, STUB_DAEMON);
    send_kill(&zygote, other.pid);
    end_hold(&zygote, 201, 0); /* without it EXITED would wait: the daemon may be a branch */
    CHECK_EQ_INT(expect_exited(&zygote).pid, other.pid);
    session_release(&s);
    session_release(&other);
    (void)expect_exited(&zygote);
    leave();
}

/* --- deaths of zygote, launcher and daemon --------------------------------------------------------- */

static void send_adopt(pid_t zygote_pid, int32_t *pids, size_t n)
{
    Pyexec__Internal__LauncherAdopt m = PYEXEC__INTERNAL__LAUNCHER_ADOPT__INIT;
    m.zygote_pid = zygote_pid;
    m.pids = pids;
    m.n_pids = n;
    peer_send(&launcher, LAUNCHER_FRAME_ADOPT, &m.base);
}

static void expect_zygote_exited(pid_t pid)
{
    struct wire_frame f = peer_expect(&launcher, LAUNCHER_FRAME_ZYGOTE_EXITED);
    Pyexec__Internal__LauncherZygoteExited *m =
        pyexec__internal__launcher_zygote_exited__unpack(NULL, f.length, f.payload);
    CHECK_EQ_INT(m->pid, pid);
    CHECK_EQ_INT(m->wait_status, SIGKILL);
    pyexec__internal__launcher_zygote_exited__free_unpacked(m, NULL);
}

static void test_sessions_outlive_their_zygote(void)
{
    enter();
    struct session alive = spawn(&zygote);
    struct session dead = spawn(&zygote);
    struct session forgotten = spawn(&zygote);
    session_do(&alive, STUB_DAEMON);
    send_kill(&launcher, zygote.pid); /* as the daemon does with one that hangs */
    expect_zygote_exited(zygote.pid);
    CHECK(send(dead.control, &(char){STUB_EXIT}, 1, 0) == 1);
    CHECK(pipe_ends(dead.out)); /* it dies before it is adopted */
    session_do(&alive, STUB_DAEMON);
    CHECK(peer_is_silent(&launcher));
    send_adopt(zygote.pid, (int32_t[]){alive.pid, dead.pid, getpid()}, 3);
    /* A process closes its pipes before it can be waited for: either may come first. */
    for (int i = 0; i < 2; i++) {
        Pyexec__Internal__ZygoteExited e = expect_exited(&launcher);
        bool ours = e.pid == dead.pid;
        CHECK(ours || e.pid == getpid());
        CHECK_EQ_INT(e.status_unknown, !ours); /* no child of the launcher: nobody knows */
        CHECK_EQ_INT(e.wait_status, ours ? 7 << 8 : 0);
    }
    CHECK(pipe_ends(forgotten.out)); /* nobody named it */
    session_do(&alive, STUB_DAEMON);
    /* A new zygote beside the adopted session. */
    peer_release(&zygote);
    zygote = zygote_peer(&launcher, &standard, NULL);
    struct session fresh = spawn(&zygote);
    CHECK_EQ_INT(send_signal(&launcher, alive.pid, SIGTERM, false), 0);
    Pyexec__Internal__ZygoteExited e = expect_exited(&launcher);
    CHECK_EQ_INT(e.pid, alive.pid);
    CHECK_EQ_INT(e.wait_status, SIGTERM);
    CHECK_EQ_INT(e.orphans_killed, 3);
    CHECK(pipe_ends(alive.out));
    session_do(&fresh, STUB_DAEMON);
    session_release(&alive);
    session_release(&dead);
    session_release(&forgotten);
    session_release(&fresh);
    (void)expect_exited(&zygote);
    leave();
}

static void test_a_branch_outlives_the_zygote(void)
{
    enter();
    struct session parent = spawn(&zygote);
    CHECK_EQ_INT(hold(&zygote, 5, parent.pid), 0);
    pid_t branch = make_branch(&parent, STUB_BRANCH);
    CHECK(kill(zygote.pid, SIGKILL) == 0);
    expect_zygote_exited(zygote.pid);
    CHECK_EQ_INT(hold(&launcher, 5, parent.pid), 0);
    send_adopt(zygote.pid, (int32_t[]){parent.pid}, 1);
    CHECK_EQ_INT(take_branch(&launcher, 5, branch), 0);
    CHECK_EQ_INT(send_signal(&launcher, branch, SIGTERM, false), 0);
    CHECK_EQ_INT(expect_exited(&launcher).pid, branch);
    session_release(&parent);
    CHECK_EQ_INT(expect_exited(&launcher).pid, parent.pid);
    leave();
}

static void leave_much_behind(struct session *s, unsigned n)
{
    enter();
    for (unsigned i = 0; i < n; i++) {
        s[i] = spawn(&zygote);
        session_do(&s[i], STUB_DAEMON);
        session_do(&s[i], STUB_STOPPED);
    }
}

static void test_the_end_takes_everything_along(void)
{
    struct session s[10];
    leave_much_behind(s, 10);
    leave();
    for (int i = 0; i < 10; i++) {
        CHECK(pipe_ends(s[i].out));
        session_release(&s[i]);
    }
}

static void test_a_killed_daemon_leaves_nothing(void)
{
    int ready[2];
    char byte;
    CHECK(fd_pipe(ready) == 0);
    pid_t daemon = fork();
    if (daemon == 0) {
        struct session s[10];
        leave_much_behind(s, 10);
        session_do(&s[0], STUB_BOMB);
        CHECK(write(ready[1], "r", 1) == 1);
        for (;;) {
            (void)pause();
        }
    }
    CHECK(read_exactly(ready[0], &byte, 1));
    CHECK(kill(daemon, SIGKILL) == 0);
    CHECK_EQ_INT(reap_all_children(), 2); /* the daemon and its launcher */
    fd_close(&ready[0]);
    fd_close(&ready[1]);
}

static void test_a_killed_launcher_takes_the_zygotes_along(void)
{
    struct session s[4];
    leave_much_behind(s, 4);
    CHECK(kill(launcher.pid, SIGKILL) == 0);
    CHECK(peer_ends(&zygote));
    for (int i = 0; i < 4; i++) {
        CHECK(pipe_ends(s[i].out));
        session_release(&s[i]);
    }
    peer_release(&zygote);
    peer_release(&launcher);
    CHECK_EQ_INT(reap_all_children(), 2);
}

/* Only the death of the parent counts, which the kernel tells by the same signal. */
static void test_a_strangers_sigterm_is_ignored(void)
{
    enter();
    struct session s = spawn(&zygote);
    CHECK(kill(launcher.pid, SIGTERM) == 0);
    CHECK(kill(zygote.pid, SIGTERM) == 0);
    CHECK_EQ_INT(send_signal(&zygote, s.pid, SIGCONT, false), 0);
    CHECK_EQ_INT(send_signal(&launcher, s.pid, SIGCONT, false), ESRCH);
    session_do(&s, STUB_DAEMON);
    session_release(&s);
    (void)expect_exited(&zygote);
    leave();
}

static void test_a_broken_daemon_ends_it_all(void)
{
    enter();
    struct session s = spawn(&zygote);
    CHECK(wire_send(zygote.fd, 999, NULL, 0, NULL, 0) == 0);
    CHECK(peer_ends(&zygote));
    CHECK(pipe_ends(s.out));
    session_release(&s);
    leave();
}

static void test_environment(void)
{
    CHECK(setenv("PYEXEC_TEST_SECRET", "x", 1) == 0);
    CHECK(setenv("PYTHONMALLOC", "debug", 1) == 0);
    char **env = start_environment();
    bool malloc_passed = false;
    bool home = false;
    CHECK(env != NULL);
    for (unsigned i = 0; env != NULL && env[i] != NULL; i++) {
        CHECK(strncmp(env[i], "PYEXEC_", 7) != 0);
        malloc_passed = malloc_passed || strcmp(env[i], "PYTHONMALLOC=debug") == 0;
        home = home || strncmp(env[i], "HOME=/", 6) == 0;
    }
    CHECK(malloc_passed && home);
    start_free_environment(env);
    CHECK(unsetenv("PYTHONMALLOC") == 0);
}

static void test_stat_lines(void)
{
    pid_t parent = 0;
    uint64_t start = 0;
    const char *line =
        "12 (a) ) R 1 (x) S 34 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 4711 23";
    CHECK_EQ_INT(orphans_parse_stat(line, &parent, &start), 0);
    CHECK_EQ_INT(parent, 34);
    CHECK_EQ_INT(start, 4711);
    CHECK_EQ_INT(orphans_parse_stat("", &parent, &start), -1);
    CHECK_EQ_INT(orphans_parse_stat("12 (a", &parent, &start), -1);
    CHECK_EQ_INT(orphans_parse_stat("12 (a) S 1 2", &parent, &start), -1);
}

static void test_proc_is_ours(void)
{
    CHECK(orphans_can_be_seen());
    pid_t pid = fork();
    if (pid == 0) {
        _exit(orphans_can_be_seen() ? 0 : 1);
    }
    int status = -1;
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
}

static int run_all(void)
{
    RUN(test_proc_is_ours);
    RUN(test_stat_lines);
    RUN(test_environment);
    RUN(test_ready_tells_the_template);
    RUN(test_a_template_that_cannot_be_made_says_why);
    RUN(test_a_missing_program_is_told);
    RUN(test_a_session_starts_clean);
    RUN(test_exit_statuses);
    RUN(test_descendants_die_with_their_session);
    RUN(test_bombs_lose);
    RUN(test_other_sessions_are_left_alone);
    RUN(test_signals_reach_sessions_only);
    RUN(test_a_storm_of_spawns);
    RUN(test_a_branch_is_no_orphan);
    RUN(test_a_branch_that_died_before_it_was_taken);
    RUN(test_lies_about_branches);
    RUN(test_sessions_outlive_their_zygote);
    RUN(test_a_branch_outlives_the_zygote);
    RUN(test_the_end_takes_everything_along);
    RUN(test_a_killed_daemon_leaves_nothing);
    RUN(test_a_killed_launcher_takes_the_zygotes_along);
    RUN(test_a_strangers_sigterm_is_ignored);
    RUN(test_a_broken_daemon_ends_it_all);
    return check_done();
}

static void test_all_as_an_ordinary_user(void)
{
    int status = -1;
    pid_t pid = fork();
    if (pid == 0) {
        bool dropped = setgroups(0, NULL) == 0 && setresgid(NOBODY, NOBODY, NOBODY) == 0 &&
                       setresuid(NOBODY, NOBODY, NOBODY) == 0;
        /* Changing the user made /proc/self root's. */
        if (!dropped || prctl(PR_SET_DUMPABLE, 1) < 0 || prctl(PR_SET_CHILD_SUBREAPER, 1) < 0) {
            _exit(2);
        }
        check_failed_tests = check_run_tests = 0;
        exit(run_all());
    }
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK_EQ_INT(status, 0);
}

int main(int argc, char **argv)
{
    (void)argc;
    if (strcmp(argv[0], "pyexec-zygote") == 0) {
        return zygote_run(ZYGOTE_FD);
    }
    if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0) {
        return 1;
    }
    int failed = run_all();
    if (geteuid() == 0) {
        RUN(test_all_as_an_ordinary_user);
        failed = check_done();
    }
    return failed;
}
