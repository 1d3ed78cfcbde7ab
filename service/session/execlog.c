/* execlog.c: appending to an execution log, and what it lets go of.
 *
 * A record is one event with one seq. Output that nobody has read yet grows the last record instead
 * of making another one, so that small writes merge for a slow reader and never for a fast one. In
 * the tail each record's seq is three up, which leaves two numbers for the gaps that a reader may
 * have to be told of before it. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "service/base/clock.h"
#include "service/base/utf8.h"
#include "service/session/log_store.h"

#define RECORD_MOST (64u << 10)
#define RECORDS_LEAST 4096u
#define BYTES_A_RECORD 64u /* the record table may grow as large as the bound, not beyond */

struct execlog *execlog_new(struct spool *spool, uint64_t max_bytes, bool block,
                            void (*drained)(void *ctx), void *ctx)
{
    struct execlog *log = calloc(1, sizeof *log);
    if (log == NULL) {
        return NULL;
    }
    uint64_t piece = max_bytes / 16;
    log->spool = spool;
    log->max_bytes = max_bytes;
    log->max_records =
        max_bytes / BYTES_A_RECORD > RECORDS_LEAST ? max_bytes / BYTES_A_RECORD : RECORDS_LEAST;
    log->record_max = piece > RECORD_MOST ? RECORD_MOST : piece > 0 ? (uint32_t)piece : 1;
    log->block = block;
    log->drained = drained;
    log->ctx = ctx;
    log->head_closed = block; /* with BLOCK all is tail: what every reader has may go */
    atomic_init(&log->refs, 1);
    (void)pthread_mutex_init(&log->lock, NULL);
    list_init(&log->readers);
    return log;
}

struct execlog *execlog_ref(struct execlog *log)
{
    atomic_fetch_add_explicit(&log->refs, 1, memory_order_relaxed);
    return log;
}

void execlog_unref(struct execlog *log)
{
    if (log == NULL || atomic_fetch_sub_explicit(&log->refs, 1, memory_order_acq_rel) > 1) {
        return;
    }
    if (log->spool != NULL) {
        spool_account(log->spool, -(int64_t)(log->head_bytes + log->tail_bytes));
    }
    log_deque_release(log, &log->head);
    log_deque_release(log, &log->tail);
    if (log->current != NULL) {
        log_block_unref(log, log->current);
    }
    (void)pthread_mutex_destroy(&log->lock);
    free(log);
}

static void lock(struct execlog *log)
{
    (void)pthread_mutex_lock(&log->lock);
}

static void unlock(struct execlog *log)
{
    (void)pthread_mutex_unlock(&log->lock);
}

static uint64_t position(const struct log_reader *reader)
{
    return reader->offset[0] + reader->offset[1];
}

/* Up to where every reader has the bytes. */
static uint64_t read_by_all(struct execlog *log)
{
    if (list_empty(&log->readers)) {
        return log->floor;
    }
    uint64_t least = UINT64_MAX;
    LIST_FOREACH (it, &log->readers) {
        uint64_t p = position(LIST_CONTAINER(it, struct log_reader, node));
        least = p < least ? p : least;
    }
    return least;
}

uint64_t log_room_locked(struct execlog *log)
{
    uint64_t unread = log->total[0] + log->total[1] - read_by_all(log);
    return unread < log->max_bytes ? log->max_bytes - unread : 0;
}

/* The first and the last event are always there and cost nothing of the bound. */
static int64_t cost(const struct log_record *r)
{
    return r->kind == LOG_KIND_STARTED || r->kind == LOG_KIND_RESULT ? 0 : (int64_t)r->size;
}

static void account(struct execlog *log, bool tail, int64_t delta)
{
    uint64_t *bytes = tail ? &log->tail_bytes : &log->head_bytes;
    *bytes += (uint64_t)delta;
    if (log->spool != NULL) {
        spool_account(log->spool, delta);
    }
}

/* Lets the oldest of the tail go until the bound holds; the newest record always stays. */
static void trim(struct execlog *log)
{
    uint64_t done = log->block ? read_by_all(log) : 0;
    while (log->tail.len > 1 && (log->head_bytes + log->tail_bytes > log->max_bytes ||
                                 log_count(log) > log->max_records)) {
        struct log_record *r = &log->tail.items[log->tail.first];
        bool output = r->kind <= LOG_KIND_STDERR;
        if (log->block && r->offset[0] + r->offset[1] + (output ? r->size : 0) > done) {
            break;
        }
        if (!log->block) {
            log->dropped += (uint64_t)cost(r);
        }
        account(log, true, -cost(r));
        log_block_unref(log, r->block);
        log_deque_pop(&log->tail);
    }
}

static struct log_record *last_record(struct execlog *log)
{
    size_t n = log_count(log);
    return n > 0 ? log_at(log, n - 1) : NULL;
}

/* A record at the end of the current block; the caller puts the bytes in. */
static struct log_record *add_record(struct execlog *log, enum log_kind kind, uint32_t size)
{
    bool tail = log->head_closed;
    struct log_record *r = log_deque_push(tail ? &log->tail : &log->head);
    if (r == NULL) {
        return NULL;
    }
    struct log_block *b = log->current;
    log->seq += tail || log->hole ? 3 : 1;
    log->hole = false;
    *r = (struct log_record){
        .seq = log->seq,
        .offset = {log->total[0], log->total[1]},
        .time_ns = clock_real_ns(),
        .block = b,
        .data = b->data + b->used,
        .size = size,
        .kind = kind,
    };
    b->refs++;
    b->used += size;
    account(log, tail, cost(r));
    return r;
}

/* How many of the bytes go into `room`; 0 where that would only tear a character. */
static uint32_t cut(const uint8_t *data, size_t n, size_t room)
{
    return (uint32_t)(n <= room ? n : utf8_boundary(data, room));
}

/* Grows the last record by some of the bytes: how many. */
static uint32_t grow(struct execlog *log, enum log_stream stream, const uint8_t *data, size_t n,
                     size_t most)
{
    struct log_record *r = last_record(log);
    struct log_block *b = log->current;
    if (r == NULL || r->kind != (enum log_kind)stream || r->seq <= log->given_seq || log->hole ||
        r->block != b || r->data + r->size != b->data + b->used || r->size >= log->record_max ||
        (log->head_closed && log->tail.len == 0)) {
        return 0;
    }
    size_t room = log->record_max - r->size;
    room = room < b->cap - b->used ? room : b->cap - b->used;
    room = room < most ? room : most;
    uint32_t k = cut(data, n, room);
    if (k == 0) {
        return 0;
    }
    memcpy(b->data + b->used, data, k);
    b->used += k;
    r->size += k;
    account(log, log->head_closed, k);
    return k;
}

static uint32_t append_piece(struct execlog *log, enum log_stream stream, const uint8_t *data,
                             size_t n)
{
    size_t most = SIZE_MAX;
    if (!log->head_closed) {
        uint64_t left =
            log->max_bytes / 2 > log->head_bytes ? log->max_bytes / 2 - log->head_bytes : 0;
        log->head_closed = left == 0 || log->head.len >= log->max_records / 2;
        most = log->head_closed ? SIZE_MAX : left;
    }
    uint32_t k = grow(log, stream, data, n, most);
    if (k > 0) {
        return k;
    }
    size_t room = log->record_max < most ? log->record_max : most;
    struct log_block *b = log_block_current(log, n < room ? n : room, false, false);
    if (b == NULL) {
        return 0;
    }
    room = room < b->cap - b->used ? room : b->cap - b->used;
    k = cut(data, n, room);
    k = k > 0 ? k : (uint32_t)room; /* records smaller than a character */
    struct log_record *r = add_record(log, (enum log_kind)stream, k);
    if (r == NULL) {
        return 0;
    }
    memcpy(r->data, data, k);
    return k;
}

/* Tells the readers that wait and now have something. Loop thread, lock not held. */
static void notify(struct execlog *log)
{
    for (;;) {
        struct log_reader *found = NULL;
        lock(log);
        LIST_FOREACH (it, &log->readers) {
            struct log_reader *r = LIST_CONTAINER(it, struct log_reader, node);
            if (r->armed && r->next_seq <= log->seq) {
                r->armed = false;
                found = r;
                break;
            }
        }
        unlock(log);
        if (found == NULL) {
            return;
        }
        found->on_ready(found);
    }
}

void execlog_append_output(struct execlog *log, enum log_stream stream, const void *data, size_t n)
{
    const uint8_t *p = data;
    if (n == 0) {
        return;
    }
    lock(log);
    assert(!log->finished);
    while (n > 0) {
        uint32_t k = append_piece(log, stream, p, n);
        if (k == 0) { /* no memory, no spool: the bytes are lost, and counted */
            log->hole = true;
            log->dropped += n;
            log->total[stream] += n;
            break;
        }
        log->total[stream] += k;
        p += k;
        n -= k;
        trim(log);
    }
    unlock(log);
    notify(log);
}

static void set_time(Google__Protobuf__Timestamp *t, int64_t ns)
{
    google__protobuf__timestamp__init(t);
    t->seconds = ns / NS_PER_SEC;
    t->nanos = (int32_t)(ns % NS_PER_SEC);
}

/* Stores a packed event; lock held. */
static int store_event(struct execlog *log, Pyexec__V1__ExecutionEvent *event, enum log_kind kind)
{
    Google__Protobuf__Timestamp time;
    set_time(&time, clock_real_ns());
    event->time = &time;
    event->seq = log->seq + (log->head_closed || log->hole ? 3 : 1);
    size_t size = pyexec__v1__execution_event__get_packed_size(event);
    struct log_block *b = NULL;
    struct log_record *r = NULL;
    if (size <= LOG_MESSAGE_MAX) {
        b = log_block_current(log, size, true, kind == LOG_KIND_RESULT);
    }
    if (b != NULL) {
        r = add_record(log, kind, (uint32_t)size);
    }
    if (r != NULL) {
        assert(r->seq == event->seq);
        (void)pyexec__v1__execution_event__pack(event, r->data);
    }
    event->time = NULL;
    return r != NULL ? 0 : -1;
}

int execlog_append_event(struct execlog *log, Pyexec__V1__ExecutionEvent *event)
{
    enum log_kind kind = LOG_KIND_EVENT;
    if (event->event_case == PYEXEC__V1__EXECUTION_EVENT__EVENT_STARTED) {
        kind = LOG_KIND_STARTED;
    } else if (event->event_case == PYEXEC__V1__EXECUTION_EVENT__EVENT_DISPLAY) {
        kind = LOG_KIND_DISPLAY;
    }
    lock(log);
    assert(!log->finished);
    if (!log->head_closed && kind != LOG_KIND_STARTED) {
        /* The head holds half of the bound, events included; a larger one opens the tail. */
        size_t size = pyexec__v1__execution_event__get_packed_size(event);
        log->head_closed =
            log->head_bytes + size > log->max_bytes / 2 || log->head.len >= log->max_records / 2;
    }
    int result = store_event(log, event, kind);
    if (result < 0) {
        log->dropped += pyexec__v1__execution_event__get_packed_size(event);
    }
    trim(log);
    unlock(log);
    notify(log);
    return result;
}

int execlog_append_result(struct execlog *log, Pyexec__V1__ExecutionResult *result)
{
    Pyexec__V1__ExecutionEvent event = PYEXEC__V1__EXECUTION_EVENT__INIT;
    event.event_case = PYEXEC__V1__EXECUTION_EVENT__EVENT_RESULT;
    event.result = result;
    lock(log);
    assert(!log->finished);
    result->stdout_bytes = log->total[LOG_STDOUT];
    result->stderr_bytes = log->total[LOG_STDERR];
    result->dropped_bytes = log->dropped;
    log->hole = true; /* room for the numbers of gaps, should there be any */
    int e = store_event(log, &event, LOG_KIND_RESULT);
    if (e == 0) {
        log->finished = true;
        log->result_size = pyexec__v1__execution_result__get_packed_size(result);
    }
    unlock(log);
    if (e == 0) {
        notify(log);
    }
    return e;
}

bool execlog_finished(struct execlog *log)
{
    lock(log);
    bool finished = log->finished;
    unlock(log);
    return finished;
}

uint64_t execlog_last_seq(struct execlog *log)
{
    lock(log);
    uint64_t seq = log->seq;
    unlock(log);
    return seq;
}

uint64_t execlog_retained_bytes(struct execlog *log)
{
    lock(log);
    uint64_t n = log->head_bytes + log->tail_bytes;
    unlock(log);
    return n;
}

uint64_t execlog_stream_bytes(struct execlog *log, enum log_stream stream)
{
    lock(log);
    uint64_t n = log->total[stream];
    unlock(log);
    return n;
}

size_t execlog_room(struct execlog *log)
{
    if (!log->block) {
        return SIZE_MAX;
    }
    lock(log);
    uint64_t room = log_room_locked(log);
    log->starved = room == 0;
    unlock(log);
    return room > SIZE_MAX ? SIZE_MAX : (size_t)room;
}

int execlog_collect(struct execlog *log, enum log_stream stream, struct buf *out)
{
    int result = 0;
    lock(log);
    for (size_t i = 0; i < log_count(log) && result == 0; i++) {
        struct log_record *r = log_at(log, i);
        if (r->kind == (enum log_kind)stream) {
            result = buf_append(out, r->data, r->size);
        }
    }
    unlock(log);
    return result;
}

static Pyexec__V1__ExecutionEvent *next_display(struct execlog *log, uint64_t *seq)
{
    Pyexec__V1__ExecutionEvent *event = NULL;
    lock(log);
    for (size_t i = log_find(log, *seq + 1); i < log_count(log); i++) {
        struct log_record *r = log_at(log, i);
        if (r->kind == LOG_KIND_DISPLAY) {
            *seq = r->seq;
            event = pyexec__v1__execution_event__unpack(NULL, r->size, r->data);
            break;
        }
    }
    unlock(log);
    return event;
}

int execlog_each_display(struct execlog *log,
                         int (*fn)(void *ctx, const Pyexec__V1__DisplayData *d), void *ctx)
{
    uint64_t seq = 0;
    Pyexec__V1__ExecutionEvent *event;
    int result = 0;
    while (result == 0 && (event = next_display(log, &seq)) != NULL) {
        result = fn(ctx, event->display);
        pyexec__v1__execution_event__free_unpacked(event, NULL);
    }
    return result;
}

const uint8_t *execlog_result(struct execlog *log, size_t *ret_size)
{
    const uint8_t *data = NULL;
    lock(log);
    if (log->finished) {
        /* The result is the last field of the last record. */
        struct log_record *r = last_record(log);
        data = r->data + r->size - log->result_size;
        *ret_size = log->result_size;
    }
    unlock(log);
    return data;
}
