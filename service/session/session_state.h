/* session_state.h: the life of a session, as one table. Pure. */
#ifndef PYEXEC_SESSION_SESSION_STATE_H
#define PYEXEC_SESSION_SESSION_STATE_H

enum session_state {
    SESSION_STARTING, /* its process was asked for */
    SESSION_IDLE,
    SESSION_RUNNING,    /* a RUN is out */
    SESSION_BRANCHING,  /* a BRANCH is out */
    SESSION_DYING,      /* its process was killed (or broke the rules); waits for its end */
    SESSION_RESTARTING, /* the same, and another process follows */
    SESSION_CLOSING,    /* the same, and the session goes */
    SESSION_DEAD,       /* has no process */
    SESSION_CLOSED,     /* gone: only a tombstone is left */
    SESSION_STATES
};

enum session_event {
    SESSION_EVENT_READY,    /* the process is ready and was made this session */
    SESSION_EVENT_FAILED,   /* there will be no process */
    SESSION_EVENT_RUN,      /* an execution wants to be dispatched */
    SESSION_EVENT_DONE,     /* the run reported its end */
    SESSION_EVENT_BRANCH,   /* somebody wants to fork it */
    SESSION_EVENT_BRANCHED, /* the fork is over, well or badly */
    SESSION_EVENT_KILL,     /* the process must go (time limit, client, broken protocol) */
    SESSION_EVENT_EXITED,   /* the process and its descendants are gone, its pipes are read */
    SESSION_EVENT_UNUSED,   /* the same, and it had not run anything yet: it was a dead spare */
    SESSION_EVENT_RESTART,
    SESSION_EVENT_DELETE, /* by a client, or expiry */
    SESSION_EVENTS
};

enum session_action {
    SESSION_DO_NOTHING,
    SESSION_DO_REFUSE,     /* not now: the caller says why, from the state */
    SESSION_DO_ANNOUNCE,   /* answer who waits for it, then look at the queue */
    SESSION_DO_FAIL_START, /* answer who waits with the fault; a new session goes altogether */
    SESSION_DO_SEND_RUN,
    SESSION_DO_NEXT, /* look at the queue */
    SESSION_DO_SEND_BRANCH,
    SESSION_DO_KILL,
    SESSION_DO_SPAWN,       /* another process; what the session knew is gone */
    SESSION_DO_SPAWN_AGAIN, /* another process, and nothing was lost */
    SESSION_DO_MOURN,       /* end what ran and waited; stay as DEAD */
    SESSION_DO_BURY,        /* end what ran and waited; remove the session */
    SESSION_DO_ACTIONS
};

struct session_step {
    enum session_state next;
    enum session_action action;
};

struct session_step session_step(enum session_state state, enum session_event event);

const char *session_state_name(enum session_state state);

#endif
