#include "clients/c/cmd/json.h"

#include <stdlib.h>

#include "proto/pyexec_v1.h"
#include "tests/support/check.h"

#define MAX 65536

static char *text_of(struct buf *b)
{
    static char text[MAX + 1];
    memcpy(text, b->data, b->len);
    text[b->len] = '\0';
    buf_release(b);
    return text;
}

static const char *string(const char *p, size_t n)
{
    struct buf b;
    buf_init(&b, MAX);
    return json_string(&b, p, n) == 0 ? text_of(&b) : NULL;
}

static const char *base64(const char *p, size_t n)
{
    struct buf b;
    buf_init(&b, MAX);
    return json_base64(&b, p, n) == 0 ? text_of(&b) : NULL;
}

static const char *message(const void *m)
{
    struct buf b;
    buf_init(&b, MAX);
    return json_message(&b, m) == 0 ? text_of(&b) : NULL;
}

static void test_strings(void)
{
    CHECK_STR(string("", 0), "\"\"");
    CHECK_STR(string("plain", 5), "\"plain\"");
    CHECK_STR(string("a\"b\\c", 5), "\"a\\\"b\\\\c\"");
    CHECK_STR(string("\n\r\t\b\f", 5), "\"\\n\\r\\t\\b\\f\"");
    CHECK_STR(string("\0\x1f\x7f", 3), "\"\\u0000\\u001f\\u007f\"");
    CHECK_STR(string("\xc3\xa9\xe2\x82\xac\xf0\x9f\x90\x8d", 9),
              "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x90\x8d\"");
    CHECK_STR(string("a\xff"
                     "b\xc3",
                     4),
              "\"a\\ufffdb\\ufffd\"");
    CHECK_STR(string("\xed\xa0\x80", 3), "\"\\ufffd\\ufffd\\ufffd\""); /* a surrogate */
}

static void test_base64(void)
{
    CHECK_STR(base64("", 0), "\"\"");
    CHECK_STR(base64("f", 1), "\"Zg==\"");
    CHECK_STR(base64("fo", 2), "\"Zm8=\"");
    CHECK_STR(base64("foo", 3), "\"Zm9v\"");
    CHECK_STR(base64("foobar", 6), "\"Zm9vYmFy\"");
    CHECK_STR(base64("\xff\xfe\xfd", 3), "\"//79\"");
}

static void test_output_event(void)
{
    Pyexec__V1__ExecutionEvent e = PYEXEC__V1__EXECUTION_EVENT__INIT;
    Pyexec__V1__OutputChunk o = PYEXEC__V1__OUTPUT_CHUNK__INIT;
    Google__Protobuf__Timestamp t = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    t.seconds = 1;
    t.nanos = 5000000;
    e.seq = 7;
    e.time = &t;
    e.event_case = PYEXEC__V1__EXECUTION_EVENT__EVENT_OUTPUT;
    e.output = &o;
    o.stream = PYEXEC__V1__OUTPUT_STREAM__OUTPUT_STREAM_STDERR;
    o.offset = 3;
    o.data.data = (uint8_t *)(uintptr_t) "hi\n";
    o.data.len = 3;
    CHECK_STR(message(&e),
              "{\"seq\":7,\"time\":\"1970-01-01T00:00:01.005000000Z\",\"output\":"
              "{\"stream\":\"OUTPUT_STREAM_STDERR\",\"offset\":3,\"data\":\"hi\\n\"}}");
    o.data.data = (uint8_t *)(uintptr_t) "\xff\n";
    o.data.len = 2;
    o.stream = (Pyexec__V1__OutputStream)9; /* of a newer server */
    CHECK_STR(message(&o), "{\"stream\":9,\"offset\":3,\"data_base64\":\"/wo=\"}");
}

static void test_result(void)
{
    Pyexec__V1__ExecutionResult r = PYEXEC__V1__EXECUTION_RESULT__INIT;
    Pyexec__V1__Timings times = PYEXEC__V1__TIMINGS__INIT;
    Google__Protobuf__Duration run = GOOGLE__PROTOBUF__DURATION__INIT;
    char *warnings[] = {(char *)(uintptr_t) "a", (char *)(uintptr_t) "b"};
    run.seconds = 2;
    run.nanos = 50;
    times.run = &run;
    r.status = PYEXEC__V1__EXECUTION_RESULT__STATUS__STATUS_EXITED;
    r.timings = &times;
    r.termination_case = PYEXEC__V1__EXECUTION_RESULT__TERMINATION_EXIT_CODE;
    r.exit_code = 0; /* chosen member of a oneof: shown although it is 0 */
    r.warnings = warnings;
    r.n_warnings = 2;
    CHECK_STR(message(&r),
              "{\"status\":\"STATUS_EXITED\",\"execution_count\":0,\"exit_code\":0,"
              "\"session_alive\":false,\"stdout_bytes\":0,\"stderr_bytes\":0,\"dropped_bytes\":0,"
              "\"timings\":{\"run\":2.000000050},\"warnings\":[\"a\",\"b\"]}");
}

static void test_map(void)
{
    Pyexec__V1__ExceptionInfo info = PYEXEC__V1__EXCEPTION_INFO__INIT;
    Pyexec__V1__ExceptionInfo__AttributesEntry entry =
        PYEXEC__V1__EXCEPTION_INFO__ATTRIBUTES_ENTRY__INIT;
    Pyexec__V1__ExceptionInfo__AttributesEntry *entries[] = {&entry};
    entry.key = (char *)(uintptr_t) "name";
    entry.value = (char *)(uintptr_t) "x";
    info.attributes = entries;
    info.n_attributes = 1;
    CHECK_STR(message(&info), "{\"attributes\":{\"name\":\"x\"}}");
}

static void test_full_buffer(void)
{
    Pyexec__V1__ExecutionStarted s = PYEXEC__V1__EXECUTION_STARTED__INIT;
    s.session_id = (char *)(uintptr_t) "a-long-enough-session-id";
    for (size_t max = 0; max < 40; max++) {
        struct buf b;
        buf_init(&b, max);
        CHECK(json_message(&b, &s.base) < 0);
        buf_release(&b);
    }
}

int main(void)
{
    RUN(test_strings);
    RUN(test_base64);
    RUN(test_output_event);
    RUN(test_result);
    RUN(test_map);
    RUN(test_full_buffer);
    return check_done();
}
