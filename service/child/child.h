/* child.h: what runs in a session process after the fork, in reading order. */
#ifndef PYEXEC_CHILD_CHILD_H
#define PYEXEC_CHILD_CHILD_H

#include <stdbool.h>

struct child_start {
    int control;              /* owned from here on, like the others */
    int out;                  /* write end of the stdout pipe */
    int err;                  /* write end of the stderr pipe */
    int page;                 /* memfd of the offset page */
    bool warm_up;             /* run `warm_up_code` before READY */
    const char *warm_up_code; /* borrowed, may be NULL */
    /* Applies the confinement; called after descriptors are settled and before any user code.
     * Returns NULL, or the static name of the step that failed (the child exits with 97). */
    const char *(*confine)(void *ctx);
    void *confine_ctx;
};

/* Called in the forked child (the zygote has done PyOS_BeforeFork; the child has not run
 * PyOS_AfterFork_Child yet, child_run does). Moves descriptors to 1, 2 and SESSION_FD_CONTROL, 0 to /dev/null,
 * closes all others, setsid, subreaper, confines, reseeds, says READY and serves RUN frames until the control socket
 * closes. Never returns. */
__attribute__((noreturn)) void child_run(const struct child_start *start);

#endif
