/* zygote_frames.h: frame types between the daemon and its launcher and zygotes.
 * Payloads are messages of proto/internal/zygote.proto. */
#ifndef PYEXEC_WIRE_ZYGOTE_FRAMES_H
#define PYEXEC_WIRE_ZYGOTE_FRAMES_H

enum zygote_frame {
    /* daemon -> zygote */
    ZYGOTE_FRAME_CONFIG = 1,
    ZYGOTE_FRAME_SPAWN = 2, /* descriptors: control, stdout, stderr, page */
    /* daemon -> zygote or launcher (for adopted sessions) */
    ZYGOTE_FRAME_SIGNAL = 3,
    ZYGOTE_FRAME_KILL = 4,
    /* A session is about to be told to branch: the child that appears is not an orphan. BRANCH goes
     * to the session only after BRANCH_HELD; BRANCH_END follows in any case. */
    ZYGOTE_FRAME_BRANCH_BEGIN = 5,
    ZYGOTE_FRAME_BRANCH_END = 6,
    /* daemon -> launcher */
    LAUNCHER_FRAME_START = 16, /* descriptor: the zygote's end of its socketpair */
    LAUNCHER_FRAME_ADOPT = 17,

    /* zygote -> daemon */
    ZYGOTE_FRAME_READY = 32,
    ZYGOTE_FRAME_SPAWNED = 33,
    /* zygote or launcher -> daemon */
    ZYGOTE_FRAME_SIGNALLED = 34,
    ZYGOTE_FRAME_EXITED = 35,
    ZYGOTE_FRAME_BRANCH_HELD = 36,  /* answers BRANCH_BEGIN */
    ZYGOTE_FRAME_BRANCH_TAKEN = 37, /* answers BRANCH_END that names a pid */
    /* launcher -> daemon */
    LAUNCHER_FRAME_STARTED = 48,
    LAUNCHER_FRAME_ZYGOTE_EXITED = 49,
};

#endif
