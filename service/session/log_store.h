/* log_store.h: where an execution log keeps its bytes: blocks, and records that point into them.
 *
 * Internal to execlog.c and log_read.c. Everything is guarded by the log's lock, except the bytes
 * of a pinned block: they never change once a record covers them. */
#ifndef PYEXEC_SESSION_LOG_STORE_H
#define PYEXEC_SESSION_LOG_STORE_H

#include <pthread.h>
#include <stdatomic.h>

#include "service/session/execlog.h"
#include "service/session/spool.h"

struct log_block {
    uint8_t *data;
    uint32_t cap;
    uint32_t used;
    uint32_t refs;  /* records, pins, and one while it is the log's current block */
    uint32_t index; /* of a spool segment */
    bool spooled;
};

enum log_kind {
    LOG_KIND_STDOUT = LOG_STDOUT,
    LOG_KIND_STDERR = LOG_STDERR,
    LOG_KIND_EVENT, /* this and the following: a packed ExecutionEvent */
    LOG_KIND_STARTED,
    LOG_KIND_DISPLAY,
    LOG_KIND_RESULT,
};

struct log_record {
    uint64_t seq;
    uint64_t offset[2]; /* of both streams, where the record starts */
    int64_t time_ns;
    struct log_block *block;
    uint8_t *data;
    uint32_t size;
    enum log_kind kind;
};

struct log_deque {
    struct log_record *items;
    size_t first;
    size_t len;
    size_t cap;
};

struct execlog {
    pthread_mutex_t lock;
    _Atomic unsigned refs;
    struct spool *spool;
    uint64_t max_bytes;
    size_t max_records;
    uint32_t record_max; /* bytes of one output record: what is dropped at a time */
    bool block;
    void (*drained)(void *ctx);
    void *ctx;

    struct log_deque head; /* never dropped; then `tail`, whose oldest goes first */
    struct log_deque tail;
    bool head_closed;
    uint64_t head_bytes;
    uint64_t tail_bytes;
    struct log_block *current;
    uint64_t heap_bytes;

    uint64_t seq;       /* of the last event */
    uint64_t given_seq; /* records up to here were given to a reader: they don't grow any more */
    uint64_t total[2];
    uint64_t dropped;
    bool hole; /* bytes were lost since the last record */
    bool finished;
    size_t result_size;

    struct list readers; /* changed by the loop thread only, under the lock */
    uint64_t floor;      /* block: what every reader so far had got */
    bool starved;
};

/* A block with room for a character, or for all of `want` where `whole`; NULL: no room anywhere.
 * It is the log's current block. `must` takes heap memory when the spool is full. */
struct log_block *log_block_current(struct execlog *log, size_t want, bool whole, bool must);
void log_block_unref(struct execlog *log, struct log_block *block);

struct log_record *log_deque_push(struct log_deque *deque); /* NULL when memory is out */
void log_deque_pop(struct log_deque *deque);
void log_deque_release(struct execlog *log, struct log_deque *deque);

/* The i-th record of head and tail together; the first one with at least this seq (or the count). */
struct log_record *log_at(struct execlog *log, size_t i);
size_t log_find(struct execlog *log, uint64_t seq);
static inline size_t log_count(const struct execlog *log)
{
    return log->head.len + log->tail.len;
}

/* Cuts the last record after `keep` bytes; the rest becomes a record of its own. */
int log_split_last(struct execlog *log, uint32_t keep);
/* Bytes that may be appended now (lock held). */
uint64_t log_room_locked(struct execlog *log);

#endif
