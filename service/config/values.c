/* values.c: text to durations, sizes and counts, and back for the help. */
#include "service/config/values.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "service/base/clock.h"

struct unit {
    const char *suffix;
    uint64_t factor;
};

/* Largest first: the help shows a value in the largest unit that divides it. */
static const struct unit durations[] = {
    {"h", 3600 * UINT64_C(1000000000)},
    {"m", 60 * UINT64_C(1000000000)},
    {"s", UINT64_C(1000000000)},
    {"ms", UINT64_C(1000000)},
    {"us", UINT64_C(1000)},
    {"ns", 1},
};
static const struct unit sizes[] = {
    {"GiB", UINT64_C(1) << 30},
    {"MiB", UINT64_C(1) << 20},
    {"KiB", UINT64_C(1) << 10},
    {"", 1},
};

static const struct unit *unit_find(const struct unit *units, size_t n, const char *suffix)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(units[i].suffix, suffix) == 0) {
            return &units[i];
        }
    }
    return NULL;
}

/* Decimal digits with an optional fraction, times the unit; exact in integers. */
static int scaled(const char *text, const struct unit *units, size_t n, const char *bare,
                  uint64_t *ret_value)
{
    const char *p = text;
    unsigned __int128 whole = 0;
    unsigned __int128 fraction = 0;
    unsigned __int128 divisor = 1;
    if (*p < '0' || *p > '9') {
        return -1;
    }
    for (; *p >= '0' && *p <= '9'; p++) {
        whole = whole * 10 + (unsigned)(*p - '0');
        if (whole > UINT64_MAX) {
            return -1;
        }
    }
    if (*p == '.') {
        p++;
        if (*p < '0' || *p > '9') {
            return -1;
        }
        for (; *p >= '0' && *p <= '9'; p++) {
            if (divisor < UINT64_C(1000000000000)) {
                fraction = fraction * 10 + (unsigned)(*p - '0');
                divisor *= 10;
            }
        }
    }
    const struct unit *u = unit_find(units, n, *p == '\0' ? bare : p);
    if (u == NULL) {
        return -1;
    }
    unsigned __int128 value = whole * u->factor + fraction * u->factor / divisor;
    if (value > INT64_MAX) {
        return -1;
    }
    *ret_value = (uint64_t)value;
    return 0;
}

int config_duration(const char *text, int64_t *ret_ns)
{
    uint64_t v;
    if (scaled(text, durations, sizeof durations / sizeof *durations, "s", &v) < 0) {
        return -1;
    }
    *ret_ns = (int64_t)v;
    return 0;
}

int config_size(const char *text, uint64_t *ret_bytes)
{
    return scaled(text, sizes, sizeof sizes / sizeof *sizes, "", ret_bytes);
}

int config_count(const char *text, uint64_t *ret_count)
{
    static const struct unit one[] = {{"", 1}};
    return strchr(text, '.') != NULL ? -1 : scaled(text, one, 1, "", ret_count);
}

static void show(uint64_t value, const struct unit *units, size_t n, char *out, size_t size)
{
    for (size_t i = 0; i < n; i++) {
        if ((value != 0 && value % units[i].factor == 0) || i == n - 1) {
            (void)snprintf(out, size, "%" PRIu64 "%s", value / units[i].factor, units[i].suffix);
            return;
        }
    }
}

void config_show_duration(int64_t ns, char *out, size_t size)
{
    if (ns == 0) {
        (void)snprintf(out, size, "0s");
        return;
    }
    show((uint64_t)ns, durations, sizeof durations / sizeof *durations, out, size);
}

void config_show_size(uint64_t bytes, char *out, size_t size)
{
    show(bytes, sizes, sizeof sizes / sizeof *sizes, out, size);
}
