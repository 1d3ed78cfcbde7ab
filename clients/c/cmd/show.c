#include "clients/c/cmd/show.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "clients/c/cmd/feed.h"
#include "clients/c/cmd/json.h"
#include "clients/c/cmd/signals.h"
#include "proto/pyexec_v1.h"

/* An event is at most 1 MiB; escaping makes six bytes of one. */
#define LINE_MAX_BYTES (16u << 20)

void show_init(struct show *show, bool json)
{
    *show = (struct show){.json = json, .last_byte = '\n'};
    buf_init(&show->line, LINE_MAX_BYTES);
}

void show_release(struct show *show)
{
    buf_release(&show->line);
}

/* All of it; a descriptor that somebody made non-blocking is waited for. 0 or -1. */
static int write_out(struct show *show, int fd, const void *data, size_t n)
{
    const char *p = data;
    while (n > 0) {
        ssize_t w = write(fd, p, n);
        if (w >= 0) {
            p += w;
            n -= (size_t)w;
        } else if (errno == EAGAIN) {
            struct pollfd writable = {.fd = fd, .events = POLLOUT};
            (void)poll(&writable, 1, -1);
        } else if (errno != EINTR) {
            show->write_errno = errno;
            return -1;
        }
    }
    if (p != data) {
        show->last_byte = p[-1];
    }
    return 0;
}

static int write_text(struct show *show, int fd, const char *text)
{
    return write_out(show, fd, text, strlen(text));
}

/* Text, with a newline when it has none. */
static int write_lines(struct show *show, int fd, const char *text, size_t n)
{
    if (write_out(show, fd, text, n) < 0) {
        return -1;
    }
    return n > 0 && text[n - 1] == '\n' ? 0 : write_text(show, fd, "\n");
}

static int show_bundle(struct show *show, const struct pyexec_bundle *bundle)
{
    const struct pyexec_part *text = pyexec_bundle_find(bundle, "text/plain");
    if (text != NULL && text->file_path[0] == '\0') {
        return write_lines(show, 1, text->data, text->len);
    }
    return 0;
}

static void say_status(const struct pyexec_result *r)
{
    switch (r->status) {
    case PYEXEC_STATUS_TIMEOUT_ERROR:
        cli_say("the time limit ended it after %.3g s", (double)r->run_ns / 1e9);
        break;
    case PYEXEC_STATUS_CANCELLED:
        cli_say("ended because its caller had gone");
        break;
    case PYEXEC_STATUS_CRASHED:
        cli_say("killed by signal %d (%s)", r->signal, strsignal(r->signal));
        break;
    case PYEXEC_STATUS_RESOURCE_LIMIT:
        cli_say("over its limit: %s", r->exceeded_limit);
        break;
    case PYEXEC_STATUS_SERVER_ERROR:
        cli_say("the service failed: %s\n  next: it is not known how far the code came; the "
                "daemon's log may say more",
                r->exc_message);
        break;
    default:
        break;
    }
    for (size_t i = 0; i < r->n_warnings; i++) {
        cli_say("warning: %s", r->warnings[i]);
    }
}

static int show_result(struct show *show, const struct pyexec_result *r)
{
    if (show->value && r->value.n_parts > 0) {
        /* The value has a line of its own, whatever the code left behind. */
        if ((show->last_byte != '\n' && write_text(show, 1, "\n") < 0) ||
            show_bundle(show, &r->value) < 0) {
            return -1;
        }
    }
    if (r->traceback[0] != '\0' && r->status != PYEXEC_STATUS_EXITED) {
        if (write_lines(show, 2, r->traceback, strlen(r->traceback)) < 0) {
            return -1;
        }
    }
    say_status(r);
    return 0;
}

static int show_text(struct show *show, const struct pyexec_event *e)
{
    switch (e->kind) {
    case PYEXEC_EVENT_STDOUT:
        return write_out(show, 1, e->output.data, e->output.len);
    case PYEXEC_EVENT_STDERR:
        return write_out(show, 2, e->output.data, e->output.len);
    case PYEXEC_EVENT_DISPLAY:
        return show_bundle(show, &e->display.bundle);
    case PYEXEC_EVENT_GAP:
        cli_say("%" PRIu64 " bytes of %s are missing here; --max-output keeps more", e->gap.size,
                e->gap.is_stderr ? "stderr" : "stdout");
        return 0;
    case PYEXEC_EVENT_RESULT:
        return show_result(show, e->result);
    default:
        return 0;
    }
}

static int show_json(struct show *show, const struct pyexec_event *e)
{
    buf_clear(&show->line);
    if (json_message(&show->line, &e->message->base) < 0 || buf_append(&show->line, "\n", 1) < 0) {
        show->write_errno = ENOMEM;
        return -1;
    }
    return write_out(show, 1, show->line.data, show->line.len);
}

int show_event(void *ctx, const struct pyexec_event *e)
{
    struct show *show = ctx;
    if (e->kind == PYEXEC_EVENT_STARTED) {
        signals_started(e->started.session_id, e->started.execution_id);
        if (show->feed != NULL) {
            feed_started(show->feed, e->started.session_id, e->started.execution_id);
        }
    } else if (e->kind == PYEXEC_EVENT_INPUT_REQUEST && show->feed != NULL) {
        feed_request(show->feed, e->input_request.password);
        /* Whoever types the answer ends the line with Enter, where it can be seen. */
        show->last_byte = e->input_request.password ? show->last_byte : '\n';
    }
    return show->json ? show_json(show, e) : show_text(show, e);
}

int show_exit_code(const struct pyexec_result *r)
{
    switch (r->status) {
    case PYEXEC_STATUS_OK:
        return EXIT_OK;
    case PYEXEC_STATUS_ERROR:
        return EXIT_EXCEPTION;
    case PYEXEC_STATUS_TIMEOUT_ERROR:
        return EXIT_TIME_LIMIT;
    case PYEXEC_STATUS_INTERRUPTED:
    case PYEXEC_STATUS_CANCELLED:
        return EXIT_INTERRUPTED;
    case PYEXEC_STATUS_EXITED:
        return r->exit_code & 0xff;
    case PYEXEC_STATUS_CRASHED:
        return EXIT_SIGNAL_BASE + (r->signal & 0x7f);
    case PYEXEC_STATUS_RESOURCE_LIMIT:
        return r->signal != 0 ? EXIT_SIGNAL_BASE + (r->signal & 0x7f) : EXIT_EXCEPTION;
    default:
        return EXIT_SERVICE;
    }
}

int show_failure(struct cli *cli, struct show *show, const struct pyexec_error *err)
{
    if (show->write_errno == EPIPE) {
        return EXIT_SIGNAL_BASE + SIGPIPE; /* as any filter ends whose reader has gone */
    }
    if (show->write_errno != 0) {
        cli_say("can't write the output: %s", strerror(show->write_errno));
        return EXIT_SERVICE;
    }
    if (show->json && !signals_stopping()) {
        buf_clear(&show->line);
        if (buf_printf(&show->line, "{\"error\":{\"code\":%d,\"reason\":", err->code) == 0 &&
            json_string(&show->line, err->reason, strlen(err->reason)) == 0 &&
            buf_append_str(&show->line, ",\"message\":") == 0 &&
            json_string(&show->line, err->message, strlen(err->message)) == 0 &&
            buf_append_str(&show->line, "}}\n") == 0) {
            (void)write_out(show, 1, show->line.data, show->line.len);
        }
    }
    return cli_fail(cli, err);
}
