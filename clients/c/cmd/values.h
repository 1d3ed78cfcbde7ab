/* values.h: texts of the command line → values. Pure. */
#ifndef PYEXEC_CLIENTS_C_CMD_VALUES_H
#define PYEXEC_CLIENTS_C_CMD_VALUES_H

#include <stddef.h>
#include <stdint.h>

/* "10" and "1.5" (seconds), "500ms", "5s", "2m", "1h" → milliseconds, rounded up, so that a
 * positive time never becomes "no limit". 0, or -1: not a time, negative, or over 10 years. */
int value_duration(const char *text, int64_t *ret_ms);

/* "4096", "64KiB", "16MiB", "8GiB" → bytes. 0, or -1. */
int value_size(const char *text, uint64_t *ret_bytes);

/* The default address, by the rule of pyexecd: root: /run/pyexec; others: $XDG_RUNTIME_DIR/pyexec,
 * else /tmp/pyexec-UID. 0, or -1 when it doesn't fit. */
int value_default_address(char *out, size_t size);

#endif
