/* config.h: every option of pyexecd, in one table: a row feeds the flag, the file, the help text
 * and the table in service/README.md (a test compares). After valkey's config rows.
 *
 * Single thread, before anything else runs. Memory: config_release frees all of it. */
#ifndef PYEXEC_CONFIG_CONFIG_H
#define PYEXEC_CONFIG_CONFIG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "service/base/err.h"

#define CONFIG_LIST_MAX 64
#define CONFIG_FILE_MAX (1u << 20)

struct config_list {
    char *items[CONFIG_LIST_MAX + 1]; /* NULL-terminated */
    unsigned len;
};

/* Durations in ns, sizes in bytes. */
struct config {
    struct config_list listen;
    char *state_dir;
    char *node_id;
    char *python;
    struct config_list preload;
    struct config_list work_root;
    char *profile;
    bool require_confinement;
    uint64_t max_sessions;
    uint64_t max_running;
    uint64_t max_session_queue;
    uint64_t spares;
    int64_t timeout;
    int64_t max_timeout;
    int64_t interrupt_grace;
    int64_t idle_timeout;
    int64_t max_idle_timeout;
    int64_t retain;
    int64_t heartbeat;
    int64_t drain_timeout;
    uint64_t max_code_bytes;
    uint64_t output_bytes;
    uint64_t max_output_bytes;
    uint64_t retained_bytes;
    uint64_t max_connections;
    uint64_t max_calls;
    char *log_level;
    /* Set when the command line asked for it; nothing else is to be done then. */
    bool show_help;
    bool show_version;
};

/* Defaults, then the file that --config names, then the flags in their order. A list option adds.
 * On failure (-1) the text names the option and what is accepted; nothing is leaked. */
int config_parse(int argc, char *const *argv, struct config *ret_config, struct err *err);
void config_release(struct config *config);

/* Parses the text of a configuration file: `name = value` lines, `#` comments; the names are the
 * flags without dashes in front. Its own entry point for the fuzzer. */
int config_parse_text(const char *text, size_t n, struct config *config, struct err *err);
int config_init_defaults(struct config *config, struct err *err);

void config_print_help(FILE *out);
/* The rows as a Markdown table. */
void config_print_table(FILE *out);

/* "unix:/run/pyexec/pyexecd.sock" for root; below $XDG_RUNTIME_DIR, else /tmp/pyexec-UID, for
 * others. The same rule as the clients'. */
int config_default_socket(char *ret_address, size_t size);

/* "500ms", "5s", "2m", "1h", "1.5" (seconds) → ns; 0 or -1. */
int config_duration(const char *text, int64_t *ret_ns);
/* "4096", "64KiB", "16MiB", "8GiB" → bytes; 0 or -1. */
int config_size(const char *text, uint64_t *ret_bytes);

#endif
