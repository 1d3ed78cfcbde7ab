/* stub_engine.h: an engine without sessions, for the tests of rpc/: it implements engine.h on the real
 * execution log, and takes code that is a script of commands, separated by ';':
 *
 *     out TEXT    err TEXT    append to stdout, stderr
 *     lines N     N numbered lines, 100 a turn of the loop
 *     alternate N N times one byte of stdout, one of stderr
 *     bytes N     N bytes at once
 *     sleep MS
 *     wait        until InterruptExecution, or until the caller is gone
 *
 * Every script ends with a result: STATUS_OK, or STATUS_INTERRUPTED, STATUS_CANCELLED out of `wait`. A
 * session_id that is the name of a reason ("SESSION_BUSY") is answered with that fault; an empty spec
 * code with an internal error whose text names a path. */
#ifndef PYEXEC_TESTS_UNIT_RPC_STUB_ENGINE_H
#define PYEXEC_TESTS_UNIT_RPC_STUB_ENGINE_H

#include <stdint.h>
#include <uv.h>

#include "service/base/clock.h"
#include "service/session/engine.h"

#define STUB_HEARTBEAT_NS (50 * NS_PER_MS)

struct engine *stub_engine_new(uv_loop_t *loop);
/* Ends every execution, then closes its handles; `done` on the loop. */
void stub_engine_close(struct engine *engine, void (*done)(void *ctx), void *ctx);
void stub_engine_free(struct engine *engine);

/* What was seen; any thread. */
uint64_t stub_engine_counter(struct engine *engine, enum engine_counter which);
/* Loop thread. */
unsigned stub_engine_attached(struct engine *engine); /* attachments now */
unsigned stub_engine_gone(struct engine *engine);     /* detached as gone, in all */
unsigned stub_engine_watchers(struct engine *engine);

/* Loop thread: tells every watcher of one made-up session; false when none took it. */
bool stub_engine_change(struct engine *engine, const char *session_id);

#endif
