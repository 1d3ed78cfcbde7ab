/* status_details.h: what grpc-status-details-bin holds: a google.rpc.Status with an ErrorInfo and
 * perhaps a RetryInfo. Any bytes are fine. */
#ifndef PYEXEC_CLIENTS_C_STATUS_DETAILS_H
#define PYEXEC_CLIENTS_C_STATUS_DETAILS_H

#include <stddef.h>

#include "clients/c/pyexec.h"

/* Fills reason, details and retry_ms of `err`, and message where the status has one; what is
 * malformed or unknown is skipped, and texts are cut between characters. */
void status_details_parse(const void *data, size_t len, struct pyexec_error *err);

#endif
