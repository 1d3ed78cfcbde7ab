/* watch.h: streams that tell changes until their client goes: Health.Watch and WatchSessions.
 * Their source is a bounded queue of packed messages. */
#ifndef PYEXEC_RPC_WATCH_H
#define PYEXEC_RPC_WATCH_H

#include "service/base/list.h"
#include "service/rpc/stream.h"

/* Enough for the first listing of as many sessions as a node has by default. */
#define WATCH_QUEUE_MESSAGES 16384
#define WATCH_QUEUE_BYTES (16u << 20)

struct watch {
    struct stream stream;
    struct list node;  /* in server->watchers; loop thread */
    struct list queue; /* stream.lock */
    size_t messages;   /* stream.lock */
    size_t bytes;      /* stream.lock */
    bool finished;     /* stream.lock: nothing will be pushed any more */
};

void watch_init(struct watch *watch); /* once, in `arrived` */

/* Loop thread. False: the queue is full or memory is out; the watch then ends with a status. */
bool watch_push(struct watch *watch, const ProtobufCMessage *message);
/* Loop thread: sends what is queued, then `err`. Later pushes are dropped. */
void watch_finish(struct watch *watch, const struct err *err);

enum stream_next watch_next(struct stream *stream, grpc_slice *ret_slice, bool *ret_more);
void watch_release(struct call *call);

#endif
