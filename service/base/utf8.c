#include "service/base/utf8.h"

#include <stdint.h>

/* Length of the sequence that `p` starts, 0 when invalid, n + 1 when cut at the end. */
static size_t sequence(const uint8_t *p, size_t n)
{
    uint8_t c = p[0];
    size_t need;
    uint8_t lo = 0x80;
    uint8_t hi = 0xBF;
    if (c < 0x80) {
        return 1;
    }
    if (c >= 0xC2 && c <= 0xDF) {
        need = 2;
    } else if (c >= 0xE0 && c <= 0xEF) {
        need = 3;
        lo = c == 0xE0 ? 0xA0 : 0x80;
        hi = c == 0xED ? 0x9F : 0xBF;
    } else if (c >= 0xF0 && c <= 0xF4) {
        need = 4;
        lo = c == 0xF0 ? 0x90 : 0x80;
        hi = c == 0xF4 ? 0x8F : 0xBF;
    } else {
        return 0;
    }
    for (size_t i = 1; i < need; i++) {
        if (i >= n) {
            return n + 1;
        }
        if (p[i] < lo || p[i] > hi) {
            return 0;
        }
        lo = 0x80;
        hi = 0xBF;
    }
    return need;
}

bool utf8_valid(const void *data, size_t n)
{
    const uint8_t *p = data;
    while (n > 0) {
        size_t k = sequence(p, n);
        if (k == 0 || k > n) {
            return false;
        }
        p += k;
        n -= k;
    }
    return true;
}

size_t utf8_boundary(const void *data, size_t n)
{
    const uint8_t *p = data;
    for (size_t back = 1; back <= 3 && back <= n; back++) {
        uint8_t c = p[n - back];
        if ((c & 0xC0) == 0x80) {
            continue;
        }
        return sequence(p + n - back, back) > back ? n - back : n;
    }
    return n;
}
