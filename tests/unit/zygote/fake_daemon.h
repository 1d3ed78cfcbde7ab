/* fake_daemon.h: the daemon's side of launcher and zygote, blocking, for tests. Waits are for events;
 * each has a bound of 20 s after which the test process gives up. */
#ifndef PYEXEC_TESTS_UNIT_ZYGOTE_FAKE_DAEMON_H
#define PYEXEC_TESTS_UNIT_ZYGOTE_FAKE_DAEMON_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "internal/zygote.pb-c.h"
#include "service/wire/wire.h"
#include "service/wire/zygote_frames.h"

struct peer {
    int fd;
    pid_t pid;
    struct wire_reader in;
};

struct session {
    pid_t pid;
    int control;
    int out; /* read end of stdout; reads end of file when every process of the session is gone */
};

struct wish {
    const char *profile;
    const char *python;
    const char *warm_up;
    bool required;
    uint64_t open_files;
};

void peer_release(struct peer *p);
void peer_send(struct peer *p, uint16_t type, const ProtobufCMessage *m);
/* The next frame, which must be of `type`. */
struct wire_frame peer_expect(struct peer *p, uint16_t type);
/* Nothing is there now. */
bool peer_is_silent(struct peer *p);
/* End of file comes. */
bool peer_ends(struct peer *p);

struct peer launcher_peer(void);
/* `zygote` is this very program (it looks at its name). */
struct peer zygote_peer(struct peer *launcher, const struct wish *wish,
                        Pyexec__Internal__ZygoteReady **ret_ready);
struct session spawn(struct peer *zygote);
void session_release(struct session *s);
/* Sends a command and waits for its answer. */
void session_do(struct session *s, char command);
/* Reads exactly `n` bytes; false at end of file. */
bool read_exactly(int fd, void *data, size_t n);
/* True when the pipe ends: nobody holds it open. */
bool pipe_ends(int fd);

Pyexec__Internal__ZygoteExited expect_exited(struct peer *p);
void send_kill(struct peer *p, pid_t pid);
int send_signal(struct peer *p, pid_t pid, int signal, bool group); /* the errno of the answer */

/* Reaps children of this (subreaper) process until there is none; their number. */
unsigned reap_all_children(void);

#endif
