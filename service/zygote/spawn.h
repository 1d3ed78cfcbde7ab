/* spawn.h: one session out of the zygote. */
#ifndef PYEXEC_ZYGOTE_SPAWN_H
#define PYEXEC_ZYGOTE_SPAWN_H

#include "service/sandbox/sandbox.h"
#include "service/zygote/control.h"

/* What all sessions of a zygote have in common; borrowed for the zygote's life. */
struct spawn_template {
    const struct sbx_plan *plan;
    const char *warm_up_code; /* NULL: none */
};

/* Serves ZYGOTE_FRAME_SPAWN. Takes the frame's descriptors. Returns in the zygote only; false when
 * the frame is malformed. */
bool spawn_session(struct control *c, const struct spawn_template *template,
                   struct wire_frame *frame);

#endif
