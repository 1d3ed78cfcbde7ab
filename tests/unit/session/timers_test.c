/* timers_test.c: deadlines in order, never early, moved and stopped at will. */
#include "service/base/clock.h"
#include "service/base/list.h"
#include "service/session/timers.h"
#include "tests/support/check.h"

#define COUNT 500

static struct timers timers;
static int64_t last_at;
static unsigned fired;
static bool wrong;

static int64_t roll(void) /* 0 to 59 ms, in no order */
{
    static uint32_t state = 1;
    state = state * 1664525u + 1013904223u;
    return (int64_t)(state >> 16) % 60 * NS_PER_MS;
}

struct item {
    struct timer timer;
    bool may_fire;
    bool again;
};

static void fire(struct timer *timer)
{
    struct item *item = LIST_CONTAINER(timer, struct item, timer);
    wrong |= timer_running(timer) || !item->may_fire || clock_mono_ns() < timer->at ||
             timer->at < last_at;
    last_at = timer->at;
    fired++;
    if (item->again) {
        item->again = false;
        (void)timer_start(&timers, timer, clock_mono_ns() + NS_PER_MS, fire);
    }
}

static void test_random_deadlines(void)
{
    static struct item items[COUNT];
    uv_loop_t loop;
    unsigned due = 0;
    CHECK(uv_loop_init(&loop) == 0 && timers_init(&timers, &loop) == 0);
    int64_t now = clock_mono_ns();
    for (unsigned i = 0; i < COUNT; i++) {
        items[i].may_fire = i % 3 != 0;
        items[i].again = i == 1;
        CHECK(timer_start(&timers, &items[i].timer, now + roll(), fire) == 0);
    }
    for (unsigned i = 0; i < COUNT; i++) {
        if (i % 3 == 0) {
            timer_stop(&timers, &items[i].timer);
            timer_stop(&timers, &items[i].timer);
        } else if (i % 3 == 1) {
            CHECK(timer_start(&timers, &items[i].timer, now + roll(), fire) == 0);
        }
        due += items[i].may_fire + items[i].again;
    }
    last_at = 0;
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    CHECK_EQ_INT(fired, due);
    CHECK(!wrong);
    timers_close(&timers, NULL);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    CHECK_EQ_INT(uv_loop_close(&loop), 0);
}

static void test_never_is_a_stop(void)
{
    static struct item item;
    uv_loop_t loop;
    CHECK(uv_loop_init(&loop) == 0 && timers_init(&timers, &loop) == 0);
    CHECK(timer_start(&timers, &item.timer, clock_mono_ns(), fire) == 0);
    CHECK(timer_start(&timers, &item.timer, CLOCK_NEVER, fire) == 0 && !timer_running(&item.timer));
    timers_close(&timers, NULL);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    CHECK_EQ_INT(uv_loop_close(&loop), 0);
}

int main(void)
{
    RUN(test_random_deadlines);
    RUN(test_never_is_a_stop);
    return check_done();
}
