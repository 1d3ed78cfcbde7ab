/* source.h: the code to run, read from a file. */
#ifndef PYEXEC_CLIENTS_C_CMD_SOURCE_H
#define PYEXEC_CLIENTS_C_CMD_SOURCE_H

#include "service/base/buf.h"

#define SOURCE_MAX (64u << 20) /* far above the server's own limit, which is the one that counts */

/* All of `path`, "-" is the standard input, NUL-terminated; must be UTF-8 without NUL bytes.
 * `source` is initialised by the caller. 0, or -1 after a message. */
int source_read(const char *path, struct buf *source);

#endif
