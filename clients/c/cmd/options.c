/* options.c: a table of rows feeds both the parser and the help text. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "clients/c/cmd/cli.h"
#include "clients/c/cmd/values.h"

void cli_say(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)fputs("pyexec: ", stderr);
    (void)vfprintf(stderr, fmt, ap);
    (void)fputc('\n', stderr);
    va_end(ap);
}

int cli_usage(const struct command *command, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)fprintf(stderr, "pyexec %s: ", command->name);
    (void)vfprintf(stderr, fmt, ap);
    (void)fprintf(stderr, "\n  next: pyexec %s --help\n", command->name);
    va_end(ap);
    return EXIT_USAGE;
}

static void print_row(const char *name, const char *argument, const char *help)
{
    char left[64];
    (void)snprintf(left, sizeof left, "%s%s%s", name, argument != NULL ? " " : "",
                   argument != NULL ? argument : "");
    (void)printf("  %-22s %s\n", left, help);
}

void cli_print_help(const struct command *command, const struct option_row *rows)
{
    (void)printf("usage: pyexec %s [OPTION]... %s\n\n%s\n\noptions:\n", command->name,
                 command->arguments, command->description);
    for (const struct option_row *r = rows; r->name != NULL; r++) {
        print_row(r->name, r->argument, r->help);
    }
    print_row("--address", "ADDRESS", "unix:/path, unix-abstract:name or host:port");
    print_row("--help", NULL, "this text");
}

static int store_pair(struct pair_list *list, char *text)
{
    char *equals = strchr(text, '=');
    if (equals == NULL || equals == text || list->len >= CLI_MAX_PAIRS) {
        return -1;
    }
    *equals = '\0';
    list->items[list->len++] = (struct pyexec_pair){text, equals + 1};
    return 0;
}

static int store(const struct option_row *row, char *value)
{
    switch (row->kind) {
    case OPTION_FLAG:
        *(bool *)row->target = true;
        return 0;
    case OPTION_TEXT:
        *(const char **)row->target = value;
        return 0;
    case OPTION_DURATION:
        return value_duration(value, row->target);
    case OPTION_SIZE:
        return value_size(value, row->target);
    case OPTION_PAIR:
        return store_pair(row->target, value);
    }
    return -1;
}

static const char *accepted(enum option_kind kind)
{
    switch (kind) {
    case OPTION_DURATION:
        return "a time: 10, 1.5, 500ms, 2m, 1h";
    case OPTION_SIZE:
        return "a size: 4096, 64KiB, 16MiB";
    case OPTION_PAIR:
        return "NAME=VALUE, at most 256 times";
    default:
        return "a text";
    }
}

static const struct option_row *find_row(const struct option_row *rows, const char *text, size_t n)
{
    for (const struct option_row *r = rows; r->name != NULL; r++) {
        if (strlen(r->name) == n && memcmp(r->name, text, n) == 0) {
            return r;
        }
    }
    return NULL;
}

/* One option, at argv[*i]; *i ends at its last word. */
static int parse_one(const struct command *command, const struct option_row *row, size_t name_len,
                     int argc, char **argv, int *i)
{
    char *value = argv[*i][name_len] == '=' ? argv[*i] + name_len + 1 : NULL;
    if (row->kind == OPTION_FLAG) {
        if (value != NULL) {
            return cli_usage(command, "%s takes no value", row->name);
        }
        return store(row, NULL) == 0 ? -1 : EXIT_USAGE;
    }
    if (value == NULL) {
        if (*i + 1 >= argc) {
            return cli_usage(command, "%s needs %s", row->name, row->argument);
        }
        value = argv[++*i];
    }
    if (store(row, value) < 0) {
        return cli_usage(command, "%s %.200s: not accepted; %s", row->name, value,
                         accepted(row->kind));
    }
    return -1;
}

int cli_options(struct cli *cli, const struct command *command, const struct option_row *rows,
                int argc, char **argv, int *ret_argc)
{
    const struct option_row common[] = {
        {"--address", "ADDRESS", OPTION_TEXT, &cli->address, ""},
        {NULL, NULL, OPTION_FLAG, NULL, NULL},
    };
    int kept = 1;
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        if (word[0] != '-' || word[1] == '\0') {
            argv[kept++] = argv[i];
            continue;
        }
        if (strcmp(word, "--") == 0) {
            while (++i < argc) {
                argv[kept++] = argv[i];
            }
            break;
        }
        if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
            cli_print_help(command, rows);
            return EXIT_OK;
        }
        size_t n = word[1] == '-' ? strcspn(word, "=") : strlen(word);
        const struct option_row *row = find_row(rows, word, n);
        row = row != NULL ? row : find_row(common, word, n);
        int code = row != NULL ? parse_one(command, row, n, argc, argv, &i)
                               : cli_usage(command, "unknown option %.200s", word);
        if (code >= 0) {
            return code;
        }
    }
    *ret_argc = kept;
    return -1;
}
