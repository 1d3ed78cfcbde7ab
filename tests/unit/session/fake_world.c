#include "tests/unit/session/fake_world.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "internal/session.pb-c.h"
#include "internal/zygote.pb-c.h"
#include "service/base/fd.h"
#include "service/wire/session_frames.h"
#include "service/wire/wire.h"
#include "service/wire/zygote_frames.h"

#define SESSIONS_MAX 512
#define ZYGOTES_MAX 32

struct fake_session {
    struct fake_world *world;
    int reaper; /* socket that EXITED goes to */
    pid_t pid;
    pthread_t thread;
    bool living;
    int control, out, err;
    int commands[2]; /* 'I' and 'K' from the reaper */
    const struct session_page *page;
    int input;
    bool descendants;
    char late[64];
    uint64_t run;
};

struct fake_zygote {
    struct fake_world *world;
    int fd;
    pid_t pid;
    pthread_t thread;
    bool dead;
};

struct fake_world {
    pthread_mutex_t lock;
    int fd;
    pthread_t thread;
    struct fake_session sessions[SESSIONS_MAX];
    unsigned session_count;
    struct fake_zygote zygotes[ZYGOTES_MAX];
    unsigned zygote_count;
    pid_t pids;
    bool fail_spawns;
    bool hold_ready;
};

static void lock(struct fake_world *w)
{
    (void)pthread_mutex_lock(&w->lock);
}

static void unlock(struct fake_world *w)
{
    (void)pthread_mutex_unlock(&w->lock);
}

/* World's lock held: sockets of reapers are written by several threads. */
static void send_locked(int fd, uint16_t type, const ProtobufCMessage *m)
{
    uint8_t packed[1024];
    (void)wire_send(fd, type, packed, protobuf_c_message_pack(m, packed), NULL, 0);
}

/* --- a session ---------------------------------------------------------------------------------- */

static uint64_t offset(const struct fake_session *s, unsigned stream)
{
    const struct session_page_stream *p = &s->page->stream[stream];
    int fd = stream == 0 ? s->out : s->err;
    for (;;) {
        uint32_t before = atomic_load(&p->sequence);
        uint64_t n = atomic_load(&p->read_bytes);
        int pending = 0;
        (void)ioctl(fd, FIONREAD, &pending);
        if (before % 2 == 0 && atomic_load(&p->sequence) == before) {
            return n + (uint64_t)pending;
        }
    }
}

static void say(struct fake_session *s, uint16_t type, const void *body, size_t n)
{
    struct session_fence fence = {offset(s, 0), offset(s, 1)};
    uint8_t *frame = malloc(sizeof fence + n);
    memcpy(frame, &fence, sizeof fence);
    if (n > 0) {
        memcpy(frame + sizeof fence, body, n);
    }
    (void)wire_send(s->control, type, frame, sizeof fence + n, NULL, 0);
    free(frame);
}

static void say_message(struct fake_session *s, uint16_t type, const ProtobufCMessage *m)
{
    uint8_t *packed = malloc(protobuf_c_message_get_packed_size(m) + 1);
    size_t n = protobuf_c_message_pack(m, packed);
    say(s, type, packed, n);
    free(packed);
}

/* The next command from the reaper: 'I' or 'K'. */
static char command(const struct fake_session *s)
{
    char c = 'K';
    while (read(s->commands[0], &c, 1) < 0 && errno == EINTR) {
    }
    return c;
}

static void until_kill(const struct fake_session *s)
{
    while (command(s) != 'K') {
    }
}

static void write_text(struct fake_session *s, unsigned stream, const char *text)
{
    say(s, SESSION_FRAME_MARK, NULL, 0);
    (void)fd_write_all(stream == 0 ? s->out : s->err, text, strlen(text));
}

/* A thread can't be killed in write(): the kill is looked for beside it. True when it came. */
static bool write_many(struct fake_session *s, size_t n)
{
    char block[1000];
    memset(block, 'm', sizeof block);
    while (n > 0) {
        struct pollfd p[2] = {{.fd = s->out, .events = POLLOUT},
                              {.fd = s->commands[0], .events = POLLIN}};
        (void)poll(p, 2, -1);
        if (p[1].revents != 0 && command(s) == 'K') {
            return true;
        }
        if ((p[0].revents & POLLOUT) != 0) {
            size_t k = n < sizeof block ? n : sizeof block;
            (void)fd_write_all(s->out, block, k);
            n -= k;
        }
    }
    return false;
}

static void show(struct fake_session *s, size_t n)
{
    Pyexec__Internal__SessionDisplay m = PYEXEC__INTERNAL__SESSION_DISPLAY__INIT;
    Pyexec__V1__DisplayData d = PYEXEC__V1__DISPLAY_DATA__INIT;
    char *id = malloc(n + 1);
    memset(id, 'd', n);
    id[n] = '\0';
    d.display_id = id;
    m.run = s->run;
    m.display = &d;
    say_message(s, SESSION_FRAME_DISPLAY, &m.base);
    free(id);
}

static void read_input(struct fake_session *s, bool line)
{
    char c;
    if (line) {
        Pyexec__Internal__SessionInputRequest m = PYEXEC__INTERNAL__SESSION_INPUT_REQUEST__INIT;
        m.run = s->run;
        m.prompt = (char *)(uintptr_t) "? ";
        say_message(s, SESSION_FRAME_INPUT_REQUEST, &m.base);
    }
    while (s->input >= 0 && read(s->input, &c, 1) == 1) {
        (void)fd_write_all(s->out, &c, 1);
        if (line && c == '\n') {
            return;
        }
    }
}

/* How a run ended: >= 0 an outcome that DONE tells; else the process ends with -1 - wait status. */
enum { GOES_ON = 1000 };

static int one_command(struct fake_session *s, const char *word, const char *rest,
                       Pyexec__Internal__SessionDone *done)
{
    if (strcmp(word, "out") == 0 || strcmp(word, "err") == 0) {
        write_text(s, word[0] == 'e', rest);
    } else if (strcmp(word, "many") == 0) {
        if (write_many(s, strtoul(rest, NULL, 10))) {
            return -1 - SIGKILL;
        }
    } else if (strcmp(word, "display") == 0) {
        show(s, strtoul(rest, NULL, 10));
    } else if (strcmp(word, "input") == 0 || strcmp(word, "slurp") == 0) {
        read_input(s, word[0] == 'i');
    } else if (strcmp(word, "background") == 0) {
        char body[64] = "\1";
        (void)snprintf(body + 1, sizeof body - 1, "%s", rest);
        say(s, SESSION_FRAME_BACKGROUND, body, strlen(body));
    } else if (strcmp(word, "descendants") == 0) {
        s->descendants = true;
    } else if (strcmp(word, "late") == 0) {
        (void)snprintf(s->late, sizeof s->late, "%s", rest);
    } else if (strcmp(word, "wait") == 0) {
        if (command(s) == 'K') {
            return -1 - SIGKILL;
        }
        done->exc_type = (char *)(uintptr_t) "KeyboardInterrupt";
        return PYEXEC__INTERNAL__SESSION_DONE__OUTCOME__OUTCOME_INTERRUPTED;
    } else if (strcmp(word, "error") == 0) {
        done->exc_type = (char *)(uintptr_t)rest;
        return PYEXEC__INTERNAL__SESSION_DONE__OUTCOME__OUTCOME_ERROR;
    } else if (strcmp(word, "exit") == 0) {
        return -1 - ((int)strtol(rest, NULL, 10) << 8);
    } else if (strcmp(word, "signal") == 0) {
        return -1 - (int)strtol(rest, NULL, 10);
    } else if (strcmp(word, "swallow") == 0 || strcmp(word, "mute") == 0) {
        until_kill(s);
        return -1 - SIGKILL;
    } else if (strcmp(word, "shut") == 0) {
        (void)shutdown(s->control, SHUT_RDWR);
        until_kill(s);
        return -1 - SIGKILL;
    } else if (strcmp(word, "frame") == 0) {
        say(s, (uint16_t)strtoul(rest, NULL, 10), "12345678", 8);
    } else if (strcmp(word, "short") == 0) {
        (void)wire_send(s->control, SESSION_FRAME_MARK, "123", 3, NULL, 0);
    } else if (strcmp(word, "torn") == 0) {
        (void)fd_write_all(s->control, "\xff\0\0\0", 4);
        until_kill(s);
        return -1 - SIGKILL;
    } else if (strcmp(word, "wrong") == 0) {
        done->run += 7;
    } else if (strcmp(word, "far") == 0) {
        const uint64_t fence[2] = {UINT64_MAX, UINT64_MAX / 2};
        (void)wire_send(s->control, SESSION_FRAME_MARK, fence, sizeof fence, NULL, 0);
    }
    return GOES_ON;
}

/* 0 to go on serving, else -1 - wait status. */
static int run(struct fake_session *s, const Pyexec__Internal__SessionRun *m)
{
    Pyexec__Internal__SessionDone done = PYEXEC__INTERNAL__SESSION_DONE__INIT;
    char *code = strndup((const char *)m->code.data, m->code.len);
    char *save = NULL;
    int end = GOES_ON;
    s->run = done.run = m->run;
    s->late[0] = '\0';
    s->descendants = false;
    if (strncmp(code, "mute", 4) != 0) {
        say(s, SESSION_FRAME_STARTED, &s->run, sizeof s->run);
    }
    for (char *c = strtok_r(code, ";", &save); c != NULL && end == GOES_ON;
         c = strtok_r(NULL, ";", &save)) {
        char *rest = strchr(c, ' ');
        if (rest != NULL) {
            *rest++ = '\0';
        }
        end = one_command(s, c, rest != NULL ? rest : "", &done);
    }
    if (end >= 0) {
        done.outcome = end == GOES_ON ? PYEXEC__INTERNAL__SESSION_DONE__OUTCOME__OUTCOME_OK
                                      : (Pyexec__Internal__SessionDone__Outcome)end;
        done.descendants = s->descendants;
        say(s, SESSION_FRAME_REPORTING, &s->run, sizeof s->run);
        say_message(s, SESSION_FRAME_DONE, &done.base);
        (void)fd_write_all(s->out, s->late, strlen(s->late));
    }
    free(code);
    return end < 0 ? end : 0;
}

static void take_fds(struct fake_session *s, struct wire_frame *f,
                     const Pyexec__Internal__SessionRun *m)
{
    unsigned at = 0;
    fd_close(&s->input);
    if (m->has_stdin && at < f->fd_count) {
        s->input = f->fds[at++];
    }
    if (m->has_output && at + 1 < f->fd_count) {
        fd_close(&s->out);
        fd_close(&s->err);
        s->out = f->fds[at];
        s->err = f->fds[at + 1];
    }
    f->fd_count = 0;
}

/* Serves until the end; the wait status. */
static int serve(struct fake_session *s)
{
    struct wire_reader r;
    struct wire_frame f;
    int end = 0;
    wire_reader_init(&r, s->control, WIRE_TO_SESSION_MAX, 8);
    while (end == 0) {
        struct pollfd p[2] = {{.fd = s->control, .events = POLLIN},
                              {.fd = s->commands[0], .events = POLLIN}};
        int got = wire_reader_next(&r, &f);
        if (got == 0) {
            (void)poll(p, 2, -1);
            if (p[1].revents != 0) {
                end = command(s) == 'K' ? -1 - SIGKILL : 0;
                continue;
            }
            if (wire_reader_fill(&r) <= 0) {
                end = -1;
            }
            continue;
        }
        if (got < 0) {
            end = -1;
        } else if (f.type == SESSION_FRAME_RUN) {
            Pyexec__Internal__SessionRun *m =
                pyexec__internal__session_run__unpack(NULL, f.length, f.payload);
            take_fds(s, &f, m);
            end = run(s, m);
            pyexec__internal__session_run__free_unpacked(m, NULL);
        }
    }
    wire_reader_release(&r);
    return -1 - end;
}

static void *session_main(void *arg)
{
    struct fake_session *s = arg;
    struct fake_world *w = s->world;
    lock(w);
    bool hold = w->hold_ready;
    unlock(w);
    int status;
    if (hold) {
        until_kill(s);
        status = SIGKILL;
    } else {
        say(s, SESSION_FRAME_READY, NULL, 0);
        status = serve(s);
    }
    (void)munmap((void *)(uintptr_t)s->page, SESSION_PAGE_SIZE);
    fd_close(&s->control);
    fd_close(&s->out);
    fd_close(&s->err);
    fd_close(&s->input);
    Pyexec__Internal__ZygoteExited m = PYEXEC__INTERNAL__ZYGOTE_EXITED__INIT;
    m.pid = s->pid;
    m.wait_status = status;
    lock(w);
    s->living = false;
    send_locked(s->reaper, ZYGOTE_FRAME_EXITED, &m.base);
    unlock(w);
    return NULL;
}

/* --- zygotes and the launcher ------------------------------------------------------------------- */

static void spawn(struct fake_zygote *z, struct wire_frame *f)
{
    struct fake_world *w = z->world;
    Pyexec__Internal__ZygoteSpawn *m =
        pyexec__internal__zygote_spawn__unpack(NULL, f->length, f->payload);
    Pyexec__Internal__ZygoteSpawned answer = PYEXEC__INTERNAL__ZYGOTE_SPAWNED__INIT;
    answer.token = m->token;
    pyexec__internal__zygote_spawn__free_unpacked(m, NULL);
    lock(w);
    if (w->fail_spawns || w->session_count == SESSIONS_MAX) {
        answer.sys_errno = EAGAIN;
        answer.stage = (char *)(uintptr_t) "fork";
        send_locked(z->fd, ZYGOTE_FRAME_SPAWNED, &answer.base);
        unlock(w);
        wire_frame_close_fds(f);
        return;
    }
    struct fake_session *s = &w->sessions[w->session_count++];
    s->world = w;
    s->reaper = z->fd;
    s->pid = answer.pid = ++w->pids;
    s->control = f->fds[0];
    s->out = f->fds[1];
    s->err = f->fds[2];
    s->input = -1;
    s->living = true;
    void *page = mmap(NULL, SESSION_PAGE_SIZE, PROT_READ, MAP_SHARED, f->fds[3], 0);
    s->page = page;
    (void)close(f->fds[3]);
    (void)fd_pipe(s->commands);
    send_locked(z->fd, ZYGOTE_FRAME_SPAWNED, &answer.base);
    (void)pthread_create(&s->thread, NULL, session_main, s);
    unlock(w);
}

static void command_to(struct fake_world *w, pid_t pid, char c)
{
    for (unsigned i = 0; i < w->session_count; i++) {
        if (w->sessions[i].pid == pid && w->sessions[i].living) {
            (void)fd_write_all(w->sessions[i].commands[1], &c, 1);
        }
    }
}

/* SIGNAL and KILL, which zygotes and launcher serve alike. */
static void serve_common(struct fake_world *w, int fd, const struct wire_frame *f)
{
    if (f->type == ZYGOTE_FRAME_SIGNAL) {
        Pyexec__Internal__ZygoteSignal *m =
            pyexec__internal__zygote_signal__unpack(NULL, f->length, f->payload);
        Pyexec__Internal__ZygoteSignalled answer = PYEXEC__INTERNAL__ZYGOTE_SIGNALLED__INIT;
        answer.token = m->token;
        lock(w);
        command_to(w, m->pid, 'I');
        send_locked(fd, ZYGOTE_FRAME_SIGNALLED, &answer.base);
        unlock(w);
        pyexec__internal__zygote_signal__free_unpacked(m, NULL);
    } else if (f->type == ZYGOTE_FRAME_KILL) {
        Pyexec__Internal__ZygoteKill *m =
            pyexec__internal__zygote_kill__unpack(NULL, f->length, f->payload);
        lock(w);
        command_to(w, m->pid, 'K');
        unlock(w);
        pyexec__internal__zygote_kill__free_unpacked(m, NULL);
    }
}

static void *zygote_main(void *arg)
{
    struct fake_zygote *z = arg;
    struct wire_reader r;
    struct wire_frame f;
    wire_reader_init(&r, z->fd, WIRE_CONTROL_MAX, 8);
    while (wire_reader_wait(&r, &f) == 1) {
        if (f.type == ZYGOTE_FRAME_CONFIG) {
            Pyexec__Internal__ZygoteReady m = PYEXEC__INTERNAL__ZYGOTE_READY__INIT;
            m.pid = z->pid;
            m.python_version = (char *)(uintptr_t) "3.fake";
            lock(z->world);
            send_locked(z->fd, ZYGOTE_FRAME_READY, &m.base);
            unlock(z->world);
        } else if (f.type == ZYGOTE_FRAME_SPAWN) {
            spawn(z, &f);
        } else {
            serve_common(z->world, z->fd, &f);
        }
    }
    wire_reader_release(&r);
    /* Killed, or told to go: its sessions are the launcher's. */
    Pyexec__Internal__LauncherZygoteExited m = PYEXEC__INTERNAL__LAUNCHER_ZYGOTE_EXITED__INIT;
    m.pid = z->pid;
    m.wait_status = SIGKILL;
    lock(z->world);
    z->dead = true;
    for (unsigned i = 0; i < z->world->session_count; i++) {
        if (z->world->sessions[i].reaper == z->fd) {
            z->world->sessions[i].reaper = z->world->fd;
        }
    }
    (void)shutdown(z->fd, SHUT_RDWR);
    send_locked(z->world->fd, LAUNCHER_FRAME_ZYGOTE_EXITED, &m.base);
    unlock(z->world);
    return NULL;
}

static void start_zygote(struct fake_world *w, struct wire_frame *f)
{
    Pyexec__Internal__LauncherStart *m =
        pyexec__internal__launcher_start__unpack(NULL, f->length, f->payload);
    Pyexec__Internal__LauncherStarted answer = PYEXEC__INTERNAL__LAUNCHER_STARTED__INIT;
    answer.token = m->token;
    pyexec__internal__launcher_start__free_unpacked(m, NULL);
    lock(w);
    struct fake_zygote *z = &w->zygotes[w->zygote_count++];
    z->world = w;
    z->fd = f->fds[0];
    z->pid = answer.pid = ++w->pids;
    send_locked(w->fd, LAUNCHER_FRAME_STARTED, &answer.base);
    (void)pthread_create(&z->thread, NULL, zygote_main, z);
    unlock(w);
}

static void *launcher_main(void *arg)
{
    struct fake_world *w = arg;
    struct wire_reader r;
    struct wire_frame f;
    wire_reader_init(&r, w->fd, WIRE_CONTROL_MAX, 8);
    while (wire_reader_wait(&r, &f) == 1) {
        if (f.type == LAUNCHER_FRAME_START) {
            start_zygote(w, &f);
        } else {
            serve_common(w, w->fd, &f);
        }
    }
    wire_reader_release(&r);
    lock(w);
    for (unsigned i = 0; i < w->session_count; i++) {
        command_to(w, w->sessions[i].pid, 'K');
    }
    (void)shutdown(w->fd, SHUT_RDWR);
    unlock(w);
    return NULL;
}

/* --- what tests use ----------------------------------------------------------------------------- */

struct fake_world *fake_world_new(int *ret_fd)
{
    int pair[2];
    struct fake_world *w = calloc(1, sizeof *w);
    (void)pthread_mutex_init(&w->lock, NULL);
    (void)fd_socketpair(pair);
    w->fd = pair[1];
    w->pids = 1000;
    (void)pthread_create(&w->thread, NULL, launcher_main, w);
    *ret_fd = pair[0];
    return w;
}

void fake_world_free(struct fake_world *w)
{
    (void)pthread_join(w->thread, NULL);
    for (unsigned i = 0; i < w->zygote_count; i++) {
        (void)pthread_join(w->zygotes[i].thread, NULL);
        fd_close(&w->zygotes[i].fd);
    }
    for (unsigned i = 0; i < w->session_count; i++) {
        (void)pthread_join(w->sessions[i].thread, NULL);
        fd_close(&w->sessions[i].commands[0]);
        fd_close(&w->sessions[i].commands[1]);
    }
    fd_close(&w->fd);
    (void)pthread_mutex_destroy(&w->lock);
    free(w);
}

void fake_world_fail_spawns(struct fake_world *w, bool on)
{
    lock(w);
    w->fail_spawns = on;
    unlock(w);
}

void fake_world_hold_ready(struct fake_world *w, bool on)
{
    lock(w);
    w->hold_ready = on;
    unlock(w);
}

void fake_world_kill_zygote(struct fake_world *w)
{
    lock(w);
    for (unsigned i = 0; i < w->zygote_count; i++) {
        if (!w->zygotes[i].dead) {
            (void)shutdown(w->zygotes[i].fd, SHUT_RDWR);
        }
    }
    unlock(w);
}

void fake_world_kill_last(struct fake_world *w)
{
    lock(w);
    command_to(w, w->sessions[w->session_count - 1].pid, 'K');
    unlock(w);
}

unsigned fake_world_spawned(struct fake_world *w)
{
    lock(w);
    unsigned n = w->session_count;
    unlock(w);
    return n;
}

unsigned fake_world_living(struct fake_world *w)
{
    unsigned n = 0;
    lock(w);
    for (unsigned i = 0; i < w->session_count; i++) {
        n += w->sessions[i].living;
    }
    unlock(w);
    return n;
}

unsigned fake_world_zygotes(struct fake_world *w)
{
    lock(w);
    unsigned n = w->zygote_count;
    unlock(w);
    return n;
}
