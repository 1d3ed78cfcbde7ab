/* cli.h: what the subcommands of `pyexec` share: exit codes, options, the connection, errors.
 * Main thread, but for what signals.h says. */
#ifndef PYEXEC_CLIENTS_C_CMD_CLI_H
#define PYEXEC_CLIENTS_C_CMD_CLI_H

#include <stdbool.h>
#include <stddef.h>

#include "clients/c/pyexec.h"

/* Exit codes of `pyexec`; a code that ended by sys.exit or a signal has its own. */
enum {
    EXIT_OK = 0,
    EXIT_EXCEPTION = 1,
    EXIT_USAGE = 2,
    EXIT_TIME_LIMIT = 124,
    EXIT_SERVICE = 125,
    EXIT_INTERRUPTED = 130,
    EXIT_SIGNAL_BASE = 128,
};

#define CLI_MAX_PAIRS 256 /* --env: as many as the server takes */

struct private_daemon;

struct cli {
    const char *address; /* --address, else PYEXEC_ADDRESS, else NULL: the default socket */
    struct pyexec_client *client;
    struct private_daemon *daemon; /* NULL: none was started */
    char connected_to[256];
};

/* Connects, with a daemon of our own where nobody answers at the default socket. 0, or an exit
 * code after a message. */
int cli_connect(struct cli *cli);
/* Closes the connection and ends the private daemon. Harmless to repeat. */
void cli_disconnect(struct cli *cli);

/* --- options ---------------------------------------------------------------------------------- */
enum option_kind {
    OPTION_FLAG,     /* bool */
    OPTION_TEXT,     /* const char * */
    OPTION_DURATION, /* int64_t, milliseconds; "10", "500ms", "2m" */
    OPTION_SIZE,     /* uint64_t, bytes; "4096", "16MiB" */
    OPTION_PAIR,     /* struct pair_list; "K=V", repeatable */
};

struct pair_list {
    struct pyexec_pair items[CLI_MAX_PAIRS];
    size_t len;
};

struct option_row {
    const char *name;     /* "--timeout" or "-c"; NULL ends the table */
    const char *argument; /* as the help shows it; NULL for a flag */
    enum option_kind kind;
    void *target;
    const char *help;
};

struct command {
    const char *name;
    const char *arguments; /* as the help shows them */
    const char *summary;
    const char *description;
    int (*run)(struct cli *cli, int argc, char **argv); /* exit code */
};

/* Parses the options out of argv[1..argc); what is left moves to the front, *ret_argc of them at
 * argv[1]. `--` ends options. --address works everywhere. Returns -1 to go on, or an exit code:
 * EXIT_USAGE after a message, EXIT_OK when --help was given and answered. */
int cli_options(struct cli *cli, const struct command *command, const struct option_row *rows,
                int argc, char **argv, int *ret_argc);

/* Message for a person, "pyexec: " before and a newline after it. */
void cli_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* The same, pointing to --help; returns EXIT_USAGE. */
int cli_usage(const struct command *command, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* Reason, message and the next step; returns EXIT_SERVICE. */
int cli_fail(const struct cli *cli, const struct pyexec_error *err);

void cli_print_help(const struct command *command, const struct option_row *rows);

/* --- commands --------------------------------------------------------------------------------- */
extern const struct command cmd_run, cmd_shell, cmd_session, cmd_attach, cmd_interrupt, cmd_info,
    cmd_ping;

#endif
