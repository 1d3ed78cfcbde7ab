/* session.c: pyexec session create|list|show|delete|restart. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "clients/c/cmd/cli.h"
#include "clients/c/cmd/json.h"
#include "proto/pyexec_v1.h"

#define JSON_MAX (1u << 20)

struct session_options {
    bool json;
    const char *working_directory;
    int64_t idle_ms;
    struct pair_list labels;
    struct pair_list env;
};

static int print_json(const ProtobufCMessage *message)
{
    struct buf line;
    buf_init(&line, JSON_MAX);
    int r = json_message(&line, message);
    if (r < 0) {
        cli_say("out of memory");
    } else {
        (void)printf("%.*s\n", (int)line.len, (const char *)line.data);
    }
    buf_release(&line);
    return r < 0 ? EXIT_SERVICE : EXIT_OK;
}

static void print_time(const char *name, int64_t ns)
{
    char text[64];
    struct tm tm;
    time_t seconds = (time_t)(ns / 1000000000);
    if (ns != 0 && localtime_r(&seconds, &tm) != NULL &&
        strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &tm) > 0) {
        (void)printf("%-12s %s\n", name, text);
    }
}

static int print_session(const struct pyexec_session *s, bool json)
{
    if (json) {
        return print_json(&s->message->base);
    }
    (void)printf("%-12s %s\n%-12s %s\n", "session", s->session_id, "state",
                 pyexec_session_state_name(s->state));
    if (s->current_execution_id[0] != '\0') {
        (void)printf("%-12s %s\n", "running", s->current_execution_id);
    }
    (void)printf("%-12s %" PRIu64 "\n%-12s %" PRIu32 "\n%-12s %s\n", "executions",
                 s->execution_count, "generation", s->generation, "directory",
                 s->working_directory);
    if (s->rss_bytes > 0) {
        (void)printf("%-12s %.1f MiB\n", "memory", (double)s->rss_bytes / (1 << 20));
    }
    print_time("created", s->create_ns);
    print_time("last used", s->last_used_ns);
    print_time("expires", s->expire_ns);
    return EXIT_OK;
}

static int session_create(struct cli *cli, const struct session_options *o)
{
    struct pyexec_error err;
    struct pyexec_session *session;
    char id[PYEXEC_ID_SIZE];
    struct pyexec_session_spec spec = {
        .request_id = id,
        .working_directory = o->working_directory,
        .idle_timeout_ms = o->idle_ms,
        .labels = o->labels.items,
        .n_labels = o->labels.len,
        .env = o->env.items,
        .n_env = o->env.len,
    };
    if (pyexec_new_id(id, &err) < 0 ||
        pyexec_create_session(cli->client, &spec, &session, &err) < 0) {
        return cli_fail(cli, &err);
    }
    int code = EXIT_OK;
    if (o->json) {
        code = print_session(session, true);
    } else {
        (void)printf("%s\n", session->session_id);
    }
    pyexec_session_free(session);
    return code;
}

static int session_list(struct cli *cli, const struct session_options *o)
{
    char token[512] = "";
    bool first = true;
    int code = EXIT_OK;
    do {
        struct pyexec_error err;
        struct pyexec_session_list *list;
        if (pyexec_list_sessions(cli->client, token, &list, &err) < 0) {
            return cli_fail(cli, &err);
        }
        for (size_t i = 0; i < list->n_sessions && code == EXIT_OK; i++) {
            const struct pyexec_session *s = &list->sessions[i];
            if (o->json) {
                code = print_session(s, true);
                continue;
            }
            if (first) {
                (void)printf("%-40s  %-8s  %10s  %s\n", "SESSION", "STATE", "EXECUTIONS",
                             "RUNNING");
                first = false;
            }
            (void)printf("%-40s  %-8s  %10" PRIu64 "  %s\n", s->session_id,
                         pyexec_session_state_name(s->state), s->execution_count,
                         s->current_execution_id);
        }
        (void)snprintf(token, sizeof token, "%s", list->next_page_token);
        pyexec_session_list_free(list);
    } while (token[0] != '\0' && code == EXIT_OK);
    return code;
}

static int session_show(struct cli *cli, const char *id, bool json)
{
    struct pyexec_error err;
    struct pyexec_session *session;
    if (pyexec_get_session(cli->client, id, &session, &err) < 0) {
        return cli_fail(cli, &err);
    }
    int code = print_session(session, json);
    pyexec_session_free(session);
    return code;
}

static int session_restart(struct cli *cli, const char *id, bool json)
{
    struct pyexec_error err;
    struct pyexec_session *session;
    if (pyexec_restart_session(cli->client, id, &session, &err) < 0) {
        return cli_fail(cli, &err);
    }
    int code = json ? print_session(session, true) : EXIT_OK;
    pyexec_session_free(session);
    return code;
}

static int session_delete(struct cli *cli, const char *id)
{
    struct pyexec_error err;
    return pyexec_delete_session(cli->client, id, &err) < 0 ? cli_fail(cli, &err) : EXIT_OK;
}

static int dispatch(struct cli *cli, const struct session_options *o, int argc, char **argv)
{
    const char *verb = argv[1];
    int code;
    if ((code = cli_connect(cli)) != EXIT_OK) {
        return code;
    }
    if (strcmp(verb, "create") == 0) {
        code = session_create(cli, o);
        if (code == EXIT_OK && cli->daemon != NULL) {
            cli_say("warning: a private daemon made this session and takes it along\n"
                    "  next: start pyexecd first");
        }
        return code;
    }
    if (strcmp(verb, "list") == 0) {
        return session_list(cli, o);
    }
    for (int i = 2; i < argc && code == EXIT_OK; i++) {
        code = strcmp(verb, "show") == 0      ? session_show(cli, argv[i], o->json)
               : strcmp(verb, "restart") == 0 ? session_restart(cli, argv[i], o->json)
                                              : session_delete(cli, argv[i]);
    }
    return code;
}

static int session_main(struct cli *cli, int argc, char **argv)
{
    static const char *const with_id[] = {"show", "delete", "restart"};
    static struct session_options o; /* zeroed; the lists of pairs are large */
    const struct option_row rows[] = {
        {"--json", NULL, OPTION_FLAG, &o.json, "print sessions as JSON, one a line"},
        {"--idle-timeout", "TIME", OPTION_DURATION, &o.idle_ms,
         "create: end the session when unused this long"},
        {"--directory", "DIR", OPTION_TEXT, &o.working_directory,
         "create: working directory; else a private one"},
        {"--env", "NAME=VALUE", OPTION_PAIR, &o.env, "create: environment; repeatable"},
        {"--label", "NAME=VALUE", OPTION_PAIR, &o.labels, "create: label; repeatable"},
        {NULL, NULL, OPTION_FLAG, NULL, NULL},
    };
    int code = cli_options(cli, &cmd_session, rows, argc, argv, &argc);
    if (code >= 0) {
        return code;
    }
    if (argc < 2) {
        return cli_usage(&cmd_session, "create, list, show, delete or restart?");
    }
    for (size_t i = 0; i < sizeof with_id / sizeof *with_id; i++) {
        if (strcmp(argv[1], with_id[i]) == 0) {
            return argc > 2 ? dispatch(cli, &o, argc, argv)
                            : cli_usage(&cmd_session, "%s which session?", argv[1]);
        }
    }
    if (strcmp(argv[1], "create") != 0 && strcmp(argv[1], "list") != 0) {
        return cli_usage(&cmd_session, "%.100s: create, list, show, delete or restart?", argv[1]);
    }
    return argc == 2 ? dispatch(cli, &o, argc, argv)
                     : cli_usage(&cmd_session, "%s takes no session", argv[1]);
}

const struct command cmd_session = {
    "session",
    "create | list | show ID... | delete ID... | restart ID...",
    "create, list, show, delete or restart sessions",
    "A session is an interpreter process that keeps its variables between runs:\n"
    "  id=$(pyexec session create); pyexec run --session $id step1.py",
    session_main,
};
