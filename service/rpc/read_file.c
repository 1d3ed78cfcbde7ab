/* read_file.c: ReadFile: a stream whose source is an open file.
 *
 * The engine opens and checks it; the bytes are read on completion threads, one message at a time, so
 * that a slow client costs one message and a slow disk never holds up the loop thread. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "proto/pyexec_v1.h"
#include "service/base/fd.h"
#include "service/rpc/internal.h"
#include "service/rpc/method.h"
#include "service/rpc/stream.h"

#define CHUNK (256u << 10)

struct read_file {
    struct stream stream;
    struct engine_file file; /* ours once it is open */
    bool open;
    bool on_thread; /* the first read was moved off the loop thread */
};

static struct read_file *read_file_of(struct stream *s)
{
    return LIST_CONTAINER(s, struct read_file, stream);
}

static enum stream_next fail(struct stream *s, int error)
{
    (void)err_sys(&s->err, ERR_FILE_DENIED, error, "read", "the file can't be read on: %s",
                  strerror(error));
    return STREAM_END;
}

/* The next chunk; the last one, which may be empty, carries the description. */
static enum stream_next next(struct stream *s, grpc_slice *ret_slice, bool *ret_more)
{
    static _Thread_local uint8_t bytes[CHUNK];
    struct read_file *r = read_file_of(s);
    Pyexec__V1__ReadFileResponse response = PYEXEC__V1__READ_FILE_RESPONSE__INIT;
    if (!r->on_thread) {
        r->on_thread = true;
        return STREAM_ELSEWHERE;
    }
    uint64_t left = r->file.end - r->file.offset;
    size_t want = left < CHUNK ? (size_t)left : CHUNK;
    ssize_t n = 0;
    if (want > 0) {
        do {
            n = pread(r->file.fd, bytes, want, (off_t)r->file.offset);
        } while (n < 0 && errno == EINTR);
    }
    if (n < 0) {
        return fail(s, errno);
    }
    bool last = (size_t)n == left || n == 0; /* 0: it was cut while we read */
    response.offset = r->file.offset;
    response.data.data = bytes;
    response.data.len = (size_t)n;
    response.file = last ? r->file.info : NULL;
    if (!call_pack(&response.base, RPC_SEND_MAX, ret_slice)) {
        return fail(s, EMSGSIZE);
    }
    r->file.offset += (uint64_t)n;
    *ret_more = !last;
    return last ? STREAM_LAST : STREAM_MESSAGE;
}

static void detach(struct stream *s, bool gone)
{
    (void)s;
    (void)gone; /* the file goes with the call */
}

static const struct stream_source file_source = {.next = next, .detach = detach};

static void opened(void *ctx, struct engine_file *file, const struct err *err)
{
    struct stream *s = ctx;
    struct read_file *r = read_file_of(s);
    if (err == NULL) {
        r->file = *file;
        r->open = true;
        file->fd = -1;
        file->info = NULL;
    }
    stream_attached(s, err, 0);
}

static void start(struct engine_task *task)
{
    struct stream *s = stream_of(task);
    engine_open_file(s->call.server->engine, NULL, (const void *)s->call.request, opened, s);
}

static void arrived(struct call *call)
{
    struct stream *s = LIST_CONTAINER(call, struct stream, call);
    stream_begin(s, &file_source, start);
}

static void release(struct call *call)
{
    struct read_file *r = LIST_CONTAINER(call, struct read_file, stream.call);
    if (r->open) {
        fd_close(&r->file.fd);
        pyexec__v1__file_info__free_unpacked(r->file.info, NULL);
    }
    stream_release(call);
}

const struct call_type call_type_read_file = {
    .size = sizeof(struct read_file),
    .arrived = arrived,
    .release = release,
};
