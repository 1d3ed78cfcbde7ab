/* shell.c: pyexec shell: a REPL on a session.
 *
 * Lines are collected until block.h says that they are a block; each block is one execution. The
 * session is our own, deleted at the end, unless --session names one. Where the interpreter was
 * lost (a crash, a kill) it is restarted, and that is said: its variables are gone. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "clients/c/cmd/block.h"
#include "clients/c/cmd/cli.h"
#include "clients/c/cmd/feed.h"
#include "clients/c/cmd/lines.h"
#include "clients/c/cmd/show.h"
#include "clients/c/cmd/signals.h"
#include "proto/pyexec_v1.h"
#include "service/base/utf8.h"

#define BLOCK_MAX (16u << 20)
#define ID_MAX 256

struct shell {
    struct cli *cli;
    struct lines *lines;
    struct buf block;
    char session_id[ID_MAX];
    bool own_session;
    int64_t timeout_ms;
    unsigned blocks; /* run so far: names them in tracebacks */
    bool leave;
    int code; /* of the last block that failed; sys.exit's when left by it */
};

/* --- the session ------------------------------------------------------------------------------ */

static int open_session(struct shell *sh, const char *given, const struct pair_list *env)
{
    struct pyexec_error err;
    struct pyexec_session *session;
    struct pyexec_session_spec spec = {.env = env->items, .n_env = env->len};
    sh->own_session = given == NULL;
    int r = given != NULL ? pyexec_get_session(sh->cli->client, given, &session, &err)
                          : pyexec_create_session(sh->cli->client, &spec, &session, &err);
    if (r < 0) {
        sh->own_session = false;
        return cli_fail(sh->cli, &err);
    }
    (void)snprintf(sh->session_id, sizeof sh->session_id, "%s", session->session_id);
    pyexec_session_free(session);
    return EXIT_OK;
}

static void close_session(struct shell *sh)
{
    struct pyexec_error err;
    if (!sh->own_session) {
        return;
    }
    /* After SIGTERM every call is cancelled; this one is still owed. */
    pyexec_uncancel(sh->cli->client);
    if (pyexec_delete_session(sh->cli->client, sh->session_id, &err) < 0 &&
        err.code != PYEXEC_CODE_NOT_FOUND) {
        (void)cli_fail(sh->cli, &err);
    }
}

static void greet(struct shell *sh)
{
    struct pyexec_error err;
    struct pyexec_info *info;
    if (!lines_is_terminal(sh->lines)) {
        return;
    }
    if (pyexec_info(sh->cli->client, &info, &err) == 0) {
        (void)printf("Python %s in session %s of pyexecd %s\n", info->python_version,
                     sh->session_id, info->server_version);
        pyexec_info_free(info);
    }
    (void)printf("Ctrl-C interrupts, Ctrl-D leaves, %%help says more.\n");
    (void)fflush(stdout);
}

static void restart(struct shell *sh)
{
    struct pyexec_error err;
    struct pyexec_session *session;
    if (pyexec_restart_session(sh->cli->client, sh->session_id, &session, &err) < 0) {
        (void)cli_fail(sh->cli, &err);
        return;
    }
    pyexec_session_free(session);
    cli_say("a fresh interpreter: variables are gone");
}

/* --- one block -------------------------------------------------------------------------------- */

/* The prompt starts at the margin, whatever the code left behind. */
static void end_line(const struct shell *sh, const struct show *show)
{
    if (lines_is_terminal(sh->lines) && show->last_byte != '\n') {
        ssize_t n = write(1, "\n", 1);
        (void)n;
    }
}

static void take_result(struct shell *sh, const struct pyexec_result *r)
{
    int code = show_exit_code(r);
    sh->code = code != EXIT_OK ? code : sh->code;
    if (r->status == PYEXEC_STATUS_EXITED) {
        sh->code = code;
        sh->leave = true;
    } else if (!r->session_alive) {
        restart(sh);
    }
}

static void take_failure(struct shell *sh, struct show *show, const struct pyexec_error *err)
{
    sh->code = show_failure(sh->cli, show, err);
    if (strcmp(err->reason, "SESSION_DEAD") == 0) {
        restart(sh);
    }
    /* Without a server, or without somewhere to write, there is nothing to go on with. */
    bool unreachable = err->code == PYEXEC_CODE_UNAVAILABLE && err->reason[0] == '\0';
    sh->leave = signals_stopping() || show->write_errno != 0 || unreachable ||
                err->code == PYEXEC_CODE_NOT_FOUND;
}

static void run_block(struct shell *sh)
{
    char name[32];
    char id[PYEXEC_ID_SIZE];
    struct pyexec_error err;
    struct pyexec_result *result;
    struct show show;
    if (!utf8_valid(sh->block.data, sh->block.len)) {
        cli_say("that is not UTF-8");
        return;
    }
    if (buf_append(&sh->block, "", 1) < 0 || pyexec_new_id(id, &err) < 0) {
        cli_say("can't run that: out of memory");
        return;
    }
    (void)snprintf(name, sizeof name, "shell-%u.py", ++sh->blocks);
    struct pyexec_spec spec = {
        .session_id = sh->session_id,
        .execution_id = id,
        .code = (const char *)sh->block.data,
        .filename = name,
        .timeout_ms = sh->timeout_ms,
    };
    show_init(&show, false);
    show.value = true;
    if (lines_is_terminal(sh->lines) && (show.feed = feed_new(sh->cli->client, true)) != NULL) {
        spec.stdin_mode = PYEXEC_STDIN_STREAM;
    }
    (void)fflush(stdout);
    signals_running(sh->session_id, id);
    int r = pyexec_execute(sh->cli->client, &spec, show_event, &show, &result, &err);
    signals_idle();
    feed_free(show.feed);
    end_line(sh, &show);
    if (r < 0) {
        take_failure(sh, &show, &err);
    } else {
        take_result(sh, result);
        pyexec_result_free(result);
    }
    show_release(&show);
}

static void finish_block(struct shell *sh)
{
    if (block_classify((const char *)sh->block.data, sh->block.len) != BLOCK_EMPTY) {
        run_block(sh);
    }
    buf_clear(&sh->block);
}

/* --- commands of the shell -------------------------------------------------------------------- */

static void print_shell_help(void)
{
    (void)printf("Python is read line by line; a blank line ends an indented block.\n"
                 "  %%session   the session, as `pyexec session show` has it\n"
                 "  %%restart   a fresh interpreter; variables are gone\n"
                 "  %%quit      leave, as Ctrl-D and exit() do\n"
                 "  %%help      this text\n");
}

static void print_shell_session(struct shell *sh)
{
    struct pyexec_error err;
    struct pyexec_session *s;
    if (pyexec_get_session(sh->cli->client, sh->session_id, &s, &err) < 0) {
        (void)cli_fail(sh->cli, &err);
        return;
    }
    (void)printf("%s  %s  executions %" PRIu64 "  directory %s\n", s->session_id,
                 pyexec_session_state_name(s->state), s->execution_count, s->working_directory);
    pyexec_session_free(s);
}

/* True when `line` was one of them. A line of Python never starts with %. */
static bool shell_command(struct shell *sh, const char *line, size_t n)
{
    char word[32];
    while (n > 0 && strchr(" \t\r\n", line[n - 1]) != NULL) {
        n--;
    }
    if (n == 0 || line[0] != '%') {
        return false;
    }
    (void)snprintf(word, sizeof word, "%.*s", (int)(n < 31 ? n : 31), line);
    if (strcmp(word, "%help") == 0) {
        print_shell_help();
    } else if (strcmp(word, "%session") == 0) {
        print_shell_session(sh);
    } else if (strcmp(word, "%restart") == 0) {
        restart(sh);
    } else if (strcmp(word, "%quit") == 0 || strcmp(word, "%exit") == 0) {
        sh->leave = true;
    } else {
        cli_say("no such command: %s\n  next: %%help", word);
    }
    (void)fflush(stdout);
    return true;
}

/* --- the loop --------------------------------------------------------------------------------- */

static bool is_blank(const char *line, size_t n)
{
    while (n > 0 && strchr(" \t\r\n", line[n - 1]) != NULL) {
        n--;
    }
    return n == 0;
}

static void remember(struct shell *sh, const char *line, size_t n)
{
    if (lines_is_terminal(sh->lines) && !is_blank(line, n)) {
        lines_remember(sh->lines, line);
    }
}

static void take_line(struct shell *sh, const char *line, size_t n)
{
    bool terminal = lines_is_terminal(sh->lines);
    enum block before = block_classify((const char *)sh->block.data, sh->block.len);
    remember(sh, line, n);
    if (before == BLOCK_SUITE && !terminal && !block_line_continues(line, n)) {
        finish_block(sh); /* a file's suites end where the next statement starts */
        before = BLOCK_EMPTY;
    }
    if (sh->leave || (before == BLOCK_EMPTY && shell_command(sh, line, n))) {
        return;
    }
    if (buf_append(&sh->block, line, n) < 0) {
        cli_say("a block has at most %u bytes", BLOCK_MAX);
        buf_clear(&sh->block);
        return;
    }
    enum block now = block_classify((const char *)sh->block.data, sh->block.len);
    if (now == BLOCK_EMPTY || now == BLOCK_COMPLETE ||
        (now == BLOCK_SUITE && terminal && is_blank(line, n))) {
        finish_block(sh);
    }
}

static int loop(struct shell *sh)
{
    const char *line;
    size_t n;
    while (!sh->leave && !signals_stopping()) {
        switch (lines_next(sh->lines, sh->block.len > 0 ? "... " : ">>> ", &line, &n)) {
        case LINES_LINE:
            take_line(sh, line, n);
            break;
        case LINES_INTERRUPT:
            buf_clear(&sh->block);
            break;
        case LINES_ERROR:
            return EXIT_USAGE;
        case LINES_END:
            if (lines_is_terminal(sh->lines)) {
                (void)printf("\n");
            } else {
                finish_block(sh);
            }
            /* A person leaves when done; a file's run went as its blocks went. */
            return lines_is_terminal(sh->lines) && !sh->leave ? EXIT_OK : sh->code;
        }
    }
    return sh->code;
}

static int shell_main(struct cli *cli, int argc, char **argv)
{
    static struct shell sh; /* zeroed */
    static struct pair_list env;
    const char *session = NULL;
    const struct option_row rows[] = {
        {"--session", "ID", OPTION_TEXT, &session, "use this session; else one of its own"},
        {"--timeout", "TIME", OPTION_DURATION, &sh.timeout_ms, "time limit of each block"},
        {"--env", "NAME=VALUE", OPTION_PAIR, &env, "environment of its own session; repeatable"},
        {NULL, NULL, OPTION_FLAG, NULL, NULL},
    };
    int code = cli_options(cli, &cmd_shell, rows, argc, argv, &argc);
    if (code >= 0) {
        return code;
    }
    if (argc != 1) {
        return cli_usage(&cmd_shell, "shell takes no argument");
    }
    sh.cli = cli;
    buf_init(&sh.block, BLOCK_MAX);
    if ((code = cli_connect(cli)) == EXIT_OK &&
        (code = open_session(&sh, session, &env)) == EXIT_OK) {
        sh.lines = lines_new();
        if (sh.lines != NULL) {
            if (lines_is_terminal(sh.lines)) {
                signals_ignore_idle_interrupt();
            }
            greet(&sh);
            code = loop(&sh);
            lines_free(sh.lines);
        } else {
            code = EXIT_SERVICE;
        }
        close_session(&sh);
    }
    buf_release(&sh.block);
    return code;
}

const struct command cmd_shell = {
    "shell",
    "",
    "a REPL on a session",
    "Reads Python line by line and runs it in a session: line editing, history, streamed output,\n"
    "the value of each expression. Ctrl-C interrupts, Ctrl-D leaves. Without a terminal it runs\n"
    "the standard input block by block and exits with the code of the last block that failed.",
    shell_main,
};
