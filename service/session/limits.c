/* limits.c: requests checked against every bound before anything is done. Pure. */
#include <stdlib.h>
#include <string.h>

#include "service/base/utf8.h"
#include "service/session/internal.h"

#define DURATION_MOST (INT64_C(315576000000)) /* seconds: protobuf's own bound of a Duration */
#define FILENAME_MOST 255
#define PATH_MOST 4095
#define PAGE_DEFAULT 100
#define PAGE_MOST 1000

static int text(const char *field, const char *value, size_t most, struct err *err)
{
    size_t n = strlen(value);
    if (n > most) {
        return err_field(err, field, "%s has %zu bytes, the most is %zu", field, n, most);
    }
    return utf8_valid(value, n) ? 0 : err_field(err, field, "%s is not valid UTF-8", field);
}

int limits_duration(const char *field, const Google__Protobuf__Duration *d, int64_t *ret_ns,
                    struct err *err)
{
    if (d == NULL) {
        *ret_ns = 0;
        return 0;
    }
    if (d->seconds < 0 || d->nanos < 0 || d->nanos >= NS_PER_SEC || d->seconds > DURATION_MOST) {
        return err_field(err, field, "%s must be a duration of 0 or more", field);
    }
    *ret_ns = d->seconds > INT64_MAX / NS_PER_SEC - 1 ? CLOCK_NEVER - 1
                                                      : d->seconds * NS_PER_SEC + d->nanos;
    return 0;
}

static int duration(const char *field, const Google__Protobuf__Duration *d, struct err *err)
{
    int64_t ns;
    if (limits_duration(field, d, &ns, err) < 0) {
        return -1;
    }
    return d != NULL && d->seconds > INT64_MAX / NS_PER_SEC - 1
               ? err_field(err, field, "%s is longer than this server can count", field)
               : 0;
}

int limits_id(const char *field, const char *id, bool required, struct err *err)
{
    if (id[0] == '\0') {
        return required ? err_field(err, field, "%s is missing", field) : 0;
    }
    return id_client_valid(id) ? 0
                               : err_field(err, field, "%s must be 1 to %d of A-Z a-z 0-9 . _ : -",
                                           field, ID_CLIENT_MAX);
}

/* Map entries of all messages have the same shape. */
struct entry {
    ProtobufCMessage base;
    char *key;
    char *value;
};

static int labels(const struct engine *e, const void *entries, size_t n, struct err *err)
{
    struct entry *const *all = entries;
    const struct engine_limits *l = &e->limits;
    if (n > l->max_labels) {
        return err_field(err, "labels", "%zu labels, the most is %u", n, l->max_labels);
    }
    for (size_t i = 0; i < n; i++) {
        if (text("labels", all[i]->key, l->max_label_bytes, err) < 0 ||
            text("labels", all[i]->value, l->max_label_bytes, err) < 0) {
            return -1;
        }
    }
    return 0;
}

static int environment(const struct engine *e, const void *entries, size_t n, struct err *err)
{
    struct entry *const *all = entries;
    const struct engine_limits *l = &e->limits;
    size_t total = 0;
    if (n > l->max_env) {
        return err_field(err, "env", "%zu variables, the most is %u", n, l->max_env);
    }
    for (size_t i = 0; i < n; i++) {
        if (text("env", all[i]->key, l->max_env_bytes, err) < 0 ||
            text("env", all[i]->value, l->max_env_bytes, err) < 0) {
            return -1;
        }
        if (all[i]->key[0] == '\0' || strchr(all[i]->key, '=') != NULL) {
            return err_field(err, "env", "a variable's name is empty or contains '='");
        }
        total += strlen(all[i]->key) + strlen(all[i]->value);
    }
    return total <= l->max_env_bytes
               ? 0
               : err_field(err, "env", "%zu bytes of variables, the most is %u", total,
                           l->max_env_bytes);
}

static int enums(const Pyexec__V1__ExecutionSpec *spec, struct err *err)
{
    if ((unsigned)spec->busy_policy > 2) {
        return err_field(err, "busy_policy", "no such busy_policy");
    }
    if ((unsigned)spec->stdin_mode > 3) {
        return err_field(err, "stdin_mode", "no such stdin_mode");
    }
    if ((unsigned)spec->overflow_policy > 2) {
        return err_field(err, "overflow_policy", "no such overflow_policy");
    }
    if ((unsigned)spec->traceback_style > 2) {
        return err_field(err, "traceback_style", "no such traceback_style");
    }
    return 0;
}

static int standard_input(const struct engine *e, const Pyexec__V1__ExecutionSpec *spec,
                          struct err *err)
{
    if (spec->stdin.len > e->limits.max_stdin_bytes) {
        return err_field(err, "stdin", "%zu bytes of stdin, the most is %llu", spec->stdin.len,
                         (unsigned long long)e->limits.max_stdin_bytes);
    }
    bool taken = spec->stdin_mode == PYEXEC__V1__EXECUTION_SPEC__STDIN_MODE__STDIN_MODE_INLINE ||
                 spec->stdin_mode == PYEXEC__V1__EXECUTION_SPEC__STDIN_MODE__STDIN_MODE_STREAM;
    return spec->stdin.len == 0 || taken
               ? 0
               : err_field(err, "stdin", "stdin needs stdin_mode INLINE or STREAM");
}

static int file_name(const Pyexec__V1__ExecutionSpec *spec, struct err *err)
{
    const char *name = spec->filename;
    if (text("filename", name, FILENAME_MOST, err) < 0) {
        return -1;
    }
    bool plain = strchr(name, '/') == NULL && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
    return plain || !spec->write_source_file
               ? 0
               : err_field(err, "filename", "write_source_file needs a plain file name");
}

int limits_spec(const struct engine *e, const Pyexec__V1__ExecutionSpec *spec, struct err *err)
{
    if (spec == NULL) {
        return err_field(err, "spec", "spec is missing");
    }
    size_t n = strlen(spec->code);
    if (n > e->limits.max_code_bytes) {
        return err_set(err, ERR_CODE_TOO_LARGE, "the code has %zu bytes, the most is %llu", n,
                       (unsigned long long)e->limits.max_code_bytes);
    }
    if (!utf8_valid(spec->code, n)) {
        return err_field(err, "code", "code is not valid UTF-8");
    }
    if (spec->max_output_bytes > e->limits.max_output_bytes) {
        return err_field(err, "max_output_bytes", "max_output_bytes is %llu, the most is %llu",
                         (unsigned long long)spec->max_output_bytes,
                         (unsigned long long)e->limits.max_output_bytes);
    }
    if (duration("timeout", spec->timeout, err) < 0 ||
        duration("reattach_grace", spec->reattach_grace, err) < 0 ||
        duration("heartbeat_interval", spec->heartbeat_interval, err) < 0 || enums(spec, err) < 0 ||
        standard_input(e, spec, err) < 0 || file_name(spec, err) < 0 ||
        environment(e, spec->env, spec->n_env, err) < 0) {
        return -1;
    }
    return labels(e, spec->labels, spec->n_labels, err);
}

/* What this version can't enforce it refuses, rather than promise it. */
static int resource_limits(const struct engine *e, const Pyexec__V1__ResourceLimits *r,
                           struct err *err)
{
    if (r == NULL) {
        return 0;
    }
    const char *missing = r->memory_bytes != 0 ? "limits.memory_bytes"
                          : r->cpu_time != NULL && (r->cpu_time->seconds || r->cpu_time->nanos)
                              ? "limits.cpu_time"
                          : r->max_processes != 0 ? "limits.max_processes"
                          : r->disk_bytes != 0    ? "limits.disk_bytes"
                                                  : NULL;
    if (missing != NULL) {
        return err_field(err, missing, "this server does not enforce %s: leave it at 0", missing);
    }
    if (r->max_output_bytes > e->limits.max_output_bytes) {
        return err_field(err, "limits.max_output_bytes", "the most is %llu",
                         (unsigned long long)e->limits.max_output_bytes);
    }
    return duration("limits.max_timeout", r->max_timeout, err);
}

int limits_create(const struct engine *e, const Pyexec__V1__CreateSessionRequest *q,
                  struct err *err)
{
    if (limits_id("request_id", q->request_id, false, err) < 0 ||
        duration("idle_timeout", q->idle_timeout, err) < 0 ||
        duration("max_lifetime", q->max_lifetime, err) < 0 ||
        text("working_directory", q->working_directory, PATH_MOST, err) < 0 ||
        text("template_id", q->template_id, ID_CLIENT_MAX, err) < 0 ||
        environment(e, q->env, q->n_env, err) < 0 || labels(e, q->labels, q->n_labels, err) < 0 ||
        resource_limits(e, q->limits, err) < 0) {
        return -1;
    }
    if (q->template_id[0] != '\0' && strcmp(q->template_id, TEMPLATE_DEFAULT) != 0) {
        return err_set(err, ERR_TEMPLATE_NOT_FOUND, "there is no template \"%s\"; use \"%s\"",
                       q->template_id, TEMPLATE_DEFAULT);
    }
    return 0;
}

int limits_labels(const struct engine *e, const void *entries, size_t n, struct err *err)
{
    return labels(e, entries, n, err);
}

int limits_page(int32_t page_size, const char *token, unsigned *ret_size, uint64_t *ret_before,
                struct err *err)
{
    if (page_size < 0) {
        return err_field(err, "page_size", "page_size is negative");
    }
    *ret_size = page_size == 0          ? PAGE_DEFAULT
                : page_size > PAGE_MOST ? PAGE_MOST
                                        : (unsigned)page_size;
    *ret_before = UINT64_MAX;
    if (token[0] != '\0') {
        char *end;
        *ret_before = strtoull(token, &end, 10);
        if (token[0] < '0' || token[0] > '9' || *end != '\0') {
            return err_field(err, "page_token", "page_token is not one of ours");
        }
    }
    return 0;
}

int64_t limits_timeout(const struct engine_limits *l, int64_t asked_ns, int64_t session_max_ns,
                       int64_t reattach_ns, int64_t deadline_left_ns)
{
    int64_t t = asked_ns > 0 ? asked_ns : l->default_timeout_ns;
    t = t < l->max_timeout_ns ? t : l->max_timeout_ns;
    t = t < session_max_ns ? t : session_max_ns;
    if (reattach_ns == 0 && deadline_left_ns != CLOCK_NEVER) {
        /* Leave time for the result to arrive. */
        int64_t margin = deadline_left_ns / 20;
        margin = margin > 200 * NS_PER_MS ? margin : 200 * NS_PER_MS;
        int64_t capped = deadline_left_ns - margin;
        capped = capped > NS_PER_MS ? capped : NS_PER_MS;
        t = t < capped ? t : capped;
    }
    return t;
}
