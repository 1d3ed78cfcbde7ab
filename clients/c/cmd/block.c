#include "clients/c/cmd/block.h"

#include <string.h>

struct scan {
    const char *p;
    const char *end;
    int depth;      /* of brackets */
    bool in_string; /* a triple-quoted one is open at the end */
    bool backslash; /* the last line goes on */
    bool any;       /* some code was seen */
    bool suite;     /* some statement opens a suite, or the last line is indented */
    char last;      /* last character of code in the last logical line, 0: none */
    bool decorator; /* the last logical line is one */
};

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           (unsigned char)c >= 0x80;
}

static bool starts_with_word(const char *p, const char *end, const char *const *words)
{
    size_t len = 0;
    while (p + len < end && is_word(p[len])) {
        len++;
    }
    for (; *words != NULL; words++) {
        if (strlen(*words) == len && memcmp(*words, p, len) == 0) {
            return true;
        }
    }
    return false;
}

/* From the opening quote to behind the closing one; a string in single quotes ends with its line,
 * as the error that Python will report. */
static void scan_string(struct scan *s)
{
    char quote = *s->p;
    bool triple = s->end - s->p >= 3 && s->p[1] == quote && s->p[2] == quote;
    s->p += triple ? 3 : 1;
    while (s->p < s->end) {
        if (*s->p == '\\' && s->p + 1 < s->end) {
            s->p += 2;
        } else if (!triple && (*s->p == quote || *s->p == '\n')) {
            s->p += *s->p == quote;
            return;
        } else if (triple && s->end - s->p >= 3 && s->p[0] == quote && s->p[1] == quote &&
                   s->p[2] == quote) {
            s->p += 3;
            return;
        } else {
            s->p++;
        }
    }
    s->in_string = triple;
}

/* One logical line, its newline included. */
static void scan_line(struct scan *s)
{
    static const char *const compound[] = {"if",  "for",  "while", "def", "class",
                                           "try", "with", "async", NULL};
    const char *start = s->p;
    while (s->p < s->end && (*s->p == ' ' || *s->p == '\t' || *s->p == '\f')) {
        s->p++;
    }
    if (s->p < s->end && *s->p != '\n' && *s->p != '#') {
        s->any = true;
        s->last = '\0';
        s->decorator = *s->p == '@';
        s->suite |= s->p > start || starts_with_word(s->p, s->end, compound);
    }
    s->backslash = false;
    while (s->p < s->end) {
        char c = *s->p;
        if (c == '\n' && s->depth <= 0) {
            s->p++;
            return;
        }
        if (c == '#') {
            while (s->p < s->end && *s->p != '\n') {
                s->p++;
            }
            continue;
        }
        if (c == '"' || c == '\'') {
            s->last = c;
            scan_string(s);
            continue;
        }
        if (c == '\\' && s->p + 1 < s->end && s->p[1] == '\n') {
            s->p += 2;
            s->backslash = s->p == s->end;
            continue;
        }
        s->depth += c == '(' || c == '[' || c == '{';
        s->depth -= c == ')' || c == ']' || c == '}';
        s->last = c == ' ' || c == '\t' || c == '\n' || c == '\r' ? s->last : c;
        s->p++;
    }
}

enum block block_classify(const char *text, size_t n)
{
    struct scan s = {.p = text, .end = text + n};
    while (s.p < s.end) {
        scan_line(&s);
        s.suite |= s.last == ':' && s.depth == 0;
    }
    if (s.in_string || s.depth > 0 || s.backslash) {
        return BLOCK_OPEN;
    }
    if (!s.any) {
        return BLOCK_EMPTY;
    }
    if (s.decorator) {
        return BLOCK_OPEN;
    }
    return s.suite ? BLOCK_SUITE : BLOCK_COMPLETE;
}

bool block_line_continues(const char *line, size_t n)
{
    static const char *const words[] = {"else", "elif", "except", "finally", NULL};
    if (n == 0 || strchr(" \t\r\n\f#", line[0]) != NULL) {
        return true;
    }
    return starts_with_word(line, line + n, words);
}
