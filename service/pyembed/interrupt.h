/* interrupt.h: SIGINT of a session: when it may come, and whether it came.
 *
 * It is blocked except while a run may be interrupted. Main thread, GIL held. */
#ifndef PYEXEC_PYEMBED_INTERRUPT_H
#define PYEXEC_PYEMBED_INTERRUPT_H

#include <stdbool.h>

/* In the zygote: wraps _signal.signal, so that a real SIGINT is counted whatever handler user code
 * sets. 0, or -1 with an exception. */
int interrupt_prepare(void);

/* In a new session: no signal blocked but SIGINT, Python's usual handlers (a branch keeps those of its
 * parent). 0, or -1 with an exception. */
int interrupt_start(bool branch);

/* A run begins: drops a SIGINT that came too late for the one before. Before the daemon is told
 * STARTED: from then on it may send one for this run, which waits until interrupt_allow. */
void interrupt_begin(void);

/* Lets them through, unless user code itself had blocked SIGINT. */
void interrupt_allow(void);

/* The run's report is made: holds them back, keeping the user's mask for interrupt_allow. */
void interrupt_hold(void);

bool interrupt_came(void); /* a SIGINT arrived since interrupt_begin */

#endif
