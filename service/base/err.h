/* err.h: the one error object, and the one table of error codes.
 *
 * A fallible function is `int f(..., T *ret_x, struct err *err)`: 0 or a negative value, `ret_*`
 * untouched on failure. `struct err` is owned by the caller, has a fixed size and allocates
 * nothing, so that out of memory can be reported too. (Shape after crun's libcrun_error.)
 *
 * Only FAULTs (ours, or the caller's) live here: each becomes a gRPC status with an ErrorInfo
 * reason. What the user's code did is an OUTCOME: a field of ExecutionResult, never an err. */
#ifndef PYEXEC_BASE_ERR_H
#define PYEXEC_BASE_ERR_H

#include <stdbool.h>
#include <stdint.h>

/* X(code, grpc status number, ErrorInfo.reason, retry delay in ms or 0 where waiting won't help) */
#define ERR_TABLE(X)                                         \
    X(ERR_INVALID_FIELD, 3, "INVALID_FIELD", 0)              \
    X(ERR_CODE_TOO_LARGE, 3, "CODE_TOO_LARGE", 0)            \
    X(ERR_SESSION_NOT_FOUND, 5, "SESSION_NOT_FOUND", 0)      \
    X(ERR_SESSION_EXPIRED, 5, "SESSION_EXPIRED", 0)          \
    X(ERR_SESSION_LOST, 5, "SESSION_LOST", 0)                \
    X(ERR_WRONG_NODE, 14, "WRONG_NODE", 0)                   \
    X(ERR_SESSION_DEAD, 9, "SESSION_DEAD", 0)                \
    X(ERR_SESSION_BUSY, 10, "SESSION_BUSY", 100)             \
    X(ERR_SESSION_QUEUE_FULL, 8, "SESSION_QUEUE_FULL", 1000) \
    X(ERR_QUOTA_EXCEEDED, 8, "QUOTA_EXCEEDED", 0)            \
    X(ERR_NODE_AT_CAPACITY, 14, "NODE_AT_CAPACITY", 1000)    \
    X(ERR_SERVER_DRAINING, 14, "SERVER_DRAINING", 1000)      \
    X(ERR_FORK_FAILED, 14, "FORK_FAILED", 500)               \
    X(ERR_FORK_UNSAFE, 9, "FORK_UNSAFE", 0)                  \
    X(ERR_TEMPLATE_NOT_FOUND, 5, "TEMPLATE_NOT_FOUND", 0)    \
    X(ERR_EXECUTION_NOT_FOUND, 5, "EXECUTION_NOT_FOUND", 0)  \
    X(ERR_EXECUTION_ID_REUSED, 6, "EXECUTION_ID_REUSED", 0)  \
    X(ERR_REQUEST_ID_REUSED, 6, "REQUEST_ID_REUSED", 0)      \
    X(ERR_SEQ_OUT_OF_RANGE, 11, "SEQ_OUT_OF_RANGE", 0)       \
    X(ERR_STDIN_CLOSED, 9, "STDIN_CLOSED", 0)                \
    X(ERR_STDIN_OFFSET, 11, "STDIN_OFFSET", 0)               \
    X(ERR_FILE_NOT_FOUND, 5, "FILE_NOT_FOUND", 0)            \
    X(ERR_FILE_DENIED, 7, "FILE_DENIED", 0)                  \
    X(ERR_PATH_OUTSIDE_ROOT, 3, "PATH_OUTSIDE_ROOT", 0)      \
    X(ERR_DISK_QUOTA, 8, "DISK_QUOTA", 0)                    \
    X(ERR_TOKEN_MISSING, 16, "TOKEN_MISSING", 0)             \
    X(ERR_TOKEN_INVALID, 16, "TOKEN_INVALID", 0)             \
    X(ERR_SESSION_NOT_OWNED, 7, "SESSION_NOT_OWNED", 0)      \
    X(ERR_UNIMPLEMENTED, 12, "UNIMPLEMENTED", 0)             \
    X(ERR_NO_MEMORY, 8, "OUT_OF_MEMORY", 1000)               \
    X(ERR_INTERNAL, 13, "INTERNAL", 0)

enum err_code {
    ERR_NONE = 0,
#define ERR_ENUM(code, status, reason, retry) code,
    ERR_TABLE(ERR_ENUM)
#undef ERR_ENUM
        ERR_COUNT
};

#define ERR_TEXT_MAX 256
#define ERR_DETAIL_MAX 128

struct err {
    enum err_code code;
    int sys_errno;               /* 0 when no system call was involved */
    const char *stage;           /* static string: what was being done, or NULL */
    const char *detail_key;      /* static string: key of an ErrorInfo.metadata entry, or NULL */
    char detail[ERR_DETAIL_MAX]; /* its value; for ERR_INVALID_FIELD the key is "field" */
    char text[ERR_TEXT_MAX];     /* one sentence for a person: what is wrong, what to do */
};

/* Fills `err` (NULL is allowed: nothing is filled) and returns -1, so that a caller can
 * `return err_set(...)`. Text longer than the room is cut at a UTF-8 boundary. */
int err_set(struct err *err, enum err_code code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The same with errno (given, so that it can't be lost) and the stage, a static string. */
int err_sys(struct err *err, enum err_code code, int sys_errno, const char *stage, const char *fmt,
            ...) __attribute__((format(printf, 5, 6)));

/* Bad field of a request: INVALID_FIELD with metadata field=`field`. */
int err_field(struct err *err, const char *field, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* That all three return -1, for compilers and analyzers that look at a caller alone. */
#define err_set(...) ((err_set)(__VA_ARGS__), -1)
#define err_sys(...) ((err_sys)(__VA_ARGS__), -1)
#define err_field(...) ((err_field)(__VA_ARGS__), -1)

/* Adds one ErrorInfo.metadata entry; `key` is a static string, `value` is copied and cut. */
void err_detail(struct err *err, const char *key, const char *value);

/* Puts "`context`: " before the text. */
void err_wrap(struct err *err, const char *context);

/* Facts of a code; total: an unknown code gives those of ERR_INTERNAL. */
int err_grpc_status(enum err_code code);
const char *err_reason(enum err_code code);
uint32_t err_retry_ms(enum err_code code);

#endif
