/* private_daemon.h: a pyexecd for one call, where none answers at the default socket.
 *
 * A small process, the keeper, stands between: it starts pyexecd, and when the command ends, in
 * whatever way (kill -9 included: it sees the end of a pipe), it ends pyexecd and removes its
 * directory. It is a session of its own, so that Ctrl-C at the terminal is ours alone.
 *
 * Must be started before any thread and before gRPC. */
#ifndef PYEXEC_CLIENTS_C_CMD_PRIVATE_DAEMON_H
#define PYEXEC_CLIENTS_C_CMD_PRIVATE_DAEMON_H

#include <stddef.h>

struct private_daemon;

/* Returns when it is ready, with its address. 0, or -1 after a message. */
int private_daemon_start(struct private_daemon **ret_daemon, char *ret_address, size_t size);

/* Ends it and waits until nothing is left of it. NULL is fine. */
void private_daemon_end(struct private_daemon *daemon);

#endif
