/* buf.h: a growable byte buffer with a maximum. Owned by one thread at a time.
 * Growth past `max` or out of memory fails and leaves the content as it was. */
#ifndef PYEXEC_BASE_BUF_H
#define PYEXEC_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
    uint8_t *data; /* NULL when nothing was allocated */
    size_t len;
    size_t cap;
    size_t max;
};

void buf_init(struct buf *b, size_t max);
void buf_release(struct buf *b); /* frees; the buffer is as after buf_init */
void buf_clear(struct buf *b);   /* empties, keeps the memory */

/* Room for `n` more bytes after `len`; NULL when that would pass `max` or memory is out.
 * The caller fills it and adds to `len`. */
uint8_t *buf_reserve(struct buf *b, size_t n);
int buf_append(struct buf *b, const void *data, size_t n); /* 0, or -1 */
int buf_append_str(struct buf *b, const char *s);          /* without the NUL */
int buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Drops the first `n` bytes (n <= len). */
void buf_consume(struct buf *b, size_t n);

#endif
