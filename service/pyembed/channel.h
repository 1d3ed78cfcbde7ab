/* channel.h: the session's control socket, fences and marks (wire/session_frames.h).
 *
 * Any thread, with or without the GIL: nothing here needs it or waits for it. In the zygote and in
 * children that user code forks the channel is not ours: every function is a no-op there (sends
 * give -EPIPE), so that such a child can never speak for its session. */
#ifndef PYEXEC_PYEMBED_CHANNEL_H
#define PYEXEC_PYEMBED_CHANNEL_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "service/wire/session_frames.h"

/* What is about to write, or may have made somebody write. */
enum channel_user {
    CHANNEL_STDOUT = 0,
    CHANNEL_STDERR = 1,
    CHANNEL_ANY = 2,
};

/* Takes over SESSION_FD_CONTROL and maps the offset page; descriptors 1 and 2 are the pipes.
 * `page_fd` stays the caller's. Also for a branch, whose parent's mapping is dropped. The page may
 * be missing (-1): offsets are then what the pipes hold. 0, or a negative errno. */
int channel_open(int page_fd);

/* Descriptors 1 and 2 are fresh pipes: offsets start at 0 again. */
void channel_new_pipes(void);

/* False when user code closed descriptor 1 or 2, or put another file there. */
bool channel_has_pipes(void);

/* True in the session itself, false in the zygote and in children forked by user code. */
bool channel_is_ours(void);

/* A fence: sends a mark when something was written since the last one on another stream than the
 * one that `user` names (on any stream for CHANNEL_ANY). Cheap: one or two system calls. */
void channel_fence(enum channel_user user);

/* Sends one frame with its fence. 0 or a negative errno (-EMSGSIZE past WIRE_FROM_SESSION_MAX). */
int channel_send(enum session_frame type, const void *payload, size_t length);
int channel_send_message(enum session_frame type, const ProtobufCMessage *message);
/* `stream` is 1 or 2; at most CHANNEL_BACKGROUND_MAX bytes. */
int channel_send_background(unsigned stream, const void *data, size_t length);
#define CHANNEL_BACKGROUND_MAX 65536

#endif
