/* input.h: input() and getpass() of user code; telling the daemon that the program waits.
 * GIL held, except where said. */
#ifndef PYEXEC_PYEMBED_INPUT_H
#define PYEXEC_PYEMBED_INPUT_H

#include "service/pyembed/python.h"

#include <stdbool.h>
#include <stdint.h>

int input_install(void); /* in the zygote: wraps builtins.input; 0, or -1 with an exception */

/* `asks`: descriptor 0 is a pipe that somebody may be asked to fill. */
void input_run_begin(uint64_t run, bool asks);

/* Before a read of descriptor 0: returns when it won't block, having sent an INPUT_REQUEST if it
 * would have. A signal is never lost between its check and the wait. 0, or -1 with an exception. */
int input_wait(void);

/* For support.py: (prompt: str, password: bool) of the read that comes next; ("", False) ends it. */
PyObject *input_set_prompt(PyObject *module, PyObject *args);

#endif
