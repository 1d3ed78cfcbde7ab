/* feed.h: this process's standard input → the standard input of an execution, on a thread. */
#ifndef PYEXEC_CLIENTS_C_CMD_FEED_H
#define PYEXEC_CLIENTS_C_CMD_FEED_H

#include <stdbool.h>

#include "clients/c/pyexec.h"

struct feed;

/* `on_request`: reads only when the program asks (feed_request), one piece each time, so that what
 * is typed ahead stays ours. Otherwise everything at once, to the end of file. The thread begins
 * with feed_started. NULL after a message. */
struct feed *feed_new(struct pyexec_client *client, bool on_request);
void feed_started(struct feed *feed, const char *session_id, const char *execution_id);
/* `password`: a terminal doesn't show what is typed. */
void feed_request(struct feed *feed, bool password);
/* Ends the thread, in the middle of a read, too. NULL is fine. */
void feed_free(struct feed *feed);

#endif
