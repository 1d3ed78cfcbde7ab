/* environ.h: os.environ (and with it the process's environment). GIL held. */
#ifndef PYEXEC_PYEMBED_ENVIRON_H
#define PYEXEC_PYEMBED_ENVIRON_H

#include "service/pyembed/python.h"

#include <stddef.h>

#include "service/pyembed/result.h"

struct environ_saved {
    PyObject *names;  /* list, or NULL */
    PyObject *values; /* list: what they were, None where there was nothing */
};

/* Sets the entries; `r` (may be NULL) gets a warning for one that can't be set. The message types
 * of session and run are different but alike; both have key and value first. */
void environ_set(const char *key, const char *value, struct result *r);

void environ_apply(struct environ_saved *saved, Pyexec__Internal__SessionRun__EnvEntry **entries,
                   size_t n, struct result *r);
void environ_restore(struct environ_saved *saved);

#endif
