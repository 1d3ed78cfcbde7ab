/* timers.c: a binary heap of deadlines on one uv_timer. */
#include "service/session/timers.h"

#include <assert.h>
#include <stdlib.h>

#include "service/base/clock.h"

static void on_timer(uv_timer_t *handle);

int timers_init(struct timers *t, uv_loop_t *loop)
{
    *t = (struct timers){0};
    t->handle.data = t;
    return uv_timer_init(loop, &t->handle);
}

void timers_close(struct timers *t, uv_close_cb closed)
{
    assert(t->len == 0);
    free(t->heap);
    t->heap = NULL;
    t->cap = 0;
    uv_close((uv_handle_t *)&t->handle, closed);
}

static void put(struct timers *t, size_t place, struct timer *timer)
{
    t->heap[place] = timer;
    timer->place = place;
}

static void settle(struct timers *t, struct timer *timer)
{
    size_t i = timer->place;
    while (i > 1 && t->heap[i / 2]->at > timer->at) {
        put(t, i, t->heap[i / 2]);
        i /= 2;
    }
    for (;;) {
        size_t child = i * 2;
        if (child + 1 <= t->len && t->heap[child + 1]->at < t->heap[child]->at) {
            child++;
        }
        if (child > t->len || t->heap[child]->at >= timer->at) {
            break;
        }
        put(t, i, t->heap[child]);
        i = child;
    }
    put(t, i, timer);
}

/* The uv_timer counts whole milliseconds from the loop's cached time: round up, look again when it
 * fires. */
static void arm(struct timers *t)
{
    if (t->len == 0) {
        (void)uv_timer_stop(&t->handle);
        return;
    }
    int64_t left = t->heap[1]->at - clock_mono_ns();
    uint64_t ms = left > 0 ? (uint64_t)((left + NS_PER_MS - 1) / NS_PER_MS) : 0;
    uv_update_time(t->handle.loop);
    (void)uv_timer_start(&t->handle, on_timer, ms, 0);
}

static void on_timer(uv_timer_t *handle)
{
    struct timers *t = handle->data;
    int64_t now = clock_mono_ns();
    while (t->len > 0 && t->heap[1]->at <= now) {
        struct timer *timer = t->heap[1];
        timer_stop(t, timer);
        timer->fire(timer);
    }
    if (t->len > 0) {
        arm(t);
    }
}

int timer_start(struct timers *t, struct timer *timer, int64_t at,
                void (*fire)(struct timer *timer))
{
    if (at == CLOCK_NEVER) {
        timer_stop(t, timer);
        return 0;
    }
    if (timer->place == 0) {
        if (t->len + 1 >= t->cap) {
            size_t cap = t->cap ? t->cap * 2 : 64;
            struct timer **p = realloc(t->heap, cap * sizeof(struct timer *));
            if (p == NULL) {
                return -1;
            }
            t->heap = p;
            t->cap = cap;
        }
        timer->place = ++t->len;
        t->heap[t->len] = timer;
    }
    bool was_first = timer->place == 1;
    timer->at = at;
    timer->fire = fire;
    settle(t, timer);
    if (was_first || timer->place == 1) {
        arm(t);
    }
    return 0;
}

void timer_stop(struct timers *t, struct timer *timer)
{
    size_t place = timer->place;
    if (place == 0) {
        return;
    }
    timer->place = 0;
    struct timer *last = t->heap[t->len--];
    if (last != timer) {
        put(t, place, last);
        settle(t, last);
    }
    if (t->len == 0) {
        (void)uv_timer_stop(&t->handle);
    }
}
