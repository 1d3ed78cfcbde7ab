/* show.h: an execution on the terminal: its events as they come, how it ended. Belongs to the
 * thread of the call. */
#ifndef PYEXEC_CLIENTS_C_CMD_SHOW_H
#define PYEXEC_CLIENTS_C_CMD_SHOW_H

#include <stdbool.h>

#include "clients/c/cmd/cli.h"
#include "service/base/buf.h"

struct feed;

struct show {
    bool json;         /* each event as one line; else the streams as they are */
    bool value;        /* print the value of the last expression (text/plain) */
    struct feed *feed; /* told of input requests; may be NULL */
    char last_byte;    /* of what was shown; '\n' at first */
    int write_errno;   /* 0 unless stdout or stderr could not be written */
    struct buf line;
};

void show_init(struct show *show, bool json);
void show_release(struct show *show);

/* A pyexec_event_fn; `ctx` is a struct show. */
int show_event(void *ctx, const struct pyexec_event *event);

/* Exit code of an execution that has a result. */
int show_exit_code(const struct pyexec_result *result);

/* After a call without a result: says why (with --json as a last line of its own, too). */
int show_failure(struct cli *cli, struct show *show, const struct pyexec_error *err);

#endif
