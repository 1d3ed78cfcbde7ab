/* timers.h: the engine's timers: a heap on one uv_timer. Loop thread.
 *
 * A timer is embedded in what it belongs to and needs no closing: stopping is immediate, freeing a
 * stopped timer is fine. It fires at most 1 ms after its time (plus what the loop is late), never
 * before. */
#ifndef PYEXEC_SESSION_TIMERS_H
#define PYEXEC_SESSION_TIMERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct timer {
    int64_t at;   /* CLOCK_MONOTONIC ns */
    size_t place; /* in the heap, from 1; 0: not running */
    void (*fire)(struct timer *timer);
};

struct timers {
    uv_timer_t handle;
    struct timer **heap; /* from 1 */
    size_t len;
    size_t cap;
};

int timers_init(struct timers *timers, uv_loop_t *loop);
/* Closes the handle (`closed` is called with it later); no timer may be running then. */
void timers_close(struct timers *timers, uv_close_cb closed);

/* Starts, or moves a running one. -1 when memory is out; never for one that ran before its last
 * stop while as many ran (moving never fails). CLOCK_NEVER stops it. */
int timer_start(struct timers *timers, struct timer *timer, int64_t at,
                void (*fire)(struct timer *timer));
void timer_stop(struct timers *timers, struct timer *timer);
static inline bool timer_running(const struct timer *timer)
{
    return timer->place != 0;
}

#endif
