/* lines.h: lines from a person at a terminal (edited, with a history that stays) or from a pipe. */
#ifndef PYEXEC_CLIENTS_C_CMD_LINES_H
#define PYEXEC_CLIENTS_C_CMD_LINES_H

#include <stdbool.h>
#include <stddef.h>

#define LINES_MAX (16u << 20) /* one line */

struct lines;

enum lines_event {
    LINES_LINE,
    LINES_INTERRUPT, /* Ctrl-C at the prompt */
    LINES_END,
    LINES_ERROR, /* said already */
};

/* NULL after a message. */
struct lines *lines_new(void);
void lines_free(struct lines *lines); /* writes the history */
bool lines_is_terminal(const struct lines *lines);

/* The next line with its newline (added to a last one without); valid until the next call. The
 * prompt is shown on a terminal only. */
enum lines_event lines_next(struct lines *lines, const char *prompt, const char **ret_line,
                            size_t *ret_len);

/* Adds an entry, of one or more lines, to the history. */
void lines_remember(struct lines *lines, const char *text);

#endif
