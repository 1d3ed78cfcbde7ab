/* log_read.c: cursors on an execution log.
 *
 * A read looks under the lock, pins the blocks it needs, copies without the lock and then moves the
 * cursor, so that a large copy never holds up the loop thread. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "service/base/clock.h"
#include "service/base/utf8.h"
#include "service/session/log_store.h"

#define PIECES 32

struct piece {
    struct log_block *block;
    const uint8_t *data;
    uint32_t size;
};

/* What one message will hold. */
struct plan {
    struct piece pieces[PIECES];
    unsigned piece_count;
    uint64_t seq;
    int64_t time_ns;
    enum log_kind kind;
    bool gap;
    enum log_stream stream;
    uint64_t offset;
    uint64_t size;     /* bytes of the stream */
    uint64_t after[2]; /* the reader's offsets afterwards */
};

int log_reader_attach(struct log_reader *reader, struct execlog *log, uint64_t after_seq,
                      struct err *err)
{
    assert(reader->on_ready != NULL);
    (void)pthread_mutex_lock(&log->lock);
    if (after_seq > log->seq) {
        uint64_t last = log->seq;
        (void)pthread_mutex_unlock(&log->lock);
        return err_set(err, ERR_SEQ_OUT_OF_RANGE, "after_seq %llu is beyond the last event, %llu",
                       (unsigned long long)after_seq, (unsigned long long)last);
    }
    reader->log = execlog_ref(log);
    reader->next_seq = after_seq + 1;
    /* Where the caller is in the streams: at the first record that it lacks, or where that was
     * dropped, at the end of the head (which may name bytes as missing that it has). */
    size_t i = log_find(log, reader->next_seq);
    reader->offset[0] = reader->offset[1] = 0;
    if (i > 0) {
        struct log_record *r = log_at(log, i - 1);
        memcpy(reader->offset, r->offset, sizeof reader->offset);
        if (r->kind <= LOG_KIND_STDERR) {
            reader->offset[r->kind] += r->size;
        }
    }
    reader->armed = reader->next_seq > log->seq && !log->finished;
    list_push_back(&log->readers, &reader->node);
    (void)pthread_mutex_unlock(&log->lock);
    return 0;
}

/* Was the log starved, and is no longer? Lock held. */
static bool revived(struct execlog *log)
{
    if (!log->starved || log_room_locked(log) == 0) {
        return false;
    }
    log->starved = false;
    return true;
}

static void raise_floor(struct execlog *log)
{
    uint64_t least = UINT64_MAX;
    LIST_FOREACH (it, &log->readers) {
        struct log_reader *r = LIST_CONTAINER(it, struct log_reader, node);
        uint64_t p = r->offset[0] + r->offset[1];
        least = p < least ? p : least;
    }
    if (least != UINT64_MAX && least > log->floor) {
        log->floor = least;
    }
}

void log_reader_detach(struct log_reader *reader)
{
    struct execlog *log = reader->log;
    if (log == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&log->lock);
    raise_floor(log);
    list_remove(&reader->node);
    reader->armed = false;
    reader->log = NULL;
    bool wake = revived(log);
    (void)pthread_mutex_unlock(&log->lock);
    if (wake && log->drained != NULL) {
        log->drained(log->ctx);
    }
    execlog_unref(log);
}

/* Adds a record's bytes to the plan; false when it doesn't fit. */
static bool add_piece(struct plan *plan, struct log_record *r)
{
    struct piece *last = plan->piece_count > 0 ? &plan->pieces[plan->piece_count - 1] : NULL;
    if (last != NULL && last->block == r->block && last->data + last->size == r->data) {
        last->size += r->size;
        return true;
    }
    if (plan->piece_count == PIECES) {
        return false;
    }
    plan->pieces[plan->piece_count++] = (struct piece){r->block, r->data, r->size};
    r->block->refs++;
    return true;
}

/* At a hole: one gap a stream, each with a number that was left free before the record. */
static bool plan_gap(const struct log_reader *reader, const struct log_record *r, struct plan *plan)
{
    for (unsigned s = 0; s < 2; s++) {
        if (reader->offset[s] < r->offset[s] && reader->next_seq <= r->seq - 2 + s) {
            plan->gap = true;
            plan->stream = (enum log_stream)s;
            plan->offset = reader->offset[s];
            plan->size = r->offset[s] - reader->offset[s];
            plan->seq = r->seq - 2 + s;
            plan->time_ns = r->time_ns;
            plan->after[s] = r->offset[s];
            return true;
        }
    }
    return false;
}

/* Merges the output that follows record `i`. */
static void plan_output(struct execlog *log, size_t i, struct plan *plan)
{
    size_t count = log_count(log);
    for (; i < count; i++) {
        struct log_record *r = log_at(log, i);
        if ((plan->size > 0 &&
             (r->kind != plan->kind || r->offset[0] != plan->after[0] ||
              r->offset[1] != plan->after[1] || plan->size + r->size > LOG_READ_MAX))) {
            return;
        }
        if (i + 1 == count && !log->finished && r->seq > log->given_seq) {
            /* A character that is not complete yet waits for the next read. */
            size_t keep = utf8_boundary(r->data, r->size);
            if (keep > 0 && keep < r->size && log_split_last(log, (uint32_t)keep) == 0) {
                r = log_at(log, i);
            }
        }
        if (!add_piece(plan, r)) {
            return;
        }
        plan->size += r->size;
        plan->after[plan->stream] += r->size;
        plan->seq = r->seq;
        plan->time_ns = r->time_ns;
    }
}

static enum log_read make_plan(struct log_reader *reader, struct plan *plan)
{
    struct execlog *log = reader->log;
    size_t i = log_find(log, reader->next_seq);
    if (i == log_count(log)) {
        reader->armed = !log->finished;
        return log->finished ? LOG_READ_END : LOG_READ_EMPTY;
    }
    struct log_record *r = log_at(log, i);
    memcpy(plan->after, reader->offset, sizeof plan->after);
    plan->kind = r->kind;
    if (plan_gap(reader, r, plan)) {
        return LOG_READ_EVENT;
    }
    memcpy(plan->after, r->offset, sizeof plan->after);
    if (r->kind <= LOG_KIND_STDERR) {
        plan->stream = (enum log_stream)r->kind;
        plan->offset = r->offset[r->kind];
        plan_output(log, i, plan);
    } else {
        (void)add_piece(plan, r);
        plan->seq = r->seq;
    }
    log->given_seq = plan->seq > log->given_seq ? plan->seq : log->given_seq;
    return plan->kind == LOG_KIND_RESULT ? LOG_READ_RESULT : LOG_READ_EVENT;
}

/* --- encoding: protobuf's wire format by hand, so that output is copied once ------------------- */

static size_t varint_size(uint64_t v)
{
    size_t n = 1;
    while (v >= 0x80) {
        v >>= 7;
        n++;
    }
    return n;
}

static uint8_t *put_varint(uint8_t *p, uint64_t v)
{
    while (v >= 0x80) {
        *p++ = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    *p++ = (uint8_t)v;
    return p;
}

static size_t field_size(uint64_t v) /* of a varint field below 16; zero is left out */
{
    return v != 0 ? 1 + varint_size(v) : 0;
}

static uint8_t *put_field(uint8_t *p, unsigned number, uint64_t v)
{
    if (v == 0) {
        return p;
    }
    *p++ = (uint8_t)(number << 3);
    return put_varint(p, v);
}

static uint8_t *put_length(uint8_t *p, unsigned number, uint64_t length)
{
    *p++ = (uint8_t)(number << 3 | 2);
    return put_varint(p, length);
}

struct sizes {
    size_t time;
    size_t inner; /* OutputChunk or OutputGap */
    size_t event;
    size_t total;
};

static struct sizes measure(const struct plan *plan)
{
    uint64_t sec = (uint64_t)(plan->time_ns / NS_PER_SEC);
    uint64_t nanos = (uint64_t)(plan->time_ns % NS_PER_SEC);
    struct sizes s;
    s.time = field_size(sec) + field_size(nanos);
    s.inner = field_size(plan->stream + 1u) + field_size(plan->offset);
    s.inner += plan->gap ? field_size(plan->size) : 1 + varint_size(plan->size) + plan->size;
    s.event = field_size(plan->seq) + 1 + varint_size(s.time) + s.time + 1 + varint_size(s.inner) +
              s.inner;
    s.total = 1 + varint_size(s.event) + s.event;
    return s;
}

static void encode(const struct plan *plan, const struct sizes *s, uint8_t *p)
{
    p = put_length(p, 1, s->event);
    p = put_field(p, 1, plan->seq);
    p = put_length(p, 2, s->time);
    p = put_field(p, 1, (uint64_t)(plan->time_ns / NS_PER_SEC));
    p = put_field(p, 2, (uint64_t)(plan->time_ns % NS_PER_SEC));
    p = put_length(p, plan->gap ? 10 : 4, s->inner);
    p = put_field(p, 1, plan->stream + 1u);
    p = put_field(p, 2, plan->offset);
    if (plan->gap) {
        (void)put_field(p, 3, plan->size);
        return;
    }
    p = put_length(p, 3, plan->size);
    for (unsigned i = 0; i < plan->piece_count; i++) {
        memcpy(p, plan->pieces[i].data, plan->pieces[i].size);
        p += plan->pieces[i].size;
    }
}

/* The stored `started`, with `replayed` set. */
static bool write_replayed(const struct piece *piece, uint8_t *(*alloc)(void *, size_t), void *ctx)
{
    Pyexec__V1__ExecutionEvent *event =
        pyexec__v1__execution_event__unpack(NULL, piece->size, piece->data);
    if (event == NULL) {
        return false;
    }
    event->started->replayed = 1;
    Pyexec__V1__ExecuteResponse response = PYEXEC__V1__EXECUTE_RESPONSE__INIT;
    response.event = event;
    uint8_t *p = alloc(ctx, pyexec__v1__execute_response__get_packed_size(&response));
    if (p != NULL) {
        (void)pyexec__v1__execute_response__pack(&response, p);
    }
    pyexec__v1__execution_event__free_unpacked(event, NULL);
    return p != NULL;
}

static bool write_message(const struct log_reader *reader, const struct plan *plan,
                          uint8_t *(*alloc)(void *, size_t), void *ctx)
{
    if (plan->gap || plan->kind <= LOG_KIND_STDERR) {
        struct sizes s = measure(plan);
        uint8_t *p = alloc(ctx, s.total);
        if (p != NULL) {
            encode(plan, &s, p);
        }
        return p != NULL;
    }
    const struct piece *piece = &plan->pieces[0];
    if (plan->kind == LOG_KIND_STARTED && reader->replayed) {
        return write_replayed(piece, alloc, ctx);
    }
    uint8_t *p = alloc(ctx, 1 + varint_size(piece->size) + piece->size);
    if (p != NULL) {
        p = put_length(p, 1, piece->size);
        memcpy(p, piece->data, piece->size);
    }
    return p != NULL;
}

enum log_read log_reader_next(struct log_reader *reader, uint8_t *(*alloc)(void *ctx, size_t size),
                              void *ctx, bool *ret_more)
{
    struct execlog *log = reader->log;
    struct plan plan = {0};
    *ret_more = false;
    (void)pthread_mutex_lock(&log->lock);
    enum log_read what = make_plan(reader, &plan);
    (void)pthread_mutex_unlock(&log->lock);
    if (what == LOG_READ_EMPTY || what == LOG_READ_END) {
        return what;
    }
    bool written = write_message(reader, &plan, alloc, ctx);
    bool wake = false;
    (void)pthread_mutex_lock(&log->lock);
    for (unsigned i = 0; i < plan.piece_count; i++) {
        log_block_unref(log, plan.pieces[i].block);
    }
    if (written) {
        reader->next_seq = plan.seq + 1;
        memcpy(reader->offset, plan.after, sizeof reader->offset);
        *ret_more = reader->next_seq <= log->seq;
        if (log->block) {
            raise_floor(log);
            wake = revived(log);
        }
    }
    (void)pthread_mutex_unlock(&log->lock);
    if (wake && log->drained != NULL) {
        log->drained(log->ctx);
    }
    return written ? what : LOG_READ_FAILED;
}
