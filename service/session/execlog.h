/* execlog.h: the execution log: one execution's events in order, its output, its one result.
 *
 * The only structure that the loop thread (appends) and completion threads (read) share, under one
 * small lock of its own. Readers are cursors: any number may attach, each at its own place.
 *
 * Bound: at most `max_bytes` of output are retained: the first half is the head, the rest is the
 * tail, of which the oldest goes first; a reader that comes to a hole gets one OutputGap per stream
 * with exactly what is missing. Events that are not output count with their packed size.
 * With `block` nothing is dropped: log_room tells the engine to stop reading the pipes while the slowest
 * attached reader is more than the bound behind (without a reader: until the bound is full).
 *
 * Small logs are heap memory; beyond LOG_SPILL_BYTES data lies in segments of an unlinked spool
 * file (spool.h), mapped, so that the kernel can write it out. */
#ifndef PYEXEC_SESSION_EXECLOG_H
#define PYEXEC_SESSION_EXECLOG_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/pyexec_v1.h"
#include "service/base/buf.h"
#include "service/base/err.h"
#include "service/base/list.h"

#define LOG_SPILL_BYTES (1u << 20) /* heap bytes of one log */
#define LOG_READ_MAX (256u << 10)  /* output bytes merged into one message */
#define LOG_MESSAGE_MAX (1u << 20) /* no message of a stream is larger */

struct execlog;
struct spool;

/* `spool` NULL: memory only. NULL when memory is out. `drained` (may be NULL) is called, on any
 * thread, when a log that had no room has room again. */
struct execlog *execlog_new(struct spool *spool, uint64_t max_bytes, bool block,
                            void (*drained)(void *ctx), void *ctx);
/* Counted; the last release frees. Any thread. */
struct execlog *execlog_ref(struct execlog *log);
void execlog_unref(struct execlog *log);

enum log_stream { LOG_STDOUT = 0, LOG_STDERR = 1 };

/* Appends (loop thread). Failing to store output (memory, spool) drops and counts it; it never
 * fails the execution. `event` is any event but output and result, borrowed; seq and time are set. */
void execlog_append_output(struct execlog *log, enum log_stream stream, const void *data, size_t n);
int execlog_append_event(struct execlog *log, Pyexec__V1__ExecutionEvent *event);
/* Exactly once, last; the log is finished then. Fills stdout_bytes, stderr_bytes and
 * dropped_bytes of `result`. */
int execlog_append_result(struct execlog *log, Pyexec__V1__ExecutionResult *result);

/* Any thread. */
bool execlog_finished(struct execlog *log);
uint64_t execlog_last_seq(struct execlog *log);
uint64_t execlog_retained_bytes(struct execlog *log);
uint64_t execlog_stream_bytes(struct execlog *log, enum log_stream stream);
size_t
execlog_room(struct execlog *log); /* bytes that may be appended now; SIZE_MAX unless block */

/* --- reading ---------------------------------------------------------------------------------- */
struct log_reader {
    struct list node;
    struct execlog *log; /* a reference */
    uint64_t next_seq;   /* the first event not yet given */
    uint64_t offset[2];  /* bytes of each stream given so far */
    bool armed;
    bool replayed; /* goes into the `started` event */
    /* Loop thread: something can be read. Called at most once per arming (an EMPTY read arms). */
    void (*on_ready)(struct log_reader *reader);
};

/* Loop thread. `after_seq` is the last event the caller has; 0 starts at the beginning. A value
 * inside a merged chunk is fine. -1 with SEQ_OUT_OF_RANGE when beyond the end. on_ready must be
 * set. The reader starts armed when nothing is there to read. */
int log_reader_attach(struct log_reader *reader, struct execlog *log, uint64_t after_seq,
                      struct err *err);
void log_reader_detach(struct log_reader *reader); /* loop thread */

enum log_read {
    LOG_READ_EVENT,  /* one response message was written */
    LOG_READ_RESULT, /* the same, and it was the result: nothing follows */
    LOG_READ_EMPTY,  /* nothing now; on_ready will be called */
    LOG_READ_END,    /* the result was given before */
    LOG_READ_FAILED, /* alloc returned NULL; nothing was consumed */
};

/* Writes the next event as a response message (`event` as field 1: ExecuteResponse and
 * AttachExecutionResponse have that shape) into memory from `alloc(ctx, size)`. Consecutive output of one
 * stream is merged up to LOG_READ_MAX and ends at a UTF-8 boundary where that costs nothing.
 * *ret_more tells whether another event could be read at once. Any thread; one thread per reader at a time. */
enum log_read log_reader_next(struct log_reader *reader, uint8_t *(*alloc)(void *ctx, size_t size),
                              void *ctx, bool *ret_more);

/* Appends all retained output of a stream to `out`. Any thread. 0 or -1 (out of room). */
int execlog_collect(struct execlog *log, enum log_stream stream, struct buf *out);
/* Calls `fn` with each retained DisplayData event, unpacked and borrowed. Any thread. */
int execlog_each_display(struct execlog *log,
                         int (*fn)(void *ctx, const Pyexec__V1__DisplayData *d), void *ctx);
/* The packed ExecutionResult, borrowed while the log lives; NULL before the end. Any thread. */
const uint8_t *execlog_result(struct execlog *log, size_t *ret_size);

#endif
