/* session_state.c: state x event -> next state and what is to be done. */
#include "service/session/session_state.h"

#include <assert.h>

#define TO(state, action)                    \
    {                                        \
        SESSION_##state, SESSION_DO_##action \
    }

/* A kill while STARTING ends in FAIL_START through EXITED, since nobody was told of the session. */
static const struct session_step table[SESSION_STATES][SESSION_EVENTS] =
    {
        [SESSION_STARTING] =
            {
                [SESSION_EVENT_READY] = TO(IDLE, ANNOUNCE),
                [SESSION_EVENT_FAILED] = TO(DEAD, FAIL_START),
                [SESSION_EVENT_RUN] = TO(STARTING, REFUSE),
                [SESSION_EVENT_DONE] = TO(STARTING, NOTHING),
                [SESSION_EVENT_BRANCH] = TO(STARTING, REFUSE),
                [SESSION_EVENT_BRANCHED] = TO(STARTING, NOTHING),
                [SESSION_EVENT_KILL] = TO(STARTING, KILL),
                [SESSION_EVENT_EXITED] = TO(DEAD, FAIL_START),
                [SESSION_EVENT_UNUSED] = TO(STARTING, SPAWN_AGAIN),
                [SESSION_EVENT_RESTART] = TO(STARTING, NOTHING),
                [SESSION_EVENT_DELETE] = TO(CLOSING, KILL),
            },
        [SESSION_IDLE] =
            {
                [SESSION_EVENT_READY] = TO(IDLE, NOTHING),
                [SESSION_EVENT_FAILED] = TO(IDLE, NOTHING),
                [SESSION_EVENT_RUN] = TO(RUNNING, SEND_RUN),
                [SESSION_EVENT_DONE] = TO(IDLE, NOTHING),
                [SESSION_EVENT_BRANCH] = TO(BRANCHING, SEND_BRANCH),
                [SESSION_EVENT_BRANCHED] = TO(IDLE, NOTHING),
                [SESSION_EVENT_KILL] = TO(DYING, KILL),
                [SESSION_EVENT_EXITED] = TO(DEAD, MOURN),
                [SESSION_EVENT_UNUSED] = TO(STARTING, SPAWN_AGAIN),
                [SESSION_EVENT_RESTART] = TO(RESTARTING, KILL),
                [SESSION_EVENT_DELETE] = TO(CLOSING, KILL),
            },
        [SESSION_RUNNING] =
            {
                [SESSION_EVENT_READY] = TO(RUNNING, NOTHING),
                [SESSION_EVENT_FAILED] = TO(RUNNING, NOTHING),
                [SESSION_EVENT_RUN] = TO(RUNNING, REFUSE),
                [SESSION_EVENT_DONE] = TO(IDLE, NEXT),
                [SESSION_EVENT_BRANCH] = TO(RUNNING, REFUSE),
                [SESSION_EVENT_BRANCHED] = TO(RUNNING, NOTHING),
                [SESSION_EVENT_KILL] = TO(DYING, KILL),
                [SESSION_EVENT_EXITED] = TO(DEAD, MOURN),
                [SESSION_EVENT_UNUSED] = TO(STARTING, SPAWN_AGAIN),
                [SESSION_EVENT_RESTART] = TO(RESTARTING, KILL),
                [SESSION_EVENT_DELETE] = TO(CLOSING, KILL),
            },
        [SESSION_BRANCHING] =
            {
                [SESSION_EVENT_READY] = TO(BRANCHING, NOTHING),
                [SESSION_EVENT_FAILED] = TO(BRANCHING, NOTHING),
                [SESSION_EVENT_RUN] = TO(BRANCHING, REFUSE),
                [SESSION_EVENT_DONE] = TO(BRANCHING, NOTHING),
                [SESSION_EVENT_BRANCH] = TO(BRANCHING, REFUSE),
                [SESSION_EVENT_BRANCHED] = TO(IDLE, NEXT),
                [SESSION_EVENT_KILL] = TO(DYING, KILL),
                [SESSION_EVENT_EXITED] = TO(DEAD, MOURN),
                [SESSION_EVENT_UNUSED] = TO(DEAD, MOURN),
                [SESSION_EVENT_RESTART] = TO(RESTARTING, KILL),
                [SESSION_EVENT_DELETE] = TO(CLOSING, KILL),
            },
        [SESSION_DYING] =
            {
                [SESSION_EVENT_READY] = TO(DYING, NOTHING),
                [SESSION_EVENT_FAILED] = TO(DYING, NOTHING),
                [SESSION_EVENT_RUN] = TO(DYING, REFUSE),
                [SESSION_EVENT_DONE] = TO(DYING, NOTHING),
                [SESSION_EVENT_BRANCH] = TO(DYING, REFUSE),
                [SESSION_EVENT_BRANCHED] = TO(DYING, NOTHING),
                [SESSION_EVENT_KILL] = TO(DYING, NOTHING),
                [SESSION_EVENT_EXITED] = TO(DEAD, MOURN),
                [SESSION_EVENT_UNUSED] = TO(DEAD, MOURN),
                [SESSION_EVENT_RESTART] = TO(RESTARTING, NOTHING),
                [SESSION_EVENT_DELETE] = TO(CLOSING, NOTHING),
            },
        [SESSION_RESTARTING] =
            {
                [SESSION_EVENT_READY] = TO(RESTARTING, NOTHING),
                [SESSION_EVENT_FAILED] = TO(RESTARTING, NOTHING),
                [SESSION_EVENT_RUN] = TO(RESTARTING, REFUSE),
                [SESSION_EVENT_DONE] = TO(RESTARTING, NOTHING),
                [SESSION_EVENT_BRANCH] = TO(RESTARTING, REFUSE),
                [SESSION_EVENT_BRANCHED] = TO(RESTARTING, NOTHING),
                [SESSION_EVENT_KILL] = TO(RESTARTING, NOTHING),
                [SESSION_EVENT_EXITED] = TO(STARTING, SPAWN),
                [SESSION_EVENT_UNUSED] = TO(STARTING, SPAWN),
                [SESSION_EVENT_RESTART] = TO(RESTARTING, NOTHING),
                [SESSION_EVENT_DELETE] = TO(CLOSING, NOTHING),
            },
        [SESSION_CLOSING] =
            {
                [SESSION_EVENT_READY] = TO(CLOSING, NOTHING),
                [SESSION_EVENT_FAILED] = TO(CLOSED, BURY),
                [SESSION_EVENT_RUN] = TO(CLOSING, REFUSE),
                [SESSION_EVENT_DONE] = TO(CLOSING, NOTHING),
                [SESSION_EVENT_BRANCH] = TO(CLOSING, REFUSE),
                [SESSION_EVENT_BRANCHED] = TO(CLOSING, NOTHING),
                [SESSION_EVENT_KILL] = TO(CLOSING, NOTHING),
                [SESSION_EVENT_EXITED] = TO(CLOSED, BURY),
                [SESSION_EVENT_UNUSED] = TO(CLOSED, BURY),
                [SESSION_EVENT_RESTART] = TO(CLOSING, REFUSE),
                [SESSION_EVENT_DELETE] = TO(CLOSING, NOTHING),
            },
        [SESSION_DEAD] =
            {
                [SESSION_EVENT_READY] = TO(DEAD, NOTHING),
                [SESSION_EVENT_FAILED] = TO(DEAD, NOTHING),
                [SESSION_EVENT_RUN] = TO(DEAD, REFUSE),
                [SESSION_EVENT_DONE] = TO(DEAD, NOTHING),
                [SESSION_EVENT_BRANCH] = TO(DEAD, REFUSE),
                [SESSION_EVENT_BRANCHED] = TO(DEAD, NOTHING),
                [SESSION_EVENT_KILL] = TO(DEAD, NOTHING),
                [SESSION_EVENT_EXITED] = TO(DEAD, NOTHING),
                [SESSION_EVENT_UNUSED] = TO(DEAD, NOTHING),
                [SESSION_EVENT_RESTART] = TO(STARTING, SPAWN),
                [SESSION_EVENT_DELETE] = TO(CLOSED, BURY),
            },
        [SESSION_CLOSED] =
            {
                [SESSION_EVENT_READY] = TO(CLOSED, NOTHING),
                [SESSION_EVENT_FAILED] = TO(CLOSED, NOTHING),
                [SESSION_EVENT_RUN] = TO(CLOSED, REFUSE),
                [SESSION_EVENT_DONE] = TO(CLOSED, NOTHING),
                [SESSION_EVENT_BRANCH] = TO(CLOSED, REFUSE),
                [SESSION_EVENT_BRANCHED] = TO(CLOSED, NOTHING),
                [SESSION_EVENT_KILL] = TO(CLOSED, NOTHING),
                [SESSION_EVENT_EXITED] = TO(CLOSED, NOTHING),
                [SESSION_EVENT_UNUSED] = TO(CLOSED, NOTHING),
                [SESSION_EVENT_RESTART] = TO(CLOSED, REFUSE),
                [SESSION_EVENT_DELETE] = TO(CLOSED, NOTHING),
            },
};

struct session_step session_step(enum session_state state, enum session_event event)
{
    assert(state < SESSION_STATES && event < SESSION_EVENTS);
    return table[state][event];
}

const char *session_state_name(enum session_state state)
{
    static const char *const names[SESSION_STATES] = {
        "starting",   "idle",    "running", "branching", "dying",
        "restarting", "closing", "dead",    "closed",
    };
    return state < SESSION_STATES ? names[state] : "?";
}
