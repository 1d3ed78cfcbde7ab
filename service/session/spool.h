/* spool.h: the unlinked file that large logs spill into, in mapped segments of one size.
 *
 * Thread-safe: a lock of its own. The kernel writes segments out when memory is short; nothing of
 * them survives the daemon. The spool also counts the bytes that all logs retain. */
#ifndef PYEXEC_SESSION_SPOOL_H
#define PYEXEC_SESSION_SPOOL_H

#include <stddef.h>
#include <stdint.h>

#include "service/base/err.h"

#define SPOOL_SEGMENT (1u << 20)

struct spool;

/* Makes the file in `dir`, for at most `max_bytes` of segments. 0 or -1. */
int spool_new(const char *dir, uint64_t max_bytes, struct spool **ret_spool, struct err *err);
/* Every segment must have been returned. NULL is fine. */
void spool_free(struct spool *spool);

/* One segment of SPOOL_SEGMENT writable bytes, its disk space reserved so that writing to it
 * can't fault; NULL when the bound, the disk or the address space is exhausted. *ret_index is
 * for returning it. */
uint8_t *spool_take(struct spool *spool, uint32_t *ret_index);
void spool_return(struct spool *spool, uint8_t *segment, uint32_t index);

/* Bytes retained by all logs; `delta` may be negative. */
void spool_account(struct spool *spool, int64_t delta);
uint64_t spool_retained(struct spool *spool);

#endif
