/* engine_test.c: the engine against fake processes: what calls answer, how runs end, who goes when. */
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "service/base/clock.h"
#include "service/base/fd.h"
#include "service/base/id.h"
#include "tests/support/check.h"
#include "tests/unit/session/world.h"

#define STATUS(name) PYEXEC__V1__EXECUTION_RESULT__STATUS__STATUS_##name
#define STATE(name) PYEXEC__V1__SESSION_STATE__SESSION_STATE_##name

static struct world w;
static struct run r;
static char id[128];

static void set_up(void)
{
    struct engine_limits l;
    world_limits(&l);
    world_start(&w, &l);
    CHECK_EQ_INT(world_create(&w, id), ERR_NONE);
}

static void test_a_session_runs_code(void)
{
    struct session_facts facts;
    set_up();
    CHECK_EQ_INT(world_session(&w, id, &facts), ERR_NONE);
    CHECK(facts.state == STATE(IDLE) && facts.generation == 1 && facts.execution_count == 0);
    CHECK(access(facts.directory, F_OK) == 0);
    CHECK_EQ_INT(run_code(&w, &r, id, "out a;err b;out c"), STATUS(OK));
    CHECK_STR(r.merged, "o:ae:bo:c");
    CHECK(r.started == 1 && !r.replayed && r.result->session_alive &&
          r.timeout_ns == 3600 * NS_PER_SEC);
    CHECK(r.result->stdout_bytes == 2 && r.result->stderr_bytes == 1 &&
          r.result->execution_count == 1);
    CHECK(r.result->timings != NULL && r.result->timings->total->nanos > 0);
    run_clear(&r);
    CHECK_EQ_INT(run_code(&w, &r, id, "many 1000000"), STATUS(OK));
    CHECK_EQ_INT(r.bytes[0], 1000000);
    run_clear(&r);
    CHECK_EQ_INT(world_session(&w, id, &facts), ERR_NONE);
    CHECK_EQ_INT(facts.execution_count, 2);
    CHECK_EQ_INT(world_delete(&w, id), ERR_NONE);
    CHECK(access(facts.directory, F_OK) < 0 && fake_world_living(w.fake) == 0);
    CHECK_EQ_INT(world_delete(&w, id), ERR_NONE);
    CHECK_EQ_INT(world_session(&w, id, &facts), ERR_SESSION_NOT_FOUND);
    world_stop(&w);
}

static bool none_lives(void *ctx)
{
    return fake_world_living(ctx) == 0;
}

static void test_throw_away_leaves_its_result(void)
{
    Pyexec__V1__GetExecutionRequest q = PYEXEC__V1__GET_EXECUTION_REQUEST__INIT;
    struct answer a = {0};
    set_up();
    CHECK_EQ_INT(world_delete(&w, id), ERR_NONE);
    CHECK_EQ_INT(run_code(&w, &r, NULL, "out x"), STATUS(OK));
    CHECK(!r.result->session_alive);
    world_until(&w, none_lives, w.fake);
    q.session_id = r.session_id;
    q.execution_id = r.execution_id;
    engine_get_execution(w.engine, NULL, &q, answer_done, &a);
    answer_wait(&w, &a);
    CHECK_EQ_INT(a.code, ERR_NONE);
    const Pyexec__V1__Execution *x = ((Pyexec__V1__GetExecutionResponse *)a.response)->execution;
    CHECK(x->state == PYEXEC__V1__EXECUTION__STATE__STATE_FINISHED && x->result != NULL &&
          x->result->status == STATUS(OK));
    answer_clear(&a);
    run_clear(&r);
    world_stop(&w);
}

static void test_endings(void)
{
    static const struct {
        const char *code;
        int status;
        int number; /* exit code or signal */
        bool alive;
    } cases[] = {
        {"out a", STATUS(OK), 0, true},
        {"out a;error E", STATUS(ERROR), 0, true},
        {"out a;exit 0", STATUS(EXITED), 0, false},
        {"out a;exit 7", STATUS(EXITED), 7, false},
        {"out a;signal 11", STATUS(CRASHED), 11, false},
        {"out a;signal 24", STATUS(RESOURCE_LIMIT), 24, false},
        {"out a;far", STATUS(OK), 0, true},
    };
    set_up();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct session_facts facts;
        CHECK_EQ_INT(run_code(&w, &r, id, cases[i].code), cases[i].status);
        CHECK_STR(r.merged, "o:a");
        CHECK_EQ_INT(r.result->session_alive, cases[i].alive);
        CHECK_EQ_INT(r.result->exit_code, cases[i].number);
        run_clear(&r);
        CHECK_EQ_INT(world_session(&w, id, &facts), ERR_NONE);
        CHECK_EQ_INT(facts.state, cases[i].alive ? STATE(IDLE) : STATE(DEAD));
        if (!cases[i].alive) {
            CHECK_EQ_INT(run_code(&w, &r, id, "out a"), -(int)ERR_SESSION_DEAD);
            run_clear(&r);
            CHECK_EQ_INT(world_restart(&w, id), ERR_NONE);
            CHECK_EQ_INT(world_session(&w, id, &facts), ERR_NONE);
            CHECK(facts.state == STATE(IDLE));
        }
    }
    world_stop(&w);
}

static void test_broken_protocol_costs_the_session_only(void)
{
    static const char *const cases[] = {"frame 99", "frame 1",  "frame 32", "frame 34",
                                        "frame 36", "frame 37", "frame 40", "short",
                                        "wrong",    "shut",     "torn"};
    char other[128];
    set_up();
    CHECK_EQ_INT(world_create(&w, other), ERR_NONE);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char code[64];
        Pyexec__V1__ExecutionSpec spec = PYEXEC__V1__EXECUTION_SPEC__INIT;
        Google__Protobuf__Duration limit = GOOGLE__PROTOBUF__DURATION__INIT;
        bool silent = strcmp(cases[i], "torn") == 0; /* half a frame is no offence, yet */
        limit.seconds = silent ? 0 : 10;
        limit.nanos = 100000000;
        spec.timeout = &limit;
        bool at_end = strcmp(cases[i], "wrong") == 0;
        (void)snprintf(code, sizeof code, "out a;%s%s", cases[i], at_end ? "" : ";swallow");
        run_start(&w, &r, id, NULL, code, &spec);
        run_wait(&r);
        CHECK_EQ_INT(r.result->status, silent ? STATUS(TIMEOUT_ERROR) : STATUS(CRASHED));
        CHECK(!r.result->session_alive);
        CHECK_STR(r.merged, "o:a");
        run_clear(&r);
        CHECK_EQ_INT(run_code(&w, &r, other, "out fine"), STATUS(OK));
        run_clear(&r);
        CHECK_EQ_INT(world_restart(&w, id), ERR_NONE);
    }
    world_stop(&w);
}

/* Runs code under a limit of 100 ms; the wall time in ms. */
static int64_t limited(const char *code)
{
    Pyexec__V1__ExecutionSpec spec = PYEXEC__V1__EXECUTION_SPEC__INIT;
    Google__Protobuf__Duration limit = GOOGLE__PROTOBUF__DURATION__INIT;
    limit.nanos = 100000000;
    spec.timeout = &limit;
    int64_t began = clock_mono_ns();
    run_start(&w, &r, id, NULL, code, &spec);
    run_wait(&r);
    return (clock_mono_ns() - began) / NS_PER_MS;
}

static void test_time_limits(void)
{
    set_up();
    int64_t took = limited("out a;wait");
    CHECK(r.result->status == STATUS(TIMEOUT_ERROR) && r.result->session_alive);
    CHECK_STR(r.result->exc_type, "TimeoutError");
    CHECK_STR(r.result->exc_message, "the time limit of 0.1 s passed");
    CHECK(took >= 100 && r.timeout_ns == 100 * NS_PER_MS);
    run_clear(&r);
    took = limited("out a;swallow");
    CHECK(r.result->status == STATUS(TIMEOUT_ERROR) && !r.result->session_alive);
    CHECK_STR(r.merged, "o:a");
    CHECK(took >= 200);
    run_clear(&r);
    CHECK_EQ_INT(world_restart(&w, id), ERR_NONE);
    limited("out a");
    CHECK_EQ_INT(r.result->status, STATUS(OK));
    run_clear(&r);
    /* Never STARTED: the server's own limit, and not the code's fault. */
    CHECK_EQ_INT(run_code(&w, &r, id, "mute"), STATUS(SERVER_ERROR));
    run_clear(&r);
    world_stop(&w);
}

static bool has_output(void *ctx)
{
    return ((struct run *)ctx)->bytes[0] > 0;
}

static void test_interrupts(void)
{
    set_up();
    CHECK_EQ_INT(world_interrupt(&w, id, "", false, 0), ERR_EXECUTION_NOT_FOUND);
    run_start(&w, &r, id, "x1", "out a;wait", NULL);
    world_until(&w, has_output, &r);
    CHECK_EQ_INT(world_interrupt(&w, id, "", false, 0), ERR_NONE);
    run_wait(&r);
    CHECK(r.result->status == STATUS(INTERRUPTED) && r.result->session_alive);
    CHECK_STR(r.result->exc_type, "KeyboardInterrupt");
    run_clear(&r);
    CHECK_EQ_INT(world_interrupt(&w, id, "x1", false, 0), ERR_NONE); /* over: fine */
    run_start(&w, &r, id, "x2", "out a;swallow", NULL);
    world_until(&w, has_output, &r);
    CHECK_EQ_INT(world_interrupt(&w, id, "x2", false, 50 * NS_PER_MS), ERR_NONE);
    run_wait(&r);
    CHECK(r.result->status == STATUS(INTERRUPTED) && !r.result->session_alive);
    CHECK_EQ_INT(r.result->signal, 9);
    run_clear(&r);
    CHECK_EQ_INT(world_restart(&w, id), ERR_NONE);
    run_start(&w, &r, id, "x3", "out a;wait", NULL);
    world_until(&w, has_output, &r);
    CHECK_EQ_INT(world_interrupt(&w, id, "x3", true, 0), ERR_NONE);
    run_wait(&r);
    CHECK(r.result->status == STATUS(INTERRUPTED) && !r.result->session_alive);
    run_clear(&r);
    world_stop(&w);
}

static void test_the_caller_goes(void)
{
    Pyexec__V1__ExecutionSpec spec = PYEXEC__V1__EXECUTION_SPEC__INIT;
    Google__Protobuf__Duration grace = GOOGLE__PROTOBUF__DURATION__INIT;
    struct run again;
    set_up();
    memset(&again, 0, sizeof again);
    run_start(&w, &r, id, "gone", "out a;wait", NULL);
    world_until(&w, has_output, &r);
    run_leave(&r);
    run_clear(&r);
    run_attach(&w, &again, id, "gone", 0);
    run_wait(&again);
    CHECK(again.result->status == STATUS(CANCELLED) && again.replayed);
    run_clear(&again);
    /* With a grace it runs on, and ends as it ends when somebody comes back. */
    grace.seconds = 30;
    spec.reattach_grace = &grace;
    run_start(&w, &r, id, "back", "out a;wait", &spec);
    world_until(&w, has_output, &r);
    uint64_t seen = r.last_seq;
    run_leave(&r);
    run_clear(&r);
    run_attach(&w, &again, id, "back", seen);
    again.bytes[0] = 1;
    CHECK_EQ_INT(world_interrupt(&w, id, "back", false, 0), ERR_NONE);
    run_wait(&again);
    CHECK_EQ_INT(again.result->status, STATUS(INTERRUPTED));
    run_clear(&again);
    run_attach(&w, &again, id, "back", 1000000);
    CHECK_EQ_INT(again.code, ERR_SEQ_OUT_OF_RANGE);
    run_clear(&again);
    world_stop(&w);
}

static void test_same_id_same_execution(void)
{
    struct run again;
    memset(&again, 0, sizeof again);
    set_up();
    run_start(&w, &r, id, "once", "out a;wait", NULL);
    world_until(&w, has_output, &r);
    run_start(&w, &again, id, "once", "out a;wait", NULL);
    CHECK(again.answered && again.code == ERR_NONE && again.replayed);
    CHECK_STR(again.merged, "o:a");
    CHECK_EQ_INT(world_interrupt(&w, id, "once", false, 0), ERR_NONE);
    run_wait(&r);
    run_wait(&again);
    CHECK(again.result->status == STATUS(INTERRUPTED));
    run_clear(&again);
    run_start(&w, &again, id, "once", "out b", NULL);
    CHECK_EQ_INT(again.code, ERR_EXECUTION_ID_REUSED);
    run_clear(&again);
    run_clear(&r);
    /* Throw-away: the retry finds it by its id alone, also while its process is on its way. */
    run_start(&w, &r, NULL, "lost", "out a", NULL);
    run_start(&w, &again, NULL, "lost", "out a", NULL);
    run_wait(&r);
    run_wait(&again);
    CHECK(!r.replayed && again.replayed && strcmp(r.session_id, again.session_id) == 0);
    run_clear(&r);
    run_clear(&again);
    world_stop(&w);
}

static void test_queue_and_its_bound(void)
{
    struct engine_limits l;
    struct run many[5];
    memset(many, 0, sizeof many);
    Pyexec__V1__ExecutionSpec queue = PYEXEC__V1__EXECUTION_SPEC__INIT;
    queue.busy_policy = PYEXEC__V1__EXECUTION_SPEC__BUSY_POLICY__BUSY_POLICY_QUEUE;
    world_limits(&l);
    l.max_session_queue = 3;
    world_start(&w, &l);
    CHECK_EQ_INT(world_create(&w, id), ERR_NONE);
    run_start(&w, &r, id, "first", "out a;wait", NULL);
    world_until(&w, has_output, &r);
    run_start(&w, &many[0], id, NULL, "out b", NULL);
    CHECK_EQ_INT(many[0].code, ERR_SESSION_BUSY);
    CHECK_STR(many[0].err.detail, "first");
    run_clear(&many[0]);
    for (unsigned i = 0; i < 3; i++) {
        run_start(&w, &many[i], id, NULL, i == 1 ? "error E" : "out q", &queue);
        CHECK(many[i].answered && many[i].code == ERR_NONE && many[i].started == 0);
    }
    run_start(&w, &many[3], id, NULL, "out q", &queue);
    CHECK_EQ_INT(many[3].code, ERR_SESSION_QUEUE_FULL);
    run_clear(&many[3]);
    CHECK_EQ_INT(world_interrupt(&w, id, "first", false, 0), ERR_NONE);
    for (unsigned i = 0; i < 3; i++) {
        run_wait(&many[i]);
        CHECK_EQ_INT(many[i].result->status, i == 1 ? STATUS(ERROR) : STATUS(OK));
        CHECK_EQ_INT(many[i].result->execution_count, i + 2);
        run_clear(&many[i]);
    }
    run_clear(&r);
    world_stop(&w);
}

static void test_what_waits_ends_with_the_session(void)
{
    Pyexec__V1__ExecutionSpec queue = PYEXEC__V1__EXECUTION_SPEC__INIT;
    queue.busy_policy = PYEXEC__V1__EXECUTION_SPEC__BUSY_POLICY__BUSY_POLICY_QUEUE;
    for (unsigned how = 0; how < 3; how++) {
        struct run waiting;
        memset(&waiting, 0, sizeof waiting);
        set_up();
        run_start(&w, &r, id, NULL, how == 0 ? "out a;wait;signal 11" : "out a;wait", NULL);
        world_until(&w, has_output, &r);
        run_start(&w, &waiting, id, NULL, "out b", &queue);
        if (how == 0) {
            CHECK_EQ_INT(world_interrupt(&w, id, r.execution_id, true, 0), ERR_NONE);
        } else if (how == 1) {
            CHECK_EQ_INT(world_delete(&w, id), ERR_NONE);
        } else {
            CHECK_EQ_INT(world_restart(&w, id), ERR_NONE);
        }
        run_wait(&r);
        run_wait(&waiting);
        CHECK_EQ_INT(r.result->status, how == 0 ? STATUS(INTERRUPTED) : STATUS(CANCELLED));
        CHECK_STR(r.merged, "o:a");
        CHECK_EQ_INT(waiting.result->status, STATUS(CANCELLED));
        CHECK(waiting.started == 1 && waiting.bytes[0] == 0 && waiting.result->n_warnings == 2);
        run_clear(&r);
        run_clear(&waiting);
        if (how == 2) {
            struct session_facts facts;
            CHECK_EQ_INT(world_session(&w, id, &facts), ERR_NONE);
            CHECK(facts.generation == 2 && facts.state == STATE(IDLE));
            CHECK_EQ_INT(run_code(&w, &r, id, "out a"), STATUS(OK));
            run_clear(&r);
        }
        world_stop(&w);
    }
}

static void test_running_slots(void)
{
    struct engine_limits l;
    struct run a, b;
    char other[128];
    memset(&a, 0, sizeof a);
    memset(&b, 0, sizeof b);
    world_limits(&l);
    l.max_running = 1;
    world_start(&w, &l);
    CHECK(world_create(&w, id) == ERR_NONE && world_create(&w, other) == ERR_NONE);
    run_start(&w, &a, id, "a", "out a;wait", NULL);
    world_until(&w, has_output, &a);
    run_start(&w, &b, other, "b", "out b", NULL);
    CHECK(b.answered && b.code == ERR_NONE && b.started == 0);
    CHECK_EQ_INT(world_interrupt(&w, id, "a", false, 0), ERR_NONE);
    run_wait(&b);
    CHECK_EQ_INT(b.result->status, STATUS(OK));
    run_wait(&a);
    run_clear(&a);
    run_clear(&b);
    world_stop(&w);
}

static void test_session_maximum(void)
{
    struct engine_limits l;
    char other[128];
    world_limits(&l);
    l.max_sessions = 1;
    world_start(&w, &l);
    CHECK_EQ_INT(world_create(&w, id), ERR_NONE);
    CHECK_EQ_INT(world_create(&w, other), ERR_NODE_AT_CAPACITY);
    CHECK_EQ_INT(run_code(&w, &r, NULL, "out a"), -(int)ERR_NODE_AT_CAPACITY);
    run_clear(&r);
    CHECK_EQ_INT(world_delete(&w, id), ERR_NONE);
    CHECK_EQ_INT(world_create(&w, other), ERR_NONE);
    world_stop(&w);
}

static enum err_code write_stdin(const char *data, uint64_t offset, bool eof, uint64_t *next)
{
    Pyexec__V1__WriteStdinRequest q = PYEXEC__V1__WRITE_STDIN_REQUEST__INIT;
    struct answer a = {0};
    q.session_id = id;
    q.execution_id = (char *)(uintptr_t) "in";
    q.offset = offset;
    q.data.data = (uint8_t *)(uintptr_t)data;
    q.data.len = strlen(data);
    q.eof = eof;
    engine_write_stdin(w.engine, NULL, &q, answer_done, &a);
    answer_wait(&w, &a);
    if (a.code == ERR_NONE) {
        *next = ((Pyexec__V1__WriteStdinResponse *)a.response)->next_offset;
    }
    enum err_code code = a.code;
    answer_clear(&a);
    return code;
}

static bool asks(void *ctx)
{
    return ((struct run *)ctx)->inputs > 0;
}

static void test_stdin(void)
{
    Pyexec__V1__ExecutionSpec spec = PYEXEC__V1__EXECUTION_SPEC__INIT;
    uint64_t next = 0;
    set_up();
    char *large = malloc(300000);
    memset(large, 's', 300000);
    spec.stdin_mode = PYEXEC__V1__EXECUTION_SPEC__STDIN_MODE__STDIN_MODE_INLINE;
    spec.stdin.data = (uint8_t *)large;
    spec.stdin.len = 300000; /* more than a pipe holds */
    run_start(&w, &r, id, NULL, "slurp", &spec);
    run_wait(&r);
    CHECK(r.result->status == STATUS(OK) && r.bytes[0] == 300000);
    run_clear(&r);
    free(large);
    spec.stdin_mode = PYEXEC__V1__EXECUTION_SPEC__STDIN_MODE__STDIN_MODE_STREAM;
    spec.stdin.len = 0;
    run_start(&w, &r, id, "in", "input;slurp", &spec);
    world_until(&w, asks, &r);
    CHECK(write_stdin("ab\n", 0, false, &next) == ERR_NONE && next == 3);
    CHECK(write_stdin("ab\n", 0, false, &next) == ERR_NONE && next == 3); /* again: harmless */
    CHECK(write_stdin("\ncd", 2, false, &next) == ERR_NONE && next == 5);
    CHECK_EQ_INT(write_stdin("x", 6, false, &next), ERR_STDIN_OFFSET);
    CHECK(write_stdin("", 5, true, &next) == ERR_NONE && next == 5);
    CHECK_EQ_INT(write_stdin("more", 5, false, &next), ERR_STDIN_CLOSED);
    run_wait(&r);
    CHECK_EQ_INT(r.bytes[0], 5);
    CHECK_EQ_INT(write_stdin("more", 5, false, &next), ERR_STDIN_CLOSED);
    run_clear(&r);
    world_stop(&w);
}

static void test_stdin_is_bounded(void)
{
    struct engine_limits l;
    Pyexec__V1__ExecutionSpec spec = PYEXEC__V1__EXECUTION_SPEC__INIT;
    uint64_t next = 0;
    world_limits(&l);
    l.max_stdin_bytes = 4;
    world_start(&w, &l);
    CHECK_EQ_INT(world_create(&w, id), ERR_NONE);
    spec.stdin_mode = PYEXEC__V1__EXECUTION_SPEC__STDIN_MODE__STDIN_MODE_STREAM;
    struct run first;
    memset(&first, 0, sizeof first);
    run_start(&w, &first, id, NULL, "out a;wait", NULL);
    spec.busy_policy = PYEXEC__V1__EXECUTION_SPEC__BUSY_POLICY__BUSY_POLICY_QUEUE;
    run_start(&w, &r, id, "in", "slurp", &spec); /* queued: its bytes wait here */
    CHECK(write_stdin("12345", 0, true, &next) == ERR_NONE && next == 4);
    CHECK(write_stdin("5", 4, true, &next) == ERR_NONE && next == 4);
    world_until(&w, has_output, &first);
    CHECK_EQ_INT(world_interrupt(&w, id, first.execution_id, false, 0), ERR_NONE);
    world_until(&w, has_output, &r);
    CHECK(write_stdin("5", 4, true, &next) == ERR_NONE && next == 5);
    run_wait(&r);
    CHECK_EQ_INT(r.bytes[0], 5);
    run_clear(&first);
    run_clear(&r);
    world_stop(&w);
}

static void test_background_output_is_the_sessions_own(void)
{
    struct run behind;
    memset(&behind, 0, sizeof behind);
    set_up();
    run_attach(&w, &behind, id, "background", 0);
    CHECK_EQ_INT(behind.code, ERR_NONE);
    CHECK_EQ_INT(run_code(&w, &r, id, "out a;late stray"), STATUS(OK));
    CHECK_STR(r.merged, "o:a");
    run_clear(&r);
    world_until(&w, has_output, &behind);
    CHECK_STR(behind.merged, "o:stray");
    CHECK_EQ_INT(run_code(&w, &r, id, "background thread;out b;descendants;late x"), STATUS(OK));
    CHECK_STR(r.merged, "o:b");
    run_clear(&r);
    for (unsigned i = 0; i < 12; i++) { /* fresh pipes each, more than are kept */
        CHECK_EQ_INT(run_code(&w, &r, id, "out c;err d;descendants"), STATUS(OK));
        CHECK_STR(r.merged, "o:ce:d");
        run_clear(&r);
    }
    CHECK_EQ_INT(run_code(&w, &r, id, "out e"), STATUS(OK));
    CHECK_STR(r.merged, "o:e");
    run_clear(&r);
    CHECK_EQ_INT(world_delete(&w, id), ERR_NONE);
    run_wait(&behind);
    CHECK(behind.results == 1 && strncmp(behind.merged, "o:strayo:thread", 15) == 0);
    run_clear(&behind);
    world_stop(&w);
}

static void test_block_makes_the_program_wait(void)
{
    Pyexec__V1__ExecutionSpec spec = PYEXEC__V1__EXECUTION_SPEC__INIT;
    set_up();
    spec.overflow_policy = PYEXEC__V1__EXECUTION_SPEC__OVERFLOW_POLICY__OVERFLOW_POLICY_BLOCK;
    spec.max_output_bytes = 5000;
    r.hold = true;
    run_start(&w, &r, id, NULL, "many 500000", &spec);
    for (unsigned i = 0; i < 50; i++) {
        (void)uv_run(&w.loop, UV_RUN_NOWAIT);
        CHECK(execlog_retained_bytes(r.attachment.reader.log) <= 5000);
    }
    r.hold = false;
    run_read(&r);
    run_wait(&r);
    CHECK(r.result->status == STATUS(OK) && r.bytes[0] == 500000 && r.missing == 0);
    CHECK_EQ_INT(r.result->dropped_bytes, 0);
    run_clear(&r);
    /* Nobody reads and the limit passes: killed all the same. */
    Google__Protobuf__Duration limit = GOOGLE__PROTOBUF__DURATION__INIT;
    limit.nanos = 100000000;
    spec.timeout = &limit;
    spec.max_output_bytes = 5000;
    r.hold = true;
    run_start(&w, &r, id, "stuck", "many 500000;swallow", &spec);
    while (!execlog_finished(r.attachment.reader.log)) {
        (void)uv_run(&w.loop, UV_RUN_ONCE);
    }
    r.hold = false;
    run_read(&r);
    CHECK_EQ_INT(r.result->status, STATUS(TIMEOUT_ERROR));
    run_clear(&r);
    world_stop(&w);
}

static bool two_zygotes(void *ctx)
{
    return fake_world_zygotes(ctx) >= 2;
}

static void test_a_dead_zygote_loses_no_session(void)
{
    char other[128];
    set_up();
    run_start(&w, &r, id, "x", "out a;wait", NULL);
    world_until(&w, has_output, &r);
    fake_world_kill_zygote(w.fake);
    world_until(&w, two_zygotes, w.fake);
    CHECK_EQ_INT(world_interrupt(&w, id, "x", false, 0), ERR_NONE); /* by the launcher */
    run_wait(&r);
    CHECK(r.result->status == STATUS(INTERRUPTED) && r.result->session_alive);
    run_clear(&r);
    CHECK_EQ_INT(world_create(&w, other), ERR_NONE);
    CHECK_EQ_INT(run_code(&w, &r, other, "out new"), STATUS(OK));
    run_clear(&r);
    CHECK_EQ_INT(run_code(&w, &r, id, "out old;exit 3"), STATUS(EXITED));
    run_clear(&r);
    CHECK_EQ_INT(world_delete(&w, other), ERR_NONE);
    world_stop(&w);
}

static void test_failing_forks(void)
{
    char other[128];
    set_up();
    fake_world_fail_spawns(w.fake, true);
    CHECK_EQ_INT(world_create(&w, other), ERR_FORK_FAILED);
    CHECK_EQ_INT(run_code(&w, &r, NULL, "out a"), -(int)ERR_FORK_FAILED);
    run_clear(&r);
    CHECK_EQ_INT(world_restart(&w, id), ERR_FORK_FAILED);
    CHECK_EQ_INT(run_code(&w, &r, id, "out a"), -(int)ERR_SESSION_DEAD);
    run_clear(&r);
    fake_world_fail_spawns(w.fake, false);
    CHECK_EQ_INT(world_restart(&w, id), ERR_NONE);
    fake_world_hold_ready(w.fake, true); /* forked, and never ready */
    CHECK_EQ_INT(world_create(&w, other), ERR_FORK_FAILED);
    fake_world_hold_ready(w.fake, false);
    CHECK_EQ_INT(run_code(&w, &r, id, "out a"), STATUS(OK));
    run_clear(&r);
    world_stop(&w);
}

static bool two_spawned(void *ctx)
{
    return fake_world_spawned(ctx) >= 2;
}

static void test_spares(void)
{
    struct engine_limits l;
    world_limits(&l);
    l.spares = 2;
    world_start(&w, &l);
    world_until(&w, two_spawned, w.fake);
    for (unsigned i = 0; i < 5; i++) {
        CHECK_EQ_INT(run_code(&w, &r, NULL, "out a"), STATUS(OK));
        run_clear(&r);
    }
    /* One that died where it waited is replaced while its session starts. */
    fake_world_kill_last(w.fake);
    CHECK_EQ_INT(run_code(&w, &r, NULL, "out a"), STATUS(OK));
    run_clear(&r);
    CHECK_EQ_INT(run_code(&w, &r, NULL, "out a"), STATUS(OK));
    run_clear(&r);
    world_stop(&w);
}

static bool as_many_open(void *ctx)
{
    return fd_count_open() == *(const int *)ctx;
}

static void test_no_descriptors_left(void)
{
    struct rlimit old;
    struct rlimit low;
    char other[128];
    set_up();
    CHECK(getrlimit(RLIMIT_NOFILE, &old) == 0);
    low = old;
    int before = fd_count_open();
    for (int room = 0; room < 7; room++) { /* seven are needed */
        int highest = dup(0);
        (void)close(highest);
        low.rlim_cur = (rlim_t)highest + (rlim_t)room;
        CHECK(setrlimit(RLIMIT_NOFILE, &low) == 0);
        enum err_code code = world_create(&w, other);
        CHECK(setrlimit(RLIMIT_NOFILE, &old) == 0);
        if (code == ERR_NONE && room == 6) {
            break; /* another thread gave a low number back since dup: there was room for seven */
        }
        CHECK_EQ_INT(code, ERR_NODE_AT_CAPACITY);
        world_until(&w, as_many_open, &before); /* the thread pool removes a directory */
    }
    CHECK_EQ_INT(run_code(&w, &r, id, "out a"), STATUS(OK));
    run_clear(&r);
    world_stop(&w);
}

static bool forgotten(void *ctx)
{
    Pyexec__V1__GetExecutionRequest q = PYEXEC__V1__GET_EXECUTION_REQUEST__INIT;
    struct answer a = {0};
    q.session_id = id;
    q.execution_id = ctx;
    engine_get_execution(w.engine, NULL, &q, answer_done, &a);
    enum err_code code = a.code;
    answer_clear(&a);
    return code == ERR_EXECUTION_NOT_FOUND;
}

static bool expired(void *ctx)
{
    struct session_facts facts;
    return world_session(&w, ctx, &facts) == ERR_SESSION_EXPIRED;
}

static void test_retention_and_expiry(void)
{
    struct engine_limits l;
    world_limits(&l);
    l.retain_ns = 50 * NS_PER_MS;
    l.default_idle_ns = 300 * NS_PER_MS;
    world_start(&w, &l);
    CHECK_EQ_INT(world_create(&w, id), ERR_NONE);
    run_start(&w, &r, id, "x", "out a", NULL);
    run_wait(&r);
    run_clear(&r);
    CHECK(!forgotten((void *)(uintptr_t) "x"));
    world_until(&w, forgotten, (void *)(uintptr_t) "x");
    world_until(&w, expired, id);
    CHECK_EQ_INT(world_delete(&w, id), ERR_NONE);
    world_stop(&w);
}

static void test_retained_bytes_are_bounded(void)
{
    struct engine_limits l;
    world_limits(&l);
    l.retained_total_bytes = 2u << 20;
    world_start(&w, &l);
    CHECK_EQ_INT(world_create(&w, id), ERR_NONE);
    for (unsigned i = 0; i < 4; i++) {
        char name[8];
        (void)snprintf(name, sizeof name, "x%u", i);
        run_start(&w, &r, id, name, "many 1000000", NULL);
        run_wait(&r);
        run_clear(&r);
    }
    CHECK(forgotten((void *)(uintptr_t) "x0") && forgotten((void *)(uintptr_t) "x1"));
    CHECK(!forgotten((void *)(uintptr_t) "x2") && !forgotten((void *)(uintptr_t) "x3"));
    world_stop(&w);
}

static void test_retained_executions_are_counted(void)
{
    struct engine_limits l;
    world_limits(&l);
    l.max_retained = 2;
    world_start(&w, &l);
    CHECK_EQ_INT(world_create(&w, id), ERR_NONE);
    for (unsigned i = 0; i < 3; i++) {
        char name[8];
        (void)snprintf(name, sizeof name, "x%u", i);
        run_start(&w, &r, id, name, "out a", NULL);
        run_wait(&r);
        CHECK_EQ_INT(r.results, 1);
        run_clear(&r);
        CHECK(!forgotten((void *)(uintptr_t) "x0") == (i < 2));
    }
    CHECK(!forgotten((void *)(uintptr_t) "x1") && !forgotten((void *)(uintptr_t) "x2"));
    world_stop(&w);
}

static void test_ids_that_are_not_here(void)
{
    struct session_facts facts;
    set_up();
    CHECK_EQ_INT(world_session(&w, "nonsense", &facts), ERR_SESSION_NOT_FOUND);
    CHECK_EQ_INT(world_session(&w, "", &facts), ERR_INVALID_FIELD);
    CHECK_EQ_INT(world_session(&w, "other-01HZZZZZZZZZZZZZZZZZZZZZZZ", &facts), ERR_WRONG_NODE);
    CHECK_EQ_INT(world_session(&w, "node-01HZZZZZZZZZZZZZZZZZZZZZZZ", &facts), ERR_SESSION_LOST);
    char fresh[ID_SESSION_MAX + 1];
    id_session("node", fresh);
    CHECK_EQ_INT(world_session(&w, fresh, &facts), ERR_SESSION_NOT_FOUND);
    CHECK_EQ_INT(world_delete(&w, fresh), ERR_SESSION_NOT_FOUND);
    world_stop(&w);
}

struct watcher {
    struct engine_watch watch;
    unsigned upserts, deletes, synced;
    bool refuse;
};

static bool on_change(struct engine_watch *watch, const Pyexec__V1__WatchSessionsResponse *m)
{
    struct watcher *v = LIST_CONTAINER(watch, struct watcher, watch);
    v->upserts += m->change_case == PYEXEC__V1__WATCH_SESSIONS_RESPONSE__CHANGE_UPSERTED;
    v->deletes += m->change_case == PYEXEC__V1__WATCH_SESSIONS_RESPONSE__CHANGE_DELETED_SESSION_ID;
    v->synced += m->change_case == PYEXEC__V1__WATCH_SESSIONS_RESPONSE__CHANGE_SYNCED;
    return !v->refuse;
}

static void test_watching(void)
{
    Pyexec__V1__WatchSessionsRequest q = PYEXEC__V1__WATCH_SESSIONS_REQUEST__INIT;
    struct watcher v = {.watch.on_change = on_change};
    struct watcher full = {.watch.on_change = on_change, .refuse = true};
    set_up();
    CHECK(engine_watch_sessions(w.engine, NULL, &q, &v.watch, NULL) == 0);
    CHECK(v.upserts == 1 && v.synced == 1);
    CHECK(engine_watch_sessions(w.engine, NULL, &q, &full.watch, NULL) == 0);
    CHECK(full.upserts == 1 && full.synced == 0); /* dropped at once */
    CHECK_EQ_INT(run_code(&w, &r, id, "out a"), STATUS(OK));
    run_clear(&r);
    CHECK(v.upserts > 1 && full.upserts == 1);
    CHECK_EQ_INT(world_delete(&w, id), ERR_NONE);
    CHECK_EQ_INT(v.deletes, 1);
    engine_unwatch(w.engine, &v.watch);
    engine_unwatch(w.engine, &full.watch);
    world_stop(&w);
}

static void test_draining_ends_what_runs(void)
{
    struct run swallows;
    char other[128];
    memset(&swallows, 0, sizeof swallows);
    set_up();
    CHECK_EQ_INT(world_create(&w, other), ERR_NONE);
    run_start(&w, &r, id, NULL, "out a;wait", NULL);
    run_start(&w, &swallows, other, NULL, "out a;swallow", NULL);
    world_until(&w, has_output, &r);
    world_until(&w, has_output, &swallows);
    engine_drain(w.engine, 3600 * NS_PER_SEC, NULL, NULL);
    struct run late;
    memset(&late, 0, sizeof late);
    CHECK_EQ_INT(run_code(&w, &late, NULL, "out a"), -(int)ERR_SERVER_DRAINING);
    run_clear(&late);
    engine_drain(w.engine, 0, NULL, NULL); /* cut short */
    run_wait(&r);
    run_wait(&swallows);
    CHECK(r.result->status == STATUS(SERVER_ERROR) && r.result->n_warnings == 1);
    CHECK(swallows.result->status == STATUS(SERVER_ERROR) && !swallows.result->session_alive);
    run_clear(&r);
    run_clear(&swallows);
    world_stop(&w);
}

static void test_closing_with_everything_open(void)
{
    struct engine_limits l;
    struct run many[6];
    memset(many, 0, sizeof many);
    world_limits(&l);
    l.spares = 2;
    l.max_running = 3;
    world_start(&w, &l);
    CHECK_EQ_INT(world_create(&w, id), ERR_NONE);
    for (unsigned i = 0; i < 6; i++) {
        run_start(&w, &many[i], NULL, NULL, i % 2 ? "out a;swallow" : "out a;wait;descendants",
                  NULL);
    }
    world_until(&w, has_output, &many[0]);
    engine_drain(w.engine, 0, NULL, NULL);
    for (unsigned i = 0; i < 6; i++) {
        run_wait(&many[i]);
        CHECK(many[i].code == ERR_NONE ? many[i].results == 1 : many[i].code == ERR_FORK_FAILED);
        run_clear(&many[i]);
    }
    world_stop(&w);
}

/* What libuv opens once for the whole process does not count as left behind. */
static void warm_up(void)
{
    uv_loop_t loop;
    (void)uv_loop_init(&loop);
    (void)uv_loop_close(&loop);
}

int main(void)
{
    warm_up();
    RUN(test_a_session_runs_code);
    RUN(test_throw_away_leaves_its_result);
    RUN(test_endings);
    RUN(test_broken_protocol_costs_the_session_only);
    RUN(test_time_limits);
    RUN(test_interrupts);
    RUN(test_the_caller_goes);
    RUN(test_same_id_same_execution);
    RUN(test_queue_and_its_bound);
    RUN(test_what_waits_ends_with_the_session);
    RUN(test_running_slots);
    RUN(test_session_maximum);
    RUN(test_stdin);
    RUN(test_stdin_is_bounded);
    RUN(test_background_output_is_the_sessions_own);
    RUN(test_block_makes_the_program_wait);
    RUN(test_a_dead_zygote_loses_no_session);
    RUN(test_failing_forks);
    RUN(test_spares);
    RUN(test_no_descriptors_left);
    RUN(test_retention_and_expiry);
    RUN(test_retained_bytes_are_bounded);
    RUN(test_retained_executions_are_counted);
    RUN(test_ids_that_are_not_here);
    RUN(test_watching);
    RUN(test_draining_ends_what_runs);
    RUN(test_closing_with_everything_open);
    return check_done();
}
