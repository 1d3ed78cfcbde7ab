/* children.h: which children of the session are user code's own, and which are adopted orphans.
 *
 * A session is a child subreaper, so what its children leave behind becomes its child. User code
 * waits for those it started; nobody waits for the others, so we do, between runs. GIL held. */
#ifndef PYEXEC_PYEMBED_CHILDREN_H
#define PYEXEC_PYEMBED_CHILDREN_H

#include <stdbool.h>
#include <sys/types.h>

void children_add(pid_t pid);    /* user code started it */
void children_remove(pid_t pid); /* user code waited for it */
void children_forget(void);      /* after a fork: they are not ours */

void children_reap_adopted(void);
bool children_exist(void); /* alive, or ended and not waited for */

#endif
