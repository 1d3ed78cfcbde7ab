/* execlog_test.c: bounds, gaps, merging, re-attachment; against a model with random programs; readers
 * in threads (for TSan). */
#include <pthread.h>
#include <stdlib.h>

#include "service/session/execlog.h"
#include "service/session/spool.h"
#include "tests/support/check.h"

#define WHOLE_MAX (1u << 22)

/* What one reader has got. */
struct got {
    struct log_reader reader;
    struct buf message;
    uint8_t *bytes[2]; /* each stream as far as known; gaps stay zero */
    uint64_t next[2];
    uint64_t missing[2];
    uint64_t last_seq;
    unsigned ready;
    unsigned started, displays, results, outputs;
    bool replayed;
    bool came_back;
    bool wrong;
};

static void on_ready(struct log_reader *reader)
{
    LIST_CONTAINER(reader, struct got, reader)->ready++;
}

static uint8_t *alloc(void *ctx, size_t size)
{
    struct buf *b = ctx;
    buf_clear(b);
    uint8_t *p = size <= LOG_MESSAGE_MAX ? buf_reserve(b, size) : NULL;
    b->len = p != NULL ? size : 0;
    return p;
}

static uint8_t *no_alloc(void *ctx, size_t size)
{
    (void)ctx;
    (void)size;
    return NULL;
}

static void got_init(struct got *g)
{
    memset(g, 0, sizeof *g);
    buf_init(&g->message, LOG_MESSAGE_MAX);
    g->bytes[0] = calloc(1, WHOLE_MAX);
    g->bytes[1] = calloc(1, WHOLE_MAX);
    g->reader.on_ready = on_ready;
}

static void got_release(struct got *g)
{
    log_reader_detach(&g->reader);
    buf_release(&g->message);
    free(g->bytes[0]);
    free(g->bytes[1]);
}

static void take_output(struct got *g, const Pyexec__V1__OutputChunk *o)
{
    unsigned s = o->stream - 1u;
    if (s > 1 || o->offset != g->next[s] || o->offset + o->data.len > WHOLE_MAX ||
        o->data.len == 0) {
        g->wrong = true;
        return;
    }
    memcpy(g->bytes[s] + o->offset, o->data.data, o->data.len);
    g->next[s] += o->data.len;
    g->outputs++;
}

/* Who comes back inside a hole may be told of bytes that it has; else a gap starts where it is. */
static void take_gap(struct got *g, const Pyexec__V1__OutputGap *gap)
{
    unsigned s = gap->stream - 1u;
    uint64_t end = gap->offset + gap->size;
    if (s > 1 || gap->size == 0 || gap->offset > g->next[s] || end < g->next[s] ||
        (!g->came_back && gap->offset != g->next[s])) {
        g->wrong = true;
        return;
    }
    g->missing[s] += end - g->next[s];
    g->next[s] = end;
}

static void take_event(struct got *g, const Pyexec__V1__ExecutionEvent *e)
{
    g->wrong |= e->seq <= g->last_seq;
    g->last_seq = e->seq;
    switch (e->event_case) {
    case PYEXEC__V1__EXECUTION_EVENT__EVENT_STARTED:
        g->started++;
        g->replayed = e->started->replayed;
        break;
    case PYEXEC__V1__EXECUTION_EVENT__EVENT_OUTPUT:
        take_output(g, e->output);
        break;
    case PYEXEC__V1__EXECUTION_EVENT__EVENT_GAP:
        take_gap(g, e->gap);
        break;
    case PYEXEC__V1__EXECUTION_EVENT__EVENT_DISPLAY:
        g->displays++;
        break;
    case PYEXEC__V1__EXECUTION_EVENT__EVENT_RESULT:
        g->results++;
        break;
    default:
        g->wrong = true;
    }
}

static enum log_read step(struct got *g, bool *more)
{
    enum log_read r = log_reader_next(&g->reader, alloc, &g->message, more);
    if (r == LOG_READ_EVENT || r == LOG_READ_RESULT) {
        Pyexec__V1__ExecuteResponse *m =
            pyexec__v1__execute_response__unpack(NULL, g->message.len, g->message.data);
        if (m == NULL || m->event == NULL) {
            g->wrong = true;
        } else {
            take_event(g, m->event);
        }
        if (m != NULL) {
            pyexec__v1__execute_response__free_unpacked(m, NULL);
        }
    }
    return r;
}

static enum log_read read_all(struct got *g)
{
    bool more;
    for (;;) {
        enum log_read r = step(g, &more);
        if (r != LOG_READ_EVENT) {
            return r;
        }
    }
}

static int start(struct execlog *log)
{
    Pyexec__V1__ExecutionEvent e = PYEXEC__V1__EXECUTION_EVENT__INIT;
    Pyexec__V1__ExecutionStarted s = PYEXEC__V1__EXECUTION_STARTED__INIT;
    e.event_case = PYEXEC__V1__EXECUTION_EVENT__EVENT_STARTED;
    e.started = &s;
    return execlog_append_event(log, &e);
}

static int display(struct execlog *log, size_t size)
{
    Pyexec__V1__ExecutionEvent e = PYEXEC__V1__EXECUTION_EVENT__INIT;
    Pyexec__V1__DisplayData d = PYEXEC__V1__DISPLAY_DATA__INIT;
    char *id = calloc(1, size + 1);
    memset(id, 'd', size);
    d.display_id = id;
    e.event_case = PYEXEC__V1__EXECUTION_EVENT__EVENT_DISPLAY;
    e.display = &d;
    int r = execlog_append_event(log, &e);
    free(id);
    return r;
}

static Pyexec__V1__ExecutionResult finish(struct execlog *log)
{
    Pyexec__V1__ExecutionResult r = PYEXEC__V1__EXECUTION_RESULT__INIT;
    r.status = PYEXEC__V1__EXECUTION_RESULT__STATUS__STATUS_OK;
    CHECK(execlog_append_result(log, &r) == 0);
    return r;
}

static void put(struct execlog *log, enum log_stream s, const char *text)
{
    execlog_append_output(log, s, text, strlen(text));
}

static void test_events_come_in_order(void)
{
    struct execlog *log = execlog_new(NULL, 1000, false, NULL, NULL);
    struct got g;
    bool more;
    got_init(&g);
    CHECK(start(log) == 0);
    CHECK(log_reader_attach(&g.reader, log, 0, NULL) == 0);
    put(log, LOG_STDOUT, "a");
    put(log, LOG_STDOUT, "b");
    put(log, LOG_STDERR, "c");
    CHECK(step(&g, &more) == LOG_READ_EVENT && more && g.started == 1);
    CHECK(step(&g, &more) == LOG_READ_EVENT && more && g.outputs == 1);
    CHECK(memcmp(g.bytes[0], "ab", 3) == 0);
    CHECK(step(&g, &more) == LOG_READ_EVENT && !more && g.outputs == 2);
    CHECK(step(&g, &more) == LOG_READ_EMPTY && g.ready == 0);
    put(log, LOG_STDOUT, "d");
    put(log, LOG_STDOUT, "e");
    CHECK_EQ_INT(g.ready, 1); /* once an arming */
    CHECK(read_all(&g) == LOG_READ_EMPTY && memcmp(g.bytes[0], "abde", 5) == 0);
    Pyexec__V1__ExecutionResult r = finish(log);
    CHECK_EQ_INT(r.stdout_bytes, 4);
    CHECK_EQ_INT(r.stderr_bytes, 1);
    CHECK_EQ_INT(r.dropped_bytes, 0);
    CHECK_EQ_INT(g.ready, 2);
    CHECK(step(&g, &more) == LOG_READ_RESULT && !more && g.results == 1);
    CHECK(step(&g, &more) == LOG_READ_END && !g.wrong);
    CHECK(execlog_finished(log) && execlog_last_seq(log) == g.last_seq);
    got_release(&g);
    execlog_unref(log);
}

static void test_attach_after_any_event_has_the_rest(void)
{
    struct execlog *log = execlog_new(NULL, 1000, false, NULL, NULL);
    struct got all;
    uint64_t seqs[8];
    unsigned n = 0;
    bool more;
    got_init(&all);
    (void)start(log);
    CHECK(log_reader_attach(&all.reader, log, 0, NULL) == 0);
    put(log, LOG_STDOUT, "aa");
    CHECK(read_all(&all) == LOG_READ_EMPTY);
    put(log, LOG_STDERR, "bb");
    CHECK(read_all(&all) == LOG_READ_EMPTY);
    put(log, LOG_STDOUT, "cc");
    (void)finish(log);
    got_release(&all);
    got_init(&all);
    CHECK(log_reader_attach(&all.reader, log, 0, NULL) == 0);
    while (step(&all, &more) < LOG_READ_EMPTY) {
        seqs[n++] = all.last_seq;
    }
    CHECK_EQ_INT(n, 5);
    for (unsigned i = 0; i < n; i++) {
        struct got part;
        got_init(&part);
        CHECK(log_reader_attach(&part.reader, log, seqs[i], NULL) == 0);
        part.next[0] = i >= 1 ? 2 : 0;
        part.next[0] = i >= 3 ? 4 : part.next[0];
        part.next[1] = i >= 2 ? 2 : 0;
        enum log_read end = read_all(&part);
        CHECK(end == (i == n - 1 ? LOG_READ_END : LOG_READ_RESULT) && !part.wrong);
        got_release(&part);
    }
    struct got beyond;
    struct err err = {0};
    got_init(&beyond);
    CHECK(log_reader_attach(&beyond.reader, log, execlog_last_seq(log) + 1, &err) < 0);
    CHECK_EQ_INT(err.code, ERR_SEQ_OUT_OF_RANGE);
    got_release(&beyond);
    got_release(&all);
    execlog_unref(log);
}

static void test_bound_is_exact(void)
{
    for (unsigned extra = 0; extra < 2; extra++) {
        struct execlog *log = execlog_new(NULL, 4096, false, NULL, NULL);
        struct got g;
        char block[4097];
        memset(block, 'x', sizeof block);
        (void)start(log);
        execlog_append_output(log, LOG_STDOUT, block, 4096 + extra);
        CHECK(execlog_retained_bytes(log) <= 4096);
        Pyexec__V1__ExecutionResult r = finish(log);
        CHECK((r.dropped_bytes == 0) == (extra == 0));
        got_init(&g);
        CHECK(log_reader_attach(&g.reader, log, 0, NULL) == 0);
        CHECK(read_all(&g) == LOG_READ_RESULT && !g.wrong);
        CHECK_EQ_INT(g.next[0], 4096 + extra);
        CHECK_EQ_INT(g.missing[0], r.dropped_bytes);
        got_release(&g);
        execlog_unref(log);
    }
}

static void test_gap_names_what_each_reader_misses(void)
{
    struct execlog *log = execlog_new(NULL, 4096, false, NULL, NULL);
    struct got early, late;
    char block[1000];
    got_init(&early);
    got_init(&late);
    (void)start(log);
    CHECK(log_reader_attach(&early.reader, log, 0, NULL) == 0);
    for (unsigned i = 0; i < 40; i++) {
        memset(block, 'a' + (int)(i % 26), sizeof block);
        execlog_append_output(log, i % 3 == 0 ? LOG_STDERR : LOG_STDOUT, block, sizeof block);
        if (i == 20) {
            CHECK(read_all(&early) == LOG_READ_EMPTY);
        }
    }
    uint64_t missed = early.missing[0] + early.missing[1];
    Pyexec__V1__ExecutionResult r = finish(log);
    CHECK(log_reader_attach(&late.reader, log, 0, NULL) == 0);
    CHECK(read_all(&early) == LOG_READ_RESULT && !early.wrong);
    CHECK(read_all(&late) == LOG_READ_RESULT && !late.wrong);
    CHECK_EQ_INT(late.next[0] + late.next[1], 40000);
    CHECK_EQ_INT(late.missing[0] + late.missing[1], r.dropped_bytes);
    CHECK(missed > 0 && early.missing[0] + early.missing[1] < r.dropped_bytes);
    /* After each gap event the way on is known. */
    got_release(&early);
    got_release(&late);
    execlog_unref(log);
}

static void test_characters_are_not_torn(void)
{
    struct execlog *log = execlog_new(NULL, 1u << 20, false, NULL, NULL);
    struct got g;
    bool more;
    got_init(&g);
    (void)start(log);
    CHECK(log_reader_attach(&g.reader, log, 0, NULL) == 0);
    CHECK(read_all(&g) == LOG_READ_EMPTY);
    put(log, LOG_STDOUT, "a\xe2\x82");
    CHECK(step(&g, &more) == LOG_READ_EVENT && more && g.next[0] == 1);
    put(log, LOG_STDOUT,
        "\xac"
        "b");
    CHECK(step(&g, &more) == LOG_READ_EVENT && !more && g.next[0] == 5);
    put(log, LOG_STDOUT, "\xe2\x82"); /* nothing else comes: it is given as it is */
    CHECK(step(&g, &more) == LOG_READ_EVENT && g.next[0] == 7);
    for (unsigned i = 0; i < 200000; i++) {
        put(log, LOG_STDOUT, "\xe2\x82\xac");
    }
    while (g.next[0] < 600007) {
        CHECK(step(&g, &more) == LOG_READ_EVENT);
        CHECK((g.next[0] - 7) % 3 == 0);
    }
    CHECK(!g.wrong);
    got_release(&g);
    execlog_unref(log);
}

static void test_failed_allocation_consumes_nothing(void)
{
    struct execlog *log = execlog_new(NULL, 1000, false, NULL, NULL);
    struct got g;
    bool more;
    got_init(&g);
    put(log, LOG_STDOUT, "abc");
    CHECK(log_reader_attach(&g.reader, log, 0, NULL) == 0);
    CHECK(log_reader_next(&g.reader, no_alloc, NULL, &more) == LOG_READ_FAILED);
    put(log, LOG_STDOUT, "def");
    CHECK(read_all(&g) == LOG_READ_EMPTY && memcmp(g.bytes[0], "abcdef", 7) == 0 && !g.wrong);
    got_release(&g);
    execlog_unref(log);
}

static void test_replayed_started_says_so(void)
{
    struct execlog *log = execlog_new(NULL, 1000, false, NULL, NULL);
    struct got g;
    got_init(&g);
    (void)start(log);
    CHECK(log_reader_attach(&g.reader, log, 0, NULL) == 0);
    g.reader.replayed = true;
    CHECK(read_all(&g) == LOG_READ_EMPTY && g.replayed);
    got_release(&g);
    execlog_unref(log);
}

static int count_display(void *ctx, const Pyexec__V1__DisplayData *d)
{
    *(unsigned *)ctx += d->display_id[0] == 'd';
    return 0;
}

static void test_displays_count_and_a_huge_one_is_refused(void)
{
    struct execlog *log = execlog_new(NULL, 8u << 20, false, NULL, NULL);
    unsigned n = 0;
    CHECK(display(log, 100) == 0);
    CHECK(display(log, LOG_MESSAGE_MAX) < 0);
    CHECK(display(log, LOG_MESSAGE_MAX / 2) == 0);
    CHECK(execlog_retained_bytes(log) > LOG_MESSAGE_MAX / 2);
    CHECK(execlog_each_display(log, count_display, &n) == 0 && n == 2);
    execlog_unref(log);
}

static void test_collect(void)
{
    struct execlog *log = execlog_new(NULL, 1000, false, NULL, NULL);
    struct buf b;
    buf_init(&b, 4);
    put(log, LOG_STDOUT, "ab");
    put(log, LOG_STDERR, "x");
    put(log, LOG_STDOUT, "cd");
    CHECK(execlog_collect(log, LOG_STDOUT, &b) == 0 && b.len == 4 &&
          memcmp(b.data, "abcd", 4) == 0);
    put(log, LOG_STDOUT, "e");
    buf_clear(&b);
    CHECK(execlog_collect(log, LOG_STDOUT, &b) < 0);
    buf_release(&b);
    size_t size;
    CHECK(execlog_result(log, &size) == NULL);
    (void)finish(log);
    const uint8_t *packed = execlog_result(log, &size);
    Pyexec__V1__ExecutionResult *r = pyexec__v1__execution_result__unpack(NULL, size, packed);
    CHECK(r != NULL && r->stdout_bytes == 5 && r->stderr_bytes == 1);
    pyexec__v1__execution_result__free_unpacked(r, NULL);
    execlog_unref(log);
}

static void on_drained(void *ctx)
{
    ++*(unsigned *)ctx;
}

static void test_block_waits_for_the_slowest_reader(void)
{
    unsigned drained = 0;
    struct execlog *log = execlog_new(NULL, 1000, true, on_drained, &drained);
    struct got fast, slow;
    char block[600];
    memset(block, 'x', sizeof block);
    got_init(&fast);
    got_init(&slow);
    CHECK_EQ_INT(execlog_room(log), 1000);
    CHECK(log_reader_attach(&fast.reader, log, 0, NULL) == 0);
    CHECK(log_reader_attach(&slow.reader, log, 0, NULL) == 0);
    execlog_append_output(log, LOG_STDOUT, block, 600);
    CHECK_EQ_INT(execlog_room(log), 400);
    execlog_append_output(log, LOG_STDOUT, block, 400);
    CHECK_EQ_INT(execlog_room(log), 0);
    CHECK(read_all(&fast) == LOG_READ_EMPTY && drained == 0);
    CHECK(read_all(&slow) == LOG_READ_EMPTY && drained == 1);
    CHECK_EQ_INT(execlog_room(log), 1000);
    for (unsigned i = 0; i < 50; i++) {
        execlog_append_output(log, LOG_STDERR, block, 600);
        CHECK(read_all(&fast) == LOG_READ_EMPTY && read_all(&slow) == LOG_READ_EMPTY);
        CHECK(execlog_retained_bytes(log) <= 1000);
    }
    CHECK(fast.missing[1] == 0 && slow.missing[1] == 0 && slow.next[1] == 30000);
    /* Nobody attached: what was read makes room, nothing more. */
    got_release(&slow);
    got_release(&fast);
    CHECK_EQ_INT(execlog_room(log), 1000);
    execlog_append_output(log, LOG_STDOUT, block, 600);
    execlog_append_output(log, LOG_STDOUT, block, 400);
    CHECK_EQ_INT(execlog_room(log), 0);
    Pyexec__V1__ExecutionResult r = finish(log);
    CHECK_EQ_INT(r.dropped_bytes, 0);
    execlog_unref(log);
}

static void test_spills_to_the_spool_and_gives_it_back(void)
{
    struct spool *spool;
    CHECK(spool_new("/tmp", 8u << 20, &spool, NULL) == 0);
    struct execlog *log = execlog_new(spool, 6u << 20, false, NULL, NULL);
    struct got g;
    uint8_t *block = malloc(100000);
    got_init(&g);
    CHECK(log_reader_attach(&g.reader, log, 0, NULL) == 0);
    for (unsigned i = 0; i < 40; i++) {
        memset(block, (int)i, 100000);
        execlog_append_output(log, LOG_STDOUT, block, 100000);
    }
    CHECK_EQ_INT(spool_retained(spool), 4000000);
    CHECK(read_all(&g) == LOG_READ_EMPTY && g.next[0] == 4000000 && !g.wrong);
    for (unsigned i = 0; i < 40; i++) {
        CHECK(g.bytes[0][i * 100000] == i && g.bytes[0][i * 100000 + 99999] == i);
    }
    free(block);
    got_release(&g);
    execlog_unref(log);
    CHECK_EQ_INT(spool_retained(spool), 0);
    spool_free(spool); /* asserts that every segment is back */
}

static void test_full_spool_drops_and_counts(void)
{
    struct spool *spool;
    CHECK(spool_new("/tmp", 1u << 20, &spool, NULL) == 0);
    struct execlog *log = execlog_new(spool, 64u << 20, false, NULL, NULL);
    struct got g;
    uint8_t *block = calloc(1, 1u << 20);
    got_init(&g);
    for (unsigned i = 0; i < 4; i++) {
        execlog_append_output(log, LOG_STDOUT, block, 1u << 20);
    }
    Pyexec__V1__ExecutionResult r = finish(log);
    CHECK(r.dropped_bytes > 1u << 20 && r.stdout_bytes == 4u << 20);
    CHECK(log_reader_attach(&g.reader, log, 0, NULL) == 0);
    CHECK(read_all(&g) == LOG_READ_RESULT && g.missing[0] == r.dropped_bytes);
    free(block);
    got_release(&g);
    execlog_unref(log);
    spool_free(spool);
}

/* --- random programs against a model: the whole output of both streams -------------------------- */

static uint64_t rng = 88172645463325252u;

static unsigned roll(unsigned n)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return (unsigned)(rng >> 11) % n;
}

struct model {
    uint8_t *bytes[2];
    uint64_t total[2];
    unsigned displays;
};

static bool agrees(const struct got *g, const struct model *m)
{
    for (unsigned s = 0; s < 2; s++) {
        for (uint64_t i = 0; i < g->next[s]; i++) {
            if (g->bytes[s][i] != 0 && g->bytes[s][i] != m->bytes[s][i]) {
                return false;
            }
        }
    }
    return !g->wrong;
}

static void append_some(struct execlog *log, struct model *m)
{
    unsigned s = roll(2);
    size_t n = roll(8) == 0 ? roll(20000) : roll(40);
    if (m->total[s] + n > WHOLE_MAX) {
        return;
    }
    for (size_t i = 0; i < n; i++) {
        m->bytes[s][m->total[s] + i] = (uint8_t)(1 + roll(255));
    }
    execlog_append_output(log, (enum log_stream)s, m->bytes[s] + m->total[s], n);
    m->total[s] += n;
}

static void random_program(uint64_t bound)
{
    struct execlog *log = execlog_new(NULL, bound, false, NULL, NULL);
    struct model m = {{calloc(1, WHOLE_MAX), calloc(1, WHOLE_MAX)}, {0, 0}, 0};
    struct got readers[3];
    bool attached[3] = {false};
    bool more;
    (void)start(log);
    for (unsigned i = 0; i < 3; i++) {
        got_init(&readers[i]);
    }
    for (unsigned i = 0; i < 2000; i++) {
        unsigned who = roll(3);
        if (roll(2) == 0) {
            append_some(log, &m);
        } else if (!attached[who]) {
            /* Goes on where it was, as after a lost connection. */
            CHECK(log_reader_attach(&readers[who].reader, log, readers[who].last_seq, NULL) == 0);
            attached[who] = true;
        } else if (roll(40) == 0) {
            log_reader_detach(&readers[who].reader);
            readers[who].came_back = true;
            attached[who] = false;
        } else {
            (void)step(&readers[who], &more);
        }
    }
    Pyexec__V1__ExecutionResult r = finish(log);
    CHECK(r.stdout_bytes == m.total[0] && r.stderr_bytes == m.total[1]);
    CHECK(execlog_retained_bytes(log) <= bound);
    for (unsigned i = 0; i < 3; i++) {
        if (!attached[i]) {
            CHECK(log_reader_attach(&readers[i].reader, log, readers[i].last_seq, NULL) == 0);
        }
        CHECK(read_all(&readers[i]) == LOG_READ_RESULT);
        CHECK(agrees(&readers[i], &m));
        CHECK(readers[i].next[0] == m.total[0] && readers[i].next[1] == m.total[1]);
        CHECK(readers[i].missing[0] + readers[i].missing[1] <= r.dropped_bytes);
        got_release(&readers[i]);
    }
    execlog_unref(log);
    free(m.bytes[0]);
    free(m.bytes[1]);
}

static void test_random_programs_with_room(void)
{
    for (unsigned i = 0; i < 5; i++) {
        random_program(64u << 20);
    }
}

static void test_random_programs_without_room(void)
{
    for (unsigned i = 0; i < 15; i++) {
        random_program(1 + roll(100000));
    }
}

/* --- threads ------------------------------------------------------------------------------------ */

struct thread_reader {
    struct got got;
    pthread_mutex_t lock;
    pthread_cond_t turn;
    bool ready;
};

static void thread_ready(struct log_reader *reader)
{
    struct thread_reader *t = LIST_CONTAINER(reader, struct thread_reader, got.reader);
    (void)pthread_mutex_lock(&t->lock);
    t->ready = true;
    (void)pthread_cond_signal(&t->turn);
    (void)pthread_mutex_unlock(&t->lock);
}

static void *read_in_thread(void *arg)
{
    struct thread_reader *t = arg;
    for (;;) {
        enum log_read r = read_all(&t->got);
        if (r != LOG_READ_EMPTY) {
            return NULL;
        }
        (void)pthread_mutex_lock(&t->lock);
        while (!t->ready) {
            (void)pthread_cond_wait(&t->turn, &t->lock);
        }
        t->ready = false;
        (void)pthread_mutex_unlock(&t->lock);
    }
}

static void test_readers_in_threads(void)
{
    struct execlog *log = execlog_new(NULL, 200000, false, NULL, NULL);
    struct model m = {{calloc(1, WHOLE_MAX), calloc(1, WHOLE_MAX)}, {0, 0}, 0};
    struct thread_reader t[4];
    pthread_t threads[4];
    (void)start(log);
    for (unsigned i = 0; i < 4; i++) {
        got_init(&t[i].got);
        t[i].got.reader.on_ready = thread_ready;
        t[i].ready = false;
        (void)pthread_mutex_init(&t[i].lock, NULL);
        (void)pthread_cond_init(&t[i].turn, NULL);
        CHECK(log_reader_attach(&t[i].got.reader, log, 0, NULL) == 0);
        CHECK(pthread_create(&threads[i], NULL, read_in_thread, &t[i]) == 0);
    }
    for (unsigned i = 0; i < 1500; i++) {
        append_some(log, &m);
    }
    (void)finish(log);
    for (unsigned i = 0; i < 4; i++) {
        (void)pthread_join(threads[i], NULL);
        CHECK(t[i].got.results == 1 && agrees(&t[i].got, &m));
        CHECK(t[i].got.next[0] == m.total[0] && t[i].got.next[1] == m.total[1]);
        got_release(&t[i].got);
        (void)pthread_mutex_destroy(&t[i].lock);
        (void)pthread_cond_destroy(&t[i].turn);
    }
    execlog_unref(log);
    free(m.bytes[0]);
    free(m.bytes[1]);
}

int main(void)
{
    RUN(test_events_come_in_order);
    RUN(test_attach_after_any_event_has_the_rest);
    RUN(test_bound_is_exact);
    RUN(test_gap_names_what_each_reader_misses);
    RUN(test_characters_are_not_torn);
    RUN(test_failed_allocation_consumes_nothing);
    RUN(test_replayed_started_says_so);
    RUN(test_displays_count_and_a_huge_one_is_refused);
    RUN(test_collect);
    RUN(test_block_waits_for_the_slowest_reader);
    RUN(test_spills_to_the_spool_and_gives_it_back);
    RUN(test_full_spool_drops_and_counts);
    RUN(test_random_programs_with_room);
    RUN(test_random_programs_without_room);
    RUN(test_readers_in_threads);
    return check_done();
}
