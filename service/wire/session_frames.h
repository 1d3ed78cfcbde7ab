/* session_frames.h: frame types of a session's control socket, and the offset page.
 *
 * Order of output (architecture of service/README.md, "Order"): every frame FROM a session begins
 * with a fence: two little-endian uint64, the absolute number of bytes written to stdout and to
 * stderr of the session's *current* pipes when the frame was sent. Its payload follows (a message
 * of proto/internal/session.proto, or nothing).
 *
 * The absolute offset of a pipe is (bytes the daemon has read so far) + FIONREAD on the session's
 * own write end. The first term is published by the daemon in the offset page, a memfd of one
 * page that the session maps read-only, under a sequence counter that is odd while the daemon is
 * inside read(): the session retries while it is odd or changed. Offsets start at 0 with each new
 * pair of pipes (`generation` counts the pairs). */
#ifndef PYEXEC_WIRE_SESSION_FRAMES_H
#define PYEXEC_WIRE_SESSION_FRAMES_H

#include <stdatomic.h>
#include <stdint.h>

enum session_frame {
    /* daemon -> session */
    SESSION_FRAME_INIT = 1,
    SESSION_FRAME_RUN = 2,    /* descriptors: [stdin] [stdout stderr], as the message says */
    SESSION_FRAME_BRANCH = 3, /* descriptors: control, stdout, stderr, page */

    /* session -> daemon, each with a fence first */
    SESSION_FRAME_READY = 32,
    SESSION_FRAME_MARK = 33,      /* a fence and nothing else */
    SESSION_FRAME_STARTED = 34,   /* uint64 run: compiling begins; the time limit counts */
    SESSION_FRAME_REPORTING = 35, /* uint64 run: the code ended, its report is being made */
    SESSION_FRAME_DONE = 36,
    SESSION_FRAME_DISPLAY = 37,
    SESSION_FRAME_CLEAR_OUTPUT = 38,
    SESSION_FRAME_INPUT_REQUEST = 39,
    SESSION_FRAME_BACKGROUND = 40, /* uint8 stream (1 stdout, 2 stderr), then the bytes */
    SESSION_FRAME_BRANCHED = 41,
};

struct session_fence {
    uint64_t stdout_bytes;
    uint64_t stderr_bytes;
};

/* One stream's part of the offset page. */
struct session_page_stream {
    _Atomic uint32_t sequence; /* odd while the daemon is inside read() of this pipe */
    uint32_t pad;
    _Atomic uint64_t read_bytes;
};

struct session_page {
    struct session_page_stream stream[2]; /* 0 stdout, 1 stderr */
};

#define SESSION_PAGE_SIZE 4096

/* Descriptor numbers inside a session process after the child has settled. */
#define SESSION_FD_CONTROL 3
#define SESSION_FD_KEEP 4 /* everything from here on is closed */

#endif
