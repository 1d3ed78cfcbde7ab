/* limits_test.c: every bound of a request, at its maximum and one beyond. */
#include <stdlib.h>

#include "service/session/internal.h"
#include "tests/support/check.h"

static struct engine engine;
static struct err err;

static void set_up(void)
{
    memset(&engine, 0, sizeof engine);
    memset(&err, 0, sizeof err);
    engine_limits_default(&engine.limits);
    engine.limits.max_code_bytes = 100;
    engine.limits.max_labels = 3;
    engine.limits.max_label_bytes = 8;
    engine.limits.max_env = 4;
    engine.limits.max_env_bytes = 32;
    engine.limits.max_stdin_bytes = 10;
    engine.limits.max_output_bytes = 1000;
}

static char *text(size_t n)
{
    char *s = malloc(n + 1);
    memset(s, 'a', n);
    s[n] = '\0';
    return s;
}

/* What limits_spec says of a spec: 0, or the reason; the field in err.detail. */
static enum err_code spec_says(Pyexec__V1__ExecutionSpec *spec)
{
    memset(&err, 0, sizeof err);
    int r = limits_spec(&engine, spec, &err);
    CHECK((r == 0) == (err.code == ERR_NONE));
    return err.code;
}

static void test_code(void)
{
    set_up();
    Pyexec__V1__ExecutionSpec spec = PYEXEC__V1__EXECUTION_SPEC__INIT;
    CHECK_EQ_INT(spec_says(NULL), ERR_INVALID_FIELD);
    CHECK_EQ_INT(spec_says(&spec), ERR_NONE);
    char *code = text(101);
    spec.code = code + 1;
    CHECK_EQ_INT(spec_says(&spec), ERR_NONE);
    spec.code = code;
    CHECK_EQ_INT(spec_says(&spec), ERR_CODE_TOO_LARGE);
    free(code);
    spec.code = (char *)(uintptr_t) "print('\xff')";
    CHECK_EQ_INT(spec_says(&spec), ERR_INVALID_FIELD);
    CHECK_STR(err.detail, "code");
}

static void test_enums(void)
{
    set_up();
    for (int v = -1; v < 5; v++) {
        Pyexec__V1__ExecutionSpec spec = PYEXEC__V1__EXECUTION_SPEC__INIT;
        memcpy(&spec.busy_policy, &v, sizeof v);
        CHECK_EQ_INT(spec_says(&spec), v >= 0 && v <= 2 ? ERR_NONE : ERR_INVALID_FIELD);
        pyexec__v1__execution_spec__init(&spec);
        memcpy(&spec.stdin_mode, &v, sizeof v);
        CHECK_EQ_INT(spec_says(&spec), v >= 0 && v <= 3 ? ERR_NONE : ERR_INVALID_FIELD);
        pyexec__v1__execution_spec__init(&spec);
        memcpy(&spec.overflow_policy, &v, sizeof v);
        CHECK_EQ_INT(spec_says(&spec), v >= 0 && v <= 2 ? ERR_NONE : ERR_INVALID_FIELD);
        pyexec__v1__execution_spec__init(&spec);
        memcpy(&spec.traceback_style, &v, sizeof v);
        CHECK_EQ_INT(spec_says(&spec), v >= 0 && v <= 2 ? ERR_NONE : ERR_INVALID_FIELD);
    }
}

static void test_stdin_bytes(void)
{
    set_up();
    Pyexec__V1__ExecutionSpec spec = PYEXEC__V1__EXECUTION_SPEC__INIT;
    spec.stdin.data = (uint8_t *)(uintptr_t) "0123456789x";
    spec.stdin.len = 10;
    CHECK_EQ_INT(spec_says(&spec), ERR_INVALID_FIELD); /* CLOSED takes none */
    spec.stdin_mode = PYEXEC__V1__EXECUTION_SPEC__STDIN_MODE__STDIN_MODE_INLINE;
    CHECK_EQ_INT(spec_says(&spec), ERR_NONE);
    spec.stdin.len = 11;
    CHECK_EQ_INT(spec_says(&spec), ERR_INVALID_FIELD);
    CHECK_STR(err.detail, "stdin");
}

static void test_output_bytes(void)
{
    set_up();
    Pyexec__V1__ExecutionSpec spec = PYEXEC__V1__EXECUTION_SPEC__INIT;
    spec.max_output_bytes = 1000;
    CHECK_EQ_INT(spec_says(&spec), ERR_NONE);
    spec.max_output_bytes = 1001;
    CHECK_EQ_INT(spec_says(&spec), ERR_INVALID_FIELD);
}

static void test_filename(void)
{
    set_up();
    static const struct {
        const char *name;
        bool plain, written;
    } names[] = {{"cell-3.py", true, true}, {"a/b.py", true, false}, {"..", true, false},
                 {".", true, false},        {"", true, true},        {"\xff", false, false}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        Pyexec__V1__ExecutionSpec spec = PYEXEC__V1__EXECUTION_SPEC__INIT;
        spec.filename = (char *)(uintptr_t)names[i].name;
        CHECK((spec_says(&spec) == ERR_NONE) == names[i].plain);
        spec.write_source_file = 1;
        CHECK((spec_says(&spec) == ERR_NONE) == names[i].written);
    }
    char *name = text(256);
    Pyexec__V1__ExecutionSpec spec = PYEXEC__V1__EXECUTION_SPEC__INIT;
    spec.filename = name + 1;
    CHECK_EQ_INT(spec_says(&spec), ERR_NONE);
    spec.filename = name;
    CHECK_EQ_INT(spec_says(&spec), ERR_INVALID_FIELD);
    free(name);
}

static enum err_code env_says(const char *const *pairs, size_t n)
{
    Pyexec__V1__ExecutionSpec spec = PYEXEC__V1__EXECUTION_SPEC__INIT;
    Pyexec__V1__ExecutionSpec__EnvEntry entries[8];
    Pyexec__V1__ExecutionSpec__EnvEntry *list[8];
    for (size_t i = 0; i < n; i++) {
        pyexec__v1__execution_spec__env_entry__init(&entries[i]);
        entries[i].key = (char *)(uintptr_t)pairs[2 * i];
        entries[i].value = (char *)(uintptr_t)pairs[2 * i + 1];
        list[i] = &entries[i];
    }
    spec.n_env = n;
    spec.env = list;
    return spec_says(&spec);
}

static void test_environment(void)
{
    set_up();
    static const char *const five[] = {"a", "", "b", "", "c", "", "d", "", "e", ""};
    CHECK_EQ_INT(env_says(five, 4), ERR_NONE);
    CHECK_EQ_INT(env_says(five, 5), ERR_INVALID_FIELD);
    CHECK_EQ_INT(env_says((const char *[]){"k", "0123456789012345678901234567890"}, 1), ERR_NONE);
    CHECK_EQ_INT(env_says((const char *[]){"kk", "0123456789012345678901234567890"}, 1),
                 ERR_INVALID_FIELD);
    CHECK_EQ_INT(env_says((const char *[]){"", "x"}, 1), ERR_INVALID_FIELD);
    CHECK_EQ_INT(env_says((const char *[]){"a=b", "x"}, 1), ERR_INVALID_FIELD);
    CHECK_EQ_INT(env_says((const char *[]){"a", "\xc3"}, 1), ERR_INVALID_FIELD);
}

static void test_labels(void)
{
    set_up();
    Pyexec__V1__CreateSessionRequest q = PYEXEC__V1__CREATE_SESSION_REQUEST__INIT;
    Pyexec__V1__CreateSessionRequest__LabelsEntry entry =
        PYEXEC__V1__CREATE_SESSION_REQUEST__LABELS_ENTRY__INIT;
    Pyexec__V1__CreateSessionRequest__LabelsEntry *list[] = {&entry, &entry, &entry, &entry};
    q.labels = list;
    q.n_labels = 3;
    entry.key = (char *)(uintptr_t) "12345678";
    entry.value = (char *)(uintptr_t) "12345678";
    CHECK_EQ_INT(limits_create(&engine, &q, &err), 0);
    q.n_labels = 4;
    CHECK(limits_create(&engine, &q, &err) < 0 && err.code == ERR_INVALID_FIELD);
    q.n_labels = 1;
    entry.value = (char *)(uintptr_t) "123456789";
    CHECK(limits_create(&engine, &q, &err) < 0);
}

static void test_durations(void)
{
    static const struct {
        int64_t seconds;
        int32_t nanos;
        bool good;
    } cases[] = {{0, 0, true},   {0, 999999999, true}, {0, 1000000000, false},
                 {-1, 0, false}, {0, -1, false},       {INT64_MAX, 0, false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Google__Protobuf__Duration d = GOOGLE__PROTOBUF__DURATION__INIT;
        int64_t ns = -1;
        d.seconds = cases[i].seconds;
        d.nanos = cases[i].nanos;
        CHECK((limits_duration("f", &d, &ns, &err) == 0) == cases[i].good);
        CHECK(!cases[i].good || ns == d.seconds * NS_PER_SEC + d.nanos);
    }
    int64_t ns = -1;
    CHECK(limits_duration("f", NULL, &ns, &err) == 0 && ns == 0);
}

static void test_create(void)
{
    set_up();
    Pyexec__V1__CreateSessionRequest q = PYEXEC__V1__CREATE_SESSION_REQUEST__INIT;
    Pyexec__V1__ResourceLimits limits = PYEXEC__V1__RESOURCE_LIMITS__INIT;
    CHECK_EQ_INT(limits_create(&engine, &q, &err), 0);
    q.template_id = (char *)(uintptr_t)TEMPLATE_DEFAULT;
    CHECK_EQ_INT(limits_create(&engine, &q, &err), 0);
    q.template_id = (char *)(uintptr_t) "another";
    CHECK(limits_create(&engine, &q, &err) < 0 && err.code == ERR_TEMPLATE_NOT_FOUND);
    q.template_id = (char *)(uintptr_t) "";
    q.limits = &limits;
    limits.max_output_bytes = 1000;
    CHECK_EQ_INT(limits_create(&engine, &q, &err), 0);
    limits.memory_bytes = 1; /* not enforced: refused */
    CHECK(limits_create(&engine, &q, &err) < 0 && err.code == ERR_INVALID_FIELD);
    CHECK_STR(err.detail, "limits.memory_bytes");
}

static void test_ids_and_pages(void)
{
    unsigned size;
    uint64_t before;
    char *id = text(ID_CLIENT_MAX + 1);
    CHECK_EQ_INT(limits_id("f", id + 1, true, &err), 0);
    CHECK(limits_id("f", id, true, &err) < 0);
    free(id);
    CHECK(limits_id("f", "", true, &err) < 0 && limits_id("f", "", false, &err) == 0);
    CHECK(limits_id("f", "a/b", true, &err) < 0);
    CHECK(limits_page(0, "", &size, &before, &err) == 0 && size == 100 && before == UINT64_MAX);
    CHECK(limits_page(5, "17", &size, &before, &err) == 0 && size == 5 && before == 17);
    CHECK(limits_page(1000000, "", &size, &before, &err) == 0 && size == 1000);
    CHECK(limits_page(-1, "", &size, &before, &err) < 0);
    CHECK(limits_page(1, "x", &size, &before, &err) < 0);
    CHECK(limits_page(1, "-1", &size, &before, &err) < 0);
}

static void test_the_time_limit_that_holds(void)
{
    struct engine_limits l;
    engine_limits_default(&l);
    l.default_timeout_ns = 100 * NS_PER_SEC;
    l.max_timeout_ns = 1000 * NS_PER_SEC;
    const int64_t none = CLOCK_NEVER;
    CHECK_EQ_INT(limits_timeout(&l, 0, none, 0, none), 100 * NS_PER_SEC);
    CHECK_EQ_INT(limits_timeout(&l, 5, none, 0, none), 5);
    CHECK_EQ_INT(limits_timeout(&l, 2000 * NS_PER_SEC, none, 0, none), 1000 * NS_PER_SEC);
    CHECK_EQ_INT(limits_timeout(&l, 0, 7 * NS_PER_SEC, 0, none), 7 * NS_PER_SEC);
    /* The caller's deadline counts only without a grace to re-attach: less max(200 ms, 5 %). */
    CHECK_EQ_INT(limits_timeout(&l, 0, none, 0, 2 * NS_PER_SEC), 1800 * NS_PER_MS);
    CHECK_EQ_INT(limits_timeout(&l, 0, none, 0, 20 * NS_PER_SEC), 19 * NS_PER_SEC);
    CHECK_EQ_INT(limits_timeout(&l, 0, none, 1, 20 * NS_PER_SEC), 100 * NS_PER_SEC);
    CHECK_EQ_INT(limits_timeout(&l, 0, none, 0, 100 * NS_PER_MS), NS_PER_MS);
}

int main(void)
{
    RUN(test_code);
    RUN(test_enums);
    RUN(test_stdin_bytes);
    RUN(test_output_bytes);
    RUN(test_filename);
    RUN(test_environment);
    RUN(test_labels);
    RUN(test_durations);
    RUN(test_create);
    RUN(test_ids_and_pages);
    RUN(test_the_time_limit_that_holds);
    return check_done();
}
