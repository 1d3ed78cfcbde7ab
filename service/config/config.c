/* config.c: the option rows, and what reads and prints them. */
#include "service/config/config.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "service/base/clock.h"
#include "service/base/fd.h"
#include "service/base/id.h"
#include "service/base/log.h"
#include "service/config/values.h"

enum kind { TEXT, LIST, COMMA_LIST, FLAG, DURATION, SIZE, COUNT };

struct row {
    const char *name;
    enum kind kind;
    size_t offset;
    const char *metavar;
    const char *fallback; /* the default, as text; NULL: none, or found at start */
    uint64_t least;       /* of DURATION (ns), SIZE (bytes), COUNT */
    uint64_t most;
    const char *help;
};

#define AT(field) offsetof(struct config, field)
#define SEC UINT64_C(1000000000)
#define DAY (86400 * SEC)
#define MIB (UINT64_C(1) << 20)

static const struct row rows[] = {
    {"listen", LIST, AT(listen), "ADDRESS", NULL, 0, 0,
     "where to listen: unix:/path, unix-abstract:name, 127.0.0.1:PORT or [::1]:PORT (0 picks a "
     "port); repeatable; default: a Unix socket of mode 0600 in the runtime directory"},
    {"state-dir", TEXT, AT(state_dir), "DIR", NULL, 0, 0,
     "working directories of sessions and spilled output; one daemon a directory"},
    {"node-id", TEXT, AT(node_id), "NAME", NULL, 0, 0,
     "first part of every session id, by which proxies route; default: the host name"},
    {"python", TEXT, AT(python), "FILE", "", 0, 0,
     "python of a virtual environment or installation whose packages sessions use"},
    {"preload", COMMA_LIST, AT(preload), "MODULES", NULL, 0, 0,
     "modules imported once, before sessions are forked; repeatable"},
    {"work-root", LIST, AT(work_root), "DIR", NULL, 0, 0,
     "clients may choose working directories below DIR; repeatable; default: none"},
    {"profile", TEXT, AT(profile), "NAME", "standard", 0, 0,
     "confinement of sessions: none or standard"},
    {"require-confinement", FLAG, AT(require_confinement), NULL, NULL, 0, 0,
     "refuse to start when this machine lacks a step of the profile"},
    {"max-sessions", COUNT, AT(max_sessions), "N", "10000", 1, 1000000,
     "live sessions; fewer where the open-file limit says so"},
    {"max-running", COUNT, AT(max_running), "N", "0", 0, 100000,
     "executions that run at once, further ones wait; 0: four a core"},
    {"max-session-queue", COUNT, AT(max_session_queue), "N", "64", 1, 100000,
     "executions queued behind one session"},
    {"spares", COUNT, AT(spares), "N", "2", 0, 1000, "sessions forked and warm ahead of need"},
    {"timeout", DURATION, AT(timeout), "TIME", "1h", 1000000, 365 * DAY,
     "time limit of an execution that asks for none"},
    {"max-timeout", DURATION, AT(max_timeout), "TIME", "24h", 1000000, 365 * DAY,
     "the longest time limit that is granted"},
    {"interrupt-grace", DURATION, AT(interrupt_grace), "TIME", "5s", 0, DAY,
     "from the interrupt at a time limit to the kill"},
    {"idle-timeout", DURATION, AT(idle_timeout), "TIME", "30m", SEC, 365 * DAY,
     "an unused session ends after this, unless it asked for another time"},
    {"max-idle-timeout", DURATION, AT(max_idle_timeout), "TIME", "24h", SEC, 365 * DAY,
     "the longest idle timeout that is granted"},
    {"retain", DURATION, AT(retain), "TIME", "10m", 0, 30 * DAY,
     "how long output and result stay readable after the end"},
    {"heartbeat", DURATION, AT(heartbeat), "TIME", "15s", SEC / 10, DAY,
     "between heartbeats of a silent stream"},
    {"drain-timeout", DURATION, AT(drain_timeout), "TIME", "30s", 0, DAY,
     "how long running executions may go on after SIGTERM"},
    {"max-code-bytes", SIZE, AT(max_code_bytes), "SIZE", "16MiB", 1, 16 * MIB,
     "largest source text"},
    {"output-bytes", SIZE, AT(output_bytes), "SIZE", "64MiB", 4096, 64 * 1024 * MIB,
     "output retained of an execution that does not say"},
    {"max-output-bytes", SIZE, AT(max_output_bytes), "SIZE", "1GiB", 4096, 64 * 1024 * MIB,
     "the most output that an execution may ask to be retained"},
    {"retained-bytes", SIZE, AT(retained_bytes), "SIZE", "8GiB", 4096, 1024 * 1024 * MIB,
     "output retained in all; the oldest finished executions go first"},
    {"max-connections", COUNT, AT(max_connections), "N", "4096", 1, 1000000,
     "client connections at once"},
    {"max-calls", COUNT, AT(max_calls), "N", "20000", 1, 1000000, "calls in progress at once"},
    {"log-level", TEXT, AT(log_level), "NAME", "info", 0, 0, "debug, info, warn or error"},
};
#define ROWS (sizeof rows / sizeof *rows)

static void *field(struct config *c, const struct row *r)
{
    return (char *)c + r->offset;
}

static const struct row *row_find(const char *name, size_t n)
{
    for (size_t i = 0; i < ROWS; i++) {
        if (strlen(rows[i].name) == n && memcmp(rows[i].name, name, n) == 0) {
            return &rows[i];
        }
    }
    return NULL;
}

static int list_add(struct config_list *list, const char *item, size_t n, const struct row *r,
                    struct err *err)
{
    if (n == 0) {
        return err_field(err, r->name, "--%s: an entry is empty", r->name);
    }
    if (list->len == CONFIG_LIST_MAX) {
        return err_field(err, r->name, "--%s: at most %d entries", r->name, CONFIG_LIST_MAX);
    }
    char *copy = strndup(item, n);
    if (copy == NULL) {
        return err_set(err, ERR_NO_MEMORY, "out of memory");
    }
    list->items[list->len++] = copy;
    list->items[list->len] = NULL;
    return 0;
}

static int set_list(struct config_list *list, const struct row *r, const char *value,
                    struct err *err)
{
    if (r->kind == LIST) {
        return list_add(list, value, strlen(value), r, err);
    }
    for (const char *p = value;;) {
        size_t n = strcspn(p, ",");
        if (list_add(list, p, n, r, err) < 0) {
            return -1;
        }
        if (p[n] == '\0') {
            return 0;
        }
        p += n + 1;
    }
}

static int set_text(char **slot, const char *value, struct err *err)
{
    char *copy = strdup(value);
    if (copy == NULL) {
        return err_set(err, ERR_NO_MEMORY, "out of memory");
    }
    free(*slot);
    *slot = copy;
    return 0;
}

static void show_bound(const struct row *r, uint64_t value, char *out, size_t size)
{
    if (r->kind == DURATION) {
        config_show_duration((int64_t)value, out, size);
    } else if (r->kind == SIZE) {
        config_show_size(value, out, size);
    } else {
        (void)snprintf(out, size, "%" PRIu64, value);
    }
}

static int set_number(void *slot, const struct row *r, const char *value, struct err *err)
{
    uint64_t v = 0;
    int64_t ns = 0;
    int bad;
    if (r->kind == DURATION) {
        bad = config_duration(value, &ns);
        v = (uint64_t)ns;
    } else {
        bad = r->kind == SIZE ? config_size(value, &v) : config_count(value, &v);
    }
    if (bad < 0 || v < r->least || v > r->most) {
        char least[32];
        char most[32];
        show_bound(r, r->least, least, sizeof least);
        show_bound(r, r->most, most, sizeof most);
        return err_field(err, r->name, "--%s %.64s: not a %s from %s to %s", r->name, value,
                         r->kind == DURATION ? "time (like 500ms, 5s, 1h)"
                         : r->kind == SIZE   ? "size (like 4096, 64KiB, 16MiB)"
                                             : "whole number",
                         least, most);
    }
    memcpy(slot, &v, sizeof v); /* int64_t and uint64_t have one size, and v <= INT64_MAX */
    return 0;
}

static int set(struct config *c, const struct row *r, const char *value, struct err *err)
{
    switch (r->kind) {
    case TEXT:
        return set_text(field(c, r), value, err);
    case LIST:
    case COMMA_LIST:
        return set_list(field(c, r), r, value, err);
    case FLAG:
        if (strcmp(value, "true") != 0 && strcmp(value, "false") != 0) {
            return err_field(err, r->name, "%s: true or false, not %.64s", r->name, value);
        }
        *(bool *)field(c, r) = value[0] == 't';
        return 0;
    default:
        return set_number(field(c, r), r, value, err);
    }
}

int config_init_defaults(struct config *c, struct err *err)
{
    *c = (struct config){0};
    for (size_t i = 0; i < ROWS; i++) {
        if (rows[i].fallback != NULL && set(c, &rows[i], rows[i].fallback, err) < 0) {
            config_release(c);
            return -1;
        }
    }
    return 0;
}

void config_release(struct config *c)
{
    for (size_t i = 0; i < ROWS; i++) {
        if (rows[i].kind == TEXT) {
            char **slot = field(c, &rows[i]);
            free(*slot);
            *slot = NULL;
        } else if (rows[i].kind == LIST || rows[i].kind == COMMA_LIST) {
            struct config_list *list = field(c, &rows[i]);
            while (list->len > 0) {
                free(list->items[--list->len]);
                list->items[list->len] = NULL;
            }
        }
    }
}

static const char *skip_blank(const char *p, const char *end)
{
    while (p < end && (*p == ' ' || *p == '\t' || *p == '\r')) {
        p++;
    }
    return p;
}

static const char *trim_end(const char *from, const char *end)
{
    while (end > from && (end[-1] == ' ' || end[-1] == '\t' || end[-1] == '\r')) {
        end--;
    }
    return end;
}

static int parse_line(const char *p, const char *end, unsigned number, struct config *c,
                      struct err *err)
{
    p = skip_blank(p, end);
    if (p == end || *p == '#') {
        return 0;
    }
    const char *eq = memchr(p, '=', (size_t)(end - p));
    if (eq == NULL) {
        return err_field(err, "config", "line %u: want `name = value`", number);
    }
    const char *name_end = trim_end(p, eq);
    const struct row *r = row_find(p, (size_t)(name_end - p));
    if (r == NULL) {
        return err_field(err, "config", "line %u: no option is called %.*s", number,
                         (int)(name_end - p > 64 ? 64 : name_end - p), p);
    }
    const char *value = skip_blank(eq + 1, end);
    char *copy = strndup(value, (size_t)(trim_end(value, end) - value));
    if (copy == NULL) {
        return err_set(err, ERR_NO_MEMORY, "out of memory");
    }
    int result = set(c, r, copy, err);
    free(copy);
    if (result < 0) {
        char context[32];
        (void)snprintf(context, sizeof context, "line %u", number);
        err_wrap(err, context);
    }
    return result;
}

int config_parse_text(const char *text, size_t n, struct config *c, struct err *err)
{
    const char *end = text + n;
    unsigned number = 1;
    if (memchr(text, '\0', n) != NULL) {
        return err_field(err, "config", "the file holds a NUL byte");
    }
    for (const char *p = text; p < end; number++) {
        const char *eol = memchr(p, '\n', (size_t)(end - p));
        const char *stop = eol != NULL ? eol : end;
        if (parse_line(p, stop, number, c, err) < 0) {
            return -1;
        }
        p = eol != NULL ? eol + 1 : end;
    }
    return 0;
}

static int parse_file(const char *path, struct config *c, struct err *err)
{
    FD_AUTO int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0) {
        return err_sys(err, ERR_INVALID_FIELD, errno, "open", "--config %.128s: %s", path,
                       strerror(errno));
    }
    if (!S_ISREG(st.st_mode) || st.st_size > CONFIG_FILE_MAX) {
        return err_field(err, "config", "--config %.128s: not a regular file of at most %u bytes",
                         path, CONFIG_FILE_MAX);
    }
    char *text = malloc((size_t)st.st_size + 1);
    if (text == NULL) {
        return err_set(err, ERR_NO_MEMORY, "out of memory");
    }
    ssize_t got = read(fd, text, (size_t)st.st_size);
    int result = got < 0 ? err_sys(err, ERR_INVALID_FIELD, errno, "read", "--config %.128s: %s",
                                   path, strerror(errno))
                         : config_parse_text(text, (size_t)got, c, err);
    free(text);
    if (result < 0 && got >= 0) {
        err_wrap(err, path);
    }
    return result;
}

/* One argument: its row and value. *ret_used counts the arguments taken; 0 for one that is none. */
static int parse_argument(int left, char *const *argv, struct config *c, int *ret_used,
                          struct err *err)
{
    const char *arg = argv[0];
    if (strncmp(arg, "--", 2) != 0 || arg[2] == '\0') {
        return err_field(err, "arguments", "%.64s: not an option; see --help", arg);
    }
    const char *name = arg + 2;
    size_t n = strcspn(name, "=");
    const char *value = name[n] == '=' ? name + n + 1 : NULL;
    const struct row *r = row_find(name, n);
    *ret_used = 1;
    if (r == NULL && !(n == 6 && memcmp(name, "config", 6) == 0)) {
        return err_field(err, "arguments", "--%.*s: no such option; see --help",
                         (int)(n > 64 ? 64 : n), name);
    }
    if (r != NULL && r->kind == FLAG && value == NULL) {
        value = "true";
    }
    if (value == NULL) {
        if (left < 2) {
            return err_field(err, "arguments", "--%s wants a value; see --help", name);
        }
        value = argv[1];
        *ret_used = 2;
    }
    return r == NULL ? parse_file(value, c, err) : set(c, r, value, err);
}

static int is_config(const char *arg)
{
    return strcmp(arg, "--config") == 0 || strncmp(arg, "--config=", 9) == 0;
}

/* The file comes before all flags wherever it stands, so that a flag always wins. */
static int parse_pass(int argc, char *const *argv, bool file_pass, struct config *c,
                      struct err *err)
{
    for (int i = 1; i < argc;) {
        int used = 1;
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            c->show_help = true;
        } else if (strcmp(argv[i], "--version") == 0) {
            c->show_version = true;
        } else if (!is_config(argv[i]) && file_pass) {
            const struct row *r = strncmp(argv[i], "--", 2) == 0
                                      ? row_find(argv[i] + 2, strcspn(argv[i] + 2, "="))
                                      : NULL;
            bool apart = r != NULL && r->kind != FLAG && strchr(argv[i], '=') == NULL;
            used = apart ? 2 : 1;
        } else if (is_config(argv[i]) && !file_pass) {
            used = strchr(argv[i], '=') != NULL ? 1 : 2;
        } else if (parse_argument(argc - i, argv + i, c, &used, err) < 0) {
            return -1;
        }
        i += used;
    }
    return 0;
}

static int default_state_dir(char *out, size_t size)
{
    if (geteuid() == 0) {
        return snprintf(out, size, "/var/lib/pyexec") < (int)size ? 0 : -1;
    }
    const char *state = getenv("XDG_STATE_HOME");
    const char *home = getenv("HOME");
    int n = state != NULL && state[0] == '/' ? snprintf(out, size, "%s/pyexec", state)
            : home != NULL && home[0] == '/'
                ? snprintf(out, size, "%s/.local/state/pyexec", home)
                : snprintf(out, size, "/tmp/pyexec-%u/state", (unsigned)geteuid());
    return n > 0 && (size_t)n < size ? 0 : -1;
}

int config_default_socket(char *ret_address, size_t size)
{
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    int n =
        geteuid() == 0 ? snprintf(ret_address, size, "unix:/run/pyexec/pyexecd.sock")
        : runtime != NULL && runtime[0] == '/'
            ? snprintf(ret_address, size, "unix:%s/pyexec/pyexecd.sock", runtime)
            : snprintf(ret_address, size, "unix:/tmp/pyexec-%u/pyexecd.sock", (unsigned)geteuid());
    return n > 0 && (size_t)n < size ? 0 : -1;
}

/* The host name with what a node id may not hold taken out. */
static void default_node(char out[ID_NODE_MAX + 1])
{
    char host[ID_NODE_MAX + 1] = "";
    (void)gethostname(host, sizeof host - 1);
    size_t n = 0;
    for (const char *p = host; *p; p++) {
        char one[2] = {*p, '\0'};
        if (id_node_valid(one)) {
            out[n++] = *p;
        }
    }
    out[n] = '\0';
    if (!id_node_valid(out)) {
        (void)snprintf(out, ID_NODE_MAX + 1, "node");
    }
}

/* What is found at start, and what goes beyond one row. */
static int finish(struct config *c, struct err *err)
{
    char text[512];
    enum log_level level;
    if (c->node_id == NULL) {
        default_node(text);
        if (set_text(&c->node_id, text, err) < 0) {
            return -1;
        }
    }
    if (!id_node_valid(c->node_id)) {
        return err_field(err, "node-id",
                         "--node-id %.64s: 1 to %d letters, digits, dots and "
                         "dashes, no dash at either end",
                         c->node_id, ID_NODE_MAX);
    }
    if (c->state_dir == NULL &&
        (default_state_dir(text, sizeof text) < 0 || set_text(&c->state_dir, text, err) < 0)) {
        return err_field(err, "state-dir", "no usable default: give --state-dir");
    }
    if (c->listen.len == 0 && (config_default_socket(text, sizeof text) < 0 ||
                               list_add(&c->listen, text, strlen(text), &rows[0], err) < 0)) {
        return err_field(err, "listen", "no usable default: give --listen");
    }
    if (strcmp(c->profile, "none") != 0 && strcmp(c->profile, "standard") != 0) {
        return err_field(err, "profile", "--profile %.64s: none or standard", c->profile);
    }
    if (log_level_parse(c->log_level, &level) < 0) {
        return err_field(err, "log-level", "--log-level %.64s: debug, info, warn or error",
                         c->log_level);
    }
    if (c->timeout > c->max_timeout) {
        return err_field(err, "timeout", "--timeout is longer than --max-timeout");
    }
    if (c->idle_timeout > c->max_idle_timeout) {
        return err_field(err, "idle-timeout", "--idle-timeout is longer than --max-idle-timeout");
    }
    if (c->output_bytes > c->max_output_bytes) {
        return err_field(err, "output-bytes", "--output-bytes is more than --max-output-bytes");
    }
    return 0;
}

int config_parse(int argc, char *const *argv, struct config *ret_config, struct err *err)
{
    struct config c;
    if (config_init_defaults(&c, err) < 0) {
        return -1;
    }
    if (parse_pass(argc, argv, true, &c, err) < 0 || parse_pass(argc, argv, false, &c, err) < 0 ||
        (!c.show_help && !c.show_version && finish(&c, err) < 0)) {
        config_release(&c);
        return -1;
    }
    *ret_config = c;
    return 0;
}

static void print_wrapped(FILE *out, const char *text, int indent, int width)
{
    int column = indent;
    (void)fprintf(out, "%*s", indent, "");
    for (const char *p = text; *p;) {
        int n = (int)strcspn(p, " ");
        if (column > indent && column + 1 + n > width) {
            (void)fprintf(out, "\n%*s", indent, "");
            column = indent;
        } else if (column > indent) {
            (void)fputc(' ', out);
            column++;
        }
        (void)fprintf(out, "%.*s", n, p);
        column += n;
        p += n + (p[n] == ' ');
    }
    (void)fputc('\n', out);
}

void config_print_help(FILE *out)
{
    (void)fputs("Usage: pyexecd [OPTION]...\n"
                "Runs Python code in forked sessions and streams its output over gRPC.\n\n"
                "  --config FILE\n",
                out);
    print_wrapped(out, "read options from FILE first: `name = value` lines, # for comments", 6, 92);
    for (size_t i = 0; i < ROWS; i++) {
        const struct row *r = &rows[i];
        (void)fprintf(out, "  --%s%s%s", r->name, r->metavar ? " " : "",
                      r->metavar ? r->metavar : "");
        if (r->fallback != NULL && r->fallback[0] != '\0') {
            (void)fprintf(out, "  (default %s)", r->fallback);
        }
        (void)fputc('\n', out);
        print_wrapped(out, r->help, 6, 92);
    }
    (void)fputs("  --version\n      print the version\n  --help\n      print this\n", out);
}

void config_print_table(FILE *out)
{
    (void)fputs("| option | default | meaning |\n| --- | --- | --- |\n", out);
    for (size_t i = 0; i < ROWS; i++) {
        const struct row *r = &rows[i];
        (void)fprintf(out, "| `--%s%s%s` | %s | %s |\n", r->name, r->metavar ? " " : "",
                      r->metavar ? r->metavar : "", r->fallback ? r->fallback : "", r->help);
    }
}
