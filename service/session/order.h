/* order.h: puts the bytes of two pipes into one order, by the marks of the control socket.
 *
 * Pure but for the two callbacks. Offsets are absolute within one pair of pipes. What a session
 * says is never trusted: a fence behind what was given is nothing, one ahead of what the pipe holds
 * is cut down to that. */
#ifndef PYEXEC_SESSION_ORDER_H
#define PYEXEC_SESSION_ORDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "service/base/buf.h"
#include "service/wire/session_frames.h"

#define ORDER_HELD_MAX (1u << 20) /* bytes of one stream that are read but not placed yet */

struct order {
    struct buf held[2];
    uint64_t given[2];
};

struct order_ends {
    /* Reads up to `n` bytes without blocking: > 0, 0 when nothing is there (for now or for good). */
    size_t (*read)(void *ctx, unsigned stream, void *data, size_t n);
    void (*give)(void *ctx, unsigned stream, const void *data, size_t n);
    void *ctx;
};

void order_init(struct order *o);
void order_release(struct order *o);
void order_reset(struct order *o); /* a new pair of pipes: offsets from 0, nothing held */

/* Reads what is there, up to `most` bytes a stream, and holds it. Returns the bytes read. */
size_t order_read(struct order *o, const struct order_ends *ends, size_t most);
/* Gives everything below the fence. */
void order_mark(struct order *o, const struct session_fence *fence, const struct order_ends *ends);
/* Gives what is held: it came after the last mark. */
void order_flush(struct order *o, const struct order_ends *ends);

#endif
