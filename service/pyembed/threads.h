/* threads.h: which run a thread belongs to, and where its output goes.
 *
 * A Python thread belongs to the run in which it was started (threads that it starts inherit that).
 * What it writes to sys.stdout or sys.stderr after that run's end is background output. */
#ifndef PYEXEC_PYEMBED_THREADS_H
#define PYEXEC_PYEMBED_THREADS_H

#include <stdbool.h>
#include <stdint.h>

/* Wraps _thread.start_new_thread. Once, before `threading` is imported. GIL held; 0, or -1 with an
 * exception. */
int threads_install(void);

/* The calling thread becomes the session's main thread; every other one is gone (after a fork). */
void threads_reset(void);

/* Main thread, GIL held. The end waits (bounded, GIL released) for writes that have begun. */
void threads_run_begin(uint64_t run);
void threads_run_end(void);

/* Around one write(2) to a pipe, without the GIL. False: the bytes are background output and
 * threads_write_end must not be called. */
bool threads_write_begin(void);
void threads_write_end(void);

bool threads_is_main(void);
unsigned
threads_alive(void); /* started through Python and not ended, the main thread not counted */

#endif
