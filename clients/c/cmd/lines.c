#include "clients/c/cmd/lines.h"

#include <errno.h>
#include <histedit.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <wchar.h>

#include "clients/c/cmd/cli.h"
#include "clients/c/cmd/signals.h"
#include "service/base/buf.h"

#define HISTORY_ENTRIES 2000
#define PATH_SIZE 4096
#define READ_SIZE 65536u
#define CTRL_C 3
#define INDENT 4

struct lines {
    bool terminal;
    EditLine *edit;
    History *history;
    char history_path[PATH_SIZE]; /* "": none */
    const char *prompt;
    bool interrupted; /* by Ctrl-C in the line being edited */
    unsigned spaces;  /* of an indentation, still to be given out */
    /* Without a terminal: what was read, of which `taken` bytes were given out. */
    struct buf input;
    size_t taken;
    bool ended;
};

static char *prompt_of(EditLine *edit)
{
    struct lines *l = NULL;
    (void)el_get(edit, EL_CLIENTDATA, &l);
    return (char *)l->prompt;
}

/* The editor's way to a character: as its own, but ended by signals; Ctrl-C ends the line, Tab
 * indents. (Functions of our own could be bound to keys as well, but libedit leaks their names.) */
static int read_character(EditLine *edit, wchar_t *ret_character)
{
    struct lines *l = NULL;
    mbstate_t state = {0};
    char c;
    (void)el_get(edit, EL_CLIENTDATA, &l);
    if (l->spaces > 0) {
        l->spaces--;
        *ret_character = L' ';
        return 1;
    }
    while (signals_wait_input(0) && read(0, &c, 1) == 1) {
        size_t n = mbrtowc(ret_character, &c, 1, &state);
        if (n == (size_t)-1) {
            state = (mbstate_t){0}; /* no character of this locale: left out */
        } else if (n != (size_t)-2) {
            if (c == CTRL_C) {
                l->interrupted = true;
                *ret_character = L'\n';
            } else if (c == '\t') {
                l->spaces = INDENT - 1;
                *ret_character = L' ';
            }
            return 1;
        }
    }
    return 0;
}

/* $XDG_STATE_HOME/pyexec_history, else ~/.pyexec_history. */
static void find_history(struct lines *l)
{
    const char *state = getenv("XDG_STATE_HOME");
    const char *home = getenv("HOME");
    int n = -1;
    if (state != NULL && state[0] == '/') {
        n = snprintf(l->history_path, sizeof l->history_path, "%s/pyexec_history", state);
    } else if (home != NULL && home[0] == '/') {
        n = snprintf(l->history_path, sizeof l->history_path, "%s/.pyexec_history", home);
    }
    if (n < 0 || (size_t)n >= sizeof l->history_path) {
        l->history_path[0] = '\0';
    }
}

static int start_editor(struct lines *l)
{
    HistEvent event;
    l->edit = el_init("pyexec", stdin, stdout, stderr);
    l->history = history_init();
    if (l->edit == NULL || l->history == NULL) {
        cli_say("can't edit lines on this terminal");
        return -1;
    }
    (void)history(l->history, &event, H_SETSIZE, HISTORY_ENTRIES);
    (void)history(l->history, &event, H_SETUNIQUE, 1);
    find_history(l);
    if (l->history_path[0] != '\0') {
        (void)history(l->history, &event, H_LOAD, l->history_path);
    }
    (void)el_set(l->edit, EL_CLIENTDATA, l);
    (void)el_set(l->edit, EL_PROMPT, prompt_of);
    (void)el_set(l->edit, EL_GETCFN, read_character);
    (void)el_set(l->edit, EL_EDITOR, "emacs");
    (void)el_set(l->edit, EL_HIST, history, l->history);
    (void)el_source(l->edit, NULL); /* ~/.editrc, before what must hold */
    (void)el_set(l->edit, EL_BIND, "^R", "em-inc-search-prev", NULL);
    /* While a line is edited Ctrl-C is a key; while code runs it is a signal. */
    (void)el_set(l->edit, EL_SETTY, "-d", "-isig", NULL);
    return 0;
}

struct lines *lines_new(void)
{
    struct lines *l = calloc(1, sizeof *l);
    if (l == NULL) {
        cli_say("out of memory");
        return NULL;
    }
    buf_init(&l->input, LINES_MAX);
    l->terminal = isatty(0) && isatty(1);
    if (l->terminal && start_editor(l) < 0) {
        lines_free(l);
        return NULL;
    }
    return l;
}

static void save_history(struct lines *l)
{
    HistEvent event;
    if (l->history_path[0] == '\0') {
        return;
    }
    mode_t mask = umask(077);
    if (history(l->history, &event, H_SAVE, l->history_path) < 0) {
        cli_say("can't write the history %s: %s", l->history_path, strerror(errno));
    }
    (void)umask(mask);
}

void lines_free(struct lines *l)
{
    if (l == NULL) {
        return;
    }
    if (l->history != NULL) {
        save_history(l);
        history_end(l->history);
    }
    if (l->edit != NULL) {
        el_end(l->edit);
    }
    buf_release(&l->input);
    free(l);
}

bool lines_is_terminal(const struct lines *l)
{
    return l->terminal;
}

static enum lines_event next_edited(struct lines *l, const char *prompt, const char **ret_line,
                                    size_t *ret_len)
{
    int n = 0;
    l->prompt = prompt;
    l->interrupted = false;
    l->spaces = 0;
    /* By itself libedit shows the prompt first: a Ctrl-D typed in between would be lost. */
    (void)el_set(l->edit, EL_PREP_TERM, 1);
    const char *line = el_gets(l->edit, &n);
    if (l->interrupted) {
        (void)fputs("^C\n", stdout);
        return LINES_INTERRUPT;
    }
    if (line == NULL || n <= 0 || signals_stopping()) {
        return LINES_END;
    }
    *ret_line = line;
    *ret_len = (size_t)n;
    return LINES_LINE;
}

/* Reads on until there is a newline in what is not taken yet; a last line gets one. */
static enum lines_event fill(struct lines *l, size_t *ret_len)
{
    size_t searched = l->taken;
    for (;;) {
        const uint8_t *newline = l->input.len > searched ? memchr(l->input.data + searched, '\n',
                                                                  l->input.len - searched)
                                                         : NULL;
        if (newline != NULL) {
            *ret_len = (size_t)(newline + 1 - (l->input.data + l->taken));
            return LINES_LINE;
        }
        buf_consume(&l->input, l->taken);
        l->taken = 0;
        if (l->ended && l->input.len == 0) {
            return LINES_END;
        }
        searched = l->input.len;
        uint8_t *room = buf_reserve(&l->input, READ_SIZE);
        if (room == NULL) {
            cli_say("a line of the standard input has more than %u bytes", LINES_MAX - READ_SIZE);
            return LINES_ERROR;
        }
        if (!signals_wait_input(0)) {
            return LINES_END;
        }
        ssize_t n = l->ended ? 0 : read(0, room, READ_SIZE);
        if (n < 0 && errno != EINTR && errno != EAGAIN) {
            cli_say("can't read the standard input: %s", strerror(errno));
            return LINES_ERROR;
        }
        if (n == 0) {
            l->ended = true;
            if (l->input.len > 0) {
                room[0] = '\n';
                n = 1;
            }
        }
        l->input.len += n > 0 ? (size_t)n : 0;
    }
}

enum lines_event lines_next(struct lines *l, const char *prompt, const char **ret_line,
                            size_t *ret_len)
{
    size_t n;
    if (l->terminal) {
        return next_edited(l, prompt, ret_line, ret_len);
    }
    enum lines_event event = fill(l, &n);
    if (event != LINES_LINE) {
        return event;
    }
    const uint8_t *line = l->input.data + l->taken;
    if (memchr(line, '\0', n) != NULL) {
        cli_say("the standard input is no Python source: it has a NUL byte");
        return LINES_ERROR;
    }
    l->taken += n;
    *ret_line = (const char *)line;
    *ret_len = n;
    return LINES_LINE;
}

void lines_remember(struct lines *l, const char *text)
{
    HistEvent event;
    if (l->history != NULL) {
        (void)history(l->history, &event, H_ENTER, text);
    }
}
