/* spare.c: sessions forked and warm ahead of need. The pool refills in the background; when spares
 * die before they are used it pauses, twice as long each time, instead of forking in circles. */
#include "service/session/internal.h"

#define PAUSE_FIRST (200 * NS_PER_MS)
#define PAUSE_MOST (30 * NS_PER_SEC)

static void on_retry(struct timer *timer)
{
    spares_refill(LIST_CONTAINER(timer, struct engine, spare_retry));
}

static void pause_refill(struct engine *e)
{
    int64_t pause = PAUSE_FIRST;
    for (unsigned i = 0; i < e->spare_failures && pause < PAUSE_MOST; i++) {
        pause *= 2;
    }
    e->spare_failures++;
    (void)timer_start(&e->timers, &e->spare_retry, clock_add(clock_mono_ns(), pause), on_retry);
}

void spares_refill(struct engine *e)
{
    while (e->spare_count < e->limits.spares && !e->closing && !e->draining &&
           e->zygotes.current != NULL && e->zygotes.current->ready &&
           !timer_running(&e->spare_retry)) {
        struct process *p;
        struct err err = {0};
        if (process_spawn(e, true, &p, &err) < 0) {
            log_err(LOG_WARN, "spare.failed", NULL, &err);
            pause_refill(e);
            return;
        }
        p->spare = true;
        e->spare_count++;
        zygotes_spawn(e, p);
    }
}

void spare_ready(struct process *p)
{
    p->engine->spare_failures = 0;
    list_push_back(&p->engine->spares, &p->spare_node);
}

void spare_ended(struct process *p)
{
    list_remove(&p->spare_node);
    p->spare = false;
    p->engine->spare_count--;
    if (!p->engine->closing) {
        pause_refill(p->engine);
    }
}

struct process *spare_take(struct engine *e)
{
    struct list *node = list_pop_front(&e->spares);
    if (node == NULL) {
        return NULL;
    }
    struct process *p = LIST_CONTAINER(node, struct process, spare_node);
    p->spare = false;
    p->was_spare = true;
    e->spare_count--;
    spares_refill(e);
    return p;
}

void spares_release(struct engine *e)
{
    timer_stop(&e->timers, &e->spare_retry);
}
