/* hello.c: libpyexec in one page: a session, two runs in it, output as it comes.
 *
 *     hello unix:/run/pyexec/pyexecd.sock */
#include <stdio.h>

#include "clients/c/pyexec.h"

static int fail(const struct pyexec_error *err)
{
    (void)fprintf(stderr, "%s %s\n", err->reason, err->message);
    return 1;
}

static int on_event(void *ctx, const struct pyexec_event *event)
{
    (void)ctx;
    if (event->kind == PYEXEC_EVENT_STDOUT || event->kind == PYEXEC_EVENT_STDERR) {
        FILE *out = event->kind == PYEXEC_EVENT_STDOUT ? stdout : stderr;
        (void)fwrite(event->output.data, 1, event->output.len, out);
        (void)fflush(out);
    }
    return 0;
}

static int run(struct pyexec_client *client, const char *session_id, const char *code)
{
    struct pyexec_error err;
    struct pyexec_result *result;
    struct pyexec_spec spec = {.session_id = session_id, .code = code, .timeout_ms = 10000};
    if (pyexec_execute(client, &spec, on_event, NULL, &result, &err) < 0) {
        return fail(&err);
    }
    const struct pyexec_part *value = pyexec_bundle_find(&result->value, "text/plain");
    (void)printf("%s, value %.*s\n%s%s", pyexec_status_name(result->status),
                 value != NULL ? (int)value->len : 4,
                 value != NULL ? (const char *)value->data : "none", result->traceback,
                 result->traceback[0] != '\0' ? "\n" : "");
    pyexec_result_free(result);
    return 0;
}

int main(int argc, char **argv)
{
    struct pyexec_error err;
    struct pyexec_client *client;
    struct pyexec_session *session;
    if (argc != 2) {
        (void)fprintf(stderr, "usage: hello ADDRESS\n");
        return 2;
    }
    if (pyexec_connect(argv[1], &client, &err) < 0) {
        return fail(&err);
    }
    struct pyexec_session_spec spec = {.idle_timeout_ms = 60000};
    int status;
    if (pyexec_create_session(client, &spec, &session, &err) < 0) {
        status = fail(&err);
    } else {
        status = run(client, session->session_id, "print('hello from Python')\nx = 6") ||
                 run(client, session->session_id, "x * 7") ||
                 run(client, session->session_id, "1 / 0");
        if (pyexec_delete_session(client, session->session_id, &err) < 0) {
            status = fail(&err);
        }
        pyexec_session_free(session);
    }
    pyexec_close(client);
    return status;
}
