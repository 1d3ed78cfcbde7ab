#include "clients/c/view.h"

#include <stdlib.h>

#include "tests/support/check.h"

static char *text(const char *s)
{
    return (char *)(uintptr_t)s;
}

static void test_durations(void)
{
    Google__Protobuf__Duration d = GOOGLE__PROTOBUF__DURATION__INIT;
    CHECK_EQ_INT(view_duration_ns(NULL), 0);
    CHECK(view_duration(&d, 0) == NULL);
    CHECK(view_duration(&d, -5) == NULL);
    CHECK(view_duration(&d, 2500) == &d && d.seconds == 2 && d.nanos == 500000000);
    CHECK_EQ_INT(view_duration_ns(&d), 2500000000);
    d.seconds = INT64_MAX;
    CHECK_EQ_INT(view_duration_ns(&d), INT64_MAX);
    d.seconds = INT64_MIN;
    CHECK_EQ_INT(view_duration_ns(&d), INT64_MIN);
}

static void test_output_events(void)
{
    struct pyexec_event e;
    Pyexec__V1__ExecutionEvent m = PYEXEC__V1__EXECUTION_EVENT__INIT;
    Pyexec__V1__OutputChunk o = PYEXEC__V1__OUTPUT_CHUNK__INIT;
    m.seq = 3;
    m.event_case = PYEXEC__V1__EXECUTION_EVENT__EVENT_OUTPUT;
    m.output = &o;
    o.stream = PYEXEC__V1__OUTPUT_STREAM__OUTPUT_STREAM_STDOUT;
    CHECK(view_event(&m, &e) == 0);
    CHECK(e.kind == PYEXEC_EVENT_STDOUT && e.output.len == 0 && e.output.data != NULL);
    o.stream = PYEXEC__V1__OUTPUT_STREAM__OUTPUT_STREAM_STDERR;
    o.data.data = (uint8_t *)text("abc");
    o.data.len = 3;
    o.offset = 9;
    CHECK(view_event(&m, &e) == 0);
    CHECK(e.kind == PYEXEC_EVENT_STDERR && e.output.len == 3 && e.output.offset == 9);
    CHECK(e.seq == 3 && e.message == &m);
    o.stream = (Pyexec__V1__OutputStream)7;
    CHECK(view_event(&m, &e) == 0 && e.kind == PYEXEC_EVENT_UNKNOWN);
    m.event_case = PYEXEC__V1__EXECUTION_EVENT__EVENT__NOT_SET;
    CHECK(view_event(&m, &e) == 0 && e.kind == PYEXEC_EVENT_UNKNOWN);
    view_event_release(&e);
}

static void test_display(void)
{
    struct pyexec_event e;
    Pyexec__V1__ExecutionEvent m = PYEXEC__V1__EXECUTION_EVENT__INIT;
    Pyexec__V1__DisplayData d = PYEXEC__V1__DISPLAY_DATA__INIT;
    Pyexec__V1__MimeBundle bundle = PYEXEC__V1__MIME_BUNDLE__INIT;
    Pyexec__V1__MimePart parts[2];
    Pyexec__V1__MimePart *list[] = {&parts[0], &parts[1]};
    Pyexec__V1__FileRef file = PYEXEC__V1__FILE_REF__INIT;
    pyexec__v1__mime_part__init(&parts[0]);
    pyexec__v1__mime_part__init(&parts[1]);
    file.path = text("big.png");
    file.size_bytes = 5;
    parts[0].mime_type = text("image/png");
    parts[0].content_case = PYEXEC__V1__MIME_PART__CONTENT_FILE;
    parts[0].file = &file;
    parts[1].mime_type = text("text/plain");
    parts[1].content_case = PYEXEC__V1__MIME_PART__CONTENT_DATA;
    parts[1].data.data = (uint8_t *)text("42");
    parts[1].data.len = 2;
    bundle.parts = list;
    bundle.n_parts = 2;
    m.event_case = PYEXEC__V1__EXECUTION_EVENT__EVENT_DISPLAY;
    m.display = &d;
    CHECK(view_event(&m, &e) == 0 && e.display.bundle.n_parts == 0); /* without a bundle */
    view_event_release(&e);
    d.bundle = &bundle;
    CHECK(view_event(&m, &e) == 0 && e.kind == PYEXEC_EVENT_DISPLAY);
    const struct pyexec_part *plain = pyexec_bundle_find(&e.display.bundle, "text/plain");
    const struct pyexec_part *png = pyexec_bundle_find(&e.display.bundle, "image/png");
    CHECK(plain != NULL && plain->len == 2 && memcmp(plain->data, "42", 2) == 0);
    CHECK(plain != NULL && plain->file_path[0] == '\0');
    CHECK(png != NULL && png->len == 0 && png->file_size == 5);
    CHECK_STR(png != NULL ? png->file_path : NULL, "big.png");
    CHECK(pyexec_bundle_find(&e.display.bundle, "text/html") == NULL);
    view_event_release(&e);
}

static void test_result(void)
{
    Pyexec__V1__ExecutionResult *m = malloc(sizeof *m);
    if (m == NULL) {
        CHECK(m != NULL);
        return;
    }
    pyexec__v1__execution_result__init(m);
    m->status = PYEXEC__V1__EXECUTION_RESULT__STATUS__STATUS_EXITED;
    m->termination_case = PYEXEC__V1__EXECUTION_RESULT__TERMINATION_EXIT_CODE;
    m->exit_code = 3;
    struct pyexec_result *r = view_result(m, &m->base); /* owns m from here */
    CHECK(r != NULL);
    if (r != NULL) {
        CHECK(r->status == PYEXEC_STATUS_EXITED && r->has_exit_code && r->exit_code == 3);
        CHECK(r->signal == 0 && r->n_frames == 0 && r->value.n_parts == 0 && r->run_ns == 0);
        CHECK_STR(r->traceback, "");
    }
    pyexec_result_free(r);
}

static void test_crash(void)
{
    Pyexec__V1__ExecutionResult m = PYEXEC__V1__EXECUTION_RESULT__INIT;
    Pyexec__V1__TracebackFrame f = PYEXEC__V1__TRACEBACK_FRAME__INIT;
    Pyexec__V1__TracebackFrame *frames[] = {&f, &f};
    f.function = text("f");
    f.line = 4;
    m.status = (Pyexec__V1__ExecutionResult__Status)77; /* of a newer server */
    m.termination_case = PYEXEC__V1__EXECUTION_RESULT__TERMINATION_SIGNAL;
    m.signal = 11;
    m.frames = frames;
    m.n_frames = 2;
    struct pyexec_result *r = view_result(&m, NULL);
    CHECK(r != NULL);
    if (r != NULL) {
        CHECK(r->signal == 11 && !r->has_exit_code && r->n_frames == 2 && r->frames[1].line == 4);
        CHECK_STR(pyexec_status_name(r->status), "UNKNOWN");
    }
    pyexec_result_free(r);
}

int main(void)
{
    RUN(test_durations);
    RUN(test_output_events);
    RUN(test_display);
    RUN(test_result);
    RUN(test_crash);
    return check_done();
}
