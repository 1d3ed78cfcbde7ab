/* reaper.c: what is asked of, and reported by, whoever reaps session processes: a zygote, or the
 * launcher for those whose zygote died. Both speak the same frames about processes. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "service/session/internal.h"

int channel_send(struct channel *c, uint16_t type, const ProtobufCMessage *message, const int *fds,
                 size_t fd_count)
{
    uint8_t small[1024];
    size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *packed = size <= sizeof small ? small : malloc(size);
    if (c->fd < 0 || packed == NULL || size > WIRE_CONTROL_MAX) {
        if (packed != small) {
            free(packed);
        }
        return -1;
    }
    (void)protobuf_c_message_pack(message, packed);
    int r = wire_writer_send(&c->writer, type, packed, size, fds, fd_count);
    if (packed != small) {
        free(packed);
    }
    if (r > 0) {
        (void)uv_poll_start(&c->poll, UV_READABLE | UV_WRITABLE, c->on_event);
    }
    return r < 0 ? -1 : 0;
}

/* --- what it reports ----------------------------------------------------------------------------- */

static struct process *by_serial(struct engine *e, uint64_t serial)
{
    char key[24];
    (void)snprintf(key, sizeof key, "%llu", (unsigned long long)serial);
    return strmap_get(&e->processes_by_serial, key);
}

static void on_spawned(struct channel *c, const struct wire_frame *f)
{
    Pyexec__Internal__ZygoteSpawned *m =
        pyexec__internal__zygote_spawned__unpack(NULL, f->length, f->payload);
    struct process *p = m != NULL ? by_serial(c->engine, m->token) : NULL;
    if (p != NULL && p->state == PROCESS_SPAWNING) {
        if (m->pid > 0) {
            process_spawned(p, m->pid, c);
        } else {
            struct err err = {0};
            (void)err_sys(&err, ERR_FORK_FAILED, m->sys_errno, "fork",
                          "the zygote could not fork a session (%s): try again", m->stage);
            process_failed(p, &err);
        }
    }
    if (m != NULL) {
        pyexec__internal__zygote_spawned__free_unpacked(m, NULL);
    }
}

static void on_signalled(struct channel *c, const struct wire_frame *f)
{
    Pyexec__Internal__ZygoteSignalled *m =
        pyexec__internal__zygote_signalled__unpack(NULL, f->length, f->payload);
    if (m == NULL) {
        return;
    }
    struct process *p = by_serial(c->engine, m->token);
    if (p != NULL) {
        process_signalled(p);
    }
    pyexec__internal__zygote_signalled__free_unpacked(m, NULL);
}

static void on_branch_held(struct channel *c, const struct wire_frame *f)
{
    Pyexec__Internal__ZygoteBranchHeld *m =
        pyexec__internal__zygote_branch_held__unpack(NULL, f->length, f->payload);
    if (m != NULL) {
        branch_held(c->engine, m->token, m->sys_errno);
        pyexec__internal__zygote_branch_held__free_unpacked(m, NULL);
    }
}

static void on_branch_taken(struct channel *c, const struct wire_frame *f)
{
    Pyexec__Internal__ZygoteBranchTaken *m =
        pyexec__internal__zygote_branch_taken__unpack(NULL, f->length, f->payload);
    if (m != NULL) {
        branch_taken(c->engine, m->token, m->sys_errno);
        pyexec__internal__zygote_branch_taken__free_unpacked(m, NULL);
    }
}

static void on_exited(struct channel *c, const struct wire_frame *f)
{
    Pyexec__Internal__ZygoteExited *m =
        pyexec__internal__zygote_exited__unpack(NULL, f->length, f->payload);
    if (m == NULL) {
        return;
    }
    char key[24];
    (void)snprintf(key, sizeof key, "%d", m->pid);
    struct process *p = strmap_get(&c->engine->processes_by_pid, key);
    if (p != NULL && p->reaper == c) {
        process_exited(p, m);
    }
    pyexec__internal__zygote_exited__free_unpacked(m, NULL);
}

bool reaper_frame(struct channel *c, const struct wire_frame *f)
{
    switch (f->type) {
    case ZYGOTE_FRAME_SPAWNED:
        on_spawned(c, f);
        return true;
    case ZYGOTE_FRAME_SIGNALLED:
        on_signalled(c, f);
        return true;
    case ZYGOTE_FRAME_EXITED:
        on_exited(c, f);
        return true;
    case ZYGOTE_FRAME_BRANCH_HELD:
        on_branch_held(c, f);
        return true;
    case ZYGOTE_FRAME_BRANCH_TAKEN:
        on_branch_taken(c, f);
        return true;
    default:
        return false;
    }
}

/* --- what is asked of it ------------------------------------------------------------------------- */

void reaper_signal(struct process *p, int signal, bool group)
{
    Pyexec__Internal__ZygoteSignal m = PYEXEC__INTERNAL__ZYGOTE_SIGNAL__INIT;
    m.token = p->serial;
    m.pid = p->pid;
    m.signal = signal;
    m.group = group;
    if (p->reaper != NULL) {
        /* Pending also where its zygote has just died: whoever adopts the process gets it again. */
        p->signals_pending++;
        (void)channel_send(p->reaper, ZYGOTE_FRAME_SIGNAL, &m.base, NULL, 0);
    }
}

void reaper_kill(struct process *p)
{
    Pyexec__Internal__ZygoteKill m = PYEXEC__INTERNAL__ZYGOTE_KILL__INIT;
    m.pid = p->pid;
    if (p->reaper != NULL) {
        (void)channel_send(p->reaper, ZYGOTE_FRAME_KILL, &m.base, NULL, 0);
    }
}

int reaper_branch_begin(struct channel *reaper, pid_t session, uint64_t token)
{
    Pyexec__Internal__ZygoteBranchBegin m = PYEXEC__INTERNAL__ZYGOTE_BRANCH_BEGIN__INIT;
    m.token = token;
    m.pid = session;
    return reaper == NULL ? -1 : channel_send(reaper, ZYGOTE_FRAME_BRANCH_BEGIN, &m.base, NULL, 0);
}

int reaper_branch_end(struct channel *reaper, uint64_t token, pid_t pid)
{
    Pyexec__Internal__ZygoteBranchEnd m = PYEXEC__INTERNAL__ZYGOTE_BRANCH_END__INIT;
    m.token = token;
    m.pid = pid;
    return reaper == NULL ? -1 : channel_send(reaper, ZYGOTE_FRAME_BRANCH_END, &m.base, NULL, 0);
}
