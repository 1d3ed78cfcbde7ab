/* block.h: when a REPL has read enough: lines → a block of Python to run. Pure.
 *
 * A heuristic over brackets, strings, backslashes and colons, never a parser: what it takes for
 * complete and isn't, Python itself refuses with a SyntaxError. */
#ifndef PYEXEC_CLIENTS_C_CMD_BLOCK_H
#define PYEXEC_CLIENTS_C_CMD_BLOCK_H

#include <stdbool.h>
#include <stddef.h>

enum block {
    BLOCK_EMPTY,    /* blank lines and comments */
    BLOCK_COMPLETE, /* simple statements: run it */
    BLOCK_SUITE, /* an indented suite may go on: a blank line, or a line at the margin, ends it */
    BLOCK_OPEN,  /* inside brackets or a string, after a backslash or a decorator */
};

/* `text` is whole lines, each with its newline. */
enum block block_classify(const char *text, size_t n);

/* Whether `line` goes on with the suite before it although it starts at the margin: else, elif,
 * except, finally; also blank lines, comments, and anything indented. */
bool block_line_continues(const char *line, size_t n);

#endif
