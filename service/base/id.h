/* id.h: identifiers.
 *
 * A session id is `<node>-<ULID>`: the part before the last dash names the node, so the id is
 * the route. ULID: 48 bits of milliseconds and 80 random bits in Crockford's base 32
 * (https://github.com/ulid/spec). */
#ifndef PYEXEC_BASE_ID_H
#define PYEXEC_BASE_ID_H

#include <stdbool.h>
#include <stddef.h>

#define ID_ULID_LEN 26
#define ID_NODE_MAX 63 /* [A-Za-z0-9.-], no dash at either end */
#define ID_SESSION_MAX (ID_NODE_MAX + 1 + ID_ULID_LEN)
#define ID_CLIENT_MAX 128 /* execution_id and request_id made by a client */

void id_ulid(char ret_ulid[ID_ULID_LEN + 1]);
void id_session(const char *node, char ret_id[ID_SESSION_MAX + 1]);

bool id_node_valid(const char *node);
/* [A-Za-z0-9._:-]{1,128} */
bool id_client_valid(const char *id);

enum id_route { ID_ROUTE_HERE, ID_ROUTE_ELSEWHERE, ID_ROUTE_MALFORMED };
enum id_route id_route(const char *node, const char *session_id);

#endif
