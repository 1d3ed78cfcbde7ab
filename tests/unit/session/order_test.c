/* order_test.c: program order out of two pipes and marks, whatever the reader's timing; and hostile
 * marks. The program, its pipes and its socket are played here. */
#include <stdlib.h>

#include "service/session/order.h"
#include "tests/support/check.h"

#define OUTPUT_MAX 200000
#define MARKS_MAX 20000

/* A session that writes, and passes a fence before it writes to another stream than before. */
struct program {
    uint8_t pipe[2][OUTPUT_MAX];
    size_t written[2];
    size_t read[2];
    struct session_fence marks[MARKS_MAX]; /* the control socket */
    size_t mark_count;
    size_t mark_read;
    unsigned last_stream;
    size_t marked[2];
    uint8_t truth[2 * OUTPUT_MAX]; /* stream in bit 7, then the byte */
    size_t truth_len;
    uint8_t got[2 * OUTPUT_MAX];
    size_t got_len;
};

static uint64_t rng = 2463534242u;

static unsigned roll(unsigned n)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return (unsigned)(rng >> 11) % n;
}

static size_t read_pipe(void *ctx, unsigned s, void *data, size_t n)
{
    struct program *p = ctx;
    size_t there = p->written[s] - p->read[s];
    n = n < there ? n : there;
    memcpy(data, p->pipe[s] + p->read[s], n);
    p->read[s] += n;
    return n;
}

static void give(void *ctx, unsigned s, const void *data, size_t n)
{
    struct program *p = ctx;
    for (size_t i = 0; i < n; i++) {
        p->got[p->got_len++] = (uint8_t)(((const uint8_t *)data)[i] | s << 7);
    }
}

static void program_writes(struct program *p)
{
    unsigned s = roll(2);
    size_t n = 1 + roll(roll(10) == 0 ? 300 : 12);
    size_t other = 1 - s;
    if (p->written[s] + n > OUTPUT_MAX || p->mark_count == MARKS_MAX) {
        return;
    }
    if (p->written[other] != p->marked[other]) {
        p->marks[p->mark_count++] = (struct session_fence){p->written[0], p->written[1]};
        p->marked[0] = p->written[0];
        p->marked[1] = p->written[1];
    }
    for (size_t i = 0; i < n; i++) {
        uint8_t byte = (uint8_t)roll(128);
        p->pipe[s][p->written[s]++] = byte;
        p->truth[p->truth_len++] = (uint8_t)(byte | s << 7);
    }
}

/* One turn of the daemon, interrupted by the program at every point where it may be. */
static void daemon_turn(struct order *o, struct program *p, const struct order_ends *ends)
{
    (void)order_read(o, ends, 1 + roll(400));
    while (roll(3) == 0) {
        program_writes(p);
    }
    while (p->mark_read < p->mark_count) {
        order_mark(o, &p->marks[p->mark_read++], ends);
        if (roll(4) == 0) {
            program_writes(p);
        }
    }
    order_flush(o, ends);
}

static void test_a_thousand_programs_come_back_in_order(void)
{
    struct program *p = malloc(sizeof *p);
    struct order o;
    const struct order_ends ends = {read_pipe, give, p};
    unsigned wrong = 0;
    for (unsigned i = 0; i < 1000; i++) {
        memset(p, 0, sizeof *p);
        order_init(&o);
        for (unsigned k = 0; k < 200; k++) {
            if (roll(2) == 0) {
                program_writes(p);
            } else {
                daemon_turn(&o, p, &ends);
            }
        }
        while (p->got_len < p->truth_len) {
            daemon_turn(&o, p, &ends);
        }
        wrong += memcmp(p->got, p->truth, p->truth_len) != 0;
        order_release(&o);
    }
    CHECK_EQ_INT(wrong, 0);
    free(p);
}

static void test_bytes_at_a_mark_are_read_on(void)
{
    struct program *p = calloc(1, sizeof *p);
    struct order o;
    const struct order_ends ends = {read_pipe, give, p};
    order_init(&o);
    memcpy(p->pipe[0], "abc", 3);
    memcpy(p->pipe[1], "xy", 2);
    p->written[0] = 3;
    p->written[1] = 2;
    order_mark(&o, &(struct session_fence){2, 0}, &ends);
    CHECK(p->got_len == 2 && memcmp(p->got, "ab", 2) == 0);
    order_mark(&o, &(struct session_fence){2, 2}, &ends);
    CHECK(p->got_len == 4 && p->got[2] == ('x' | 0x80));
    (void)order_read(&o, &ends, 100);
    order_flush(&o, &ends);
    CHECK(p->got_len == 5 && p->got[4] == 'c');
    order_release(&o);
    free(p);
}

static void test_lies_are_cut_down(void)
{
    struct program *p = calloc(1, sizeof *p);
    struct order o;
    const struct order_ends ends = {read_pipe, give, p};
    order_init(&o);
    memcpy(p->pipe[0], "abc", 3);
    p->written[0] = 3;
    order_mark(&o, &(struct session_fence){UINT64_MAX, UINT64_MAX}, &ends);
    CHECK_EQ_INT(p->got_len, 3);
    order_mark(&o, &(struct session_fence){1, 0}, &ends); /* backwards: nothing */
    CHECK_EQ_INT(p->got_len, 3);
    p->written[0] = 5;
    order_mark(&o, &(struct session_fence){4, 0}, &ends);
    CHECK_EQ_INT(p->got_len, 4);
    order_release(&o);
    free(p);
}

static void test_a_fresh_pair_counts_from_nothing(void)
{
    struct program *p = calloc(1, sizeof *p);
    struct order o;
    const struct order_ends ends = {read_pipe, give, p};
    order_init(&o);
    p->written[0] = 10;
    (void)order_read(&o, &ends, 5);
    order_flush(&o, &ends);
    order_reset(&o);
    p->read[0] = p->written[0] = 0;
    p->written[0] = 3;
    order_mark(&o, &(struct session_fence){2, 0}, &ends);
    CHECK_EQ_INT(p->got_len, 7);
    order_release(&o);
    free(p);
}

static size_t endless(void *ctx, unsigned s, void *data, size_t n)
{
    (void)ctx;
    (void)s;
    memset(data, 'x', n);
    return n;
}

static void test_what_is_held_is_bounded(void)
{
    struct order o;
    const struct order_ends ends = {endless, give, NULL};
    size_t total = 0;
    order_init(&o);
    for (unsigned i = 0; i < 100; i++) {
        total += order_read(&o, &ends, 256u << 10);
    }
    CHECK(total <= 2 * ORDER_HELD_MAX && o.held[0].len <= ORDER_HELD_MAX);
    order_release(&o);
}

int main(void)
{
    RUN(test_a_thousand_programs_come_back_in_order);
    RUN(test_bytes_at_a_mark_are_read_on);
    RUN(test_lies_are_cut_down);
    RUN(test_a_fresh_pair_counts_from_nothing);
    RUN(test_what_is_held_is_bounded);
    return check_done();
}
