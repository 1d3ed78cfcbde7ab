/* info.c: pyexec info and pyexec ping. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "clients/c/cmd/cli.h"
#include "clients/c/cmd/json.h"
#include "clients/c/cmd/signals.h"
#include "proto/pyexec_v1.h"

#define JSON_MAX (1u << 20)
#define PINGS 11

static int print_info(const struct pyexec_info *info, const struct cli *cli, bool serving)
{
    const Pyexec__V1__GetServerInfoResponse *m = info->message;
    (void)printf("%-12s %s%s\n", "address", cli->connected_to,
                 cli->daemon != NULL ? " (private, for this call)" : "");
    (void)printf("%-12s %s\n", "health",
                 info->draining ? "draining" : (serving ? "serving" : "not serving"));
    (void)printf("%-12s %s, API %s\n", "server", info->server_version, info->api_version);
    (void)printf("%-12s %s, boot %s\n", "node", info->node_id, info->boot_id);
    (void)printf("%-12s %s\n", "python", info->python_version);
    (void)printf("%-12s %" PRIu32 " of %" PRIu32 "\n", "sessions", info->sessions,
                 info->max_sessions);
    (void)printf("%-12s %" PRIu32 " of %" PRIu32 "\n", "running", info->running, info->max_running);
    if (m->n_features > 0) {
        (void)printf("%-12s", "features");
        for (size_t i = 0; i < m->n_features; i++) {
            (void)printf(" %s", m->features[i]);
        }
        (void)printf("\n");
    }
    return EXIT_OK;
}

static int info_main(struct cli *cli, int argc, char **argv)
{
    bool json = false;
    bool serving = false;
    const struct option_row rows[] = {
        {"--json", NULL, OPTION_FLAG, &json, "everything, as one line of JSON"},
        {NULL, NULL, OPTION_FLAG, NULL, NULL},
    };
    struct pyexec_error err;
    struct pyexec_info *info;
    int code = cli_options(cli, &cmd_info, rows, argc, argv, &argc);
    if (code >= 0) {
        return code;
    }
    if (argc != 1) {
        return cli_usage(&cmd_info, "info takes no argument");
    }
    if ((code = cli_connect(cli)) != EXIT_OK) {
        return code;
    }
    if (pyexec_info(cli->client, &info, &err) < 0 ||
        (!json && pyexec_health(cli->client, &serving, &err) < 0)) {
        return cli_fail(cli, &err);
    }
    if (json) {
        struct buf line;
        buf_init(&line, JSON_MAX);
        if (json_message(&line, &info->message->base) < 0) {
            cli_say("out of memory");
            code = EXIT_SERVICE;
        } else {
            (void)printf("%.*s\n", (int)line.len, (const char *)line.data);
        }
        buf_release(&line);
    } else {
        code = print_info(info, cli, serving);
    }
    pyexec_info_free(info);
    return code;
}

const struct command cmd_info = {
    "info",
    "",
    "what the server is and how busy",
    "Shows the server's version, its Python, its limits and how busy it is.",
    info_main,
};

static int by_size(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static int ping_main(struct cli *cli, int argc, char **argv)
{
    const struct option_row rows[] = {{NULL, NULL, OPTION_FLAG, NULL, NULL}};
    struct pyexec_error err;
    int64_t first;
    int64_t times[PINGS];
    int code = cli_options(cli, &cmd_ping, rows, argc, argv, &argc);
    if (code >= 0) {
        return code;
    }
    if (argc != 1) {
        return cli_usage(&cmd_ping, "ping takes no argument");
    }
    if ((code = cli_connect(cli)) != EXIT_OK) {
        return code;
    }
    if (pyexec_ping(cli->client, &first, &err) < 0) {
        return cli_fail(cli, &err);
    }
    for (int i = 0; i < PINGS; i++) {
        if (pyexec_ping(cli->client, &times[i], &err) < 0) {
            return cli_fail(cli, &err);
        }
    }
    qsort(times, PINGS, sizeof *times, by_size);
    int64_t median = times[PINGS / 2];
    (void)printf("%s answers in %.3f ms (median of %d; %.3f ms with connecting)\n",
                 cli->connected_to, (double)median / 1e6, PINGS, (double)first / 1e6);
    return EXIT_OK;
}

const struct command cmd_ping = {
    "ping",
    "",
    "ask the server whether it answers",
    "Calls Ping and says how long the answer took.",
    ping_main,
};
