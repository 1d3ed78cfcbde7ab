/* address.h: the addresses that --listen takes. */
#ifndef PYEXEC_RPC_ADDRESS_H
#define PYEXEC_RPC_ADDRESS_H

#include <sys/socket.h>

#include "service/base/err.h"

enum address_kind { ADDRESS_UNIX, ADDRESS_ABSTRACT, ADDRESS_TCP };

struct address {
    enum address_kind kind;
    struct sockaddr_storage sockaddr;
    socklen_t len;
};

#define ADDRESS_TEXT_MAX 160

/* unix:/path (unix:///path is the same), unix-abstract:name, 127.x.y.z:PORT, [::1]:PORT. Anything
 * else, other TCP addresses above all, is refused with a text that says what is taken. 0 or -1. */
int address_parse(const char *text, struct address *ret_address, struct err *err);

/* In the same form. `size` >= ADDRESS_TEXT_MAX. */
void address_format(const struct address *address, char *ret_text, size_t size);

/* The path of a Unix socket's file. */
const char *address_path(const struct address *address);

#endif
