/* collect.c: Run's one answer, from a finished execution's log. Any thread. */
#include <stdlib.h>
#include <string.h>

#include "service/session/internal.h"

static int take_display(void *ctx, const Pyexec__V1__DisplayData *d)
{
    Pyexec__V1__RunResponse *r = ctx;
    ProtobufCMessage *copy = message_clone(&d->base);
    Pyexec__V1__DisplayData **all =
        realloc(r->displays, (r->n_displays + 1) * sizeof(Pyexec__V1__DisplayData *));
    if (all != NULL) {
        r->displays = all;
    }
    if (copy == NULL || all == NULL) {
        if (copy != NULL) {
            protobuf_c_message_free_unpacked(copy, NULL);
        }
        return -1;
    }
    r->displays[r->n_displays++] = (Pyexec__V1__DisplayData *)copy;
    return 0;
}

static int take_stream(struct execlog *log, enum log_stream stream, ProtobufCBinaryData *ret)
{
    struct buf b;
    buf_init(&b, SIZE_MAX);
    if (execlog_collect(log, stream, &b) < 0) {
        buf_release(&b);
        return -1;
    }
    ret->data = b.data;
    ret->len = b.len;
    return 0;
}

int engine_collect_run(struct execution *x, Pyexec__V1__RunResponse **ret_response, struct err *err)
{
    size_t size = 0;
    const uint8_t *result = execlog_result(x->log, &size);
    Pyexec__V1__RunResponse *r = malloc(sizeof *r);
    if (r == NULL || result == NULL) {
        free(r);
        return err_set(err, r == NULL ? ERR_NO_MEMORY : ERR_INTERNAL, "the result is not there");
    }
    pyexec__v1__run_response__init(r);
    r->result = pyexec__v1__execution_result__unpack(NULL, size, result);
    if (r->result == NULL || take_stream(x->log, LOG_STDOUT, &r->stdout) < 0 ||
        take_stream(x->log, LOG_STDERR, &r->stderr) < 0 ||
        execlog_each_display(x->log, take_display, r) < 0) {
        pyexec__v1__run_response__free_unpacked(r, NULL);
        return err_set(err, ERR_NO_MEMORY, "out of memory");
    }
    *ret_response = r;
    return 0;
}
