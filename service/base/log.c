#include "service/base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES 4096

static const char *const level_names[] = {"debug", "info", "warn", "error"};
static const char *log_role = "daemon";
static enum log_level log_least = LOG_INFO;

struct line {
    char text[LINE_MAX_BYTES];
    size_t len;
};

void log_setup(const char *role, enum log_level least)
{
    log_role = role;
    log_least = least;
}

int log_level_parse(const char *name, enum log_level *ret_level)
{
    for (unsigned i = 0; i < sizeof level_names / sizeof *level_names; i++) {
        if (strcmp(name, level_names[i]) == 0) {
            *ret_level = (enum log_level)i;
            return 0;
        }
    }
    return -1;
}

/* Leaves room for the closing quote, brace and newline. */
static void put(struct line *l, char c)
{
    if (l->len < sizeof l->text - 8) {
        l->text[l->len++] = c;
    }
}

static void put_raw(struct line *l, const char *s)
{
    while (*s) {
        put(l, *s++);
    }
}

static void put_string(struct line *l, const char *s)
{
    put(l, '"');
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        if (c == '"' || c == '\\') {
            put(l, '\\');
            put(l, (char)c);
        } else if (c < 0x20 || c == 0x7f) {
            char esc[8];
            (void)snprintf(esc, sizeof esc, "\\u%04x", c);
            put_raw(l, esc);
        } else {
            put(l, (char)c);
        }
    }
    /* The quote must fit even when the line is full. */
    l->text[l->len++] = '"';
}

static void put_field(struct line *l, const char *key, const char *value)
{
    if (l->len > sizeof l->text - 64) {
        return;
    }
    put(l, ',');
    put_string(l, key);
    put(l, ':');
    if (value == NULL) {
        put_raw(l, "null");
    } else {
        put_string(l, value);
    }
}

static void begin(struct line *l, enum log_level level, const char *event)
{
    struct timespec ts;
    struct tm tm;
    char when[64];
    char head[128];
    (void)clock_gettime(CLOCK_REALTIME, &ts);
    (void)gmtime_r(&ts.tv_sec, &tm);
    (void)strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S", &tm);
    (void)snprintf(head, sizeof head, "{\"time\":\"%s.%06ldZ\",\"level\":\"%s\",\"role\":\"%s\"",
                   when, ts.tv_nsec / 1000, level_names[level], log_role);
    l->len = 0;
    put_raw(l, head);
    (void)snprintf(head, sizeof head, ",\"pid\":%d", (int)getpid());
    put_raw(l, head);
    put_field(l, "event", event);
}

static void end(struct line *l)
{
    l->text[l->len++] = '}';
    l->text[l->len++] = '\n';
    /* A log that can't be written must not stop the service. */
    ssize_t ignored = write(STDERR_FILENO, l->text, l->len);
    (void)ignored;
}

void log_event(enum log_level level, const char *event, ...)
{
    if (level < log_least) {
        return;
    }
    struct line l;
    begin(&l, level, event);
    va_list ap;
    va_start(ap, event);
    for (const char *key; (key = va_arg(ap, const char *)) != NULL;) {
        put_field(&l, key, va_arg(ap, const char *));
    }
    va_end(ap);
    end(&l);
}

void log_err(enum log_level level, const char *event, const char *session_id, const struct err *err)
{
    char number[16];
    (void)snprintf(number, sizeof number, "%d", err->sys_errno);
    log_event(level, event, "session", session_id, "reason", err_reason(err->code), "stage",
              err->stage, "errno", number, "text", err->text, (char *)NULL);
}
