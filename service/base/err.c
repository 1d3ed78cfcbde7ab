#include "service/base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "service/base/utf8.h"

struct err_fact {
    int status;
    const char *reason;
    uint32_t retry_ms;
};

#define ERR_FACT(code, status, reason, retry) [code] = {status, reason, retry},
static const struct err_fact facts[ERR_COUNT] = {
    [ERR_NONE] = {0, "OK", 0}, ERR_TABLE(ERR_FACT) /* each row ends in a comma */
};
#undef ERR_FACT

static const struct err_fact *fact(enum err_code code)
{
    return (unsigned)code < ERR_COUNT ? &facts[code] : &facts[ERR_INTERNAL];
}

int err_grpc_status(enum err_code code)
{
    return fact(code)->status;
}

const char *err_reason(enum err_code code)
{
    return fact(code)->reason;
}

uint32_t err_retry_ms(enum err_code code)
{
    return fact(code)->retry_ms;
}

/* A text that fills its room was cut, perhaps inside a UTF-8 sequence: drop the broken tail. */
static void trim_utf8(char *text, size_t size)
{
    size_t n = strnlen(text, size);
    if (n + 1 >= size) {
        text[utf8_boundary(text, n)] = '\0';
    }
}

__attribute__((format(printf, 5, 0))) static int fill(struct err *err, enum err_code code,
                                                      int sys_errno, const char *stage,
                                                      const char *fmt, va_list ap)
{
    if (err == NULL) {
        return -1;
    }
    err->code = code;
    err->sys_errno = sys_errno;
    err->stage = stage;
    err->detail_key = NULL;
    err->detail[0] = '\0';
    (void)vsnprintf(err->text, sizeof err->text, fmt, ap);
    trim_utf8(err->text, sizeof err->text);
    return -1;
}

int(err_set)(struct err *err, enum err_code code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int r = fill(err, code, 0, NULL, fmt, ap);
    va_end(ap);
    return r;
}

int(err_sys)(struct err *err, enum err_code code, int sys_errno, const char *stage, const char *fmt,
             ...)
{
    va_list ap;
    va_start(ap, fmt);
    int r = fill(err, code, sys_errno, stage, fmt, ap);
    va_end(ap);
    return r;
}

int(err_field)(struct err *err, const char *field, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int r = fill(err, ERR_INVALID_FIELD, 0, NULL, fmt, ap);
    va_end(ap);
    err_detail(err, "field", field);
    return r;
}

void err_detail(struct err *err, const char *key, const char *value)
{
    if (err == NULL) {
        return;
    }
    err->detail_key = key;
    (void)snprintf(err->detail, sizeof err->detail, "%s", value);
    trim_utf8(err->detail, sizeof err->detail);
}

void err_wrap(struct err *err, const char *context)
{
    if (err == NULL) {
        return;
    }
    char old[ERR_TEXT_MAX];
    memcpy(old, err->text, sizeof old);
    int n = snprintf(err->text, sizeof err->text, "%s: ", context);
    size_t at = n < 0 ? 0 : (size_t)n;
    if (at < sizeof err->text) {
        size_t room = sizeof err->text - at - 1;
        size_t len = strnlen(old, room);
        memcpy(err->text + at, old, len);
        err->text[at + len] = '\0';
    }
    trim_utf8(err->text, sizeof err->text);
}
