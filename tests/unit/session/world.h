/* world.h: an engine on a loop of its own with a fake launcher, and callers that wait for answers.
 * Everything runs on the test's thread but the fake processes. */
#ifndef PYEXEC_TESTS_UNIT_SESSION_WORLD_H
#define PYEXEC_TESTS_UNIT_SESSION_WORLD_H

#include "service/session/engine.h"
#include "tests/unit/session/fake_world.h"

struct world {
    uv_loop_t loop;
    struct engine *engine;
    struct fake_world *fake;
    char dir[64];
    uv_timer_t guard;
    bool ready, drained, closed;
    int fds_before;
};

/* Limits that suit tests; the caller may change them before world_start. */
void world_limits(struct engine_limits *limits);
void world_start(struct world *w, const struct engine_limits *limits);
/* Drains, closes and checks that nothing is left: no descriptor, file, handle or fake process. */
void world_stop(struct world *w);
/* Runs the loop until the condition holds; the test fails after a while. */
void world_until(struct world *w, bool (*holds)(void *ctx), void *ctx);
void world_until_true(struct world *w, const bool *flag);

/* --- unary calls -------------------------------------------------------------------------------- */
struct answer {
    bool done;
    enum err_code code; /* ERR_NONE: there is a response */
    struct err err;
    ProtobufCMessage *response; /* a copy */
};
engine_done_fn answer_done;
void answer_wait(struct world *w, struct answer *a);
void answer_clear(struct answer *a);

/* Creates a session and copies its id; "" on failure with *ret_code. */
enum err_code world_create(struct world *w, char id[128]);
enum err_code world_delete(struct world *w, const char *id);
enum err_code world_restart(struct world *w, const char *id);
struct session_facts {
    int state;
    uint64_t execution_count;
    uint32_t generation;
    char current[130];
    char directory[256];
};
enum err_code world_session(struct world *w, const char *id, struct session_facts *ret);
enum err_code world_interrupt(struct world *w, const char *session, const char *execution,
                              bool kill, int64_t kill_after_ns);

/* --- executions --------------------------------------------------------------------------------- */
struct run {
    struct engine_attachment attachment;
    struct world *world;
    struct buf message;
    bool answered;
    bool ended; /* the result was read */
    bool hold;  /* do not read */
    enum err_code code;
    struct err err;
    char merged[4096]; /* output in order, as "o:text" and "e:text" pieces joined */
    uint64_t bytes[2];
    uint64_t missing;
    unsigned started, displays, inputs, results;
    bool replayed;
    char session_id[128];
    char execution_id[130];
    int64_t timeout_ns;
    uint64_t last_seq;
    Pyexec__V1__ExecutionResult *result; /* a copy */
};

/* Starts code; NULL ids are empty. `spec` may be NULL. Its code is set. */
void run_start(struct world *w, struct run *r, const char *session, const char *execution,
               const char *code, Pyexec__V1__ExecutionSpec *spec);
void run_attach(struct world *w, struct run *r, const char *session, const char *execution,
                uint64_t after_seq);
void run_wait(struct run *r);
void run_read(struct run *r);  /* what is there now */
void run_leave(struct run *r); /* the caller vanishes */
void run_clear(struct run *r);
/* run_start, run_wait; the status, or -(error code). */
int run_code(struct world *w, struct run *r, const char *session, const char *code);

#endif
