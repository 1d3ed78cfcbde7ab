/* order.c: marks and bytes, merged. */
#include "service/session/order.h"

#define CHUNK (64u << 10)

void order_init(struct order *o)
{
    *o = (struct order){0};
    buf_init(&o->held[0], ORDER_HELD_MAX);
    buf_init(&o->held[1], ORDER_HELD_MAX);
}

void order_release(struct order *o)
{
    buf_release(&o->held[0]);
    buf_release(&o->held[1]);
}

void order_reset(struct order *o)
{
    order_release(o);
    o->given[0] = o->given[1] = 0;
}

static size_t read_some(struct order *o, unsigned s, const struct order_ends *ends, size_t most)
{
    size_t n = most < CHUNK ? most : CHUNK;
    uint8_t *room = n > 0 ? buf_reserve(&o->held[s], n) : NULL;
    if (room == NULL) {
        return 0;
    }
    n = ends->read(ends->ctx, s, room, n);
    o->held[s].len += n;
    return n;
}

size_t order_read(struct order *o, const struct order_ends *ends, size_t most)
{
    size_t total = 0;
    for (unsigned s = 0; s < 2; s++) {
        for (size_t left = most; left > 0;) {
            size_t wanted = left < CHUNK ? left : CHUNK;
            size_t n = read_some(o, s, ends, wanted);
            total += n;
            left -= n;
            if (n < wanted) {
                break; /* empty for now: reading on would be a later moment */
            }
        }
    }
    return total;
}

static void give(struct order *o, unsigned s, const struct order_ends *ends, size_t n)
{
    if (n == 0) {
        return;
    }
    ends->give(ends->ctx, s, o->held[s].data, n);
    o->given[s] += n;
    if (n == o->held[s].len) {
        buf_release(&o->held[s]); /* thousands of idle sessions hold nothing */
    } else {
        buf_consume(&o->held[s], n);
    }
}

void order_mark(struct order *o, const struct session_fence *fence, const struct order_ends *ends)
{
    const uint64_t target[2] = {fence->stdout_bytes, fence->stderr_bytes};
    for (unsigned s = 0; s < 2; s++) {
        while (target[s] > o->given[s]) {
            uint64_t want = target[s] - o->given[s];
            if (o->held[s].len == 0 && read_some(o, s, ends, want < CHUNK ? want : CHUNK) == 0) {
                break;
            }
            give(o, s, ends, want < o->held[s].len ? (size_t)want : o->held[s].len);
        }
    }
}

void order_flush(struct order *o, const struct order_ends *ends)
{
    give(o, 0, ends, o->held[0].len);
    give(o, 1, ends, o->held[1].len);
}
