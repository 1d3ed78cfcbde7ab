/* arrival.h: how calls come in: one pending request a method, and one for every other path. */
#ifndef PYEXEC_RPC_ARRIVAL_H
#define PYEXEC_RPC_ARRIVAL_H

#include "service/base/err.h"

struct rpc_server;

/* Before grpc_server_start: makes the slots and registers the methods. 0 or -1. */
int arrival_register(struct rpc_server *server, struct err *err);
/* After it: calls come in from now on. */
void arrival_start(struct rpc_server *server);

#endif
