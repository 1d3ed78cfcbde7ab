/* session_python.h: the interpreter of a session process, as service/child uses it.
 *
 * Main thread of a forked session; the GIL is held except where a function says otherwise. */
#ifndef PYEXEC_PYEMBED_SESSION_PYTHON_H
#define PYEXEC_PYEMBED_SESSION_PYTHON_H

#include <stdbool.h>
#include <stdint.h>

#include "internal/session.pb-c.h"
#include "service/base/err.h"

/* Finishes the fork: CPython's protocol, new generators' seeds, streams on descriptors 0 to 2,
 * signals. Descriptors and the channel (channel.h) are in place. `branch`: the parent was a
 * session, whose memory stays. 0, or -1. */
int session_python_start(bool branch, struct err *err);

/* Runs a template's warm-up snippet in a namespace of its own; what it raises is dropped. */
void session_python_warm_up(const char *code);

/* What SessionInit says. 0, or -1. */
int session_python_init(const Pyexec__Internal__SessionInit *init, struct err *err);

/* One run, from STARTED to DONE, both sent here. `asks_input`: descriptor 0 is a pipe that the
 * daemon may fill on request. 0, or -1 when the channel is gone: the session has to end. Does not
 * return in a child that user code forked and that came back through here: that one exits. */
int session_python_run(const Pyexec__Internal__SessionRun *run, bool asks_input);

/* Between runs, around a wait: other threads run. */
void session_python_allow_threads(void);
void session_python_resume(void);

/* After a signal interrupted that wait: Python's handlers run; what they raise is printed. */
void session_python_pending(void);

/* Forks a branch that is a child of this process's parent. In the parent 0 and *ret_pid, or -1
 * (with the reason why it would be unsafe in `unsafe`, or "" and errno in err); in the branch 1:
 * it goes on as child_run does. Names of threads that do not survive are in `lost_threads` (cut). */
int session_python_branch(pid_t *ret_pid, char *unsafe, size_t unsafe_size, char *lost,
                          size_t lost_size, struct err *err);

#endif
