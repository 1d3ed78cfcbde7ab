/* run.c: pyexec run and pyexec attach: one execution, followed to its end. */
#include <stdio.h>
#include <string.h>

#include "clients/c/cmd/cli.h"
#include "clients/c/cmd/feed.h"
#include "clients/c/cmd/show.h"
#include "clients/c/cmd/signals.h"
#include "clients/c/cmd/source.h"

struct run_options {
    const char *session;
    const char *code;
    const char *filename;
    int64_t timeout_ms;
    uint64_t max_output;
    int64_t grace_ms;
    bool json, value, stdin_too, queue, detach, ipython;
    struct pair_list env;
};

/* --- run -------------------------------------------------------------------------------------- */

static void fill_spec(const struct run_options *o, const struct buf *source, const char *path,
                      const char *execution_id, struct pyexec_spec *spec)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash != NULL ? slash + 1 : path;
    *spec = (struct pyexec_spec){
        .session_id = o->session,
        .execution_id = execution_id,
        .code = o->code != NULL ? o->code : (const char *)source->data,
        .filename = o->filename != NULL      ? o->filename
                    : strcmp(path, "-") == 0 ? NULL
                                             : name,
        .timeout_ms = o->timeout_ms,
        .queue = o->queue,
        .stdin_mode = o->stdin_too ? PYEXEC_STDIN_STREAM : PYEXEC_STDIN_CLOSED,
        .env = o->env.items,
        .n_env = o->env.len,
        .max_output_bytes = o->max_output,
        .reattach_grace_ms = o->grace_ms,
        .ipython_traceback = o->ipython,
    };
}

static int run_detached(struct cli *cli, const struct pyexec_spec *spec)
{
    struct pyexec_error err;
    struct pyexec_execution *execution;
    if (pyexec_start(cli->client, spec, &execution, &err) < 0) {
        return cli_fail(cli, &err);
    }
    (void)printf("%s %s\n", execution->session_id, execution->execution_id);
    pyexec_execution_free(execution);
    return EXIT_OK;
}

static int run_followed(struct cli *cli, const struct run_options *o,
                        const struct pyexec_spec *spec)
{
    struct pyexec_error err;
    struct pyexec_result *result;
    struct show show;
    int code;
    show_init(&show, o->json);
    show.value = o->value;
    if (o->stdin_too && (show.feed = feed_new(cli->client, false)) == NULL) {
        show_release(&show);
        return EXIT_SERVICE;
    }
    signals_running(spec->session_id != NULL ? spec->session_id : "", spec->execution_id);
    if (pyexec_execute(cli->client, spec, show_event, &show, &result, &err) < 0) {
        code = show_failure(cli, &show, &err);
    } else {
        code = show_exit_code(result);
        if (!result->session_alive && o->session != NULL && !o->json) {
            cli_say("the session's interpreter is gone, its variables, too\n"
                    "  next: pyexec session restart %s",
                    o->session);
        }
        pyexec_result_free(result);
    }
    signals_idle();
    feed_free(show.feed);
    show_release(&show);
    return code;
}

static int run_source(struct cli *cli, const struct run_options *o, const char *path)
{
    struct buf source;
    struct pyexec_spec spec;
    struct pyexec_error err;
    char id[PYEXEC_ID_SIZE];
    buf_init(&source, SOURCE_MAX);
    if (o->code == NULL && source_read(path, &source) < 0) {
        buf_release(&source);
        return EXIT_USAGE;
    }
    int code = cli_connect(cli);
    if (code == EXIT_OK && pyexec_new_id(id, &err) < 0) {
        code = cli_fail(cli, &err);
    } else if (code == EXIT_OK) {
        fill_spec(o, &source, path, id, &spec);
        if (o->detach && cli->daemon != NULL) {
            cli_say("--detach needs a daemon that lives on\n  next: start pyexecd first");
            code = EXIT_SERVICE;
        } else {
            code = o->detach ? run_detached(cli, &spec) : run_followed(cli, o, &spec);
        }
    }
    buf_release(&source);
    return code;
}

static int run_main(struct cli *cli, int argc, char **argv)
{
    static struct run_options o; /* zeroed; the list of pairs is large */
    const struct option_row rows[] = {
        {"--session", "ID", OPTION_TEXT, &o.session,
         "run in this session; else in a process of its own"},
        {"-c", "CODE", OPTION_TEXT, &o.code, "run this text instead of a file"},
        {"--timeout", "TIME", OPTION_DURATION, &o.timeout_ms,
         "time limit from when the code starts: 10, 500ms, 2m"},
        {"--json", NULL, OPTION_FLAG, &o.json, "print each event as one line of JSON"},
        {"--value", NULL, OPTION_FLAG, &o.value, "print the value of the last expression"},
        {"--stdin", NULL, OPTION_FLAG, &o.stdin_too, "give this standard input to the code"},
        {"--env", "NAME=VALUE", OPTION_PAIR, &o.env, "set in the environment; repeatable"},
        {"--filename", "NAME", OPTION_TEXT, &o.filename, "name of the code in tracebacks"},
        {"--ipython", NULL, OPTION_FLAG, &o.ipython, "tracebacks as IPython prints them"},
        {"--max-output", "SIZE", OPTION_SIZE, &o.max_output,
         "output that the server keeps for late readers: 64MiB"},
        {"--queue", NULL, OPTION_FLAG, &o.queue, "wait when the session is busy"},
        {"--grace", "TIME", OPTION_DURATION, &o.grace_ms,
         "run on this long when the connection is lost"},
        {"--detach", NULL, OPTION_FLAG, &o.detach,
         "start it, print SESSION EXECUTION for `pyexec attach`"},
        {NULL, NULL, OPTION_FLAG, NULL, NULL},
    };
    int code = cli_options(cli, &cmd_run, rows, argc, argv, &argc);
    if (code >= 0) {
        return code;
    }
    if (argc != (o.code != NULL ? 1 : 2)) {
        return cli_usage(&cmd_run, argc < 2         ? "which file? - is the standard input"
                                   : o.code == NULL ? "one file at a time"
                                                    : "-c CODE takes no file");
    }
    const char *path = o.code != NULL ? "-" : argv[1];
    if (o.stdin_too && o.code == NULL && strcmp(path, "-") == 0) {
        return cli_usage(&cmd_run, "--stdin and - both want the standard input");
    }
    if (o.stdin_too && o.detach) {
        return cli_usage(&cmd_run, "--detach leaves; nobody would pass on the standard input");
    }
    return run_source(cli, &o, path);
}

const struct command cmd_run = {
    "run",
    "FILE|-",
    "run a Python file",
    "Runs a Python file and streams its stdout to stdout and its stderr to stderr as they come.\n"
    "It runs where the server is, in a directory of its own that goes with the session.\n"
    "Ctrl-C interrupts the code, a second one kills it. Exit code: 0 ok, 1 exception, 124 time\n"
    "limit, 130 interrupted, the code's own after sys.exit, 128+signal after a crash, 125 when\n"
    "the service failed.",
    run_main,
};

/* --- attach ----------------------------------------------------------------------------------- */

static int attach_main(struct cli *cli, int argc, char **argv)
{
    bool json = false;
    bool value = false;
    const struct option_row rows[] = {
        {"--json", NULL, OPTION_FLAG, &json, "print each event as one line of JSON"},
        {"--value", NULL, OPTION_FLAG, &value, "print the value of the last expression"},
        {NULL, NULL, OPTION_FLAG, NULL, NULL},
    };
    int code = cli_options(cli, &cmd_attach, rows, argc, argv, &argc);
    if (code >= 0) {
        return code;
    }
    if (argc != 3) {
        return cli_usage(&cmd_attach, "SESSION and EXECUTION, please");
    }
    if ((code = cli_connect(cli)) != EXIT_OK) {
        return code;
    }
    struct pyexec_error err;
    struct pyexec_result *result;
    struct show show;
    show_init(&show, json);
    show.value = value;
    if (pyexec_attach(cli->client, argv[1], argv[2], 0, show_event, &show, &result, &err) < 0) {
        code = show_failure(cli, &show, &err);
    } else {
        code = show_exit_code(result);
        pyexec_result_free(result);
    }
    show_release(&show);
    return code;
}

const struct command cmd_attach = {
    "attach",
    "SESSION EXECUTION",
    "follow an execution that runs, or replay one that ended",
    "Prints all output of an execution from its start, then what still comes, and exits as\n"
    "`pyexec run` does. Ctrl-C leaves; the execution goes on.",
    attach_main,
};

/* --- interrupt -------------------------------------------------------------------------------- */

static int interrupt_main(struct cli *cli, int argc, char **argv)
{
    bool hard = false;
    const struct option_row rows[] = {
        {"--kill", NULL, OPTION_FLAG, &hard, "kill the interpreter; the session is dead then"},
        {NULL, NULL, OPTION_FLAG, NULL, NULL},
    };
    struct pyexec_error err;
    int code = cli_options(cli, &cmd_interrupt, rows, argc, argv, &argc);
    if (code >= 0) {
        return code;
    }
    if (argc != 2 && argc != 3) {
        return cli_usage(&cmd_interrupt, "SESSION, and perhaps EXECUTION, please");
    }
    if ((code = cli_connect(cli)) != EXIT_OK) {
        return code;
    }
    if (pyexec_interrupt(cli->client, argv[1], argc == 3 ? argv[2] : "",
                         hard ? PYEXEC_KILL : PYEXEC_INTERRUPT, &err) < 0) {
        return cli_fail(cli, &err);
    }
    return EXIT_OK;
}

const struct command cmd_interrupt = {
    "interrupt",
    "SESSION [EXECUTION]",
    "interrupt or kill what runs in a session",
    "Raises KeyboardInterrupt in the code that runs in a session. Harmless when nothing runs.",
    interrupt_main,
};
