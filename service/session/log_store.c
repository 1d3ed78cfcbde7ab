/* log_store.c: blocks of memory or spool, and the two record queues of a log. */
#include "service/session/log_store.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_FIRST 512u
#define BLOCK_SECOND 8192u
#define BLOCK_MOST (64u << 10)
#define CHARACTER 4u /* bytes: less room than this would tear one */

static struct log_block *new_block(struct execlog *log, size_t want, bool must)
{
    struct log_block *b = calloc(1, sizeof *b);
    if (b == NULL) {
        return NULL;
    }
    bool spill = log->spool != NULL && log->heap_bytes >= LOG_SPILL_BYTES && want <= SPOOL_SEGMENT;
    if (spill && (b->data = spool_take(log->spool, &b->index)) != NULL) {
        b->spooled = true;
        b->cap = SPOOL_SEGMENT;
        return b;
    }
    if (spill && !must) {
        free(b);
        return NULL;
    }
    uint32_t cap = log->heap_bytes == 0             ? BLOCK_FIRST
                   : log->heap_bytes < BLOCK_SECOND ? BLOCK_SECOND
                                                    : BLOCK_MOST;
    b->cap = want > cap ? (uint32_t)want : cap;
    b->data = malloc(b->cap);
    if (b->data == NULL) {
        free(b);
        return NULL;
    }
    log->heap_bytes += b->cap;
    return b;
}

struct log_block *log_block_current(struct execlog *log, size_t want, bool whole, bool must)
{
    struct log_block *b = log->current;
    size_t least = whole || want < CHARACTER ? want : CHARACTER;
    if (b != NULL && b->used < b->cap && b->cap - b->used >= least) {
        return b;
    }
    /* An output piece may be cut to fit a block, so it asks for no block of its own size. */
    struct log_block *fresh = new_block(log, whole ? want : 0, must);
    if (fresh == NULL) {
        return NULL;
    }
    fresh->refs = 1;
    log->current = fresh;
    if (b != NULL) {
        log_block_unref(log, b);
    }
    return fresh;
}

void log_block_unref(struct execlog *log, struct log_block *b)
{
    assert(b->refs > 0);
    if (--b->refs > 0) {
        return;
    }
    if (b->spooled) {
        spool_return(log->spool, b->data, b->index);
    } else {
        log->heap_bytes -= b->cap;
        free(b->data);
    }
    free(b);
}

struct log_record *log_deque_push(struct log_deque *d)
{
    if (d->first + d->len == d->cap && d->first > d->len) {
        memmove(d->items, d->items + d->first, d->len * sizeof *d->items);
        d->first = 0;
    }
    if (d->first + d->len == d->cap) {
        size_t cap = d->cap ? d->cap * 2 : 4;
        struct log_record *p = realloc(d->items, cap * sizeof *p);
        if (p == NULL) {
            return NULL;
        }
        d->items = p;
        d->cap = cap;
    }
    return &d->items[d->first + d->len++];
}

void log_deque_pop(struct log_deque *d)
{
    assert(d->len > 0);
    d->first++;
    d->len--;
}

void log_deque_release(struct execlog *log, struct log_deque *d)
{
    for (size_t i = 0; i < d->len; i++) {
        log_block_unref(log, d->items[d->first + i].block);
    }
    free(d->items);
    *d = (struct log_deque){0};
}

struct log_record *log_at(struct execlog *log, size_t i)
{
    assert(i < log_count(log));
    return i < log->head.len ? &log->head.items[log->head.first + i]
                             : &log->tail.items[log->tail.first + i - log->head.len];
}

size_t log_find(struct execlog *log, uint64_t seq)
{
    size_t low = 0;
    size_t high = log_count(log);
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (log_at(log, middle)->seq < seq) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

int log_split_last(struct execlog *log, uint32_t keep)
{
    struct log_deque *d = log->tail.len > 0 ? &log->tail : &log->head;
    struct log_record *rest = log_deque_push(d);
    if (rest == NULL) {
        return -1;
    }
    struct log_record *last = rest - 1;
    assert(keep > 0 && keep < last->size);
    *rest = *last;
    rest->data += keep;
    rest->size -= keep;
    rest->offset[last->kind] += keep;
    log->seq += d == &log->tail ? 3 : 1;
    rest->seq = log->seq;
    rest->block->refs++;
    last->size = keep;
    return 0;
}
