/* signals.h: Ctrl-C and the end of the command.
 *
 * One thread waits for signals (all others block them) and acts on what is running, through the
 * thread-safe calls of the library. */
#ifndef PYEXEC_CLIENTS_C_CMD_SIGNALS_H
#define PYEXEC_CLIENTS_C_CMD_SIGNALS_H

#include <stdbool.h>

#include "clients/c/pyexec.h"

/* Before any thread: blocks SIGINT, SIGTERM, SIGHUP, ignores SIGPIPE. Until then they end the
 * command as they end any other. */
void signals_block(void);

/* Undoes it, for a child about to exec. */
void signals_unblock(void);

/* Starts the thread; `client` must live until signals_stop. 0 or -1 after a message. */
int signals_start(struct pyexec_client *client);
/* Ends the thread; later signals are pending and change nothing. Harmless to repeat. */
void signals_stop(void);

/* From here to signals_idle an execution runs. SIGINT: the first interrupts it, the second kills
 * it, the third gives up on the server. `session_id` may be "" until signals_started. */
void signals_running(const char *session_id, const char *execution_id);
void signals_started(const char *session_id, const char *execution_id);
void signals_idle(void);

/* SIGINT while nothing runs ends the command (the default), or is dropped. */
void signals_ignore_idle_interrupt(void);

/* True after SIGTERM, SIGHUP, or a SIGINT that ends the command: every call fails from then on. */
bool signals_stopping(void);

/* Waits until `fd` can be read; false when the command is to end instead. */
bool signals_wait_input(int fd);

/* 128 + the signal that ended the command, else `code`. */
int signals_exit_code(int code);

#endif
