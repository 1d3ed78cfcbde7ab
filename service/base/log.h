/* log.h: the daemon's log: one JSON object a line on stderr.
 *
 * Thread-safe; one write(2) a line, cut at 4 KiB. Never code, output, tokens or environment:
 * callers give identifiers and facts. */
#ifndef PYEXEC_BASE_LOG_H
#define PYEXEC_BASE_LOG_H

#include "service/base/err.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

/* Set once, before threads start. `role` is a static string: "daemon", "launcher", "zygote". */
void log_setup(const char *role, enum log_level least);
int log_level_parse(const char *name, enum log_level *ret_level); /* 0 or -1 */

/* {"time":…,"level":…,"role":…,"pid":…,"event":EVENT, key: value …}. Fields are pairs of
 * strings ended by NULL; a value may be NULL (shown as null). */
void log_event(enum log_level level, const char *event, ...) __attribute__((sentinel));

/* The same with the facts of `err`, and the session id (NULL when there is none). */
void log_err(enum log_level level, const char *event, const char *session_id,
             const struct err *err);

#endif
