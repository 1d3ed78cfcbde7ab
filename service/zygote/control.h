/* control.h: what the launcher and zygotes have in common: the event loop on the socket to the daemon
 * and SIGCHLD, and the frames about sessions that both understand. One thread, blocking writes. */
#ifndef PYEXEC_ZYGOTE_CONTROL_H
#define PYEXEC_ZYGOTE_CONTROL_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>

#include "service/base/err.h"
#include "service/wire/wire.h"
#include "service/zygote/reap.h"

struct control {
    int fd;        /* to the daemon; borrowed */
    int signal_fd; /* SIGCHLD and SIGTERM */
    pid_t parent;
    bool over; /* the daemon is gone, or we can't talk to it: leave the loop */
    struct wire_reader in;
    struct reaper reaper;
    /* Frames that are not common. The callee owns the frame's descriptors. Returns false for one
     * that it does not know or can't decode: the peer is then broken and the loop ends. */
    bool (*on_frame)(struct control *c, struct wire_frame *frame);
};

/* `max_fds`: descriptors that a frame may bring. Set on_frame, then take charge of children. */
void control_init(struct control *c, int fd, unsigned max_fds);
/* Blocks SIGCHLD and SIGTERM (for good) and opens the signalfd; /proc must be there. -1 with `err`. */
int control_watch(struct control *c, struct err *err);
void control_release(struct control *c);

/* Serves until the daemon or the parent process is gone. The kernel tells the latter by SIGTERM; one
 * that somebody else sent is ignored: a service manager sends it to every process of the service,
 * where the daemon decides what it means, and a session may send it to its zygote. */
void control_run(struct control *c);

/* Sends one message; a failure ends the loop. */
void control_send(struct control *c, uint16_t type, const ProtobufCMessage *message);

/* Kills everything below, for at most ten seconds. */
void control_kill_everything(struct control *c);

#endif
