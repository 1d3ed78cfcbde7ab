#include "clients/c/cmd/values.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DURATION_MAX_MS (INT64_C(10) * 366 * 24 * 3600 * 1000)
#define DIGITS_MAX 18

/* [0-9]+(\.[0-9]*)? → *whole and a fraction in billionths; returns the rest, NULL on failure. */
static const char *number(const char *p, uint64_t *whole, uint64_t *billionths)
{
    size_t digits = strspn(p, "0123456789");
    uint64_t scale = 1000000000;
    *whole = *billionths = 0;
    if (digits == 0 || digits > DIGITS_MAX) {
        return NULL;
    }
    for (; digits > 0; digits--) {
        *whole = *whole * 10 + (uint64_t)(*p++ - '0');
    }
    if (*p == '.') {
        for (p++; *p >= '0' && *p <= '9'; p++) {
            scale /= 10;
            *billionths += (uint64_t)(*p - '0') * scale;
        }
    }
    return p;
}

int value_duration(const char *text, int64_t *ret_ms)
{
    static const struct {
        const char *suffix;
        uint64_t ms;
    } units[] = {{"", 1000}, {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}};
    uint64_t whole;
    uint64_t billionths;
    const char *rest = number(text, &whole, &billionths);
    if (rest == NULL) {
        return -1;
    }
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (strcmp(rest, units[i].suffix) == 0) {
            if (whole > (uint64_t)DURATION_MAX_MS / units[i].ms) {
                return -1;
            }
            *ret_ms = (int64_t)(whole * units[i].ms +
                                (billionths * units[i].ms + 999999999) / 1000000000);
            return 0;
        }
    }
    return -1;
}

int value_size(const char *text, uint64_t *ret_bytes)
{
    static const struct {
        const char *suffix;
        unsigned shift;
    } units[] = {{"", 0}, {"B", 0}, {"KiB", 10}, {"MiB", 20}, {"GiB", 30}, {"TiB", 40}};
    uint64_t whole;
    uint64_t billionths;
    const char *rest = number(text, &whole, &billionths);
    if (rest == NULL || strchr(text, '.') != NULL) {
        return -1;
    }
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (strcmp(rest, units[i].suffix) == 0 && whole <= UINT64_MAX >> units[i].shift) {
            *ret_bytes = whole << units[i].shift;
            return 0;
        }
    }
    return -1;
}

int value_default_address(char *out, size_t size)
{
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    int n;
    if (geteuid() == 0) {
        n = snprintf(out, size, "unix:/run/pyexec/pyexecd.sock");
    } else if (runtime != NULL && runtime[0] == '/') {
        n = snprintf(out, size, "unix:%s/pyexec/pyexecd.sock", runtime);
    } else {
        n = snprintf(out, size, "unix:/tmp/pyexec-%u/pyexecd.sock", (unsigned)geteuid());
    }
    return n > 0 && (size_t)n < size ? 0 : -1;
}
