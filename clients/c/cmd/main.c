/* main.c: pyexec: the command line of pyexecd. One row a command; README.md has the map. */
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clients/c/cmd/cli.h"
#include "clients/c/cmd/signals.h"
#include "service/base/version.h"

static const struct command *const commands[] = {
    &cmd_run, &cmd_shell, &cmd_session, &cmd_attach, &cmd_interrupt, &cmd_info, &cmd_ping,
};

static void print_usage(FILE *out)
{
    (void)fputs("usage: pyexec [--address ADDRESS] COMMAND [OPTION]... [ARGUMENT]...\n\n"
                "Runs Python in sessions of pyexecd and streams what it prints.\n\ncommands:\n",
                out);
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        (void)fprintf(out, "  %-10s %s\n", commands[i]->name, commands[i]->summary);
    }
    (void)fputs(
        "\n`pyexec COMMAND --help` has the options of a command.\n\n"
        "The address is --address, else the environment's PYEXEC_ADDRESS, else the default\n"
        "socket. Where no daemon answers at the default socket, a private one is started\n"
        "for this call and ended after it.\n\n"
        "exit codes of run, attach and shell: 0 ok, 1 exception, 124 time limit,\n"
        "130 interrupted, the code's own after sys.exit, 128+signal after a crash,\n"
        "125 when the service failed; 2 for wrong usage.\n",
        out);
}

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (strcmp(commands[i]->name, name) == 0) {
            return commands[i];
        }
    }
    return NULL;
}

/* What stands before the command. Returns its index, or -1 with *ret_code. */
static int parse_global(struct cli *cli, int argc, char **argv, int *ret_code)
{
    int i = 1;
    for (; i < argc && argv[i][0] == '-'; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            print_usage(stdout);
            *ret_code = EXIT_OK;
            return -1;
        }
        if (strcmp(argv[i], "--version") == 0) {
            (void)printf("pyexec %s\n", PYEXEC_VERSION);
            *ret_code = EXIT_OK;
            return -1;
        }
        if (strncmp(argv[i], "--address=", 10) == 0) {
            cli->address = argv[i] + 10;
        } else if (strcmp(argv[i], "--address") == 0 && i + 1 < argc) {
            cli->address = argv[++i];
        } else {
            cli_say("unknown option %.200s\n  next: pyexec --help", argv[i]);
            *ret_code = EXIT_USAGE;
            return -1;
        }
    }
    if (i == argc) {
        print_usage(stderr);
        *ret_code = EXIT_USAGE;
        return -1;
    }
    return i;
}

#if defined(__SANITIZE_THREAD__)
/* libgrpc isn't instrumented: ThreadSanitizer sees its reads and writes but not its locks. What
 * happens inside it is left out; all of our own code is checked. */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "ignore_noninstrumented_modules=1";
}
#endif

int main(int argc, char **argv)
{
    static struct cli cli; /* zeroed */
    int code = EXIT_USAGE;
    (void)setlocale(LC_CTYPE, "");
    (void)setenv("GRPC_VERBOSITY", "NONE", 0); /* what it would log, we say ourselves */
    const char *address = getenv("PYEXEC_ADDRESS");
    cli.address = address != NULL && address[0] != '\0' ? address : NULL;
    int at = parse_global(&cli, argc, argv, &code);
    if (at >= 0) {
        const struct command *command = find_command(argv[at]);
        if (command == NULL) {
            cli_say("unknown command %.200s\n  next: pyexec --help", argv[at]);
        } else {
            code = command->run(&cli, argc - at, argv + at);
            cli_disconnect(&cli);
            code = signals_exit_code(code);
        }
    }
    if (fflush(stdout) != 0 || ferror(stdout)) {
        cli_say("can't write to stdout");
        code = code == EXIT_OK ? EXIT_SERVICE : code;
    }
    return code;
}
