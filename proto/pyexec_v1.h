/* pyexec_v1.h: all generated messages of the public contract. */
#ifndef PYEXEC_PROTO_PYEXEC_V1_H
#define PYEXEC_PROTO_PYEXEC_V1_H

#include "pyexec/v1/execution_service.pb-c.h"
#include "pyexec/v1/file_service.pb-c.h"
#include "pyexec/v1/server_service.pb-c.h"
#include "pyexec/v1/session_service.pb-c.h"
#include "pyexec/v1/types.pb-c.h"

#endif
