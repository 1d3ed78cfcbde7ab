#include "tests/unit/zygote/fake_daemon.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "service/base/fd.h"
#include "service/wire/session_frames.h"
#include "service/zygote/launcher.h"
#include "tests/unit/zygote/stub_session.h"

#define BOUND_MS 20000

static void die(const char *what)
{
    (void)fprintf(stderr, "fake daemon: %s\n", what);
    abort();
}

static void wait_readable(int fd, const char *what)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    if (poll(&p, 1, BOUND_MS) <= 0) {
        die(what);
    }
}

void peer_release(struct peer *p)
{
    wire_reader_release(&p->in);
    fd_close(&p->fd);
}

void peer_send(struct peer *p, uint16_t type, const ProtobufCMessage *m)
{
    uint8_t packed[4096];
    if (protobuf_c_message_get_packed_size(m) > sizeof packed) {
        die("message too large");
    }
    size_t n = protobuf_c_message_pack(m, packed);
    if (wire_send(p->fd, type, packed, n, NULL, 0) < 0) {
        die("send");
    }
}

struct wire_frame peer_expect(struct peer *p, uint16_t type)
{
    struct wire_frame f;
    int rc;
    while ((rc = wire_reader_next(&p->in, &f)) == 0) {
        wait_readable(p->fd, "no frame comes");
        if (wire_reader_fill(&p->in) <= 0) {
            die("the peer is gone");
        }
    }
    if (rc < 0 || f.type != type) {
        (void)fprintf(stderr, "fake daemon: frame %d instead of %d\n", f.type, type);
        abort();
    }
    return f;
}

bool peer_is_silent(struct peer *p)
{
    struct wire_frame f;
    struct pollfd poll_fd = {.fd = p->fd, .events = POLLIN};
    return wire_reader_next(&p->in, &f) == 0 && poll(&poll_fd, 1, 0) == 0;
}

bool peer_ends(struct peer *p)
{
    wait_readable(p->fd, "the peer does not end");
    return wire_reader_fill(&p->in) <= 0;
}

struct peer launcher_peer(void)
{
    struct peer p;
    struct err err;
    if (launcher_start(&p.fd, &p.pid, &err) < 0 || fd_set_nonblock(p.fd, false) < 0) {
        die("launcher_start");
    }
    wire_reader_init(&p.in, p.fd, WIRE_CONTROL_MAX, 0);
    return p;
}

static void send_with_fds(struct peer *p, uint16_t type, const ProtobufCMessage *m, const int *fds,
                          size_t n)
{
    uint8_t packed[4096];
    size_t size = protobuf_c_message_pack(m, packed);
    if (wire_send(p->fd, type, packed, size, fds, n) < 0) {
        die("send with descriptors");
    }
}

struct peer zygote_peer(struct peer *launcher, const struct wish *wish,
                        Pyexec__Internal__ZygoteReady **ret_ready)
{
    struct peer z;
    int fds[2];
    char *preload[] = {(char *)(uintptr_t) "good", (char *)(uintptr_t) "bad"};
    Pyexec__Internal__LauncherStart start = PYEXEC__INTERNAL__LAUNCHER_START__INIT;
    Pyexec__Internal__ZygoteConfig config = PYEXEC__INTERNAL__ZYGOTE_CONFIG__INIT;
    Pyexec__Internal__SandboxLimits limits = PYEXEC__INTERNAL__SANDBOX_LIMITS__INIT;
    if (fd_socketpair(fds) < 0) {
        die("socketpair");
    }
    start.token = 1;
    start.zygote_path = (char *)(uintptr_t) "/proc/self/exe";
    send_with_fds(launcher, LAUNCHER_FRAME_START, &start.base, &fds[1], 1);
    fd_close(&fds[1]);
    struct wire_frame f = peer_expect(launcher, LAUNCHER_FRAME_STARTED);
    Pyexec__Internal__LauncherStarted *started =
        pyexec__internal__launcher_started__unpack(NULL, f.length, f.payload);
    z.pid = started->pid;
    pyexec__internal__launcher_started__free_unpacked(started, NULL);
    z.fd = fds[0];
    wire_reader_init(&z.in, z.fd, WIRE_CONTROL_MAX, 0);
    limits.open_files = wish->open_files;
    config.python = (char *)(uintptr_t)(wish->python ? wish->python : "");
    config.profile = (char *)(uintptr_t)wish->profile;
    config.require_confinement = wish->required;
    config.warm_up = (char *)(uintptr_t)(wish->warm_up ? wish->warm_up : "");
    config.preload = preload;
    config.n_preload = 2;
    config.limits = &limits;
    config.log_level = (char *)(uintptr_t) "error";
    peer_send(&z, ZYGOTE_FRAME_CONFIG, &config.base);
    f = peer_expect(&z, ZYGOTE_FRAME_READY);
    Pyexec__Internal__ZygoteReady *ready =
        pyexec__internal__zygote_ready__unpack(NULL, f.length, f.payload);
    if (ret_ready != NULL) {
        *ret_ready = ready;
    } else {
        pyexec__internal__zygote_ready__free_unpacked(ready, NULL);
    }
    return z;
}

struct session spawn(struct peer *zygote)
{
    static uint64_t token = 100;
    int control[2];
    int out[2];
    char ready = 0;
    Pyexec__Internal__ZygoteSpawn m = PYEXEC__INTERNAL__ZYGOTE_SPAWN__INIT;
    if (fd_socketpair(control) < 0 || fd_pipe(out) < 0) {
        die("pipes");
    }
    m.token = ++token;
    m.warm_up = true;
    /* The stub has no use for a page: the control socket stands in. */
    send_with_fds(zygote, ZYGOTE_FRAME_SPAWN, &m.base,
                  (int[]){control[1], out[1], out[1], control[1]}, 4);
    fd_close(&control[1]);
    fd_close(&out[1]);
    struct wire_frame f = peer_expect(zygote, ZYGOTE_FRAME_SPAWNED);
    Pyexec__Internal__ZygoteSpawned *spawned =
        pyexec__internal__zygote_spawned__unpack(NULL, f.length, f.payload);
    struct session s = {.pid = spawned->pid, .control = control[0], .out = out[0]};
    if (spawned->token != token || s.pid <= 0 || !read_exactly(s.control, &ready, 1) ||
        ready != STUB_READY) {
        die("the session does not start");
    }
    pyexec__internal__zygote_spawned__free_unpacked(spawned, NULL);
    return s;
}

void session_release(struct session *s)
{
    fd_close(&s->control);
    fd_close(&s->out);
}

void session_do(struct session *s, char command)
{
    char answer = 0;
    if (send(s->control, &command, 1, MSG_NOSIGNAL) != 1 || !read_exactly(s->control, &answer, 1) ||
        answer != STUB_DONE) {
        die("the session does not obey");
    }
}

bool read_exactly(int fd, void *data, size_t n)
{
    for (size_t got = 0; got < n;) {
        wait_readable(fd, "nothing to read");
        ssize_t r = read(fd, (char *)data + got, n - got);
        if (r <= 0) {
            return false;
        }
        got += (size_t)r;
    }
    return true;
}

bool pipe_ends(int fd)
{
    char text[256];
    ssize_t n;
    do {
        wait_readable(fd, "the pipe does not end");
        n = read(fd, text, sizeof text);
    } while (n > 0);
    return n == 0;
}

Pyexec__Internal__ZygoteExited expect_exited(struct peer *p)
{
    struct wire_frame f = peer_expect(p, ZYGOTE_FRAME_EXITED);
    Pyexec__Internal__ZygoteExited *m =
        pyexec__internal__zygote_exited__unpack(NULL, f.length, f.payload);
    Pyexec__Internal__ZygoteExited copy = *m;
    pyexec__internal__zygote_exited__free_unpacked(m, NULL);
    return copy;
}

void send_kill(struct peer *p, pid_t pid)
{
    Pyexec__Internal__ZygoteKill m = PYEXEC__INTERNAL__ZYGOTE_KILL__INIT;
    m.pid = pid;
    peer_send(p, ZYGOTE_FRAME_KILL, &m.base);
}

int send_signal(struct peer *p, pid_t pid, int signal, bool group)
{
    Pyexec__Internal__ZygoteSignal m = PYEXEC__INTERNAL__ZYGOTE_SIGNAL__INIT;
    m.token = 77;
    m.pid = pid;
    m.signal = signal;
    m.group = group;
    peer_send(p, ZYGOTE_FRAME_SIGNAL, &m.base);
    struct wire_frame f = peer_expect(p, ZYGOTE_FRAME_SIGNALLED);
    Pyexec__Internal__ZygoteSignalled *answer =
        pyexec__internal__zygote_signalled__unpack(NULL, f.length, f.payload);
    int result = answer->token == 77 ? answer->sys_errno : -1;
    pyexec__internal__zygote_signalled__free_unpacked(answer, NULL);
    return result;
}

unsigned reap_all_children(void)
{
    unsigned n = 0;
    while (waitpid(-1, NULL, __WALL) > 0) {
        n++;
    }
    return n;
}
