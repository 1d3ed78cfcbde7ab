/* serve.h: the frames that a session gets, one after another. */
#ifndef PYEXEC_CHILD_SERVE_H
#define PYEXEC_CHILD_SERVE_H

/* Why serving ended. */
enum serve_end {
    SERVE_CLOSED, /* the daemon closed the control socket, or user code did */
    SERVE_BROKEN, /* a frame that makes no sense, or out of memory */
    SERVE_BRANCH, /* this process is a new branch: settle on `ret_fds` and serve again */
};

/* Descriptors of a branch, as child_start names them. */
struct serve_branch {
    int control;
    int out;
    int err;
    int page;
};

/* Says READY and serves until the end. Main thread, GIL held. `branch` is filled for
 * SERVE_BRANCH. */
enum serve_end serve_frames(struct serve_branch *branch);

#endif
