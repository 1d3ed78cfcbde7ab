/* pyembed.h: the embedded interpreter, as the zygote sees it. The only folder with <Python.h>.
 * What a session does with it is in session_python.h. All calls: the one thread of the process. */
#ifndef PYEXEC_PYEMBED_PYEMBED_H
#define PYEXEC_PYEMBED_PYEMBED_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "service/base/err.h"

/* Starts CPython: isolated from the process's environment, no site user directory, no signal
 * handlers yet, UTF-8 mode. `python` names the executable of a virtual environment or installation
 * whose packages to use ("" for the Python that was built against; another minor version is an error). */
int pyembed_init(const char *python, struct err *err);

/* Imports one module; on failure fills `text` ("ModuleNotFoundError: …", cut) and returns -1. */
int pyembed_import(const char *module, char *text, size_t text_size);

/* After the last import: threads checked (a preload that left threads running is an error in `err`),
 * garbage collected and frozen (gc.freeze), free memory returned. */
int pyembed_settle(struct err *err);

const char *pyembed_version(void);          /* "3.11.2", static */
bool pyembed_available(const char *module); /* importable (found, not imported) */

/* PyOS_BeforeFork, fork(), and in the parent PyOS_AfterFork_Parent. The child must call child_run,
 * which does PyOS_AfterFork_Child. -1 with errno. */
pid_t pyembed_fork(void);

#endif
