/* session_state_test.c: every cell of the table, written down a second time in another form: by
 * event, what it does in the states where it means something; everywhere else it does nothing. */
#include "service/session/session_state.h"
#include "tests/support/check.h"

struct expectation {
    enum session_event event;
    enum session_state from;
    enum session_state to;
    enum session_action action;
};

#define E(event, from, to, action)                                               \
    {                                                                            \
        SESSION_EVENT_##event, SESSION_##from, SESSION_##to, SESSION_DO_##action \
    }

static const struct expectation meant[] = {
    E(READY, STARTING, IDLE, ANNOUNCE),
    E(FAILED, STARTING, DEAD, FAIL_START),
    E(FAILED, CLOSING, CLOSED, BURY),

    E(RUN, IDLE, RUNNING, SEND_RUN),
    E(RUN, STARTING, STARTING, REFUSE),
    E(RUN, RUNNING, RUNNING, REFUSE),
    E(RUN, BRANCHING, BRANCHING, REFUSE),
    E(RUN, DYING, DYING, REFUSE),
    E(RUN, RESTARTING, RESTARTING, REFUSE),
    E(RUN, CLOSING, CLOSING, REFUSE),
    E(RUN, DEAD, DEAD, REFUSE),
    E(RUN, CLOSED, CLOSED, REFUSE),
    E(DONE, RUNNING, IDLE, NEXT),

    E(BRANCH, IDLE, BRANCHING, SEND_BRANCH),
    E(BRANCH, STARTING, STARTING, REFUSE),
    E(BRANCH, RUNNING, RUNNING, REFUSE),
    E(BRANCH, BRANCHING, BRANCHING, REFUSE),
    E(BRANCH, DYING, DYING, REFUSE),
    E(BRANCH, RESTARTING, RESTARTING, REFUSE),
    E(BRANCH, CLOSING, CLOSING, REFUSE),
    E(BRANCH, DEAD, DEAD, REFUSE),
    E(BRANCH, CLOSED, CLOSED, REFUSE),
    E(BRANCHED, BRANCHING, IDLE, NEXT),

    E(KILL, STARTING, STARTING, KILL),
    E(KILL, IDLE, DYING, KILL),
    E(KILL, RUNNING, DYING, KILL),
    E(KILL, BRANCHING, DYING, KILL),

    E(EXITED, STARTING, DEAD, FAIL_START),
    E(EXITED, IDLE, DEAD, MOURN),
    E(EXITED, RUNNING, DEAD, MOURN),
    E(EXITED, BRANCHING, DEAD, MOURN),
    E(EXITED, DYING, DEAD, MOURN),
    E(EXITED, RESTARTING, STARTING, SPAWN),
    E(EXITED, CLOSING, CLOSED, BURY),

    E(UNUSED, STARTING, STARTING, SPAWN_AGAIN),
    E(UNUSED, IDLE, STARTING, SPAWN_AGAIN),
    E(UNUSED, RUNNING, STARTING, SPAWN_AGAIN),
    E(UNUSED, BRANCHING, DEAD, MOURN),
    E(UNUSED, DYING, DEAD, MOURN),
    E(UNUSED, RESTARTING, STARTING, SPAWN),
    E(UNUSED, CLOSING, CLOSED, BURY),

    E(RESTART, IDLE, RESTARTING, KILL),
    E(RESTART, RUNNING, RESTARTING, KILL),
    E(RESTART, BRANCHING, RESTARTING, KILL),
    E(RESTART, DYING, RESTARTING, NOTHING),
    E(RESTART, DEAD, STARTING, SPAWN),
    E(RESTART, CLOSING, CLOSING, REFUSE),
    E(RESTART, CLOSED, CLOSED, REFUSE),

    E(DELETE, STARTING, CLOSING, KILL),
    E(DELETE, IDLE, CLOSING, KILL),
    E(DELETE, RUNNING, CLOSING, KILL),
    E(DELETE, BRANCHING, CLOSING, KILL),
    E(DELETE, DYING, CLOSING, NOTHING),
    E(DELETE, RESTARTING, CLOSING, NOTHING),
    E(DELETE, DEAD, CLOSED, BURY),
};

static const struct expectation *expectation(enum session_state state, enum session_event event)
{
    for (size_t i = 0; i < sizeof meant / sizeof *meant; i++) {
        if (meant[i].from == state && meant[i].event == event) {
            return &meant[i];
        }
    }
    return NULL;
}

static void test_every_cell(void)
{
    unsigned special = 0;
    for (unsigned s = 0; s < SESSION_STATES; s++) {
        for (unsigned v = 0; v < SESSION_EVENTS; v++) {
            struct session_step step = session_step((enum session_state)s, (enum session_event)v);
            const struct expectation *e = expectation((enum session_state)s, (enum session_event)v);
            enum session_state to = e != NULL ? e->to : (enum session_state)s;
            enum session_action action = e != NULL ? e->action : SESSION_DO_NOTHING;
            special += e != NULL;
            if (step.next != to || step.action != action) {
                (void)fprintf(stderr, "%s, event %u: to %s, action %u\n",
                              session_state_name((enum session_state)s), v,
                              session_state_name(step.next), (unsigned)step.action);
            }
            CHECK(step.next == to && step.action == action);
        }
    }
    CHECK_EQ_INT(special, sizeof meant / sizeof *meant); /* none is written down twice */
}

/* Whatever happens, the process's end and a deletion lead to the grave. */
static void test_every_session_can_be_ended(void)
{
    for (unsigned s = 0; s < SESSION_STATES; s++) {
        enum session_state at = session_step((enum session_state)s, SESSION_EVENT_DELETE).next;
        if (at == SESSION_CLOSING) {
            at = session_step(at, SESSION_EVENT_EXITED).next;
        }
        CHECK_EQ_INT(at, SESSION_CLOSED);
    }
}

static void test_names(void)
{
    for (unsigned s = 0; s < SESSION_STATES; s++) {
        CHECK(session_state_name((enum session_state)s)[0] != '?');
        for (unsigned other = 0; other < s; other++) {
            CHECK(strcmp(session_state_name((enum session_state)s),
                         session_state_name((enum session_state)other)) != 0);
        }
    }
}

int main(void)
{
    RUN(test_every_cell);
    RUN(test_every_session_can_be_ended);
    RUN(test_names);
    return check_done();
}
