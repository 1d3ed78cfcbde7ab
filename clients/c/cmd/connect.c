/* connect.c: which server, and what to say when it fails. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "clients/c/cmd/cli.h"
#include "clients/c/cmd/private_daemon.h"
#include "clients/c/cmd/signals.h"
#include "clients/c/cmd/values.h"
#include "service/base/fd.h"

/* Whether somebody listens at a unix:/path, asked without gRPC: a private daemon must be started
 * before it. What is there but can't be reached (permissions) counts as answering. */
static bool listens(const char *address)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    const char *path = address + strlen("unix:");
    if (strlen(path) >= sizeof sun.sun_path) {
        return false; /* nobody can */
    }
    memcpy(sun.sun_path, path, strlen(path) + 1);
    FD_AUTO int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return fd < 0 || connect(fd, (struct sockaddr *)&sun, sizeof sun) == 0 ||
           (errno != ENOENT && errno != ECONNREFUSED && errno != ENOTDIR);
}

int cli_connect(struct cli *cli)
{
    struct pyexec_error err;
    signals_block();
    if (cli->address != NULL) {
        (void)snprintf(cli->connected_to, sizeof cli->connected_to, "%s", cli->address);
    } else if (value_default_address(cli->connected_to, sizeof cli->connected_to) < 0) {
        cli_say("the default socket's path is too long\n  next: give --address");
        return EXIT_SERVICE;
    } else if (!listens(cli->connected_to) && private_daemon_start(&cli->daemon, cli->connected_to,
                                                                   sizeof cli->connected_to) < 0) {
        return EXIT_SERVICE;
    }
    if (pyexec_connect(cli->address != NULL ? cli->address : cli->connected_to, &cli->client,
                       &err) < 0) {
        return cli_fail(cli, &err) == EXIT_SERVICE && err.code == PYEXEC_CODE_INVALID_ARGUMENT
                   ? EXIT_USAGE
                   : EXIT_SERVICE;
    }
    return signals_start(cli->client) < 0 ? EXIT_SERVICE : EXIT_OK;
}

void cli_disconnect(struct cli *cli)
{
    signals_stop();
    pyexec_close(cli->client);
    cli->client = NULL;
    private_daemon_end(cli->daemon);
    cli->daemon = NULL;
}

/* By reason; the texts go after "next: ". */
static const struct {
    const char *reason;
    const char *step;
} next_steps[] = {
    {"SESSION_NOT_FOUND", "pyexec session list shows the living ones, pyexec session create makes "
                          "one"},
    {"SESSION_EXPIRED", "pyexec session create makes a new one; --idle-timeout keeps it longer"},
    {"SESSION_LOST", "the daemon was restarted; pyexec session create makes a new one"},
    {"SESSION_DEAD", "pyexec session restart brings it back, empty"},
    {"SESSION_BUSY", "wait, give --queue, or pyexec interrupt what runs"},
    {"SESSION_QUEUE_FULL", "try again when something of the queue has ended"},
    {"NODE_AT_CAPACITY", "pyexec session delete frees room; or try again later"},
    {"SERVER_DRAINING", "the daemon is being stopped; try again when it is back"},
    {"FORK_FAILED", "try again; the daemon's log has the cause"},
    {"EXECUTION_NOT_FOUND", "results are kept for a while only; run the code again"},
    {"EXECUTION_ID_REUSED", "give another execution id"},
    {"SEQ_OUT_OF_RANGE", "attach from the start"},
    {"CODE_TOO_LARGE", "pyexecd --max-code-bytes sets the limit"},
    {"WRONG_NODE", "the session lives on another node: give its --address"},
    {"OUT_OF_MEMORY", "try again later"},
};

static const char *next_step(const struct cli *cli, const struct pyexec_error *err)
{
    for (size_t i = 0; i < sizeof next_steps / sizeof *next_steps; i++) {
        if (strcmp(next_steps[i].reason, err->reason) == 0) {
            return next_steps[i].step;
        }
    }
    switch (err->code) {
    case PYEXEC_CODE_UNAVAILABLE:
        return cli->daemon != NULL ? "the private daemon ended; try again"
                                   : "is pyexecd running there? start it with --listen, or give "
                                     "another --address or PYEXEC_ADDRESS";
    case PYEXEC_CODE_DEADLINE_EXCEEDED:
        return "the server did not answer in time; try again";
    case PYEXEC_CODE_UNIMPLEMENTED:
        return "this server doesn't have it; pyexec info shows its version";
    case PYEXEC_CODE_INVALID_ARGUMENT:
        return "change that and try again";
    default:
        return "the daemon's log may say more";
    }
}

int cli_fail(const struct cli *cli, const struct pyexec_error *err)
{
    if (signals_stopping()) {
        return EXIT_SERVICE; /* whoever stopped the command knows why */
    }
    const char *busy = pyexec_error_detail(err, "currentExecutionId");
    bool unreachable = err->code == PYEXEC_CODE_UNAVAILABLE && err->reason[0] == '\0';
    cli_say("%s%s%s%s%s%s%s%s%s\n  next: %s", err->reason, err->reason[0] != '\0' ? ": " : "",
            unreachable ? "no answer from " : "", unreachable ? cli->connected_to : "",
            unreachable ? ": " : "", err->message, busy != NULL ? " (running: " : "",
            busy != NULL ? busy : "", busy != NULL ? ")" : "", next_step(cli, err));
    return EXIT_SERVICE;
}
