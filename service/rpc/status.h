/* status.h: a struct err as google.rpc.Status, for the trailer grpc-status-details-bin.
 * Any thread. */
#ifndef PYEXEC_RPC_STATUS_H
#define PYEXEC_RPC_STATUS_H

#include "service/base/buf.h"
#include "service/base/err.h"

/* Clients refuse more than 8 KiB of trailers by default; base64 adds a third, other trailers some. */
#define STATUS_DETAILS_MAX 4096

/* What the client is told: the text of `err`, valid UTF-8. Of our own bugs it gets no text, which
 * might name a path; the log has it. `size` >= ERR_TEXT_MAX. */
void status_message(const struct err *err, char *ret_text, size_t size);

/* Appends the packed Status: ErrorInfo with the reason, stage and errno; RetryInfo where waiting helps;
 * BadRequest for a bad field. 0, or -1 when it does not fit `out` (then nothing was appended). */
int status_details(const struct err *err, struct buf *out);

#endif
