/* wire.h: bounded frames with descriptors over a stream socketpair.
 *
 * Used on both channels: daemon <-> launcher/zygote and daemon <-> session. A frame is
 *
 *     uint32 length of the payload | uint16 type | uint16 number of descriptors | payload
 *
 * in host byte order (both ends are one machine, one build). Descriptors travel as SCM_RIGHTS
 * with the first byte of their frame. Frames from a session are untrusted: the reader gives a
 * maximum payload and how many descriptors it takes (0 from sessions: none are ever received).
 * (Bounds and descriptor rule after OpenBSD's imsg.)
 *
 * Not thread-safe: one owner per object. */
#ifndef PYEXEC_WIRE_WIRE_H
#define PYEXEC_WIRE_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "service/base/buf.h"

#define WIRE_HEADER_SIZE 8
#define WIRE_FDS_MAX 8                   /* in one frame */
#define WIRE_TO_SESSION_MAX (24u << 20)  /* payload bytes: code 16 MiB, stdin, env */
#define WIRE_FROM_SESSION_MAX (4u << 20) /* exception text, a display of 1 MiB */
#define WIRE_CONTROL_MAX (256u << 10)    /* daemon <-> launcher, zygote */
#define WIRE_OUT_QUEUE_MAX (64u << 20)   /* bytes queued by a non-blocking writer */

struct wire_frame {
    uint16_t type;
    uint16_t fd_count;
    uint32_t length;
    const uint8_t *payload; /* borrowed: valid until the next call on the reader */
    int fds[WIRE_FDS_MAX];  /* owned by the caller once returned; close or use each */
};

/* --- blocking side (launcher, zygote, session): the descriptor is in blocking mode --------- */

/* Sends one frame; `fds` stay the caller's. 0, or a negative errno (-EPIPE: the peer is gone;
 * no SIGPIPE is raised). A frame is written whole: EINTR continues. */
int wire_send(int fd, uint16_t type, const void *payload, size_t length, const int *fds,
              size_t fd_count);

/* --- reading, either side ------------------------------------------------------------------ */

struct wire_reader {
    int fd; /* borrowed */
    uint32_t max_payload;
    unsigned max_fds;
    struct buf in;
    size_t consumed; /* bytes of the frame returned last */
    int fds[WIRE_FDS_MAX * 2];
    unsigned fd_count;
};

void wire_reader_init(struct wire_reader *r, int fd, uint32_t max_payload, unsigned max_fds);
void wire_reader_release(struct wire_reader *r); /* closes descriptors not handed out */

/* The next frame that is already buffered: 1 and *ret_frame, or 0 when there is none,
 * or -EPROTO when the peer broke the rules (the channel is unusable then). */
int wire_reader_next(struct wire_reader *r, struct wire_frame *ret_frame);

/* Reads once from the descriptor (recvmsg, CLOEXEC): > 0 bytes read, 0 at end of file,
 * -EAGAIN when nothing is there (non-blocking), or another negative errno; -EINTR is returned,
 * not retried, so that signal handlers get their turn. */
int wire_reader_fill(struct wire_reader *r);

/* Blocks for the next frame: 1, 0 at end of file, or a negative errno (-EINTR included). */
int wire_reader_wait(struct wire_reader *r, struct wire_frame *ret_frame);

void wire_frame_close_fds(struct wire_frame *frame);

/* --- non-blocking writing (daemon) ---------------------------------------------------------- */

struct wire_writer {
    int fd; /* borrowed, non-blocking */
    struct buf out;
    size_t sent;
    /* Descriptors wait, each with the offset in `out` of the frame that carries it. */
    struct {
        size_t at;
        int fd; /* owned: a duplicate */
    } * pending;
    unsigned pending_len;
    unsigned pending_cap;
};

void wire_writer_init(struct wire_writer *w, int fd);
void wire_writer_release(struct wire_writer *w);

/* Sends at once if nothing is queued, else queues what is left (`fds` are duplicated then).
 * 1 when something remains queued (watch for writability), 0 when all went out, or a negative
 * errno: -ENOBUFS past WIRE_OUT_QUEUE_MAX, -EPIPE. After a negative result the channel is of no
 * further use: part of a frame may be out. */
int wire_writer_send(struct wire_writer *w, uint16_t type, const void *payload, size_t length,
                     const int *fds, size_t fd_count);

/* Writes what is queued: the same results. */
int wire_writer_flush(struct wire_writer *w);

#endif
