/* branch.c: ForkSession. */
#include "service/session/internal.h"

void engine_fork_session(struct engine *e, const struct engine_caller *caller,
                         const Pyexec__V1__ForkSessionRequest *q, engine_done_fn *done, void *ctx)
{
    struct err err = {0};
    (void)e;
    (void)caller;
    (void)q;
    (void)err_set(&err, ERR_UNIMPLEMENTED, "sessions can't be forked yet");
    done(ctx, NULL, &err);
}

void branch_send(struct session *s)
{
    session_event(s, SESSION_EVENT_BRANCHED);
}

void branch_answered(struct process *p, const uint8_t *data, size_t size)
{
    (void)data;
    (void)size;
    frames_broken(p, "answered a fork that nobody asked for");
}

void branch_over(struct session *s)
{
    (void)s;
}

void branch_ready(struct session *s, const struct err *err)
{
    (void)s;
    (void)err;
}
